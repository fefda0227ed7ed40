//! A collector that keeps what it is sent, and what it should have been sent.

use std::net::IpAddr;

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use gateway::{AccessRecord, RequestTrace, Target, TraceContext};
use http::Method;
use serde_json::{Value as Tree, json};
use tokio::{net::TcpListener, sync::mpsc as channel};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

struct Receiver {
    settings: TraceSettings,
    requests: channel::Receiver<Tree>,
    _serving: AbortOnDropHandle<()>,
}

impl Receiver {
    async fn start(status: StatusCode) -> Self {
        let (sender, requests) = channel::channel(16);
        let take = async move |State(sender): State<channel::Sender<Tree>>, Json(body): Json<Tree>| {
            sender.send(body).await.unwrap();
            (status, "{}")
        };
        let router = Router::new().route("/v1/traces", post(take)).with_state(sender);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = TraceSettings { collector, ratio: Ratio(1_000_000) };
        Self { settings, requests, _serving: AbortOnDropHandle::new(serving) }
    }

    async fn request(&mut self) -> Tree {
        tokio::time::timeout(DEADLINE, self.requests.recv()).await.expect("spans come in time").expect("the collector lives")
    }
}

fn trace(sampled: bool) -> RequestTrace {
    let context = TraceContext { trace_id: [0xab; 16], parent_id: [0xcd; 8], sampled };
    RequestTrace { context, client_span: Some([0xef; 8]) }
}

fn target() -> Target {
    Target { component: "team/hello/web".parse().unwrap(), revision: RevisionNumber(3), ordinal: 2 }
}

fn record<'a>(target: &'a Target, trace: RequestTrace, status: u16, error: Option<&'static str>) -> AccessRecord<'a> {
    AccessRecord {
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
        request_id: "r-1",
        component: Some(&target.component),
        revision: Some(target.revision),
        instance: Some(target.ordinal),
        method: &Method::GET,
        host: "hello.localhost",
        path: "/a",
        protocol: "HTTP/1.1",
        tls: None,
        trace,
        status: StatusCode::from_u16(status).unwrap(),
        bytes_in: 0,
        bytes_out: 5,
        duration_us: 1_500,
        peer: IpAddr::from([127, 0, 0, 1]),
        error,
    }
}

fn value<'a>(span: &'a Tree, key: &str) -> &'a Tree {
    let attributes = span["attributes"].as_array().unwrap();
    &attributes.iter().find(|attribute| attribute["key"] == key).unwrap_or_else(|| panic!("no {key} in {span}"))["value"]
}

#[tokio::test]
async fn a_request_is_a_span_with_its_sandbox_as_a_child() {
    let mut receiver = Receiver::start(StatusCode::OK).await;
    let (spans, exporter) = Spans::new(&receiver.settings, "one");
    let stop = CancellationToken::new();
    let task = tokio::spawn(exporter.run(stop.clone()));
    let target = target();
    let mut sandbox = spans.sandbox(trace(true), &target).unwrap();
    sandbox.failed("E0303");
    drop(sandbox);
    spans.request(&record(&target, trace(true), 500, Some("E0303")));
    spans.request(&record(&target, trace(false), 200, None));
    assert!(spans.sandbox(trace(false), &target).is_none(), "a trace nobody records");

    let told = receiver.request().await;
    let told = &told["resourceSpans"][0];
    assert_eq!(value(&told["resource"], "service.name"), &json!({"stringValue": "shoal"}));
    assert_eq!(value(&told["resource"], "host.name"), &json!({"stringValue": "one"}));
    let told = told["scopeSpans"][0]["spans"].as_array().unwrap();
    let [sandbox, request] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((&request["name"], &request["kind"]), (&json!("gateway.request"), &json!(2)));
    assert_eq!((&request["traceId"], &request["spanId"]), (&json!("ab".repeat(16)), &json!("cd".repeat(8))));
    assert_eq!(request["parentSpanId"], "ef".repeat(8));
    assert_eq!((&request["startTimeUnixNano"], &request["endTimeUnixNano"]), (&json!("1000000000000"), &json!("1000001500000")));
    assert_eq!(value(request, "http.response.status_code"), &json!({"intValue": "500"}));
    assert_eq!(value(request, "shoal.app"), &json!({"stringValue": "hello"}));
    assert_eq!(
        (&sandbox["name"], &sandbox["traceId"], &sandbox["parentSpanId"]),
        (&json!("sandbox"), &request["traceId"], &request["spanId"])
    );
    assert_eq!(value(sandbox, "shoal.error.code"), &json!({"stringValue": "E0303"}));
    assert_eq!(sandbox["status"], json!({"code": 2, "message": "E0303"}));

    spans.request(&record(&target, trace(true), 200, None));
    stop.cancel();
    task.await.unwrap();
    let last = receiver.request().await;
    let last = &last["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((&last["name"], last.get("status")), (&json!("gateway.request"), None), "what waits at the end is sent");
    assert_eq!((spans.counts().sent(), spans.counts().dropped()), (3, 0));
}

#[tokio::test]
async fn what_is_not_taken_is_counted_and_nobody_waits_for_it() {
    let refusing = Receiver::start(StatusCode::SERVICE_UNAVAILABLE).await;
    let (spans, exporter) = Spans::new(&refusing.settings, "one");
    let target = target();
    for _ in 0..SPANS_WAITING_MAX + 10 {
        spans.request(&record(&target, trace(true), 200, None));
    }
    assert_eq!(spans.counts().dropped(), 10, "the queue is full and nothing waits");
    let stop = CancellationToken::new();
    stop.cancel();
    exporter.run(stop).await;
    assert_eq!((spans.counts().sent(), spans.counts().dropped()), (0, SPANS_WAITING_MAX as u64 + 10));
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_its_spans_only() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = TraceSettings { collector: format!("http://{closed}").parse().unwrap(), ratio: Ratio(1_000_000) };
    let (spans, exporter) = Spans::new(&settings, "one");
    spans.request(&record(&target(), trace(true), 200, None));
    let stop = CancellationToken::new();
    stop.cancel();
    exporter.run(stop).await;
    assert_eq!((spans.counts().sent(), spans.counts().dropped()), (0, 1));
}
