//! How long writes pause while leadership is handed over on purpose. Owns the definition: the longest time between two acknowledged writes, of whichever
//! client, from the request for the transfer until every client has written again after its answer.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cluster_tests::{cluster::Cluster, session::Session};
use http::{Method, StatusCode};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use crate::{Table, failover::written, millis, percentile};

/// Writes of each client before the transfer is asked for.
const BEFORE: usize = 10;

/// Longest time a transfer may take.
const TRANSFER_MAX: Duration = Duration::from_secs(10);

pub async fn measure(count: u32) -> Table {
    let cluster = Cluster::start(3, 0).await;
    let (mut pauses, mut refused, mut value) = (Vec::new(), 0, 1);
    while pauses.len() < count as usize {
        cluster.until_all_answer().await;
        match transfer(&cluster, &mut value).await {
            Some(pause) => {
                eprintln!("transfer {}: {:.1} ms", pauses.len() + 1, millis(pause));
                pauses.push(millis(pause));
            }
            None => refused += 1,
        }
        assert!(refused <= count, "most transfers are refused");
    }
    for node in cluster.nodes {
        node.stop().await;
    }
    Table {
        title: "Planned transfer of leadership",
        how: format!(
            "three servers; one client per server writes without a rest; the longest time between two acknowledged writes of whichever client, from the \
             request until each has written again; {refused} transfers were refused and are not counted"
        ),
        head: &["transfers", "p50 ms", "p99 ms", "max ms"],
        rows: vec![vec![
            count.to_string(),
            format!("{:.1}", percentile(&mut pauses, 50)),
            format!("{:.1}", percentile(&mut pauses, 99)),
            format!("{:.1}", percentile(&mut pauses, 100)),
        ]],
    }
}

/// One transfer; `None` when it was refused.
async fn transfer(cluster: &Cluster, value: &mut u64) -> Option<Duration> {
    let acknowledged = Arc::new(Mutex::new(Vec::<Instant>::new()));
    let (done, ended) = watch::channel(false);
    let mut clients = JoinSet::new();
    for api in cluster.apis() {
        let (acknowledged, ended, first) = (acknowledged.clone(), ended.clone(), *value);
        *value += 1_000_000;
        clients.spawn(async move {
            let mut next = first;
            loop {
                let last = *ended.borrow();
                written(Session::new(&api), next).await;
                acknowledged.lock().expect("nobody panics with it").push(Instant::now());
                next += 1;
                if last {
                    return;
                }
            }
        });
    }
    let warm = || acknowledged.lock().expect("nobody panics with it").len() >= BEFORE * 3;
    cluster_tests::eventually("writes before the transfer", || async { warm().then_some(()) }).await;
    let begin = Instant::now();
    let answer = Session::new(&cluster.nodes[0].api).call(Method::POST, "/v1/leader", Some(json!({})), "", TRANSFER_MAX).await;
    done.send_replace(true);
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client never panics");
    }
    let mut moments = acknowledged.lock().expect("nobody panics with it").clone();
    moments.sort();
    // The pause under way when it was asked for began with the write before.
    let from = moments.partition_point(|moment| *moment < begin).saturating_sub(1);
    let pause = moments[from..].windows(2).map(|pair| pair[1] - pair[0]).max();
    answer.ok().filter(|(status, _)| *status == StatusCode::OK).and(pause)
}
