//! A write that a server passes on to the leader: it is passed on once, and has the time that is left to it. The test asks as a server of the cluster does.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cluster_tests::{
    cluster::Cluster,
    eventually,
    node::Node,
    raw,
    session::{Put, path},
};
use http::Request;
use http_body_util::{BodyExt, Full};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use transport::{Channel, ChannelConfig, Credentials, Dialer, Expected, HANDSHAKE_MAX, Identity, Known, Members, SystemClock, body};

/// Longest time one question may take.
const ASK_MAX: Duration = Duration::from_secs(20);

/// Below it are the calls that a server passes on.
const FORWARD_PATH: &str = "/peer/v1/forward";

/// How many milliseconds a call has left.
const DEADLINE: &str = "x-shoal-deadline";

/// Who let the call in.
const PRINCIPAL: &str = r#"{"principal": {"name": "tester", "role": "admin"}, "byToken": false, "token": null, "from": ""}"#;

/// A write of the Config `name`.
fn put(name: &str) -> (String, Vec<u8>) {
    let put = Put { name, value: 7, bytes: 32, expect: None, key: "" };
    (path(name), put.body().to_string().into_bytes())
}

/// The status and the error of what `to` answers when `by` passes a write of the Config `name` on to it that has `left_ms` left.
async fn passed_on(by: &Node, to: &Node, name: &str, left_ms: u64) -> (u16, Value) {
    let own = Credentials::read(&by.data().join("control/identity")).expect("a server has credentials");
    let (identity, known) = (Identity::new(own), Known::new(Members::default()));
    let dialer = Dialer { identity, known, clock: Arc::new(SystemClock), connect_max: HANDSHAKE_MAX };
    let peer = to.ready()["peer"].as_str().expect("a server listens for others");
    let channel = Channel::new(ChannelConfig::new(dialer, peer, Expected::AnyServer));
    let (path, content) = put(name);
    let request = Request::put(format!("{FORWARD_PATH}{path}")).header("content-type", "application/json");
    let request = request.header(DEADLINE, left_ms).header("x-shoal-principal", PRINCIPAL).body(body(content)).expect("a request");
    let answer = channel.request(request, ASK_MAX).await.expect("it answers");
    let status = answer.status().as_u16();
    let text = answer.into_body().collect().await.expect("a whole answer").to_bytes();
    (status, serde_json::from_slice::<Value>(&text).expect("JSON")["error"].clone())
}

/// What the API of `node` answers to a write of the Config `name` that has `left_ms` left.
async fn asked(node: &Node, name: &str, left_ms: u64) -> raw::Answer {
    let (path, content) = put(name);
    let request = Request::put(path).header("host", &node.api).header("content-type", "application/json").header(DEADLINE, left_ms);
    raw::send(&node.api, request.body(Full::new(Bytes::from(content))).expect("a request")).await.expect("it answers")
}

/// Goes on when dropped.
struct Stopped(Vec<Pid>);

impl Stopped {
    fn all<'a>(nodes: impl Iterator<Item = &'a Node>) -> Self {
        let pids: Vec<Pid> = nodes.map(|node| node.child("control-plane").expect("it runs")).collect();
        pids.iter().for_each(|pid| kill_process(*pid, Signal::STOP).expect("it runs"));
        Self(pids)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_passed_on_is_not_passed_on_again() {
    let cluster = Cluster::start(3, 0).await;
    eventually("a follower that refuses and a leader that does not", || async {
        let leader = cluster.leader().await;
        let (follower, by) = (&cluster.nodes[(leader + 1) % 3], &cluster.nodes[(leader + 2) % 3]);
        let (status, error) = passed_on(by, follower, "twice", 10_000).await;
        assert_eq!(
            (status, error["code"].as_str()),
            (503, Some("E0422")),
            "it was passed on again, or done by a server that does not lead"
        );
        assert!(error["message"].as_str().is_some_and(|text| text.contains("passed on to does not lead")), "{error}");
        // Somebody else may lead since.
        (passed_on(by, &cluster.nodes[leader], "once", 10_000).await.0 == 200).then_some(())
    })
    .await;
    let configs = cluster.nodes[0].shoal(&["get", "configs", "-o", "name"]).expect(0).out;
    assert!(configs.contains("once") && !configs.contains("twice"), "{configs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_gives_a_call_the_time_that_it_has_left() {
    let cluster = Cluster::start(3, 0).await;
    let leader = cluster.leader().await;
    let others = || cluster.nodes.iter().enumerate().filter(|(number, _)| *number != leader).map(|(_, node)| node);
    assert_eq!(passed_on(&cluster.nodes[(leader + 1) % 3], &cluster.nodes[leader], "before", 10_000).await.0, 200);
    let stopped = Stopped::all(others());
    let (status, error) = passed_on(&cluster.nodes[(leader + 1) % 3], &cluster.nodes[leader], "late", 100).await;
    drop(stopped);
    // It is written, and nobody knows whether it will be acknowledged.
    assert_eq!((status, error["code"].as_str()), (503, Some("E0431")), "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("no answer within 100 ms")), "{error}");
    cluster.until_all_answer().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_waits_for_the_leader_as_long_as_the_call_has_left() {
    let cluster = Cluster::start(3, 0).await;
    let leader = cluster.leader().await;
    let follower = &cluster.nodes[(leader + 1) % 3];
    // The way to the leader is open.
    let answer = asked(follower, "before", 10_000).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let stopped = Stopped::all(std::iter::once(&cluster.nodes[leader]));
    let answer = asked(follower, "late", 50).await;
    drop(stopped);
    // Not because another one leads by then, which takes longer.
    assert!(answer.status == 503 && answer.body.contains("E0431") && answer.body.contains("did not answer within"), "{answer:?}");
    cluster.until_all_answer().await;
}
