//! Places, queues and tables while requests are under way.

use std::sync::atomic::{AtomicBool, Ordering};

use gateway::{Builder, Endpoint, Instances, Target};
use http::Method;
use model::id::RevisionNumber;
use tokio::sync::Semaphore;

use crate::support::{Bench, DEADLINE, Stub, Wish, get, one, soon, table, table_of, until};

fn gated(endpoints: &[Endpoint]) -> Bench {
    let stub = Stub { gate: Some(Semaphore::new(0)), ..Stub::default() };
    Bench::with(Wish { stub, table: table(endpoints, |_| {}), ..Wish::default() })
}

fn open(bench: &Bench, count: usize) {
    bench.stub.gate.as_ref().expect("a gate").add_permits(count);
}

fn waiting(bench: &Bench) -> Option<f64> {
    bench.metric("gateway_queue_depth{namespace=\"default\",app=\"hello\",component=\"web\"}")
}

fn in_flight(bench: &Bench, revision: u64) -> u32 {
    bench.handle.in_flight(&Target { component: "hello/web".parse().expect("a valid id"), revision: RevisionNumber(revision), ordinal: 1 })
}

#[tokio::test]
async fn requests_wait_in_order_and_the_queue_is_bounded() {
    let bench = gated(&one(1));
    let mut clients = Vec::new();
    for number in 0..3 {
        let mut client = bench.connect().await;
        client.send(get("/wait")).await;
        until("a request that takes its place", || bench.calls() == 1 && waiting(&bench) == Some(f64::from(number))).await;
        clients.push(client);
    }
    let refused = bench.get("/wait").await;
    assert_eq!((refused.verdict().as_str(), refused.header("retry-after")), ("503 E0504 queue-full", Some("1")));
    for (answered, mut client) in clients.into_iter().enumerate() {
        assert_eq!(bench.calls(), answered + 1, "one at a time, in order");
        open(&bench, 1);
        assert_eq!(client.reply().await.body, "waited");
        until("the next in the queue", || bench.calls() == (answered + 2).min(3)).await;
    }
    assert_eq!(bench.metric("gateway_requests_held_total{namespace=\"default\",app=\"hello\",component=\"web\"}"), Some(2.0));
    assert_eq!(in_flight(&bench, 1), 0);
}

#[tokio::test]
async fn requests_are_held_until_an_endpoint_is_ready() {
    let bench = gated(&[]);
    let mut client = bench.connect().await;
    client.send(get("/who")).await;
    until("a held request", || waiting(&bench) == Some(1.0)).await;
    bench.handle.publish(table_of(2, &one(1), |_| {}));
    assert_eq!(client.reply().await.body, "hello/web.1 r2");
}

#[tokio::test]
async fn held_requests_follow_their_route() {
    let bench = gated(&[]);
    let (mut moved, mut gone) = (bench.connect().await, bench.connect().await);
    moved.send("GET /who HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").await;
    gone.send("GET /gone/who HTTP/1.1\r\nHost: hello.localhost\r\n\r\n").await;
    until("held requests", || waiting(&bench) == Some(2.0)).await;
    // The next table gives `/who` to another app and nobody `/gone`.
    bench.handle.publish(table(&one(1), |rule| {
        rule.component = "other/web".parse().expect("a valid id");
        rule.path = "/who".to_owned();
    }));
    assert_eq!(moved.reply().await.body, "other/web.1 r1");
    assert_eq!(gone.reply().await.verdict(), "404 E0501");
}

#[tokio::test]
async fn waiting_too_long_says_for_what() {
    let short = |endpoints: Vec<Endpoint>| {
        let mut builder = Builder::new();
        let rule = crate::support::rule("hello/web", 1);
        let (component, revision) = (rule.component.clone(), rule.revision);
        let queue_wait = std::time::Duration::from_millis(50);
        builder.instances(Instances { component, revision, queue_length: 2, queue_wait, endpoints });
        builder.route(rule).expect("a valid route");
        builder.build()
    };
    let bench = gated(&[]);
    bench.handle.publish(short(Vec::new()));
    let nobody = bench.get("/").await;
    assert_eq!(nobody.verdict(), "503 E0503");
    assert!(nobody.body.starts_with("E0503: no instance of the component is ready; waited"), "{nobody:?}");
    bench.handle.publish(short(one(1)));
    let mut first = bench.connect().await;
    first.send(get("/wait")).await;
    until("a request in flight", || bench.calls() == 1).await;
    let overloaded = bench.get("/").await;
    assert_eq!((overloaded.verdict().as_str(), overloaded.header("retry-after")), ("503 E0504 queue-wait", Some("1")));
    assert!(overloaded.body.starts_with("E0504: the component is overloaded: no turn within"), "{overloaded:?}");
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let bench = gated(&one(1));
    let (mut leaving, mut queued, mut next) = (bench.connect().await, bench.connect().await, bench.connect().await);
    leaving.send(get("/wait")).await;
    until("a request in flight", || in_flight(&bench, 1) == 1).await;
    queued.send(get("/wait")).await;
    until("a request in the queue", || waiting(&bench) == Some(1.0)).await;
    next.send(get("/who")).await;
    until("another in the queue", || waiting(&bench) == Some(2.0)).await;
    drop(queued);
    until("one place in the queue less", || waiting(&bench) == Some(1.0)).await;
    drop(leaving);
    assert_eq!(next.reply().await.body, "hello/web.1 r1");
    assert_eq!(bench.stub.dropped.load(Ordering::SeqCst), 1);
    bench.log.wait_for("GET hello.localhost /wait hello/web.1 499 in=0 out=0 -").await;
    bench.log.wait_for("GET hello.localhost /wait hello/web.- 499 in=0 out=0 -").await;
}

