//! What a node says about itself, with real processes: top, describe, events, metrics by name, and spans at a collector.

use std::collections::BTreeSet;

use cluster_tests::{eventually, guest, node::Node, raw};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

fn hello() -> String {
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: hello}}\nspec:\n  components:\n    web:\n      source: {}\n      \
         routes: [{{host: hello.localhost}}]\n",
        guest("hello").display()
    )
}

/// A collector: its URL, and every span it is sent.
async fn collector() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, spans) = mpsc::channel(1_000);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let take = service_fn(move |request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    assert_eq!(request.uri().path(), "/v1/traces");
                    let body = request.into_body().collect().await?.to_bytes();
                    let told: Value = serde_json::from_slice(&body).expect("OTLP in JSON");
                    for span in told["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans") {
                        let _ = sender.send(span.clone()).await;
                    }
                    Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"{}"))))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), take));
        }
    });
    (url, spans)
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().expect("attributes");
    attributes.iter().find(|attribute| attribute["key"] == key).map(|attribute| attribute["value"].clone()).unwrap_or_default()
}

/// Names of the metrics on the page, as their `TYPE` lines say.
fn names_on(page: &str) -> BTreeSet<String> {
    page.lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_what_it_does_and_what_that_costs() {
    let (url, mut spans) = collector().await;
    let node = Node::start_in(tempfile::tempdir().unwrap(), &["--otlp", &url]).await;
    node.apply(&hello()).expect(0);
    let answer = raw::get(&node.http, "hello.localhost", "/").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");

    let mut both = Vec::new();
    while both.len() < 2 {
        both.push(tokio::time::timeout(cluster_tests::DEADLINE, spans.recv()).await.expect("spans in time").expect("a collector"));
    }
    let named = |name: &str| both.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name} in {both:?}"));
    let (request, sandbox) = (named("gateway.request"), named("sandbox"));
    assert_eq!(attribute(request, "http.response.status_code"), json!({"intValue": "200"}));
    assert_eq!(attribute(request, "shoal.request_id")["stringValue"], answer.header("x-request-id"));
    assert_eq!((&sandbox["traceId"], &sandbox["parentSpanId"]), (&request["traceId"], &request["spanId"]));
    assert_eq!(attribute(sandbox, "shoal.component"), json!({"stringValue": "web"}));
    let used = |key: &str| attribute(sandbox, key)["intValue"].as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    assert!(used("shoal.cpu_time_us") > 0 && used("shoal.memory_peak_bytes") > 0, "{sandbox}");

    let top = node.shoal(&["top", "apps", "-o", "json", "--interval", "100ms"]).expect(0);
    let top: Value = serde_json::from_str(&top.out).expect("JSON");
    let row = &top["items"][0];
    assert_eq!((&row["component"], &row["requests"]), (&json!("hello/web"), &json!(1)), "{top}");
    assert!(row["cpuMicros"].as_u64().unwrap() > 0 && row["memoryPeakBytes"].as_u64().unwrap() > 0, "{row}");
    let nodes = node.shoal(&["top", "nodes", "-o", "wide", "--interval", "100ms"]).expect(0).out;
    assert!(nodes.contains(" ready "), "{nodes}");
    assert!(node.shoal(&["top", "instances", "--interval", "100ms"]).expect(0).out.contains("hello/web.1"));
    let described = node.shoal(&["describe", "app", "hello"]).expect(0).out;
    assert!(described.contains("traffic:    1 requests"), "{described}");
    eventually("what the worker did", || {
        let events = node.shoal(&["events"]).out;
        async move { (events.contains("WorkerStarted") && events.contains("compiled web in ")).then_some(()) }
    })
    .await;
    assert_eq!(node.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_in_the_documentation_and_series_go_with_their_app() {
    let (url, _spans) = collector().await;
    let node = Node::start_in(tempfile::tempdir().unwrap(), &["--otlp", &url]).await;
    node.apply(&hello()).expect(0);
    raw::get(&node.http, "hello.localhost", "/").await.unwrap();
    let page = raw::get(&node.metrics, "localhost", "/metrics").await.unwrap().body;
    let series = "shoal_component_cpu_seconds_total{namespace=\"default\",app=\"hello\",component=\"web\"}";
    assert!(page.contains(series), "{page}");

    let document = include_str!("../../../docs/operate/observability.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `shoal_")?.split_once("` | "));
    let (always, sometimes): (Vec<_>, Vec<_>) = rows.partition(|(_, what)| !what.contains("--https"));
    let told = |rows: &[(&str, &str)]| rows.iter().map(|(name, _)| format!("shoal_{name}")).collect::<BTreeSet<_>>();
    let (always, sometimes, shown) = (told(&always), told(&sometimes), names_on(&page));
    let undocumented: Vec<_> = shown.iter().filter(|name| !always.contains(*name) && !sometimes.contains(*name)).collect();
    let gone: Vec<_> = always.difference(&shown).collect();
    assert!(undocumented.is_empty() && gone.is_empty(), "not in docs/operate/observability.md: {undocumented:?}; in it and gone: {gone:?}");

    node.shoal(&["delete", "app", "hello", "--yes"]).expect(0);
    eventually("the end of the series", || async {
        let page = raw::get(&node.metrics, "localhost", "/metrics").await.ok()?.body;
        (!page.contains("app=\"hello\"")).then_some(())
    })
    .await;
    assert_eq!(node.stop().await, 0);
}
