//! Those who wait, over HTTP/2 and when they leave: every place that is given up is somebody else's.

use bytes::Bytes;
use gateway::{Builder, Instances};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{sync::Semaphore, task::JoinHandle};

use crate::support::{Bench, Stub, Wish, get, one, rule, soon, table, until};

fn gated() -> Bench {
    let stub = Stub { gate: Some(Semaphore::new(0)), ..Stub::default() };
    Bench::with(Wish { stub, table: table(&one(1), |_| {}), ..Wish::default() })
}

fn open(bench: &Bench, count: usize) {
    bench.stub.gate.as_ref().expect("a gate").add_permits(count);
}

fn waiting(bench: &Bench) -> Option<f64> {
    bench.metric("gateway_queue_depth{namespace=\"default\",app=\"hello\",component=\"web\"}")
}

fn refused(bench: &Bench, reason: &str) -> Option<f64> {
    bench.metric(&format!("gateway_requests_refused_total{{namespace=\"default\",app=\"hello\",component=\"web\",reason=\"{reason}\"}}"))
}

type Call = JoinHandle<Result<Response<Incoming>, hyper::Error>>;

async fn h2(bench: &Bench) -> SendRequest<Empty<Bytes>> {
    let stream = bench.connect().await.stream;
    let (sender, connection) = soon("a handshake", http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn call(sender: &mut SendRequest<Empty<Bytes>>) -> Call {
    soon("a stream", sender.ready()).await.expect("the connection lives");
    let request = Request::get("http://hello.localhost/wait").version(Version::HTTP_2).body(Empty::new()).expect("a request");
    tokio::spawn(sender.send_request(request))
}

async fn answer(call: Call) -> (StatusCode, String) {
    let response = soon("an answer", call).await.expect("no panic").expect("a response");
    let status = response.status();
    let body = soon("a body", response.into_body().collect()).await.expect("a whole body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn streams_of_one_connection_wait_like_clients_of_their_own() {
    let bench = gated();
    let mut sender = h2(&bench).await;
    let first = call(&mut sender).await;
    until("a request in flight", || bench.calls() == 1).await;
    let leaving = call(&mut sender).await;
    until("one waits", || waiting(&bench) == Some(1.0)).await;
    let second = call(&mut sender).await;
    until("two wait", || waiting(&bench) == Some(2.0)).await;
    let (status, body) = answer(call(&mut sender).await).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.starts_with("E0504: as many requests wait"), "{body}");
    assert_eq!((refused(&bench, "queue-full"), refused(&bench, "queue-wait")), (Some(1.0), None));
    // A stream that is reset gives up its place in the queue; the connection and its other streams stay.
    leaving.abort();
    until("one waits", || waiting(&bench) == Some(1.0)).await;
    let third = call(&mut sender).await;
    until("two wait again", || waiting(&bench) == Some(2.0)).await;
    for (answered, call) in [first, second, third].into_iter().enumerate() {
        assert_eq!(bench.calls(), answered + 1, "one at a time, in order");
        open(&bench, 1);
        assert_eq!(answer(call).await, (StatusCode::OK, "waited".to_owned()));
        until("the next", || bench.calls() == (answered + 2).min(3)).await;
    }
    assert!(
        bench.metric("gateway_requests_held_seconds_total{namespace=\"default\",app=\"hello\",component=\"web\"}").expect("a sum") > 0.0
    );
}

#[tokio::test]
async fn a_connection_that_goes_leaves_every_place_it_had() {
    let bench = gated();
    let mut sender = h2(&bench).await;
    let calls = [call(&mut sender).await, call(&mut sender).await, call(&mut sender).await];
    until("one in flight, two waiting", || bench.calls() == 1 && waiting(&bench) == Some(2.0)).await;
    drop(sender);
    calls.iter().for_each(JoinHandle::abort);
    until("nobody is there any more", || waiting(&bench) == Some(0.0)).await;
    // A place that is given up goes to the next in the queue, which may just be leaving as well.
    until("every call is dropped", || bench.stub.dropped.load(std::sync::atomic::Ordering::SeqCst) == bench.calls()).await;
    open(&bench, 1);
    assert_eq!(bench.get("/wait").await.body, "waited");
    assert_eq!(bench.metric("gateway_requests_in_flight{namespace=\"default\",app=\"hello\",component=\"web\"}"), Some(0.0));
}

#[tokio::test]
async fn held_streams_get_their_turn_in_a_drain() {
    let bench = gated();
    let mut sender = h2(&bench).await;
    let (first, second) = (call(&mut sender).await, call(&mut sender).await);
    until("one in flight, one waiting", || bench.calls() == 1 && waiting(&bench) == Some(1.0)).await;
    bench.handle.drain();
    open(&bench, 2);
    assert_eq!(answer(first).await.0, StatusCode::OK);
    assert_eq!(answer(second).await.0, StatusCode::OK);
    assert_eq!(bench.stop().await.left, 0);
}

#[tokio::test]
async fn why_tells_how_the_queue_does() {
    let bench = gated();
    let queue = || {
        let answer = bench.handle.why(&http::Method::GET, "hello.localhost/");
        let last = answer.steps.last().expect("a step");
        format!("{} {}: {}", answer.code.clone().unwrap_or_default(), last.step, last.message)
    };
    assert_eq!(queue(), " queue: 0 of 2 wait, 20s at most");
    let mut clients = Vec::new();
    for number in 0..3 {
        let mut client = bench.connect().await;
        client.send(get("/wait")).await;
        until("a request that takes its place", || bench.calls() == 1 && waiting(&bench) == Some(f64::from(number))).await;
        clients.push(client);
    }
    assert_eq!(queue(), "E0504 queue: full: 2 of 2 wait, 20s at most");
    assert_eq!(bench.get("/wait").await.verdict(), "503 E0504 queue-full");
    assert_eq!(queue(), "E0504 queue: full: 2 of 2 wait, 20s at most; since the worker's start 1 found it full");
}

#[tokio::test]
async fn a_queue_of_no_length_and_a_wait_of_no_time_refuse_at_once() {
    let with = |queue_length, queue_wait| {
        let rule = rule("hello/web", 1);
        let (component, revision) = (rule.component.clone(), rule.revision);
        let mut builder = Builder::new();
        builder.instances(Instances { component, revision, queue_length, queue_wait, endpoints: one(1) });
        builder.route(rule).expect("a valid route");
        builder.build()
    };
    let bench = gated();
    let mut first = bench.connect().await;
    first.send(get("/wait")).await;
    until("a request in flight", || bench.calls() == 1).await;
    bench.handle.publish(with(0, crate::support::DEADLINE));
    assert_eq!(bench.get("/").await.verdict(), "503 E0504 queue-full");
    bench.handle.publish(with(10, std::time::Duration::ZERO));
    assert_eq!(bench.get("/").await.verdict(), "503 E0504 queue-wait");
    open(&bench, 1);
    assert_eq!(first.reply().await.body, "waited");
    // With room there is nothing to wait for, however short the patience.
    assert_eq!(bench.get("/").await.body, "hello\n");
}
