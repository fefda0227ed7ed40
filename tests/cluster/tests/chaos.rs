//! Three servers under writes by many clients, broken on purpose: whatever was acknowledged is there, and whatever was answered could have been answered by one
//! machine. How often the leader is killed is `SHOAL_TEST_KILLS`, so that hundreds can be run by hand.

use cluster_tests::{
    clients::{Clients, Workload},
    cluster::{Cluster, hello},
    disk::Disk,
    eventually, guest,
    load::Load,
    node, raw,
    session::{Session, members},
};
use http::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

/// Kills of the leader when nobody says otherwise.
const KILLS: usize = 8;

/// Between two requests of one client of a gateway.
const REST: Duration = Duration::from_millis(10);

/// Longest time one look at the members may take.
const LOOK_MAX: Duration = Duration::from_secs(5);

fn workload(cluster: &Cluster) -> Workload {
    Workload { servers: cluster.apis(), clients: 6, keys: 5 }
}

async fn serving(cluster: &Cluster) {
    cluster.nodes[0].apply(&hello(&guest("hello"), "")).expect(0);
    for node in &cluster.nodes {
        let answers = async || raw::get(&node.http, "hello.localhost", "/").await.is_ok_and(|answer| answer.status == 200);
        eventually("an answer of every gateway", || async { answers().await.then_some(()) }).await;
    }
}

/// The process that holds the log of the leader, and the leader's place.
async fn leading(cluster: &Cluster) -> (usize, Pid) {
    eventually("a leader that runs", || async {
        let leader = cluster.leader().await;
        cluster.nodes[leader].child("control-plane").map(|pid| (leader, pid))
    })
    .await
}

