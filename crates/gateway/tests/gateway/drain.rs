//! The end of a gateway: nobody is cut off who could finish.

use std::time::Duration;

use gateway::Limits;
use tokio::sync::Semaphore;

use crate::support::{Bench, Stub, Wish, get, one, soon, table, until};

fn gated(limits: Limits) -> Bench {
    let stub = Stub { gate: Some(Semaphore::new(0)), ..Stub::default() };
    Bench::with(Wish { limits, stub, ..Wish::default() })
}

#[tokio::test]
async fn what_runs_finishes_and_its_connection_closes() {
    let bench = gated(Limits { drain_idle: Duration::from_millis(20), ..Limits::standard() });
    let (mut busy, mut idle, mut fresh) = (bench.connect().await, bench.connect().await, bench.connect().await);
    busy.send(get("/wait")).await;
    idle.send(get("/")).await;
    assert_eq!(idle.reply().await.header("connection"), None);
    until("a request in flight", || bench.calls() == 2).await;
    bench.handle.drain();
    assert!(idle.read_end().await.is_empty());
    assert!(fresh.read_end().await.is_empty());
    bench.stub.gate.as_ref().expect("a gate").add_permits(1);
    let reply = busy.reply().await;
    assert_eq!((reply.body.as_str(), reply.header("connection")), ("waited", Some("close")));
    assert!(busy.read_end().await.is_empty());
    assert_eq!(bench.stop().await.left, 0);
}

#[tokio::test]
async fn a_request_on_its_way_when_drain_begins_is_answered() {
    let bench = gated(Limits { drain_idle: Duration::from_secs(10), ..Limits::standard() });
    let (mut kept, mut fresh) = (bench.connect().await, bench.connect().await);
    kept.send(get("/")).await;
    assert_eq!(kept.reply().await.status, 200);
    until("both connections", || bench.metric("gateway_connections_open{listener=\"http\"}") == Some(2.0)).await;
    bench.handle.drain();
    for raw in [&mut kept, &mut fresh] {
        raw.send(get("/")).await;
        let reply = raw.reply().await;
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
        assert!(raw.read_end().await.is_empty());
    }
    assert_eq!(bench.stop().await.left, 0);
}

#[tokio::test]
async fn new_connections_are_taken_for_the_minimum_and_refused_after_it() {
    let limits = Limits { drain_min: Duration::from_secs(1), drain_idle: Duration::ZERO, ..Limits::standard() };
    let bench = gated(limits);
    let address = bench.address();
    bench.handle.drain();
    let reply = bench.get("/").await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(bench.stop().await.left, 0);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_does_not_finish_is_cut_and_counted() {
    let limits = Limits { drain_idle: Duration::ZERO, drain_max: Duration::from_millis(100), ..Limits::standard() };
    let bench = gated(limits);
    let mut stuck = bench.connect().await;
    stuck.send(get("/wait")).await;
    until("a request in flight", || bench.calls() == 1).await;
    assert_eq!(bench.stop().await.left, 1);
    assert!(stuck.read_end().await.is_empty());
}

#[tokio::test]
async fn nobody_waits_for_an_instance_that_will_not_come() {
    let bench = gated(Limits { drain_idle: Duration::ZERO, ..Limits::standard() });
    bench.handle.publish(table(&[], |_| {}));
    let mut held = bench.connect().await;
    held.send(get("/")).await;
    until("a held request", || bench.metric("gateway_queue_depth{namespace=\"default\",app=\"hello\",component=\"web\"}") == Some(1.0))
        .await;
    bench.handle.drain();
    let reply = held.reply().await;
    assert_eq!((reply.verdict().as_str(), reply.header("retry-after")), ("503 E0512", Some("1")));
    assert_eq!(bench.stop().await.left, 0);
}

#[tokio::test]
async fn a_held_request_in_a_drain_still_gets_its_turn() {
    let bench = gated(Limits { drain_idle: Duration::ZERO, ..Limits::standard() });
    bench.handle.publish(table(&one(1), |_| {}));
    let (mut first, mut second) = (bench.connect().await, bench.connect().await);
    first.send(get("/wait")).await;
    until("a request in flight", || bench.calls() == 1).await;
    second.send(get("/wait")).await;
    until("a held request", || bench.metric("gateway_queue_depth{namespace=\"default\",app=\"hello\",component=\"web\"}") == Some(1.0))
        .await;
    bench.handle.drain();
    bench.stub.gate.as_ref().expect("a gate").add_permits(2);
    assert_eq!(first.reply().await.body, "waited");
    assert_eq!(second.reply().await.body, "waited");
    assert_eq!(soon("the drain", bench.stop()).await.left, 0);
}
