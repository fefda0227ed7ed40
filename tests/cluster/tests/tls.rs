//! TLS with the real binary: which certificate answers, how it is replaced while requests run, and what survives a dead worker.

use std::{fs, path::Path};

use bytes::Bytes;
use cluster_tests::{
    eventually, guest,
    node::{Node, kill},
    raw,
    tls::{Authority, connect, send_h1, send_h2},
};
use http::Request;
use http_body_util::{BodyExt, Full, channel::Channel};

fn app(name: &str, host: &str) -> String {
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  components:\n    web:\n      source: {}\n      \
         routes: [{{host: {host}}}]\n",
        guest(name).display()
    )
}

/// A server with certificates of `authority` for these names, in a directory beside its data.
async fn secure(authority: &Authority, names: &[&str]) -> Node {
    let directory = tempfile::tempdir().unwrap();
    let certificates = directory.path().join("certificates");
    fs::create_dir(&certificates).unwrap();
    names.iter().for_each(|name| authority.write(&certificates, name));
    let path = certificates.to_str().unwrap().to_owned();
    Node::start_in(directory, &["--https", "127.0.0.1:0", "--cert-dir", &path]).await
}

fn certificates(node: &Node) -> std::path::PathBuf {
    node.data().with_file_name("certificates")
}

fn get(host: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://{host}/")).header("host", host).body(Full::default()).unwrap()
}

