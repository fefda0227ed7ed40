//! The life of a sandbox after the head of its response: who ends it, and when its slot is free.

use bytes::Bytes;
use http_body_util::Channel;
use runtime::{SandboxError, Stream};

use crate::support::{Bench, call, next};

#[tokio::test]
async fn a_client_that_leaves_frees_the_slot_at_once() {
    let bench = Bench::new();
    let program = bench.sample("echo");
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(1);
    let request = http::Request::post("/").header("host", "x").body(body).unwrap();
    let mut body = program.handle(request, call("request-1")).await.unwrap().into_body();
    sender.send_data(Bytes::from_static(b"one")).await.unwrap();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
    assert_eq!(bench.live(), 1);
    drop(body);
    assert_eq!(bench.live(), 0);
    assert!(sender.send_data(Bytes::from_static(b"two")).await.is_err(), "the request's body went with its sandbox");
    assert_eq!(bench.lines.all(), []);
}

/// Goal: a guest may work on after its response, but not for ever. Method: nobody reads the echo of a body that never ends.
#[tokio::test]
async fn work_after_the_response_is_bounded() {
    let bench = Bench::new();
    let program = bench.sample("echo");
    let (_sender, body) = Channel::<Bytes, std::io::Error>::new(1);
    let request = http::Request::head("/").header("host", "x").body(body).unwrap();
    drop(program.handle(request, call("request-1")).await.unwrap());
    assert_eq!(bench.live(), 1, "the guest is still at work");
    bench.runtime.finish().await;
    assert_eq!((bench.live(), bench.runtime.figures().overruns), (0, 1));
    assert_eq!(bench.lines.of(Stream::Host), ["the component was still at work 300 ms after its response; the sandbox was ended"]);
}

/// Goal: a guest that traps inside its response breaks the response, and the log says why. Method: the sample traps when the request it echoes breaks off.
#[tokio::test]
async fn a_trap_inside_the_body_breaks_the_body() {
    let bench = Bench::new();
    let program = bench.sample("echo");
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(1);
    let request = http::Request::post("/").header("host", "x").body(body).unwrap();
    let mut body = program.handle(request, call("request-1")).await.unwrap().into_body();
    sender.send_data(Bytes::from_static(b"one")).await.unwrap();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
    sender.abort(std::io::Error::other("the client went away"));
    let error = next(&mut body).await.unwrap().unwrap_err();
    assert!(matches!(&error, SandboxError::Trap { backtrace, .. } if backtrace.contains("echo::TheServer")), "{error:?}");
    assert_eq!((bench.live(), bench.runtime.figures().traps), (0, 1), "the sandbox is gone while the body is still held");
    drop(body);
    let host = bench.lines.of(Stream::Host);
    assert!(host.len() == 1 && host[0].starts_with("the component trapped: "), "{host:?}");
}
