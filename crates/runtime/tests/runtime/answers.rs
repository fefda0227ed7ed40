//! What a request gets when all goes well.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Channel};
use runtime::{ProgramConfig, Scheme, Stream};

use crate::support::{Bench, call, config, fetch, get, next};

#[tokio::test]
async fn hello_answers() {
    let bench = Bench::new();
    let program = bench.sample("hello");
    program.probe().await.unwrap();
    for _ in 0..50 {
        assert_eq!(fetch(&program, "/some/path?x=1").await.unwrap(), (200, "Hello from Shoal! You asked for /some/path\n".into()));
    }
    assert_eq!(bench.live(), 0);
    let figures = bench.runtime.figures();
    assert_eq!((figures.instantiations, figures.traps, figures.bad_responses), (51, 0, 0));
}

#[tokio::test]
async fn a_guest_without_a_framework_answers() {
    let bench = Bench::new();
    assert_eq!(fetch(&bench.sample("lean"), "/").await.unwrap(), (200, "Hello from Shoal, lean\n".into()));
}

/// Goal: bodies stream both ways at once. Method: the second chunk is sent only after the first came back.
#[tokio::test]
async fn a_body_comes_back_while_it_is_sent() {
    let bench = Bench::new();
    let program = bench.sample("echo");
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(1);
    let request = http::Request::post("/").header("host", "x").header("content-type", "text/x").body(body).unwrap();
    let response = program.handle(request, call("request-1")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/x");
    let mut body = response.into_body();
    for chunk in ["one", "two", "three"] {
        sender.send_data(Bytes::from_static(chunk.as_bytes())).await.unwrap();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), chunk);
    }
    drop(sender);
    assert!(next(&mut body).await.is_none());
    drop(body);
    bench.runtime.finish().await;
    assert_eq!(bench.live(), 0);
}

#[tokio::test]
async fn a_response_nobody_reads_still_ends() {
    let bench = Bench::new();
    let program = bench.sample("hello");
    let mut request = get("/");
    *request.method_mut() = http::Method::HEAD;
    drop(program.handle(request, call("request-1")).await.unwrap());
    bench.runtime.finish().await;
    assert_eq!(bench.live(), 0);
    assert_eq!(bench.lines.all(), []);
}

#[tokio::test]
async fn a_guest_waits_by_the_clock() {
    let bench = Bench::new();
    let (_, text) = fetch(&bench.sample("slow"), "/?ms=30").await.unwrap();
    let millis: u64 = text.trim_start_matches("slept for ").trim_end_matches(" ms\n").parse().unwrap();
    assert!(millis >= 30, "{text}");
}

#[tokio::test]
async fn env_arguments_and_config_reach_the_guest() {
    let bench = Bench::new();
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect::<BTreeMap<_, _>>();
    let program = bench.text_with(
        include_str!("printer.wat"),
        ProgramConfig {
            env: map(&[("GREETING", "moin"), ("PLACE", "Kiel")]),
            args: vec!["--loud".into()],
            config: map(&[("color", "blue"), ("other", "x")]),
            ..config()
        },
    );
    program.probe().await.unwrap();
    let lines = bench.lines.all();
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["GREETING", "moin", "PLACE", "Kiel", "web", "--loud", "blue", "rest without an end"]);
    for line in lines {
        assert_eq!((line.component.to_string(), line.revision.0), ("hello/web".into(), 7));
        assert_eq!((line.stream, line.request_id), (Stream::Stdout, None));
    }
}

#[tokio::test]
async fn outbound_requests_are_denied_with_a_remedy() {
    let bench = Bench::new();
    let (status, text) = fetch(&bench.sample("caller"), "/?url=http://api.example:8080/secret").await.unwrap();
    assert_eq!(status, 502);
    assert!(text.contains("HttpRequestDenied"), "{text}");
    let lines = bench.lines.of(Stream::Host);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = "E0313: outbound HTTP to http://api.example:8080 denied: no rule of `hello/web` allows it; in the component, this line allows it:\n  egress: {allow: [\"http://api.example:8080\"]}";
    assert_eq!(lines[0], line);
}

#[tokio::test]
async fn requests_over_tls_are_handed_in_too() {
    let bench = Bench::new();
    let program = bench.sample("hello");
    let call = runtime::Call { scheme: Scheme::Https, timeout: Some(Duration::from_secs(5)), ..call("request-1") };
    assert_eq!(program.handle(get("/"), call).await.unwrap().status(), 200);
}

/// Goal: a program outlives the runtime that made it, and many tasks share it. Method: a multi-threaded executor and a dropped runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_are_shared_between_threads() {
    let bench = Bench::new();
    let program = bench.sample("lean");
    drop(bench);
    let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(answer_many(Arc::clone(&program)))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn answer_many(program: Arc<runtime::Program>) {
    for _ in 0..100 {
        let response = program.handle(get("/"), call("request-1")).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "Hello from Shoal, lean\n");
    }
}
