//! Streams both ways, and HTTP/2 on the same port.

use bytes::Bytes;
use gateway::{BoxError, Limits};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty, Full, channel::Channel, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{Semaphore, mpsc};

use crate::support::{Bench, Stub, Wish, get, one, soon, table, until};

type Body = UnsyncBoxBody<Bytes, BoxError>;

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// An HTTP/2 client, its connection driven beside the test.
async fn h2(bench: &Bench) -> SendRequest<Body> {
    let stream = bench.connect().await.stream;
    let (sender, connection) = soon("a handshake", http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn request(path: &str) -> http::request::Builder {
    Request::builder().uri(format!("http://hello.localhost{path}")).version(Version::HTTP_2)
}

async fn ask(sender: &mut SendRequest<Body>, request: Request<Body>) -> Response<Incoming> {
    soon("a stream", sender.ready()).await.expect("the connection lives");
    soon("a response", sender.send_request(request)).await.expect("a response")
}

async fn text(response: Response<Incoming>) -> String {
    let body = soon("a body", response.into_body().collect()).await.expect("a whole body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

#[tokio::test]
async fn http_2_is_told_from_http_1_by_its_first_bytes() {
    let bench = Bench::start();
    let mut sender = h2(&bench).await;
    let response = ask(&mut sender, request("/see?x").header("x_under", "1").header("x-kept", "2").body(empty()).expect("a request")).await;
    assert_eq!(response.version(), Version::HTTP_2);
    assert!(response.headers().contains_key("x-request-id"));
    let seen = text(response).await;
    assert!(seen.starts_with("GET /see?x HTTP/1.1\nhost: hello.localhost\n") && !seen.contains("x_under"), "{seen}");
    let refused = ask(&mut sender, request("/").uri("http://other.localhost/").body(empty()).expect("a request")).await;
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    assert!(!refused.headers().contains_key("connection"));
    assert!(text(refused).await.starts_with("E0501"));
}

#[tokio::test]
async fn http_2_requests_run_side_by_side() {
    let stub = Stub { gate: Some(Semaphore::new(0)), ..Stub::default() };
    let bench = Bench::with(Wish { stub, ..Wish::default() });
    let mut sender = h2(&bench).await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..50 {
        soon("a stream", sender.ready()).await.expect("the connection lives");
        waiting.spawn(sender.send_request(request("/wait").body(empty()).expect("a request")));
    }
    until("fifty requests at once", || bench.calls() == 50).await;
    assert_eq!(text(ask(&mut sender, request("/").body(empty()).expect("a request")).await).await, "hello\n");
    bench.stub.gate.as_ref().expect("a gate").add_permits(50);
    while let Some(response) = soon("a response", waiting.join_next()).await {
        assert_eq!(text(response.expect("no panic").expect("a response")).await, "waited");
    }
}

#[tokio::test]
async fn an_http_2_client_that_resets_gives_its_place_back() {
    let stub = Stub { gate: Some(Semaphore::new(0)), ..Stub::default() };
    let bench = Bench::with(Wish { stub, ..Wish::default() });
    let mut sender = h2(&bench).await;
    soon("a stream", sender.ready()).await.expect("the connection lives");
    let call = tokio::spawn(sender.send_request(request("/wait").body(empty()).expect("a request")));
    until("a request in flight", || bench.calls() == 1).await;
    call.abort();
    until("a dropped call", || bench.stub.dropped.load(std::sync::atomic::Ordering::SeqCst) == 1).await;
    bench.log.wait_for("GET hello.localhost /wait hello/web.1 499 in=0 out=0 -").await;
}

#[tokio::test]
async fn http_2_limits_are_those_of_http_1() {
    let bench = Bench::start();
    let mut sender = h2(&bench).await;
    let mut many = request("/");
    for number in 0..101 {
        many = many.header(format!("x-{number}"), "y");
    }
    let refused = ask(&mut sender, many.body(empty()).expect("a request")).await;
    assert_eq!(refused.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let large = Full::new(Bytes::from(vec![0; 2 << 20])).map_err(|never| match never {}).boxed_unsync();
    let refused = ask(&mut sender, request("/read").method("POST").body(large).expect("a request")).await;
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let endless = Bench::with(Wish { table: table(&one(1), |rule| rule.max_body_bytes = 10), ..Wish::default() });
    let mut sender = h2(&endless).await;
    let (mut writer, body) = Channel::<Bytes, BoxError>::new(1);
    let call = ask(&mut sender, request("/read").method("POST").body(body.boxed_unsync()).expect("a request"));
    let write = async {
        for _ in 0..3 {
            let _ = writer.send_data(Bytes::from_static(b"more")).await;
        }
        writer
    };
    let (response, _unfinished) = tokio::join!(call, write);
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_given_up() {
    let (sender, frames) = mpsc::channel(1);
    let stub = Stub { frames: std::sync::Mutex::new(Some(frames)), ..Stub::default() };
    let limits = Limits { write_stall: std::time::Duration::from_millis(50), ..Limits::standard() };
    let bench = Bench::with(Wish { limits, stub, ..Wish::default() });
    let mut client = h2(&bench).await;
    let response = ask(&mut client, request("/stream").body(empty()).expect("a request")).await;
    // Its window fills; from then on nobody takes the component's frames, until the component is told.
    soon("the end of the stream", async { while sender.send(vec![b'x'; 1 << 20].into()).await.is_ok() {} }).await;
    // The connection, and its other streams, are none the worse.
    assert_eq!(text(ask(&mut client, request("/").body(empty()).expect("a request")).await).await, "hello\n");
    drop(response);
}

#[tokio::test]
async fn draining_sends_goaway_and_finishes() {
    let stub = Stub { gate: Some(Semaphore::new(0)), ..Stub::default() };
    let bench = Bench::with(Wish { stub, ..Wish::default() });
    let mut sender = h2(&bench).await;
    soon("a stream", sender.ready()).await.expect("the connection lives");
    let call = tokio::spawn(sender.send_request(request("/wait").body(empty()).expect("a request")));
    until("a request in flight", || bench.calls() == 1).await;
    bench.handle.drain();
    bench.stub.gate.as_ref().expect("a gate").add_permits(1);
    let response = soon("the answer", call).await.expect("no panic").expect("a response");
    assert_eq!(text(response).await, "waited");
    until("the end of the connection", || sender.is_closed()).await;
    assert_eq!(bench.stop().await.left, 0);
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let bench = Bench::start();
    // HTTP/1: the first echoed chunk comes back before the second is sent.
    let mut raw = bench.connect().await;
    raw.send("POST /echo HTTP/1.1\r\nHost: hello.localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    raw.read_to(b"\r\n\r\n").await;
    for word in ["one", "three"] {
        raw.send(format!("{:x}\r\n{word}\r\n", word.len())).await;
        assert_eq!(raw.read_chunk().await, word.as_bytes());
    }
    raw.send("0\r\n\r\n").await;
    assert!(raw.read_chunk().await.is_empty());
    raw.send(get("/")).await;
    assert_eq!(raw.reply().await.body, "hello\n");
    // HTTP/2, with trailers.
    let mut sender = h2(&bench).await;
    let (mut writer, body) = Channel::<Bytes, BoxError>::new(1);
    let response = ask(&mut sender, request("/echo").method("POST").body(body.boxed_unsync()).expect("a request")).await;
    let mut echoed = response.into_body();
    for word in ["one", "three"] {
        writer.send_data(Bytes::from(word)).await.expect("the gateway reads");
        let frame = soon("a frame", echoed.frame()).await.expect("no end").expect("no error");
        assert_eq!(frame.into_data().expect("data"), word);
    }
    let trailers = [("x-sum", "1"), ("x-forwarded-for", "6.6.6.6")]
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    writer.send_trailers(trailers.into_iter().collect()).await.expect("the gateway reads");
    drop(writer);
    let frame = soon("trailers", echoed.frame()).await.expect("no end").expect("no error");
    let trailers = frame.into_trailers().expect("trailers");
    assert_eq!((trailers.len(), trailers["x-sum"].as_bytes()), (1, b"1".as_slice()));
}

#[tokio::test]
async fn a_stream_of_events_arrives_event_by_event() {
    let (sender, frames) = mpsc::channel(1);
    let stub = Stub { frames: std::sync::Mutex::new(Some(frames)), ..Stub::default() };
    let bench = Bench::with(Wish { stub, ..Wish::default() });
    let mut raw = bench.connect().await;
    raw.send(get("/stream")).await;
    raw.read_to(b"\r\n\r\n").await;
    for number in 0..10 {
        let event = format!("data: {number}\n\n");
        sender.send(Bytes::from(event.clone())).await.expect("the stub reads");
        assert_eq!(raw.read_chunk().await, event.as_bytes());
    }
    drop(sender);
    assert!(raw.read_chunk().await.is_empty());
}
