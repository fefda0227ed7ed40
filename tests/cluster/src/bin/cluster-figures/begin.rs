//! How long three empty directories take to become a quorum that answers, and what its control planes hold while nobody asks. Owns when the clock starts: before
//! the first process is started.

use std::time::{Duration, Instant};

use cluster_tests::{cluster::Cluster, node::Node, session::Session};

use crate::{Table, failover::written, percentile};

pub async fn measure(rounds: u32) -> Table {
    let mut spans = Vec::new();
    for round in 0..rounds {
        let begin = Instant::now();
        let mut cluster = Cluster::found().await;
        let (second, third) = tokio::join!(cluster.joining_server("node-b"), cluster.joining_server("node-c"));
        cluster.nodes.extend([second, third]);
        cluster.until_members(3, 3).await;
        cluster.until_all_answer().await;
        for (number, api) in (1..).zip(cluster.apis()) {
            written(Session::new(&api), number).await;
        }
        spans.push(begin.elapsed().as_secs_f64());
        eprintln!("round {}: {:.2} s", round + 1, spans.last().copied().unwrap_or_default());
        for node in cluster.nodes {
            node.stop().await;
        }
    }
    Table {
        title: "Three empty directories to a quorum that answers",
        how: "one server founds the cluster, two join it at once with its token; until all three vote, and each answers a current read and a write".to_owned(),
        head: &["rounds", "p50 s", "max s"],
        rows: vec![vec![
            rounds.to_string(),
            format!("{:.2}", percentile(&mut spans, 50)),
            format!("{:.2}", percentile(&mut spans, 100)),
        ]],
    }
}

pub async fn idle(settle: Duration) -> Table {
    let cluster = Cluster::start(3, 0).await;
    tokio::time::sleep(settle).await;
    let leader = cluster.leader().await;
    let row = |(place, node): (usize, &Node)| {
        let role = if place == leader { "leader" } else { "follower" };
        vec![role.to_owned(), format!("{:.1}", anonymous_mebibytes(node))]
    };
    let rows = cluster.nodes.iter().enumerate().map(row).collect();
    for node in cluster.nodes {
        node.stop().await;
    }
    Table {
        title: "Idle control planes",
        how: format!("three servers without apps that nobody has asked for {} s; RssAnon of each control plane", settle.as_secs()),
        head: &["control plane", "RssAnon MiB"],
        rows,
    }
}

/// Memory of the control plane that is in no file.
fn anonymous_mebibytes(node: &Node) -> f64 {
    let pid = node.child("control-plane").expect("it runs").as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel says it");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}
