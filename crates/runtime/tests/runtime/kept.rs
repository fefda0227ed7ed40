//! Sandboxes that answer more than one request: what requests share, and that nobody waits for somebody else's work.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Channel};
use model::app::{Reuse, ReuseMode};
use runtime::{Program, ProgramConfig, SandboxError, Settings};

use crate::support::{Bench, SLOTS, call, config, fetch, get, next, read};

pub fn reuse(mode: ReuseMode) -> Reuse {
    Reuse { mode: Some(mode), ..Reuse::default() }
}

pub fn with(reuse: Reuse) -> ProgramConfig {
    ProgramConfig { reuse: Some(reuse), ..config() }
}

/// What the guest says, as a number.
pub async fn number(program: &Arc<Program>, path: &str) -> u64 {
    fetch(program, path).await.unwrap().1.parse().unwrap()
}

/// Asks until the answer is `expected`.
pub async fn until(program: &Arc<Program>, path: &str, expected: u64) {
    let ask = async { while number(program, path).await != expected {} };
    tokio::time::timeout(Duration::from_secs(20), ask).await.expect("it comes about soon");
}

/// Waits until this many sandboxes live.
pub async fn until_live(bench: &Bench, expected: u32) {
    let look = async {
        while bench.live() != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.unwrap_or_else(|_| panic!("{} live", bench.live()));
}

#[tokio::test]
async fn a_fresh_sandbox_remembers_nothing() {
    let bench = Bench::new();
    let program = bench.sample_with("keeper", with(reuse(ReuseMode::Fresh)));
    for _ in 0..3 {
        assert_eq!(number(&program, "/count").await, 1);
    }
    assert_eq!((bench.live(), bench.runtime.figures().instantiations), (0, 3));
}

#[tokio::test]
async fn kept_sandboxes_remember() {
    for mode in [ReuseMode::Serial, ReuseMode::Concurrent] {
        let bench = Bench::new();
        let program = bench.sample_with("keeper", with(reuse(mode)));
        for expected in 1..=20 {
            assert_eq!(number(&program, "/count").await, expected, "{mode:?}");
        }
        let figures = bench.runtime.figures();
        assert_eq!((figures.instantiations, figures.sandboxes_live, figures.sandboxes_kept, figures.recycled), (1, 1, 1, 0));
        drop(program);
        until_live(&bench, 0).await;
    }
}

/// Goal: what a manifest leaves out goes by the version of WASI.
#[tokio::test]
async fn the_default_goes_by_version() {
    let bench = Bench::new();
    let (old, new) = (bench.sample("hello"), bench.sample("keeper"));
    for expected in 1..=3 {
        assert_eq!(fetch(&old, "/").await.unwrap().0, 200);
        assert_eq!(number(&new, "/count").await, expected);
    }
    assert_eq!(bench.runtime.figures().instantiations, 4);
}

#[tokio::test]
async fn a_component_of_wasi_02_is_kept_when_it_may_be() {
    let bench = Bench::new();
    // What it cannot do becomes what it can.
    let program = bench.sample_with("hello", with(reuse(ReuseMode::Concurrent)));
    let requests: Vec<_> = (0..20).map(|_| fetch(&program, "/x")).collect();
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.unwrap(), (200, "Hello from Shoal! You asked for /x\n".into()));
    }
    let figures = bench.runtime.figures();
    assert!(figures.instantiations <= u64::from(SLOTS), "{figures:?}");
    assert_eq!(figures.sandboxes_live, figures.sandboxes_kept);
}

/// Goal: requests in one sandbox are at work at once. Method: two that wait for each other.
#[tokio::test]
async fn requests_meet_in_one_sandbox() {
    let bench = Bench::new();
    let program = bench.sample("keeper");
    let (one, other) = tokio::join!(fetch(&program, "/meet?wanted=2"), fetch(&program, "/meet?wanted=2"));
    assert_eq!((one.unwrap().1.as_str(), other.unwrap().1.as_str()), ("2 met", "2 met"));
    assert_eq!(bench.runtime.figures().instantiations, 1);
}

/// Goal: a guest that computes holds nobody else up. Method: another request is answered, by another sandbox, while it still computes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_that_computes_takes_no_second_request() {
    let bench = Bench::new();
    let program = bench.sample("keeper");
    assert_eq!(number(&program, "/count").await, 1);
    let busy = tokio::spawn({
        let program = Arc::clone(&program);
        async move { fetch(&program, "/burn?ms=600000").await }
    });
    // A request that is inside already when the other begins to compute shares its lot; those that come afterwards must not.
    while bench.runtime.figures().slow_lane == 0 {
        tokio::task::yield_now().await;
    }
    until(&program, "/count", 1).await;
    assert!(!busy.is_finished(), "the other one still computes");
    assert!(bench.runtime.figures().instantiations >= 2);
    busy.abort();
}

#[tokio::test]
async fn there_are_no_more_sandboxes_than_allowed() {
    let bench = Bench::new();
    for mode in [ReuseMode::Serial, ReuseMode::Concurrent] {
        let program = bench.sample_with("keeper", with(Reuse { sandboxes: Some(1), ..reuse(mode) }));
        let requests: Vec<_> = (0..10).map(|_| fetch(&program, "/count")).collect();
        let mut numbers: Vec<u64> =
            futures_util::future::join_all(requests).await.into_iter().map(|answer| answer.unwrap().1.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=10).collect::<Vec<_>>(), "{mode:?}");
    }
}

