//! The framing table over a real socket: what a client may not say, however it is cut into packets.

use crate::support::{Bench, Raw};

/// Sends `request`, whole and byte by byte, and checks the verdict, that the component was not asked, and that the connection ends.
async fn refused(bench: &Bench, name: &str, request: impl AsRef<[u8]>, verdict: &str) {
    let request = request.as_ref();
    let before = bench.calls();
    for piece in [request.len(), 1] {
        if piece == 1 && request.len() > 2048 {
            continue;
        }
        let mut raw = bench.connect().await;
        raw.stream.set_nodelay(true).expect("a socket option");
        for bytes in request.chunks(piece) {
            raw.offer(bytes).await;
        }
        let reply = raw.reply().await;
        assert_eq!(reply.verdict(), verdict, "{name} in pieces of {piece}: {reply:?}");
        assert!(reply.header("x-request-id").is_some(), "{name}: {reply:?}");
        assert_eq!(reply.header("connection"), Some("close"), "{name}: {reply:?}");
        assert!(raw.read_end().await.is_empty(), "{name}: nothing follows a refusal");
    }
    assert_eq!(bench.calls(), before, "{name} must not reach the component");
}

fn with_host(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: hello.localhost\r\n{lines}\r\n")
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let bench = Bench::start();
    let smuggled = "GET /see HTTP/1.1\r\nHost: hello.localhost\r\n\r\n";
    let rows: [(&str, String); 29] = [
        ("CL + TE", with_host(&format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"))),
        ("TE + CL", with_host("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n")),
        ("HTTP/1.0 + TE", "POST / HTTP/1.0\r\nHost: hello.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("differing CL pair", with_host("Content-Length: 3\r\nContent-Length: 4\r\n")),
        ("CL list", with_host("Content-Length: 3, 4\r\n")),
        ("CL: +3", with_host("Content-Length: +3\r\n")),
        ("TE: xchunked", with_host("Transfer-Encoding: xchunked\r\n")),
        ("TE: chunked, identity", with_host("Transfer-Encoding: chunked, identity\r\n")),
        ("TE: identity", with_host("Transfer-Encoding: identity\r\n")),
        ("TE with a space before the colon", with_host("Transfer-Encoding : chunked\r\n")),
        ("TE with a vertical tab", with_host("Transfer-Encoding: \x0bchunked\r\n")),
        ("two Hosts", with_host("Host: other.localhost\r\n")),
        ("the same Host twice", with_host("Host: hello.localhost\r\n")),
        ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned()),
        ("an absolute target that disagrees", "GET http://a/ HTTP/1.1\r\nHost: hello.localhost\r\n\r\n".to_owned()),
        ("NUL in a value", with_host("X: a\0b\r\n")),
        ("CR in a value", with_host("X: a\rb\r\n")),
        ("a folded header", with_host("X: a\r\n b\r\n")),
        ("bare LF everywhere", "GET / HTTP/1.1\nHost: hello.localhost\n\n".to_owned()),
        ("one bare LF", with_host("X: a\nY: b\r\n")),
        ("a bare LF at the end", "GET / HTTP/1.1\r\nHost: hello.localhost\r\n\n".to_owned()),
        ("a header without a colon", with_host("X\r\n")),
        ("a header without a name", with_host(": x\r\n")),
        ("two spaces in the request line", "GET  / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n".to_owned()),
        ("no version", "GET /\r\n\r\n".to_owned()),
        ("another version", "GET / HTTP/2.0\r\nHost: hello.localhost\r\n\r\n".to_owned()),
        ("not HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n".to_owned()),
        ("a climbing path", "GET /a/%2e%2e/b HTTP/1.1\r\nHost: hello.localhost\r\n\r\n".to_owned()),
    ];
    for (name, request) in rows {
        refused(&bench, name, request, "400 E0507").await;
    }
    refused(&bench, "CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "405 E0502").await;
    let many = "x: y\r\n".repeat(10_000);
    refused(&bench, "10,000 headers", with_host(&many), "431 E0509").await;
    let long = format!("x: {}\r\n", "y".repeat(70_000));
    refused(&bench, "a head of 70 kB", with_host(&long), "431 E0509").await;
    let target = format!("GET /{} HTTP/1.1\r\nHost: hello.localhost\r\n\r\n", "x".repeat(9_000));
    refused(&bench, "a target of 9 kB", target, "414 E0509").await;
}

#[tokio::test]
async fn a_body_that_breaks_its_chunks_is_refused() {
    let bench = Bench::start();
    let head = "POST /read HTTP/1.1\r\nHost: hello.localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(20 * 1024));
    for (name, body) in [
        ("a 20 kB chunk extension", extension.as_str()),
        ("a size that is none", "zz\r\n"),
        ("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a space after the size", "5 \r\nhello\r\n0\r\n\r\n"),
        ("a bare LF after the size", "5\nhello\r\n0\r\n\r\n"),
        ("a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF after the data", "5\r\nhello\n0\r\n\r\n"),
        ("a chunk longer than its size", "5\r\nhello!\r\n0\r\n\r\n"),
        ("a bare LF in the trailers", "0\r\nx: y\n\r\n"),
        ("a size that overflows", "ffffffffffffffff1\r\n"),
    ] {
        let mut raw = bench.connect().await;
        raw.send(head).await;
        raw.offer(body).await;
        let reply = raw.reply().await;
        assert_eq!(reply.verdict(), "400 E0507", "{name}: {reply:?}");
        assert!(raw.read_end().await.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn what_is_allowed_reaches_the_component_in_one_form() {
    let bench = Bench::start();
    let see = async |request: &str| bench.ask(request).await.body;
    let agreeing = see("GET http://HELLO.localhost/see?x=%2e HTTP/1.1\r\nHost: hello.localhost\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: X-Drop, close\r\nX-Drop: 1\r\nX-Keep: \t2\r\n\r\n").await;
    let own = |line: &&str| line.starts_with("x-request-id: ") || line.starts_with("traceparent: ") || line.starts_with("scheme ");
    let lines: Vec<_> = agreeing.lines().filter(|line| !own(line)).collect();
    assert_eq!(
        lines,
        [
            "GET /see?x=%2e HTTP/1.1",
            "host: hello.localhost",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: hello.localhost",
            "x-forwarded-proto: http",
            "x-keep: 2",
        ]
    );
    let dropped = see("GET //%73ee HTTP/1.1\r\nHost: Hello.Localhost:8080\r\nConnection: X-Forwarded-For\r\n\r\n").await;
    assert!(
        dropped.starts_with("GET /see HTTP/1.1\nhost: Hello.Localhost:8080\n") && dropped.contains("\nx-forwarded-for: 127.0.0.1\n"),
        "{dropped}"
    );
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let bench = Bench::start();
    let mut raw = bench.connect().await;
    let post = "POST /read HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST /read HTTP/1.1\r\nHost: hello.localhost\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n";
    // All in one packet: each answer in turn, none lost, none mixed up.
    let burst = format!("{}{post}{chunked}\r\n{}", super::support::get("/who"), super::support::get("/")).repeat(40);
    raw.send(burst).await;
    for _ in 0..40 {
        assert_eq!(raw.reply().await.body, "hello/web.1 r1");
        assert_eq!(raw.reply().await.body, "5 ");
        assert_eq!(raw.reply().await.body, "3 {\"x-sum\": \"1\"}");
        assert_eq!(raw.reply().await.body, "hello\n");
    }
    // And a refusal in the middle of a pipeline answers what came before it, itself, and nothing after.
    raw.send(format!("{}GET / HTTP/1.1\nHost: x\n\n{}", super::support::get("/who"), super::support::get("/who"))).await;
    assert_eq!(raw.reply().await.body, "hello/web.1 r1");
    assert_eq!(raw.reply().await.verdict(), "400 E0507");
    assert!(raw.read_end().await.is_empty());
}

#[tokio::test]
async fn big_heads_and_big_bodies_pass_together() {
    let bench = Bench::start();
    let mut raw: Raw = bench.connect().await;
    let body = "b".repeat(700_000);
    let cookie = "c".repeat(40_000);
    for _ in 0..3 {
        let head = format!("POST /read HTTP/1.1\r\nHost: hello.localhost\r\nCookie: {cookie}\r\nContent-Length: {}\r\n\r\n", body.len());
        raw.send(head + &body).await;
        assert_eq!(raw.reply().await.body, "700000 ");
    }
}
