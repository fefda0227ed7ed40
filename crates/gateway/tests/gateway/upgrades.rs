//! Whoever asks for another protocol is told that there is none, in every way HTTP has of asking.

use bytes::Bytes;
use gateway::BoxError;
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    support::{Bench, Wish, soon},
    tls::{Authority, connect, secure},
};

type Body = UnsyncBoxBody<Bytes, BoxError>;

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Asks for a WebSocket over HTTP/2 (RFC 8441), and then for a page on the same connection.
async fn check_h2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let (mut sender, connection) =
        soon("a handshake", conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.expect("HTTP/2");
    tokio::spawn(connection);
    let page = || Request::get("http://hello.localhost/").version(Version::HTTP_2).body(empty()).expect("a request");
    assert_eq!(soon("a response", sender.send_request(page())).await.expect("a response").status(), StatusCode::OK);
    let mut request = page();
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    let response = soon("a response", sender.send_request(request)).await.expect("a response");
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(response.headers()["proxy-status"], "shoal; error=http_request_error; details=\"E0508\"");
    let body = soon("a body", response.into_body().collect()).await.expect("a whole body").to_bytes();
    assert!(body.starts_with(b"E0508: protocol upgrades (WebSocket) are not supported"), "{body:?}");
    assert_eq!(soon("a response", sender.send_request(page())).await.expect("a response").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_websocket_over_http_2_is_refused_with_the_reason() {
    let authority = Authority::new();
    let (bench, https, _certificates) = secure(&[authority.pair("one", &["hello.localhost"])], Wish::default());
    check_h2(bench.connect().await.stream).await;
    let client = authority.client(rustls::ALL_VERSIONS, &["h2"]);
    check_h2(connect(https, "hello.localhost", &client).await.expect("TLS")).await;
}

#[tokio::test]
async fn an_upgrade_over_http_1_is_refused_with_the_reason() {
    let authority = Authority::new();
    let (bench, https, _certificates) = secure(&[authority.pair("one", &["hello.localhost"])], Wish::default());
    for protocol in ["websocket", "WebSocket", "connect-udp", "foo/2, websocket"] {
        let request = format!("GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        assert_eq!(bench.ask(&request).await.verdict(), "501 E0508", "{protocol}");
    }
    let stream = connect(https, "hello.localhost", &authority.client(rustls::ALL_VERSIONS, &["http/1.1"])).await.expect("TLS");
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let upgrade = Request::get("/").header("host", "hello.localhost").header("connection", "upgrade").header("upgrade", "websocket");
    let response = soon("a response", sender.send_request(upgrade.body(empty()).expect("a request"))).await.expect("a response");
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(Bench::start().ask("CONNECT hello.localhost:443 HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").await.verdict(), "405 E0502");
}
