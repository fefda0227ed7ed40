//! Routes that want TLS: who is sent away, who is not, and that nothing of the component is touched by those who are.

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::app::Https;

use crate::{
    support::{Bench, Wish, get, one, soon, table, until},
    tls::{Authority, connect, secure},
};

/// A gateway whose only route wants TLS.
fn strict(authority: &Authority, wish: Wish) -> (Bench, std::net::SocketAddr) {
    let table = table(&one(100), |rule| rule.https = Https::Redirect);
    let (bench, https, _) = secure(&[authority.pair("one", &["hello.localhost"])], Wish { table, ..wish });
    (bench, https)
}

#[tokio::test]
async fn a_request_without_tls_is_sent_to_the_same_address_and_touches_no_component() {
    let (bench, https) = strict(&Authority::new(), Wish::default());
    let (http, https) = (bench.address().port(), https.port());
    for (method, body) in [("GET", ""), ("POST", "Content-Length: 5\r\nExpect: 100-continue\r\n"), ("DELETE", "")] {
        let request = format!("{method} /a%20b//c?d=e&f HTTP/1.1\r\nHost: HELLO.localhost:{http}\r\n{body}\r\n");
        let reply = bench.ask(&request).await;
        assert_eq!((reply.status, reply.header("proxy-status")), (308, Some("shoal; details=\"E0514\"")), "{reply:?}");
        assert_eq!(reply.header("location"), Some(format!("https://hello.localhost:{https}/a%20b/c?d=e&f").as_str()), "{method}");
        assert_eq!((reply.header("cache-control"), reply.header("connection")), (Some("no-store"), Some("close")));
        let id = reply.header("x-request-id").expect("every answer has one");
        assert_eq!(reply.body, format!("E0514: this address is answered over HTTPS only (request {id})\n"));
    }
    // Seen at the usual port, TLS is at its usual one.
    assert_eq!(bench.ask(&get("/")).await.header("location"), Some("https://hello.localhost/"));
    let json = bench.ask("GET / HTTP/1.1\r\nHost: hello.localhost\r\nAccept: application/json\r\n\r\n").await;
    assert!(json.status == 308 && json.body.starts_with("{\"error\":{\"code\":\"E0514\""), "{json:?}");
    assert_eq!(bench.calls(), 0);
    bench.log.wait_for(&format!("DELETE HELLO.localhost:{http} /a%20b//c hello/web.- 308 in=0 out=95 E0514")).await;
    assert_eq!(bench.metric("gateway_refused_total{reason=\"E0514\"}"), Some(5.0));
    let counted = "gateway_requests_total{namespace=\"default\",app=\"hello\",component=\"web\",code=\"308\"}";
    until("the answers are counted", || bench.metric(counted) == Some(5.0)).await;
}

#[tokio::test]
async fn what_is_refused_anyway_is_refused_first() {
    let (bench, _) = strict(&Authority::new(), Wish::default());
    assert_eq!(bench.ask("GET / HTTP/1.1\r\nHost: other.localhost\r\n\r\n").await.verdict(), "404 E0501");
    assert_eq!(bench.ask("GET / HTTP/1.1\r\nHost: hello.localhost\r\nHost: hello.localhost\r\n\r\n").await.verdict(), "400 E0507");
    assert_eq!(bench.ask("CONNECT hello.localhost:443 HTTP/1.1\r\nHost: hello.localhost:443\r\n\r\n").await.verdict(), "405 E0502");
}

#[tokio::test]
async fn a_request_with_tls_is_answered_by_us_or_by_a_proxy_that_is_believed() {
    let authority = Authority::new();
    let (bench, https) = strict(&authority, Wish::default());
    let stream = connect(https, "hello.localhost", &authority.client(rustls::ALL_VERSIONS, &["http/1.1"])).await.expect("TLS");
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "hello.localhost").body(Empty::<Bytes>::new()).expect("a request");
    assert_eq!(soon("a response", sender.send_request(request)).await.expect("a response").status(), StatusCode::OK);

    let forwarded = |proto: &str| format!("GET / HTTP/1.1\r\nHost: hello.localhost\r\nX-Forwarded-Proto: {proto}\r\n\r\n");
    assert_eq!(bench.ask(&forwarded("https")).await.status, 308, "anybody can say so");
    let trusted = vec!["127.0.0.0/8".parse().expect("a network")];
    let (bench, _) = strict(&authority, Wish { trusted, ..Wish::default() });
    assert_eq!(bench.ask(&forwarded("https")).await.status, 200);
    assert_eq!(bench.ask(&forwarded("http")).await.status, 308);
    assert_eq!(bench.ask(&get("/")).await.status, 308);
}

