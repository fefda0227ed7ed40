//! Clients that want too much, too slowly, or without end.

use std::time::Duration;

use gateway::Limits;

use crate::support::{Bench, Stub, Wish, get, one, soon, table};

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_slow_head_is_answered_408_and_a_silent_client_is_closed() {
    let bench = Bench::with(Wish { limits: Limits { head_timeout: SHORT, ..Limits::standard() }, ..Wish::default() });
    let mut silent = bench.connect().await;
    assert!(silent.read_end().await.is_empty());
    let mut slow = bench.connect().await;
    slow.send("GET / HTTP/1.1\r\nHost: hello.lo").await;
    assert_eq!(slow.reply().await.verdict(), "408 E0511");
    assert!(slow.read_end().await.is_empty());
    let mut later = bench.connect().await;
    later.send(get("/")).await;
    assert_eq!(later.reply().await.status, 200);
    later.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(later.reply().await.verdict(), "408 E0511");
    assert_eq!(bench.calls(), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let stub = Stub { gate: Some(tokio::sync::Semaphore::new(0)), ..Stub::default() };
    let bench = Bench::with(Wish { limits: Limits { keep_alive: SHORT, ..Limits::standard() }, stub, ..Wish::default() });
    let (mut idle, mut busy) = (bench.connect().await, bench.connect().await);
    busy.send(get("/wait")).await;
    idle.send(get("/")).await;
    assert_eq!(idle.reply().await.status, 200);
    assert!(idle.read_end().await.is_empty());
    // Its own idle time began later than that of the connection now closed, had it been idle.
    bench.stub.gate.as_ref().expect("a gate").add_permits(1);
    assert_eq!(busy.reply().await.body, "waited");
    assert!(busy.read_end().await.is_empty());
}

#[tokio::test]
async fn a_body_too_large_is_refused_before_it_is_read() {
    let bench = Bench::start();
    let mut raw = bench.connect().await;
    raw.send("POST /read HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 1073741824\r\n\r\nbeginning").await;
    let reply = raw.reply().await;
    assert_eq!(reply.verdict(), "413 E0506");
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(bench.calls(), 0);
    let mut polite = bench.connect().await;
    polite.send("POST /read HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n").await;
    let reply = polite.reply().await;
    assert_eq!(reply.verdict(), "413 E0506");
    bench.log.wait_for(&format!("POST hello.localhost /read hello/web.- 413 in=0 out={} E0506", reply.body.len())).await;
}

#[tokio::test]
async fn a_client_that_keeps_sending_still_reads_its_413() {
    let bench = Bench::start();
    let mut raw = bench.connect().await;
    raw.send("POST /read HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 3000000\r\n\r\n").await;
    raw.offer(vec![b'x'; 3_000_000]).await;
    assert_eq!(raw.reply().await.verdict(), "413 E0506");
}

#[tokio::test]
async fn a_body_without_end_is_cut_at_the_limit() {
    let bench = Bench::start();
    for path in ["/read", "/echo"] {
        let mut raw = bench.connect().await;
        raw.send(format!("POST {path} HTTP/1.1\r\nHost: hello.localhost\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
        let (mut reader, mut writer) = raw.stream.split();
        let endless = async { while tokio::io::AsyncWriteExt::write_all(&mut writer, chunk.as_bytes()).await.is_ok() {} };
        let answer = async {
            let mut answer = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer).await;
            answer
        };
        let ((), answer) = soon("the end of an endless body", async { tokio::join!(endless, answer) }).await;
        let answer = String::from_utf8_lossy(&answer);
        match path {
            // Nothing was said before the limit: a clean answer.
            "/read" => assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("E0506"), "{answer:.300}"),
            // The answer was under way: it must not look complete.
            _ => assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.ends_with("0\r\n\r\n"), "{answer:.100}"),
        }
    }
}

#[tokio::test]
async fn a_body_that_stops_is_given_up() {
    let table = table(&one(100), |rule| rule.idle_timeout = SHORT);
    let bench = Bench::with(Wish { table, ..Wish::default() });
    let mut raw = bench.connect().await;
    raw.send("POST /read HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 10\r\n\r\nhello").await;
    let reply = raw.reply().await;
    assert_eq!(reply.verdict(), "408 E0511");
    bench.log.wait_for(&format!("POST hello.localhost /read hello/web.1 408 in=5 out={} E0511", reply.body.len())).await;
}

#[tokio::test]
async fn a_response_that_stops_is_cut() {
    let (sender, frames) = tokio::sync::mpsc::channel(1);
    let stub = Stub { frames: std::sync::Mutex::new(Some(frames)), ..Stub::default() };
    let table = table(&one(100), |rule| rule.idle_timeout = SHORT);
    let bench = Bench::with(Wish { table, stub, ..Wish::default() });
    let mut raw = bench.connect().await;
    raw.send(get("/stream")).await;
    sender.send("first".into()).await.expect("the stub reads");
    raw.read_to(b"\r\n\r\n").await;
    assert_eq!(raw.read_chunk().await, b"first");
    assert!(raw.read_end().await.is_empty());
    bench.log.wait_for("GET hello.localhost /stream hello/web.1 200 in=0 out=5 E0511").await;
}

#[tokio::test]
async fn a_component_that_does_not_answer_is_504() {
    let stub = Stub { gate: Some(tokio::sync::Semaphore::new(0)), ..Stub::default() };
    let table = table(&one(1), |rule| rule.timeout = SHORT);
    let bench = Bench::with(Wish { table, stub, ..Wish::default() });
    let mut raw = bench.connect().await;
    raw.send(get("/wait")).await;
    assert_eq!(raw.reply().await.verdict(), "504 E0505");
    assert_eq!(bench.stub.dropped.load(std::sync::atomic::Ordering::SeqCst), 1);
    // The connection goes on, and so does the place.
    raw.send(get("/")).await;
    assert_eq!(raw.reply().await.status, 200);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let (sender, frames) = tokio::sync::mpsc::channel(1);
    let stub = Stub { frames: std::sync::Mutex::new(Some(frames)), ..Stub::default() };
    let bench = Bench::with(Wish { limits: Limits { write_stall: SHORT, ..Limits::standard() }, stub, ..Wish::default() });
    let mut raw = bench.connect().await;
    raw.send(get("/stream")).await;
    // Until the stub is told that nobody takes its frames any more.
    soon("the end of the response", async { while sender.send(vec![b'x'; 1 << 20].into()).await.is_ok() {} }).await;
    assert_eq!(bench.handle.in_flight(&bench_target()), 0);
}

fn bench_target() -> gateway::Target {
    gateway::Target { component: "hello/web".parse().expect("a valid id"), revision: model::id::RevisionNumber(1), ordinal: 1 }
}

#[tokio::test]
async fn connections_beyond_the_cap_wait() {
    let bench = Bench::with(Wish { limits: Limits { connections_max: 1, ..Limits::standard() }, ..Wish::default() });
    let mut first = bench.connect().await;
    first.send(get("/")).await;
    assert_eq!(first.reply().await.status, 200);
    let mut second = bench.connect().await;
    second.send(get("/")).await;
    assert_eq!(bench.metric("gateway_connections_open{listener=\"http\"}"), Some(1.0));
    drop(first);
    assert_eq!(second.reply().await.status, 200);
}
