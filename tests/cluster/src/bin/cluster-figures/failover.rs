//! From `kill -9` of the leader to the next acknowledged write, and what the gateways' clients noticed. Owns the killing; must never count a write that began
//! before the kill.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use cluster_tests::{
    cluster::{Cluster, hello},
    eventually, guest,
    load::Load,
    node::{self, Node},
    raw,
    session::{Put, Session, Written},
};

use crate::{Table, millis, percentile};

/// Longest time one try may take.
const TRY_MAX: Duration = Duration::from_secs(2);

/// Rest of a client that was refused before it asks again.
const REST: Duration = Duration::from_millis(2);

/// Rest of each client of a gateway: their load must not be what is measured.
const LOAD_REST: Duration = Duration::from_millis(10);

/// Bytes of a value.
const VALUE_BYTES: usize = 256;

/// What dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    /// The process that holds the log, which its supervisor starts again.
    ControlPlane,
    /// Every process of the node at once; it is started again on its directory.
    Node,
}

pub async fn measure(killed: Killed, kills: u32) -> Table {
    let mut cluster = Cluster::start(3, 0).await;
    cluster.nodes[0].apply(&hello(&guest("hello"), "")).expect(0);
    let (mut spans, mut requests, mut failed) = (Vec::new(), 0, 0);
    for round in 0..kills {
        cluster.until_all_answer().await;
        until_served(&cluster).await;
        let leader = cluster.leader().await;
        let spared = |place: &usize| killed == Killed::ControlPlane || *place != leader;
        let gateways: Vec<_> = (0..3).filter(spared).map(|place| cluster.nodes[place].http.clone()).collect();
        let loads: Vec<_> = gateways.iter().map(|gateway| Load::paced(gateway, "hello.localhost", 2, LOAD_REST)).collect();
        for load in &loads {
            load.answered(5).await;
        }
        spans.push(millis(kill(&mut cluster, killed, leader, round).await));
        for load in loads {
            load.answered(5).await;
            let seen = load.finish().await;
            requests += seen.good.load(Relaxed) + seen.failed();
            failed += seen.failed();
        }
        eprintln!("kill {}: {:.0} ms, {failed} failed requests so far", round + 1, spans.last().copied().unwrap_or_default());
    }
    for node in cluster.nodes {
        node.stop().await;
    }
    let (title, gateways) = match killed {
        Killed::ControlPlane => ("Leader's control plane killed with -9 to the next acknowledged write", "all three gateways"),
        Killed::Node => ("All processes of the leader killed with -9 to the next acknowledged write", "the other two gateways"),
    };
    Table {
        title,
        how: format!(
            "three servers; a write begun after the kill through each of the other two, sent again until one is acknowledged; meanwhile requests to {gateways}, \
             each on a new connection"
        ),
        head: &["kills", "p50 ms", "p99 ms", "max ms", "requests", "failed"],
        rows: vec![vec![
            kills.to_string(),
            format!("{:.0}", percentile(&mut spans, 50)),
            format!("{:.0}", percentile(&mut spans, 99)),
            format!("{:.0}", percentile(&mut spans, 100)),
            requests.to_string(),
            failed.to_string(),
        ]],
    }
}

/// Kills the leader and returns how long nothing was acknowledged; a node that is gone as a whole is started again.
async fn kill(cluster: &mut Cluster, killed: Killed, leader: usize, round: u32) -> Duration {
    let survivors: Vec<_> = (0..3).filter(|place| *place != leader).map(|place| cluster.nodes[place].api.clone()).collect();
    let control_plane = cluster.nodes[leader].child("control-plane").expect("it runs");
    let (first, second) = (Session::new(&survivors[0]), Session::new(&survivors[1]));
    let lost = match killed {
        Killed::ControlPlane => None,
        Killed::Node => Some(cluster.nodes.remove(leader)),
    };
    let flags = lost.as_ref().map(|node| node.flags().to_vec()).unwrap_or_default();
    let begin = Instant::now();
    let directory = match lost {
        None => {
            node::kill(control_plane);
            None
        }
        Some(node) => Some(node.cut_power()),
    };
    tokio::select! {
        () = written(first, u64::from(round) * 2 + 1) => {}
        () = written(second, u64::from(round) * 2 + 2) => {}
    }
    let span = begin.elapsed();
    if let Some(directory) = directory {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        cluster.nodes.insert(leader, Node::start_in(directory, &flags).await);
    }
    span
}

/// Writes until it is acknowledged.
pub async fn written(mut session: Session, value: u64) {
    let (name, key) = (format!("figure-{}", value % 8), format!("figure-{value}"));
    loop {
        match session.put(Put { name: &name, value, bytes: VALUE_BYTES, expect: None, key: &key }, TRY_MAX).await {
            Written::Done(_) => return,
            Written::Strange(what) => panic!("a strange answer: {what}"),
            Written::Conflict | Written::No(_) | Written::Perhaps(_) => tokio::time::sleep(REST).await,
        }
    }
}

async fn until_served(cluster: &Cluster) {
    for node in &cluster.nodes {
        let answers = async || raw::get(&node.http, "hello.localhost", "/").await.is_ok_and(|answer| answer.status == 200);
        eventually("an answer of every gateway", || async { answers().await.then_some(()) }).await;
    }
}
