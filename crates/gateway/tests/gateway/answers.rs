//! What clients are told: by components, and by the gateway in their place.

use gateway::Builder;

use crate::support::{Bench, Wish, get, one, rule, table};

#[tokio::test]
async fn every_refusal_has_its_code_and_is_told_apart() {
    let mut builder = Builder::new();
    builder.instances(gateway::Instances {
        component: "hello/web".parse().expect("a valid id"),
        revision: model::id::RevisionNumber(1),
        queue_length: 0,
        queue_wait: crate::support::DEADLINE,
        endpoints: one(10),
    });
    let mut only = rule("hello/web", 1);
    only.methods = vec!["GET".to_owned(), "POST".to_owned()];
    builder.route(only).expect("a valid route");
    let mut nobody = rule("hello/nobody", 1);
    nobody.host = "nobody.localhost".to_owned();
    builder.route(nobody).expect("a valid route");
    let bench = Bench::with(Wish { table: builder.build(), ..Wish::default() });

    let check = async |request: String, verdict: &str, error: &str, body: &str| {
        let reply = bench.ask(&request).await;
        assert_eq!(reply.verdict(), verdict, "{request}");
        assert!(
            reply.header("proxy-status").is_some_and(|status| status.starts_with(&format!("shoal; error={error}; details="))),
            "{reply:?}"
        );
        let id = reply.header("x-request-id").expect("every answer has an id").to_owned();
        let body = if body.is_empty() { String::new() } else { format!("{} (request {id})\n", body) };
        assert_eq!(reply.body, body);
        reply
    };
    let other = "GET /x HTTP/1.1\r\nHost: other.localhost\r\n\r\n".to_owned();
    check(other, "404 E0501", "destination_not_found", "E0501: no route for this host and path").await;
    let delete = "DELETE / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n".to_owned();
    let reply = check(delete, "405 E0502", "http_request_error", "E0502: the method is not allowed here").await;
    assert_eq!(reply.header("allow"), Some("GET, POST"));
    let websocket = "GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned();
    check(websocket, "501 E0508", "http_request_error", "E0508: protocol upgrades (WebSocket) are not supported").await;
    let reply = check(get("/trap"), "500 E0510", "http_response_incomplete", "").await;
    assert!(!format!("{reply:?}").contains("secret"));
    check(get("/late"), "504 E0505", "http_response_timeout", "E0505: the component did not answer in time").await;
    for (path, code, words) in [("/busy", "E0308", "no free sandbox"), ("/full", "E0311", "instance memory full")] {
        let body = format!("{code}: overloaded: {words}");
        let reply = check(get(path), &format!("503 {code}"), "connection_limit_reached", &body).await;
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    let refused = |reason: &str| {
        bench
            .metric(&format!("gateway_requests_refused_total{{namespace=\"default\",app=\"hello\",component=\"web\",reason=\"{reason}\"}}"))
    };
    assert_eq!(["instance-memory", "no-sandbox", "failed", "timeout"].map(refused), [1.0; 4].map(Some));
    assert_eq!(refused("queue-full"), None, "what never happened has no series");
    let nobody = bench.ask("GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n").await;
    assert_eq!(nobody.verdict(), "503 E0503");
    assert!(nobody.body.starts_with("E0503: no instance of the component is ready; waited"), "{nobody:?}");
    check(get("/switch"), "500 E0510", "http_response_incomplete", "").await;
    bench.log.wait_for("GET hello.localhost /trap hello/web.1 500 in=0 out=0 E0304").await;
    bench.log.wait_for(&format!("GET nobody.localhost / hello/nobody.- 503 in=0 out={} E0503", nobody.body.len())).await;
}

#[tokio::test]
async fn a_component_cannot_pass_for_the_gateway() {
    let bench = Bench::start();
    let mut raw = bench.connect().await;
    raw.send(get("/forge")).await;
    let reply = raw.reply().await;
    assert_eq!(reply.header("proxy-status"), None);
    assert_ne!(reply.header("x-request-id"), Some("forged"));
    assert_eq!((reply.header("x-mine"), reply.header("keep-alive"), reply.header("connection")), (None, None, None));
    assert_eq!(reply.body, "forged");
}

#[tokio::test]
async fn a_response_that_breaks_off_does_not_look_complete() {
    let bench = Bench::start();
    let mut raw = bench.connect().await;
    raw.send(get("/half")).await;
    let all = String::from_utf8(raw.read_end().await).expect("text");
    // What hyper had not written yet when the component failed is not written any more.
    assert!(!all.contains("\r\n0\r\n"), "{all}");
    bench.log.wait_for("GET hello.localhost /half hello/web.1 200 in=0 out=4 E0510").await;
}

#[tokio::test]
async fn head_and_http_1_0_are_answered_as_they_ask() {
    let bench = Bench::start();
    let mut raw = bench.connect().await;
    raw.send("HEAD / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").await;
    let head = String::from_utf8(raw.read_to(b"\r\n\r\n").await).expect("text");
    assert!(head.contains("content-length: 6\r\n"), "{head}");
    raw.send("HEAD / HTTP/1.1\r\nHost: other.localhost\r\n\r\n").await;
    let head = String::from_utf8(raw.read_to(b"\r\n\r\n").await).expect("text");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    raw.send(get("/")).await;
    assert_eq!(raw.reply().await.body, "hello\n");

    let mut old = bench.connect().await;
    old.send("GET / HTTP/1.0\r\nHost: hello.localhost\r\n\r\n").await;
    let all = String::from_utf8(old.read_end().await).expect("text");
    assert!(all.starts_with("HTTP/1.0 200 OK\r\n") && all.ends_with("\r\n\r\nhello\n"), "{all}");
    let mut kept = bench.connect().await;
    for _ in 0..2 {
        kept.send("GET / HTTP/1.0\r\nHost: hello.localhost\r\nConnection: keep-alive\r\n\r\n").await;
        assert_eq!(kept.reply().await.body, "hello\n");
    }
    assert_eq!(bench.ask("GET / HTTP/1.0\r\n\r\n").await.verdict(), "404 E0501");
}

#[tokio::test]
async fn an_offer_of_h2c_is_ignored() {
    let bench = Bench::start();
    let mut raw = bench.connect().await;
    for _ in 0..2 {
        raw.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n").await;
        assert_eq!(raw.reply().await.body, "hello\n");
    }
}

#[tokio::test]
async fn request_ids_and_addresses_are_believed_from_trusted_proxies_only() {
    let request = "GET /see HTTP/1.1\r\nHost: hello.localhost\r\nX-Request-Id: from-outside\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n\r\n";
    let stranger = Bench::start().ask(request).await;
    assert_ne!(stranger.header("x-request-id"), Some("from-outside"));
    assert!(
        stranger.body.contains("\nx-forwarded-for: 127.0.0.1\n") && stranger.body.contains("\nx-forwarded-proto: http\n"),
        "{stranger:?}"
    );
    let id = stranger.header("x-request-id").expect("an id");
    assert!(stranger.body.contains(&format!("\nx-request-id: {id}\n")), "the component sees the id the client sees: {stranger:?}");
    let trusted = vec!["127.0.0.0/8".parse().expect("a network")];
    let proxy = Bench::with(Wish { trusted, ..Wish::default() }).ask(request).await;
    assert_eq!(proxy.header("x-request-id"), Some("from-outside"));
    assert!(
        proxy.body.contains("\nx-forwarded-for: 9.9.9.9, 127.0.0.1\n") && proxy.body.contains("\nx-forwarded-proto: https\n"),
        "{proxy:?}"
    );
}

#[tokio::test]
async fn rewritten_paths_keep_their_query() {
    let table = table(&one(1), |rule| {
        rule.path = "/api".to_owned();
        rule.rewrite = Some("/".to_owned());
    });
    let bench = Bench::with(Wish { table, ..Wish::default() });
    assert!(bench.get("/api/see?a=b").await.body.starts_with("GET /see?a=b HTTP/1.1\n"));
    assert_eq!(bench.get("/apis").await.verdict(), "404 E0501");
}

#[tokio::test]
async fn requests_are_logged_and_counted_at_their_end() {
    let bench = Bench::start();
    let mut raw = bench.connect().await;
    raw.send("POST /echo?secret=1 HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(raw.reply().await.body, "hello");
    bench.log.wait_for("POST hello.localhost /echo hello/web.1 200 in=5 out=5 -").await;
    assert_eq!(bench.metric("gateway_requests_total{namespace=\"default\",app=\"hello\",component=\"web\",code=\"200\"}"), Some(1.0));
    assert_eq!(bench.metric("gateway_request_bytes_total{namespace=\"default\",app=\"hello\",component=\"web\"}"), Some(5.0));
    assert_eq!(bench.metric("gateway_request_duration_seconds_count{namespace=\"default\",app=\"hello\",component=\"web\"}"), Some(1.0));
    assert_eq!(bench.metric("gateway_requests_in_flight{namespace=\"default\",app=\"hello\",component=\"web\"}"), Some(0.0));
    assert_eq!(bench.metric("gateway_connections_open{listener=\"http\"}"), Some(1.0));
}

#[tokio::test]
async fn every_request_has_a_trace_and_the_client_s_goes_on() {
    let bench = Bench::start();
    let begun = bench.get("/see").await;
    let id = begun.header("x-request-id").expect("an id").replace('-', "");
    assert!(begun.body.contains(&format!("\ntraceparent: 00-{id}-")), "{begun:?}");
    let client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = format!("GET /see HTTP/1.1\r\nHost: hello.localhost\r\nTraceparent: {client}\r\nTracestate: vendor=1\r\n\r\n");
    let goes_on = bench.ask(&request).await;
    assert!(
        goes_on.body.contains(&format!("\ntraceparent: {client}\n")) && goes_on.body.contains("\ntracestate: vendor=1\n"),
        "{goes_on:?}"
    );
    let recorded = Bench::with(Wish { own_spans: Some(gateway::Sampling::millionths(1_000_000)), ..Wish::default() }).ask(&request).await;
    assert!(recorded.body.contains("\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-"), "{recorded:?}");
    assert!(!recorded.body.contains("b7ad6b7169203331"), "a span of the gateway's own stands between: {recorded:?}");
}

#[tokio::test]
async fn a_client_that_wants_json_gets_the_errors_of_the_api() {
    let bench = Bench::start();
    let ask = async |host: &str, path: &str, accept: &str| {
        bench.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n")).await
    };
    let reply = ask("other.localhost", "/", "application/json").await;
    assert_eq!((reply.verdict().as_str(), reply.header("content-type")), ("404 E0501", Some("application/json")));
    let error: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    let id = reply.header("x-request-id").expect("an id");
    let details = serde_json::json!({ "requestId": id });
    let expected = serde_json::json!({ "code": "E0501", "message": "no route for this host and path", "help": "", "details": details });
    assert_eq!(error, serde_json::json!({ "error": expected }));
    let failed = ask("hello.localhost", "/trap", "application/json").await;
    assert!(failed.body.contains("\"the component failed\"") && !failed.body.contains("secret"), "{failed:?}");
    assert!(ask("other.localhost", "/", "*/*").await.body.starts_with("E0501: "));
}
