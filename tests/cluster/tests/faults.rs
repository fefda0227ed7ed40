//! What is killed here, on purpose, must not be noticed, or only by the requests it held.

use cluster_tests::{
    eventually, guest,
    load::Load,
    node::{self, Node},
    raw,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{fs, process::Stdio, sync::atomic::Ordering::Relaxed};

const CLIENTS: usize = 8;

fn hello() -> String {
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: hello}}\nspec:\n  components:\n    web:\n      source: {}\n      \
         routes: [{{host: hello.localhost}}]\n",
        guest("hello").display()
    )
}

async fn serving() -> Node {
    let node = Node::start().await;
    node.apply(&hello()).expect(0);
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_refuses_no_new_connection_and_loses_only_requests_in_flight() {
    let node = serving().await;
    let load = Load::start(&node.http, "hello.localhost", CLIENTS);
    load.answered(200).await;
    let before = node.child("worker").expect("a worker runs");
    node::kill(before);
    eventually("another worker", || async { node.child("worker").filter(|pid| *pid != before) }).await;
    load.answered(200).await;
    let seen = load.finish().await;
    assert_eq!((seen.refused.load(Relaxed), seen.bad_status.load(Relaxed)), (0, 0), "{seen:?}");
    // Each client has one request at a time: one may have been in flight, and its next may sit in a socket the dead process had accepted.
    assert!(seen.broken.load(Relaxed) <= 2 * CLIENTS as u64, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_control_plane_does_not_touch_traffic() {
    let node = serving().await;
    let load = Load::start(&node.http, "hello.localhost", CLIENTS);
    load.answered(100).await;
    let before = node.child("control-plane").expect("a control plane runs");
    node::kill(before);
    load.answered(200).await;
    eventually("another control plane", || async { node.child("control-plane").filter(|pid| *pid != before) }).await;
    eventually("an API that answers", || {
        let said = node.shoal(&["get", "apps"]);
        async move { (said.code == 0 && said.out.contains("hello")).then_some(()) }
    })
    .await;
    let seen = load.finish().await;
    assert_eq!((seen.refused.load(Relaxed), seen.bad_status.load(Relaxed), seen.broken.load(Relaxed)), (0, 0, 0), "{seen:?}");
    node.apply(&hello().replace("hello.localhost", "other.localhost")).expect(0);
    assert_eq!(raw::get(&node.http, "other.localhost", "/").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_supervisor_leaves_no_orphan_and_the_next_one_serves_again() {
    let node = serving().await;
    let children = node.children();
    assert!(children.len() >= 2, "a worker and a control plane: {children:?}");
    let directory = node.kill_supervisor();
    eventually("the children's end", || async { (!children.iter().copied().any(node::lives)).then_some(()) }).await;
    let node = Node::start_in(directory, &[]).await;
    let answer = eventually("an answer after the restart", || async {
        raw::get(&node.http, "hello.localhost", "/").await.ok().filter(|answer| answer.status == 200)
    })
    .await;
    assert!(!answer.body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_stopped_before_it_is_ready_leaves_nobody_behind() {
    let directory = serving().await.cut_power();
    let mut command = node::server_command(&directory.path().join("data"), &directory.path().join("ready.json"));
    let mut supervisor = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the node starts");
    let pid = Pid::from_child(&supervisor);
    let children = eventually("its children", || async { Some(node::children_of(pid)).filter(|children| children.len() == 2) }).await;
    kill_process(pid, Signal::TERM).expect("it lives");
    eventually("its end", || {
        let ended = supervisor.try_wait().expect("a child can be waited for");
        async move { ended }
    })
    .await;
    assert!(!children.into_iter().any(node::lives));
}

/// What the ready file of `node` says by now under `key`.
fn told(node: &Node, key: &str) -> Option<String> {
    let text = fs::read_to_string(node.data().with_file_name("ready.json")).ok()?;
    let said: serde_json::Value = serde_json::from_str(&text).ok()?;
    said[key].as_str().map(|url| url.trim_start_matches("http://").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_start_takes_no_other_down_and_is_waited_for() {
    for (broken, missing) in [("control/cluster.key", "api"), ("worker/identity", "http")] {
        let directory = serving().await.cut_power();
        let (path, away) = (directory.path().join("data").join(broken), directory.path().join("away"));
        fs::rename(&path, &away).expect("it is there");
        let node = Node::start_in(directory, &[]).await;
        assert_eq!(told(&node, missing), None, "{broken}");
        assert!(node.log().contains("E0617"), "{}", node.log());
        match told(&node, "http") {
            Some(http) => assert_eq!(raw::get(&http, "hello.localhost", "/").await.expect("it serves").status, 200),
            None => drop(node.shoal(&["get", "apps"]).expect(0)),
        }
        fs::rename(&away, &path).expect("it is mended");
        let http = eventually("a node that serves whole", || async { told(&node, missing).and(told(&node, "http")) }).await;
        eventually("the app", || async { raw::get(&http, "hello.localhost", "/").await.ok().filter(|answer| answer.status == 200) }).await;
        assert!(told(&node, "api").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_apply_survives_a_power_cut() {
    let mut node = serving().await;
    for round in 0..3 {
        node.apply(
            &hello().replace("name: hello", &format!("name: hello-{round}")).replace("hello.localhost", &format!("r{round}.localhost")),
        )
        .expect(0);
        node = Node::start_in(node.cut_power(), &[]).await;
        let apps = node.shoal(&["get", "apps"]).expect(0).out;
        for earlier in 0..=round {
            assert!(apps.contains(&format!("hello-{earlier}")), "round {round}: {apps}");
        }
        assert_eq!(raw::get(&node.http, &format!("r{round}.localhost"), "/").await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_server_answers_what_it_accepted() {
    let mut node = Node::start().await;
    node.apply(&hello().replace(&guest("hello").display().to_string(), &guest("slow").display().to_string())).expect(0);
    let address = node.http.clone();
    let request = tokio::spawn(async move { raw::get(&address, "hello.localhost", "/?ms=1500").await });
    eventually("the slow request in flight", || async {
        let text = raw::get(&node.metrics, "localhost", "/metrics").await.ok()?.body;
        let in_flight = |line: &&str| line.contains("in_flight") && line.contains("hello") && line.trim_end().ends_with(" 1");
        text.lines().find(in_flight).map(|_| ())
    })
    .await;
    node.terminate();
    eventually("a refusal of new connections", || async {
        let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
        tokio::net::TcpStream::connect(&node.http).await.err().map(refused).filter(|refused| *refused)
    })
    .await;
    assert!(!request.is_finished(), "the request in flight is still answered after that");
    assert_eq!(node.ended().await, 0);
    assert_eq!(request.await.unwrap().expect("the request is answered").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_gets_nothing_of_the_environment_and_holds_nothing_of_the_control_plane() {
    let node = serving().await;
    let worker = node.child("worker").expect("a worker runs").as_raw_nonzero();
    let environment = std::fs::read(format!("/proc/{worker}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("LISTEN_FDS="), "{environment}");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "cargo gives the test what the worker must not have");
    assert!(!environment.contains("CARGO_MANIFEST_DIR="), "{environment}");
    let open: Vec<_> =
        std::fs::read_dir(format!("/proc/{worker}/fd")).unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
    assert!(!open.iter().any(|path| path.starts_with(node.data().join("control"))), "{open:?}");
}