#[tokio::test]
async fn counts_survive_a_new_table() {
    let bench = gated(&one(1));
    let mut first = bench.connect().await;
    first.send(get("/wait")).await;
    until("a request in flight", || in_flight(&bench, 1) == 1).await;
    // The same instance again, then a table without it, then with it: it was full all the time.
    for endpoints in [one(1), Vec::new(), one(1)] {
        bench.handle.publish(table(&endpoints, |_| {}));
        assert_eq!(in_flight(&bench, 1), 1);
    }
    let mut second = bench.connect().await;
    second.send(get("/who")).await;
    until("a request in the queue", || waiting(&bench) == Some(1.0)).await;
    open(&bench, 1);
    assert_eq!(first.reply().await.body, "waited");
    assert_eq!(second.reply().await.body, "hello/web.1 r1");
    bench.handle.publish(Builder::new().build());
    assert_eq!(
        bench.metric("gateway_queue_depth{namespace=\"default\",app=\"hello\",component=\"web\"}"),
        None,
        "a component that is gone has no series"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_swap_under_load_without_a_failed_request() {
    let bench = std::sync::Arc::new(Bench::start());
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let client = |bench: std::sync::Arc<Bench>, stop: std::sync::Arc<AtomicBool>| async move {
        let (mut raw, mut answered) = (bench.connect().await, 0_u32);
        // One that begins late, on a machine with much to do, asks once all the same.
        loop {
            raw.send(get("/who")).await;
            let reply = raw.reply().await;
            assert_eq!(reply.status, 200, "{reply:?}");
            answered += 1;
            if stop.load(Ordering::Relaxed) {
                return answered;
            }
        }
    };
    let clients: Vec<_> = (0..8).map(|_| tokio::spawn(client(bench.clone(), stop.clone()))).collect();
    for revision in 2..200 {
        // Every third table has no instance at all for a moment: requests are held.
        let endpoints = if revision % 3 == 0 { Vec::new() } else { one(4) };
        let mut rule = crate::support::rule("hello/web", revision);
        rule.timeout = DEADLINE;
        let mut builder = Builder::new();
        let (component, revision) = (rule.component.clone(), rule.revision);
        builder.instances(Instances { component, revision, queue_length: 100, queue_wait: DEADLINE, endpoints });
        builder.route(rule).expect("a valid route");
        bench.handle.publish(builder.build());
        tokio::task::yield_now().await;
    }
    bench.handle.publish(table_of(200, &one(100), |_| {}));
    let before = bench.calls();
    until("requests under the last table", || bench.calls() > before + 100).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(soon("the end of a client", client).await.expect("no request failed") > 0);
    }
    assert_eq!(bench.get("/who").await.body, "hello/web.1 r200");
}

#[tokio::test]
async fn why_walks_the_way_of_a_request() {
    let bench = gated(&one(1));
    let walk = |url: &str| {
        let answer = bench.handle.why(&Method::GET, url);
        let steps: Vec<_> =
            answer.steps.iter().map(|step| format!("{}{}: {}", if step.ok { "" } else { "! " }, step.step, step.message)).collect();
        format!("{}\n{}", answer.code.unwrap_or_else(|| "ok".to_owned()), steps.join("\n"))
    };
    expect_test::expect![[r#"
        ok
        request: host `hello.localhost`, path `/x`
        host: some route names `hello.localhost`
        route: prefix `hello.localhost/` of `hello/web`
        revision: `hello/web` serves r1 here
        endpoints: 1 ready: .1 (0 of 1 in flight)
        queue: 0 of 2 wait, 20s at most"#]]
    .assert_eq(&walk("http://hello.localhost:8080/x?y"));
    expect_test::expect![[r#"
        E0501
        request: host `other.localhost`, path `/`
        ! host: no route names `other.localhost`"#]]
    .assert_eq(&walk("other.localhost"));
    expect_test::expect![[r#"
        E0507
        ! request: refused: the path has a dot element"#]]
    .assert_eq(&walk("hello.localhost/a/../b"));
    bench.handle.publish(table(&[], |rule| {
        rule.methods = vec!["GET".to_owned()];
        rule.path = "/v1".to_owned();
        rule.rewrite = Some("/".to_owned());
    }));
    expect_test::expect![[r#"
        E0503
        request: host `hello.localhost`, path `/v1`
        host: some route names `hello.localhost`
        route: prefix `hello.localhost/v1` of `hello/web`, GET, rewritten to `/`
        revision: `hello/web` serves r1 here
        ! endpoints: no instance of `hello/web` is ready; requests are held for up to 20s"#]]
    .assert_eq(&walk("hello.localhost/v1"));
}