#[tokio::test]
async fn a_route_of_both_kinds_and_a_node_without_tls_answer_in_the_clear() {
    let authority = Authority::new();
    let (bench, _https, _certificates) = secure(&[authority.pair("one", &["hello.localhost"])], Wish::default());
    assert_eq!(bench.get("/").await.status, 200);
    let without = Bench::with(Wish { table: table(&one(100), |rule| rule.https = Https::Redirect), ..Wish::default() });
    assert_eq!(without.get("/").await.status, 200);
}

type Body = UnsyncBoxBody<Bytes, gateway::BoxError>;

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

#[tokio::test]
async fn other_protocols_in_the_clear_are_sent_away_as_well() {
    let (bench, _) = strict(&Authority::new(), Wish::default());
    for protocol in ["websocket", "h2c"] {
        let request = format!("GET /chat HTTP/1.1\r\nHost: hello.localhost\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        let reply = bench.ask(&request).await;
        assert_eq!((reply.status, reply.header("location")), (308, Some("https://hello.localhost/chat")), "{protocol}");
    }
    // HTTP/2 with prior knowledge, a WebSocket over it, and its authority.
    let stream = bench.connect().await.stream;
    let (mut sender, connection) =
        soon("a handshake", conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.expect("HTTP/2");
    tokio::spawn(connection);
    let page = || Request::get("http://hello.localhost/x?y").version(Version::HTTP_2).body(empty()).expect("a request");
    let mut websocket = page();
    *websocket.method_mut() = Method::CONNECT;
    websocket.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    // The settings of the gateway, which allow the second one, come with the first answer.
    for request in [page(), websocket] {
        let response = soon("a response", sender.send_request(request)).await.expect("a response");
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(response.headers()["location"], "https://hello.localhost/x?y");
    }
    assert_eq!(bench.calls(), 0);
}

#[tokio::test]
async fn why_says_where_a_request_is_sent_and_which_certificate_answers() {
    let authority = Authority::new();
    let (bench, _) = strict(&authority, Wish::default());
    let told = |bench: &Bench, url: &str| {
        let answer = bench.handle.why(&Method::GET, url);
        let steps: Vec<_> = answer.steps.iter().filter(|step| matches!(step.step.as_str(), "https" | "certificate")).collect();
        let steps: Vec<_> = steps.into_iter().map(|step| format!("{} {} {}", step.step, step.ok, step.message)).collect();
        (steps.join("\n"), answer.code)
    };
    let certificate = "certificate true the certificate `one` answers for `hello.localhost`";
    let sent = "https true a request without TLS is sent to https://hello.localhost/ (308), and there:";
    assert_eq!(told(&bench, "http://hello.localhost/"), (format!("{sent}\n{certificate}"), None));
    assert_eq!(told(&bench, "https://hello.localhost/"), (certificate.to_owned(), None));
    let other = table(&one(100), |rule| rule.host = "other.localhost".to_owned());
    bench.handle.publish(other);
    let missing = "certificate false no certificate here has the name `other.localhost`: TLS is refused".to_owned();
    assert_eq!(told(&bench, "https://other.localhost/"), (missing, Some("E0513".to_owned())));
    assert_eq!(told(&bench, "http://other.localhost/"), (String::new(), None));
    let without = Bench::with(Wish { table: table(&one(100), |rule| rule.https = Https::Redirect), ..Wish::default() });
    let clear = "https true the route wants TLS, and this node speaks none: the request is answered in the clear".to_owned();
    assert_eq!(told(&without, "http://hello.localhost/"), (clear, None));
    assert_eq!(told(&without, "https://hello.localhost/").1, Some("E0513".to_owned()));
}