#[tokio::test]
async fn a_request_waits_for_a_sandbox_only_so_long() {
    let bench = Bench::new();
    for (mode, concurrent) in [(ReuseMode::Serial, 16), (ReuseMode::Concurrent, 1)] {
        let reuse = Reuse { sandboxes: Some(1), max_concurrent: concurrent, ..reuse(mode) };
        let program = bench.sample_with("keeper", ProgramConfig { queue_wait: Duration::from_millis(20), ..with(reuse) });
        let mut busy = Box::pin(fetch(&program, "/sleep?ms=60000"));
        assert!(futures_util::poll!(&mut busy).is_pending());
        let error = tokio::select! {
            answer = fetch(&program, "/count") => answer.unwrap_err(),
            answer = &mut busy => panic!("{answer:?}"),
        };
        assert_eq!((&error, error.code()), (&SandboxError::Busy { sandboxes: 1 }, "E0308"), "{mode:?}");
    }
}

/// Goal: bodies stream both ways at once, with what follows them. Method: the second chunk is sent only after the first came back.
#[tokio::test]
async fn bodies_stream_and_trailers_follow() {
    let bench = Bench::new();
    for mode in [ReuseMode::Fresh, ReuseMode::Serial, ReuseMode::Concurrent] {
        let program = bench.sample_with("keeper", with(reuse(mode)));
        let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(1);
        let request = http::Request::post("/echo").header("host", "x").body(body).unwrap();
        let mut body = program.handle(request, call("request-1")).await.unwrap().into_body();
        for chunk in ["one", "two", "three"] {
            sender.send_data(Bytes::from_static(chunk.as_bytes())).await.unwrap();
            assert_eq!(next(&mut body).await.unwrap().unwrap(), chunk, "{mode:?}");
        }
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "3".parse().unwrap())]);
        sender.send_trailers(trailers.clone()).await.unwrap();
        drop(sender);
        let last = body.frame().await.unwrap().unwrap();
        assert_eq!(last.into_trailers().unwrap(), trailers, "{mode:?}");
        assert!(body.frame().await.is_none());
    }
}

/// Goal: budgets are of a request. Method: a sandbox uses ten times as much as one request may.
#[tokio::test]
async fn each_request_has_its_own_processor_time() {
    let bench = Bench::new();
    for mode in [ReuseMode::Serial, ReuseMode::Concurrent] {
        let program = bench.sample_with("keeper", ProgramConfig { cpu_time: Duration::from_millis(200), ..with(reuse(mode)) });
        for _ in 0..10 {
            assert_eq!(fetch(&program, "/burn?ms=40").await.unwrap().0, 200, "{mode:?}");
        }
        let error = fetch(&program, "/burn?ms=600000").await.unwrap_err();
        assert_eq!((&error, error.code()), (&SandboxError::CpuTime { limit: Duration::from_millis(200) }, "E0310"), "{mode:?}");
        assert_eq!(number(&program, "/count").await, 1, "the next one has another sandbox");
    }
}

/// Goal: a sandbox that only remembers makes room for one that is needed. Method: as many programs as there are slots, then one more.
#[tokio::test]
async fn idle_sandboxes_give_way() {
    let bench = Bench::new();
    let keepers: Vec<_> = (0..SLOTS).map(|_| bench.sample_with("keeper", with(reuse(ReuseMode::Serial)))).collect();
    for keeper in &keepers {
        assert_eq!(number(keeper, "/count").await, 1);
    }
    assert_eq!(bench.live(), SLOTS);
    assert_eq!(fetch(&bench.sample("hello"), "/").await.unwrap().0, 200);
    assert_eq!((bench.live(), bench.runtime.figures().recycled), (SLOTS - 1, 1));
    assert_eq!(number(&keepers[1], "/count").await, 2, "the one that was idle longest went");
    assert_eq!(number(&keepers[0], "/count").await, 1);
}

#[tokio::test]
async fn idle_sandboxes_end_after_a_while() {
    let bench = Bench::with(Settings { slots: SLOTS, kept_idle: Duration::from_millis(50), ..Settings::for_this_machine() });
    for mode in [ReuseMode::Serial, ReuseMode::Concurrent] {
        let program = bench.sample_with("keeper", with(reuse(mode)));
        assert_eq!(number(&program, "/count").await, 1);
        until_live(&bench, 0).await;
        assert_eq!(number(&program, "/count").await, 1, "{mode:?}");
        until_live(&bench, 0).await;
    }
}

/// Goal: instances share nothing. Method: two ordinals of one program count for themselves.
#[tokio::test]
async fn every_instance_has_its_own_sandboxes() {
    let bench = Bench::new();
    let program = bench.sample("keeper");
    for expected in ["1", "2"] {
        for ordinal in [0, 1] {
            let call = runtime::Call { ordinal, ..call("request-1") };
            assert_eq!(read(program.handle(get("/count"), call).await.unwrap()).await.unwrap(), expected, "{ordinal}");
        }
    }
}
