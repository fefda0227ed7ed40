//! Routes with certificates of their own, with the real binary: no directory of certificates, plain HTTP sent away or not, and what is refused before it is
//! written.

use bytes::Bytes;
use cluster_tests::{
    eventually, guest,
    node::{Node, Said, kill},
    raw,
    tls::{Authority, connect, send_h1, send_h2},
};
use http::Request;
use http_body_util::Full;

/// A server that speaks TLS and has no directory of certificates.
async fn server() -> Node {
    Node::start_in(tempfile::tempdir().unwrap(), &["--https", "127.0.0.1:0"]).await
}

/// A Secret of type `tls` with this pair.
fn secret(name: &str, (chain, key): &(String, String)) -> String {
    let data = serde_json::json!({"tls.crt": chain, "tls.key": key});
    format!("apiVersion: shoal.dev/v1\nkind: Secret\nmetadata: {{name: {name}}}\nspec: {{type: tls, data: {data}}}\n")
}

/// The App `hello` with these routes.
fn app(routes: &str) -> String {
    let hello = guest("hello");
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: hello}}\nspec:\n  components:\n    web:\n      source: {}\n      \
         routes: [{routes}]\n",
        hello.display()
    )
}

fn run(node: &Node, command: &str, manifest: &str) -> Said {
    let path = node.write("https.yaml", manifest);
    node.shoal(&[command, "-f", path.to_str().unwrap()])
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

fn secure(host: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://{host}/")).header("host", host).body(Full::default()).unwrap()
}

async fn metrics(node: &Node) -> String {
    raw::get(&node.metrics, "localhost", "/metrics").await.map(|answer| answer.body).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_secrets_are_enough_and_plain_http_is_sent_to_them() {
    let authority = Authority::new();
    let node = server().await;
    let error = connect(&node.https, "hello.localhost", &authority.client(&[])).await.expect_err("there is no certificate yet");
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");

    let hosts = ["hello.localhost", "both.localhost"];
    let routes =
        "{host: hello.localhost, tls: {secret: web}}, {host: both.localhost, tls: {secret: web}, https: both}, {host: plain.localhost}";
    let applied = run(&node, "apply", &format!("{}---\n{}", app(routes), secret("web", &authority.issue(&hosts, 2100)))).expect(0);
    assert!(applied.out.contains(&format!("https://hello.localhost:{}/", port(&node.https))), "{}{}", applied.out, applied.err);

    let host = format!("hello.localhost:{}", port(&node.http));
    let moved = raw::get(&node.http, &host, "/a/b?c=d").await.unwrap();
    assert_eq!((moved.status, moved.header("proxy-status")), (308, "shoal; details=\"E0514\""));
    assert_eq!(moved.header("location"), format!("https://hello.localhost:{}/a/b?c=d", port(&node.https)));
    assert!(!moved.header("x-request-id").is_empty() && moved.body.starts_with("E0514: "), "{moved:?}");
    for host in ["both.localhost", "plain.localhost"] {
        assert_eq!(raw::get(&node.http, host, "/").await.unwrap().status, 200, "{host}");
    }
    for host in hosts {
        let stream =
            eventually("the certificate", || async { connect(&node.https, host, &authority.client(&["http/1.1"])).await.ok() }).await;
        assert_eq!(send_h1(stream, secure(host)).await.unwrap().status, 200, "{host}");
        let stream = connect(&node.https, host, &authority.client(&["h2"])).await.unwrap();
        assert_eq!(send_h2(stream, secure(host)).await.unwrap().status, 200, "{host}");
    }
    connect(&node.https, "plain.localhost", &authority.client(&[])).await.expect_err("it has none");

    let why = node.shoal(&["why", &format!("http://{host}/")]).expect(0);
    assert!(why.out.contains("is sent to https://hello.localhost") && why.out.contains("`secret/default/web`"), "{}", why.out);
    let listed = node.shoal(&["get", "secrets"]).expect(0).out;
    assert!(listed.contains("EXPIRES") && listed.lines().any(|line| line.starts_with("web ") && line.contains("in ")), "{listed}");
    let described = node.shoal(&["describe", "secret", "web"]).expect(0).out;
    assert!(described.contains("Hosts:       hello.localhost, both.localhost\nExpires:     2100-01-01T00:00:00.000Z"), "{described}");
    assert!(!described.contains("BEGIN"), "{described}");

    let metrics = metrics(&node).await;
    for line in [
        "shoal_gateway_certificate_expiry_seconds{name=\"secret/default/web\"} 4102444800",
        "shoal_gateway_certificates{from=\"secret\"} 1",
        "shoal_gateway_certificates{from=\"directory\"} 0",
        "shoal_gateway_refused_total{reason=\"E0514\"} 1",
    ] {
        assert!(metrics.lines().any(|known| known == line), "`{line}` is not in\n{metrics}");
    }
    let refused =
        metrics.lines().find_map(|line| line.strip_prefix("shoal_gateway_tls_handshake_failures_total{reason=\"unknown_name\"} "));
    assert!(refused.and_then(|count| count.parse::<u64>().ok()) >= Some(2), "{metrics}");
    eventually("the redirection in the access log", || {
        let log = node.shoal(&["logs", "hello", "--access", "-o", "json"]).out;
        async move { log.lines().any(|line| line.contains("308") && line.contains("E0514")).then_some(()) }
    })
    .await;

    // The next worker has what the last one had.
    kill(node.child("worker").expect("a worker"));
    let client = authority.client(&["http/1.1"]);
    let stream = eventually("the certificate again", || async { connect(&node.https, "hello.localhost", &client).await.ok() }).await;
    assert_eq!(send_h1(stream, secure("hello.localhost")).await.unwrap().status, 200);
    assert_eq!(node.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_reach_elsewhere_is_said_and_without_tls_nobody_is_sent_away() {
    let authority = Authority::new();
    let manifest = format!(
        "{}---\n{}",
        app("{host: hello.localhost, tls: {secret: web}}"),
        secret("web", &authority.issue(&["hello.localhost"], 2100))
    );
    let mapped = Node::start_in(tempfile::tempdir().unwrap(), &["--https", "127.0.0.1:0", "--advertise-https", "9443"]).await;
    let applied = run(&mapped, "apply", &manifest).expect(0);
    assert!(applied.out.contains("https://hello.localhost:9443/"), "{}", applied.out);
    let moved = raw::get(&mapped.http, "hello.localhost", "/").await.unwrap();
    assert_eq!((moved.status, moved.header("location")), (308, "https://hello.localhost:9443/"));
    drop(mapped);

    let without = Node::start().await;
    run(&without, "apply", &manifest).expect(0);
    assert_eq!(raw::get(&without.http, "hello.localhost", "/").await.unwrap().status, 200);
    assert!(without.log().contains("routes want TLS and this node speaks none"), "{}", without.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_serve_its_route_is_refused_before_anything_is_written() {
    let authority = Authority::new();
    let node = server().await;
    let route = app("{host: hello.localhost, tls: {secret: web}}");
    let opaque = "apiVersion: shoal.dev/v1\nkind: Secret\nmetadata: {name: web}\nspec: {data: {a: b}}\n".to_owned();
    let (other, good) = (authority.issue(&["other.localhost"], 2100), authority.issue(&["hello.localhost"], 2100));
    let mixed = (good.0.clone(), other.1.clone());
    let wrong = [
        (opaque, "is of type opaque"),
        (secret("web", &other), "is for `other.localhost`, and not for `hello.localhost`"),
        (secret("web", &authority.issue(&["hello.localhost"], 2001)), "ended 2001-01-01T00:00:00.000Z"),
        (secret("web", &mixed), "the key does not belong to the first certificate"),
    ];
    for (document, why) in wrong {
        for command in ["plan", "apply"] {
            let refused = run(&node, command, &format!("{route}---\n{document}")).expect(1);
            assert!(refused.err.contains("E0513") && refused.err.contains(why) && refused.err.contains("help:"), "{}", refused.err);
            assert!(!refused.err.contains("PRIVATE"), "{}", refused.err);
        }
    }
    assert_eq!(node.shoal(&["get", "secret", "web"]).code, 6, "all or nothing");
    run(&node, "apply", &format!("{route}---\n{}", secret("web", &good))).expect(0);

    let (chain, key) = (node.write("other.crt", &other.0), node.write("other.key", &other.1));
    let set = node.shoal(&["secret", "set", "web", "--cert", chain.to_str().unwrap(), "--key", key.to_str().unwrap()]).expect(1);
    assert!(set.err.contains("E0513") && set.err.contains("`hello/web` answers for `hello.localhost`"), "{}", set.err);
    let stream =
        eventually("the certificate", || async { connect(&node.https, "hello.localhost", &authority.client(&["http/1.1"])).await.ok() });
    assert_eq!(send_h1(stream.await, secure("hello.localhost")).await.unwrap().status, 200);
}
