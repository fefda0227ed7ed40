//! Trailers, both ways, and the one header that asks for them: what gRPC is built on.

use bytes::Bytes;
use gateway::BoxError;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use http_body::Body;
use http_body_util::{BodyExt as _, channel::Channel};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{Bench, soon};

fn trailers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// A call as a gRPC client makes it: `te: trailers`, a message, and the status in the trailers of the answer.
#[tokio::test]
async fn a_call_in_the_manner_of_grpc_gets_its_status() {
    let bench = Bench::start();
    let io = TokioIo::new(bench.connect().await.stream);
    let (mut sender, connection) = soon("a handshake", http2::handshake(TokioExecutor::new(), io)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let call = |path: &str| {
        let request = Request::post(format!("http://hello.localhost{path}")).version(Version::HTTP_2);
        request.header("te", "trailers").header("content-type", "application/grpc").header("grpc-timeout", "5S")
    };
    let (_, nothing) = Channel::<Bytes, BoxError>::new(1);
    let seen = soon("a response", sender.send_request(call("/see").body(nothing).expect("a request"))).await.expect("a response");
    let seen = String::from_utf8(seen.into_body().collect().await.expect("a body").to_bytes().to_vec()).expect("text");
    assert!(seen.contains("\nte: trailers\n") && seen.contains("\ngrpc-timeout: 5S\n"), "{seen}");

    let (mut writer, body) = Channel::<Bytes, BoxError>::new(1);
    let response = soon("a response", sender.send_request(call("/echo").body(body).expect("a request"))).await.expect("a response");
    assert!(!response.body().is_end_stream());
    let mut answer = response.into_body();
    writer.send_data(Bytes::from_static(b"\0\0\0\0\x02hi")).await.expect("the gateway reads");
    let frame = soon("a message", answer.frame()).await.expect("no end").expect("no error");
    assert_eq!(frame.into_data().expect("data"), b"\0\0\0\0\x02hi".as_slice());
    let sent = trailers(&[("grpc-status", "5"), ("grpc-message", "not found"), ("x-request-id", "forged")]);
    writer.send_trailers(sent).await.expect("the gateway reads");
    drop(writer);
    let frame = soon("the status", answer.frame()).await.expect("no end").expect("no error");
    assert_eq!(frame.into_trailers().expect("trailers"), trailers(&[("grpc-status", "5"), ("grpc-message", "not found")]));

    let (_, nothing) = Channel::<Bytes, BoxError>::new(1);
    let forged =
        soon("a response", sender.send_request(call("/forge-trailers").body(nothing).expect("a request"))).await.expect("a response");
    let told = soon("the trailers", forged.into_body().collect()).await.expect("a whole body");
    assert_eq!(told.trailers(), Some(&trailers(&[("grpc-status", "0")])), "a component cannot speak as the gateway, not even last");
}

#[tokio::test]
async fn chunked_bodies_of_http_1_have_their_trailers_too() {
    let bench = Bench::start();
    let exchange = async |te: &str| {
        let mut raw = bench.connect().await;
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: hello.localhost\r\n{te}Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        raw.send(head + "2\r\nhi\r\n0\r\nX-Sum: 7\r\nX-Other: 8\r\n\r\n").await;
        String::from_utf8(raw.read_end().await).expect("text")
    };
    let asked = exchange("TE: trailers, deflate;q=0.5\r\n").await;
    assert!(asked.contains("\r\ntrailer: X-Sum\r\n") && asked.ends_with("2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n"), "{asked}");
    let not_asked = exchange("").await;
    assert!(not_asked.ends_with("2\r\nhi\r\n0\r\n\r\n"), "who has not said that trailers are welcome gets none: {not_asked}");
    let other = bench.ask("GET /see HTTP/1.1\r\nHost: hello.localhost\r\nTE: deflate\r\nConnection: TE\r\n\r\n").await;
    assert!(!other.body.contains("\nte:"), "{other:?}");
    let named = bench.ask("GET /see HTTP/1.1\r\nHost: hello.localhost\r\nTE: Trailers\r\nConnection: TE\r\n\r\n").await;
    assert!(named.body.contains("\nte: trailers\n"), "{named:?}");
}