async fn metrics(node: &Node) -> String {
    raw::get(&node.metrics, "localhost", "/metrics").await.map(|answer| answer.body).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_names_have_their_certificates_and_http_2_is_agreed_on() {
    let authority = Authority::new();
    let node = secure(&authority, &["hello.localhost", "echo.localhost"]).await;
    node.apply(&app("hello", "hello.localhost")).expect(0);
    node.apply(&app("echo", "echo.localhost")).expect(0);
    for host in ["hello.localhost", "echo.localhost"] {
        let h1 = connect(&node.https, host, &authority.client(&["http/1.1"])).await.unwrap();
        assert_eq!(send_h1(h1, get(host)).await.unwrap().status, 200);
        let h2 = connect(&node.https, host, &authority.client(&["h2", "http/1.1"])).await.unwrap();
        assert_eq!(h2.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        assert_eq!(send_h2(h2, get(host)).await.unwrap().status, 200);
    }
    let error = connect(&node.https, "other.localhost", &authority.client(&[])).await.unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    let plain = raw::get(&node.https, "hello.localhost", "/").await.unwrap();
    assert!(plain.status == 400 && plain.body.contains("https://"), "{plain:?}");

    let h1 = connect(&node.https, "hello.localhost", &authority.client(&[])).await.unwrap();
    let refused = send_h1(h1, get("nobody.localhost")).await.unwrap();
    assert_eq!((refused.status, refused.header("proxy-status")), (404, "shoal; error=destination_not_found; details=\"E0501\""));

    eventually("the protocol in the access log", || {
        let log = node.shoal(&["logs", "hello", "--access", "-o", "json"]).out;
        async move { (log.contains("\"HTTP/2 TLSv1.3\"") && log.contains("\"HTTP/1.1 TLSv1.3\"") && log.contains("\"traceId\"")).then_some(()) }
    })
    .await;
    let metrics = metrics(&node).await;
    for line in [
        "shoal_gateway_certificate_expiry_seconds{name=\"hello.localhost\"",
        "shoal_gateway_tls_handshake_failures_total{reason=\"unknown_name\"",
    ] {
        assert!(metrics.contains(line), "`{line}` is not in\n{metrics}");
    }
    let shown = format!("{}{metrics}", node.log());
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains("BEGIN"), "a key is in a log");
    assert_eq!(node.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_while_a_request_streams_and_a_broken_one_is_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let node = secure(&old, &["echo.localhost"]).await;
    node.apply(&app("echo", "echo.localhost")).expect(0);
    let stream = connect(&node.https, "echo.localhost", &old.client(&["h2"])).await.unwrap();
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(driver);
    let (mut writer, body) = Channel::<Bytes, anyhow::Error>::new(1);
    let request = Request::post("https://echo.localhost/").body(body.map_err(std::io::Error::other)).unwrap();
    let answer = tokio::spawn(sender.send_request(request));
    writer.send_data(Bytes::from_static(b"before ")).await.unwrap();
    let mut echoed = answer.await.unwrap().unwrap().into_body();
    assert_eq!(echoed.frame().await.unwrap().unwrap().into_data().unwrap(), "before ");

    // Half of a pair, then the key of another: what is in use stays, and the metric says that something is wrong.
    fs::write(certificates(&node).join("echo.localhost.crt"), "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    eventually("the metric of a broken certificate", || async {
        metrics(&node).await.contains("shoal_gateway_certificate_broken{name=\"echo.localhost\"").then_some(())
    })
    .await;
    connect(&node.https, "echo.localhost", &old.client(&[])).await.expect("the last good certificate stays in use");
    assert!(node.log().contains("E0513"), "{}", node.log());

    new.write(&certificates(&node), "echo.localhost");
    eventually("the new certificate", || async { connect(&node.https, "echo.localhost", &new.client(&[])).await.ok() }).await;
    connect(&node.https, "echo.localhost", &old.client(&[])).await.expect_err("the old certificate is not shown any more");
    writer.send_data(Bytes::from_static(b"after")).await.unwrap();
    assert_eq!(echoed.frame().await.unwrap().unwrap().into_data().unwrap(), "after");
    drop(writer);
    let rest = echoed.collect().await.expect("the stream ends as it should").to_bytes();
    assert!(rest.is_empty(), "{rest:?}");
    drop(sender);
    driver.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_comes_back_with_its_certificates() {
    let authority = Authority::new();
    let node = secure(&authority, &["hello.localhost"]).await;
    node.apply(&app("hello", "hello.localhost")).expect(0);
    for _ in 0..2 {
        let worker = node.child("worker").expect("the worker runs");
        kill(worker);
        // Nobody is refused: the connection waits for the next worker.
        let stream = connect(&node.https, "hello.localhost", &authority.client(&["http/1.1"])).await.unwrap();
        assert_eq!(send_h1(stream, get("hello.localhost")).await.unwrap().status, 200);
        assert_ne!(node.child("worker"), Some(worker));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_usable_certificate_does_not_start_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let start = |certificates: &Path| {
        let mut command = cluster_tests::node::server_command(&directory.path().join("data"), &directory.path().join("ready.json"));
        let output = command.arg("--cert-dir").arg(certificates).args(["--https", "127.0.0.1:0"]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (good, said) = start(&directory.path().join("absent"));
    assert!(!good && said.contains("E0608"), "{said}");
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let (good, said) = start(&empty);
    assert!(!good && said.contains("E0608") && said.contains("NAME.crt"), "{said}");
}

/// What gRPC needs of the way: `te: trailers` in, trailers out, through a real component.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_a_component_both_ways() {
    let authority = Authority::new();
    let node = secure(&authority, &["echo.localhost"]).await;
    node.apply(&app("echo", "echo.localhost")).expect(0);
    let stream = connect(&node.https, "echo.localhost", &authority.client(&["h2"])).await.unwrap();
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(driver);
    let (mut writer, body) = Channel::<Bytes, anyhow::Error>::new(1);
    let request = Request::post("https://echo.localhost/").header("te", "trailers").body(body.map_err(std::io::Error::other)).unwrap();
    let answer = tokio::spawn(sender.send_request(request));
    writer.send_data(Bytes::from_static(b"message")).await.unwrap();
    writer
        .send_trailers([(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))].into_iter().collect())
        .await
        .unwrap();
    drop(writer);
    let whole = answer.await.unwrap().unwrap().into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().and_then(|trailers| trailers.get("grpc-status")).map(|value| value.as_bytes()), Some(b"0".as_slice()));
    assert_eq!(whole.to_bytes(), "message");
    driver.abort();

    let chunked = "POST / HTTP/1.1\r\nHost: echo.localhost\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n";
    let said = raw::exchange(&node.http, chunked.as_bytes(), 64 << 10).await.unwrap();
    assert!(said.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{said}");
}