/// Waits until one of the servers but `lost` says that another one leads.
async fn until_replaced(cluster: &Cluster, lost: usize) {
    let before = cluster.nodes[lost].ready()["node"].as_str().expect("a name").to_owned();
    eventually("another leader", || async {
        for (place, node) in cluster.nodes.iter().enumerate() {
            let view = if place == lost { None } else { members(&node.api, LOOK_MAX).await };
            if view.and_then(|view| view["leader"].as_str().map(|leader| leader != before)).unwrap_or_default() {
                return Some(());
            }
        }
        None
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaders_control_plane_is_killed_again_and_again() {
    let kills = std::env::var("SHOAL_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let cluster = Cluster::start(3, 0).await;
    serving(&cluster).await;
    let loads: Vec<_> = cluster.nodes.iter().map(|node| Load::paced(&node.http, "hello.localhost", 2, REST)).collect();
    let clients = Clients::start(&workload(&cluster));
    for _ in 0..kills {
        clients.acknowledged(20).await;
        let (leader, pid) = leading(&cluster).await;
        node::kill(pid);
        clients.acknowledged(20).await;
        eventually("another control plane", || async { cluster.nodes[leader].child("control-plane").filter(|found| *found != pid) }).await;
        cluster.until_all_answer().await;
    }
    for load in loads {
        let seen = load.finish().await;
        assert_eq!(seen.failed(), 0, "{seen:?}");
    }
    let told = clients.finish().await;
    assert!(told.acknowledged >= 40 * kills as u64);
    cluster.until_members(3, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_as_a_whole_is_missed_by_nobody_and_comes_back_elsewhere() {
    let mut cluster = Cluster::start(3, 0).await;
    serving(&cluster).await;
    let clients = Clients::start(&workload(&cluster));
    for _ in 0..2 {
        let (leader, _) = leading(&cluster).await;
        let others = cluster.nodes.iter().enumerate().filter(|(place, _)| *place != leader);
        let loads: Vec<_> = others.map(|(_, node)| Load::paced(&node.http, "hello.localhost", 2, REST)).collect();
        clients.acknowledged(20).await;
        let lost = cluster.nodes.remove(leader);
        let name = lost.ready()["node"].as_str().expect("a name").to_owned();
        let directory = lost.cut_power();
        clients.acknowledged(20).await;
        // All its ports are others now, and only it can say so.
        cluster.nodes.insert(leader, node::Node::start_in(directory, &["--name", &name]).await);
        clients.moved(cluster.apis());
        cluster.until_all_answer().await;
        for load in loads {
            let seen = load.finish().await;
            assert_eq!(seen.failed(), 0, "{seen:?}");
        }
    }
    clients.finish().await;
    cluster.until_members(3, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_for_a_while_answers_nothing_of_the_past() {
    let cluster = Cluster::start(3, 0).await;
    let clients = Clients::start(&workload(&cluster));
    let mut heard = 0;
    for _ in 0..3 {
        clients.acknowledged(20).await;
        let (leader, pid) = leading(&cluster).await;
        let (own, other) = (&cluster.nodes[leader].api, &cluster.nodes[(leader + 1) % 3].api);
        clients.write_apart(own).await;
        kill_process(pid, Signal::STOP).expect("it runs");
        until_replaced(&cluster, leader).await;
        let version = clients.write_apart(other).await;
        // These lie in its sockets when it goes on.
        let questions = clients.ask_apart(own, version, 8).await;
        kill_process(pid, Signal::CONT).expect("it was stopped");
        heard += clients.hear_apart(questions).await;
        cluster.until_all_answer().await;
    }
    assert!(heard > 0, "no question was answered");
    clients.finish().await;
    cluster.until_members(3, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_loses_nothing_and_heals() {
    let (cluster, network) = Cluster::behind_doors(3).await;
    let clients = Clients::start(&workload(&cluster));
    clients.acknowledged(20).await;
    let follower = (cluster.leader().await + 1) % 3;
    network.isolate(follower);
    clients.acknowledged(30).await;
    network.heal();
    cluster.until_all_answer().await;
    for one_way in [None, Some(true), Some(false)] {
        let (leader, _) = leading(&cluster).await;
        match one_way {
            None => network.isolate(leader),
            Some(true) => network.mute(leader),
            Some(false) => network.deafen(leader),
        }
        println!("server {leader} leads and is cut off, one way: {one_way:?}");
        until_replaced(&cluster, leader).await;
        println!("it is replaced");
        clients.acknowledged(20).await;
        network.heal();
        cluster.until_all_answer().await;
        clients.acknowledged(20).await;
    }
    clients.finish().await;
    cluster.until_members(3, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_leaves_a_server_that_is_cut_off() {
    let (mut cluster, network) = Cluster::behind_doors(3).await;
    // It joins through the first server, and asks that one first.
    cluster.join_worker("node-d").await;
    let (first, second) = (hello(&guest("hello"), ""), hello(&guest("hello"), "").replace("name: hello", "name: other"));
    cluster.nodes[0].apply(&first).expect(0);
    let worker = cluster.nodes.last().expect("the worker");
    assert_eq!(raw::get(&worker.http, "hello.localhost", "/").await.expect("it serves").status, 200);
    network.isolate(0);
    let manifest = cluster.nodes[1].write("other.yaml", &second.replace("hello.localhost", "other.localhost"));
    let manifest = manifest.to_str().expect("a temporary path is text");
    eventually("a majority that takes an app", || {
        let said = cluster.nodes[1].shoal(&["apply", "-f", manifest, "--detach"]);
        async move { (said.code == 0).then_some(()) }
    })
    .await;
    eventually("the app at the worker", || async {
        let answer = raw::get(&worker.http, "other.localhost", "/").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(raw::get(&worker.http, "hello.localhost", "/").await.expect("it serves").status, 200, "what ran runs");
    network.heal();
    cluster.until_all_answer().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_slow_and_break_lose_nothing() {
    let (cluster, network) = Cluster::behind_doors(3).await;
    let clients = Clients::start(&workload(&cluster));
    clients.acknowledged(20).await;
    network.delay(Duration::from_millis(5));
    for _ in 0..3 {
        let (leader, _) = leading(&cluster).await;
        network.break_off(leader);
        clients.acknowledged(15).await;
    }
    network.heal();
    cluster.until_all_answer().await;
    clients.finish().await;
    cluster.until_members(3, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_is_said_aloud() {
    let (disks, directories): (Vec<_>, Vec<_>) = (0..3).map(|_| Disk::new()).unzip();
    let cluster = Cluster::start_on(directories).await;
    let clients = Clients::start(&workload(&cluster));
    clients.acknowledged(20).await;
    let follower = (cluster.leader().await + 1) % 3;
    let before = cluster.nodes[follower].child("control-plane").expect("it runs");
    disks[follower].fill(before);
    clients.acknowledged(30).await;
    said_aloud(&cluster, follower, before).await;
    disks[follower].empty();
    cluster.until_all_answer().await;

    let (leader, before) = leading(&cluster).await;
    disks[leader].fill(before);
    said_aloud(&cluster, leader, before).await;
    disks[leader].empty();
    clients.acknowledged(30).await;
    cluster.until_all_answer().await;
    clients.finish().await;
    cluster.until_members(3, 3).await;
}

/// Waits until the node says that it cannot write, or its control plane has ended over it.
async fn said_aloud(cluster: &Cluster, place: usize, before: Pid) {
    let node = &cluster.nodes[place];
    eventually("a word about the disk", || async {
        let ended = node.child("control-plane").is_none_or(|pid| pid != before);
        let (status, body) = Session::new(&node.api).call(Method::GET, "/readyz", None, "", LOOK_MAX).await.ok()?;
        let said = status == StatusCode::SERVICE_UNAVAILABLE && String::from_utf8_lossy(&body).contains("the log to be writable");
        (said || ended).then_some(())
    })
    .await;
}
