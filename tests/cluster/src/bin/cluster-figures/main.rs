//! The figures of a cluster, each as a table in one line of JSON: `cargo xtask bench cluster` runs this and puts them where the others are. Owns what is
//! measured; must never change the product to look better: it starts the binary as a user does.

mod begin;
mod failover;
mod lost;
mod transfer;
mod writes;

use std::{process::ExitCode, time::Duration};

use serde_json::json;

/// What `cluster-figures` accepts.
const USAGE: &str = "usage: cluster-figures WHAT COUNT
  failover KILLS      kill -9 of the leader's control plane to the next acknowledged write
  group KILLS         the same with every process of the leader's node
  lost KILLS          100,000 acknowledged writes while the leader is killed: how many are not there
  transfer COUNT      planned transfers: the longest pause between two acknowledged writes
  writes SECONDS      64 clients that write Configs of 256 bytes
  idle SECONDS        memory of control planes that nobody has asked for so long
  begin ROUNDS        three empty directories to a quorum that answers";

/// One table: what it is about, how it was measured, the heads of its columns, its rows.
pub struct Table {
    title: &'static str,
    how: String,
    head: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.get(1).and_then(|count| count.parse::<u32>().ok());
    let (Some(what), Some(count)) = (arguments.first(), count) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    let table = match what.as_str() {
        "failover" => failover::measure(failover::Killed::ControlPlane, count).await,
        "group" => failover::measure(failover::Killed::Node, count).await,
        "lost" => lost::measure(count).await,
        "transfer" => transfer::measure(count).await,
        "writes" => writes::measure(Duration::from_secs(count.into())).await,
        "idle" => begin::idle(Duration::from_secs(count.into())).await,
        "begin" => begin::measure(count).await,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    println!("{}", json!({"title": table.title, "how": table.how, "head": table.head, "rows": table.rows}));
    ExitCode::SUCCESS
}

/// The smallest value that at least `percent` % of the values do not exceed; zero of nothing.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).clamp(1, values.len().max(1));
    values.get(rank - 1).copied().unwrap_or_default()
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
