//! How a kept sandbox ends, and what that means for everybody in it.

use std::time::Duration;

use model::{
    app::{Reuse, ReuseMode},
    quantity::Millis,
};
use runtime::{ProgramConfig, SandboxError, Stream};

use crate::{
    kept::{number, reuse, until, until_live, with},
    support::{Bench, call, config, fetch, get, next},
};

#[tokio::test]
async fn a_sandbox_is_replaced_after_so_many_requests() {
    let bench = Bench::new();
    for mode in [ReuseMode::Serial, ReuseMode::Concurrent] {
        let program = bench.sample_with("keeper", with(Reuse { max_requests: 3, ..reuse(mode) }));
        for expected in [1, 2, 3, 1, 2, 3, 1] {
            assert_eq!(number(&program, "/count").await, expected, "{mode:?}");
        }
    }
    assert_eq!(bench.runtime.figures().recycled, 4);
}

#[tokio::test]
async fn a_sandbox_may_be_kept_for_ever() {
    let bench = Bench::new();
    let program = bench.sample_with("keeper", with(Reuse { max_requests: 0, ..reuse(ReuseMode::Concurrent) }));
    for expected in 1..=200 {
        assert_eq!(number(&program, "/count").await, expected);
    }
}

#[tokio::test]
async fn a_sandbox_is_replaced_when_it_is_old() {
    let bench = Bench::new();
    for mode in [ReuseMode::Serial, ReuseMode::Concurrent] {
        let program = bench.sample_with("keeper", with(Reuse { max_age: Some(Millis(40)), max_requests: 0, ..reuse(mode) }));
        until(&program, "/count", 2).await;
        let recycled = bench.runtime.figures().recycled;
        let ask = async {
            while bench.runtime.figures().recycled == recycled {
                number(&program, "/count").await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ask).await.expect("it gets old soon");
        until(&program, "/count", 1).await;
    }
}

/// Goal: no request is lost with a sandbox that did not take it. Method: every sandbox ends with its first request while others wait.
#[tokio::test]
async fn requests_that_wait_go_to_another_sandbox() {
    let bench = Bench::new();
    for mode in [ReuseMode::Serial, ReuseMode::Concurrent] {
        let program = bench.sample_with("keeper", with(Reuse { sandboxes: Some(1), max_requests: 1, ..reuse(mode) }));
        let requests: Vec<_> = (0..10).map(|_| fetch(&program, "/count")).collect();
        for answer in futures_util::future::join_all(requests).await {
            assert_eq!(answer.unwrap(), (200, "1".into()), "{mode:?}");
        }
        until_live(&bench, 0).await;
    }
    assert_eq!(bench.runtime.figures().recycled, 20);
}

/// Goal: a trap ends the sandbox, everybody in it hears of it, and only the one who caused it is blamed.
#[tokio::test]
async fn a_trap_ends_every_request_in_the_sandbox() {
    let bench = Bench::new();
    let program = bench.sample("keeper");
    let mut waiting = Box::pin(fetch(&program, "/sleep?ms=60000"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let response = program.handle(get("/drip?ms=5"), call("request-3")).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "drip\n");
    let (waited, trapped) = tokio::join!(waiting, fetch(&program, "/trap"));
    let (waited, trapped) = (waited.unwrap_err(), trapped.unwrap_err());
    assert!(matches!(&trapped, SandboxError::Trap { backtrace, .. } if backtrace.contains("keeper.wasm")), "{trapped:?}");
    assert_eq!((waited.code(), trapped.code()), ("E0314", "E0304"), "{waited}");
    let broken = loop {
        match next(&mut body).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a body that broke off looks whole"),
        }
    };
    assert_eq!(broken.code(), "E0314");
    assert_eq!(bench.runtime.figures().traps, 1);
    assert_eq!(number(&program, "/count").await, 1);
    assert_eq!(bench.runtime.figures().instantiations, 2);
}

#[tokio::test]
async fn a_trap_in_the_body_breaks_the_body() {
    for mode in [ReuseMode::Fresh, ReuseMode::Serial, ReuseMode::Concurrent] {
        let bench = Bench::new();
        let program = bench.sample_with("keeper", with(reuse(mode)));
        let mut body = program.handle(get("/late"), call("request-1")).await.unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "half of it", "{mode:?}");
        let error = next(&mut body).await.unwrap().unwrap_err();
        assert_eq!(error.code(), "E0304", "{mode:?} {error:?}");
        drop(body);
        until_live(&bench, 0).await;
    }
}

#[tokio::test]
async fn errors_and_exits_are_told() {
    for mode in [ReuseMode::Fresh, ReuseMode::Serial, ReuseMode::Concurrent] {
        let bench = Bench::new();
        let program = bench.sample_with("keeper", with(reuse(mode)));
        let refused = fetch(&program, "/refuse").await.unwrap_err();
        assert!(matches!(&refused, SandboxError::Refused { reason } if reason.contains("Configuration")), "{mode:?} {refused:?}");
        assert_eq!(fetch(&program, "/exit").await.unwrap_err(), SandboxError::Exit { code: 1 }, "{mode:?}");
        let lines = bench.lines.all();
        assert!(lines.iter().all(|line| line.stream == Stream::Host && line.request_id.as_deref() == Some("request-1")), "{lines:?}");
        until_live(&bench, 0).await;
    }
}

/// Goal: a client that leaves ends its request and nobody else's. Method: the guest itself counts the streams nobody reads any more.
#[tokio::test]
async fn a_client_that_leaves_ends_its_request() {
    let bench = Bench::new();
    let program = bench.sample("keeper");
    let mut body = program.handle(get("/drip?ms=1"), call("request-1")).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "drip\n");
    assert_eq!(number(&program, "/abandoned").await, 0);
    drop(body);
    until(&program, "/abandoned", 1).await;
    assert_eq!(bench.runtime.figures().instantiations, 1, "the sandbox goes on");
}

#[tokio::test]
async fn a_client_that_leaves_ends_a_sandbox_that_is_its_own() {
    for mode in [ReuseMode::Fresh, ReuseMode::Serial] {
        let bench = Bench::new();
        let program = bench.sample_with("keeper", with(reuse(mode)));
        let mut body = program.handle(get("/drip?ms=1"), call("request-1")).await.unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "drip\n");
        assert_eq!(bench.live(), 1);
        drop(body);
        assert_eq!(bench.live(), 0, "{mode:?}");
        assert_eq!(number(&program, "/count").await, 1, "{mode:?}");
    }
}

/// Goal: a request without an answer in time gives its sandbox up, but not those that are in it.
#[tokio::test]
async fn a_timeout_gives_the_sandbox_up() {
    let bench = Bench::new();
    let program = bench.sample("keeper");
    let mut meeting = Box::pin(fetch(&program, "/meet?wanted=2"));
    assert!(futures_util::poll!(&mut meeting).is_pending());
    let call = runtime::Call { timeout: Some(Duration::from_millis(20)), ..call("request-2") };
    let late = program.handle(get("/sleep?ms=60000"), call);
    let (late, met) = tokio::join!(late, async {
        // It comes into the same sandbox, before the other one is late.
        let (one, other) = tokio::join!(&mut meeting, fetch(&program, "/meet?wanted=2"));
        (one, other)
    });
    assert_eq!(late.err().unwrap(), SandboxError::Timeout { after: Duration::from_millis(20) });
    assert!(met.0.is_ok() && met.1.is_ok(), "{met:?}");
    assert_eq!(number(&program, "/count").await, 1);
    assert_eq!((bench.runtime.figures().timeouts, bench.runtime.figures().instantiations), (1, 2));
    until_live(&bench, 1).await;
}

/// Goal: a guest may work on when nobody waits for it any more, but not for ever.
#[tokio::test]
async fn work_nobody_waits_for_is_bounded() {
    let bench = Bench::new();
    let program = bench.sample("keeper");
    let mut left = Box::pin(fetch(&program, "/sleep?ms=60000"));
    assert!(futures_util::poll!(&mut left).is_pending());
    assert_eq!(number(&program, "/count").await, 1);
    drop(left);
    until_live(&bench, 0).await;
    assert_eq!(bench.runtime.figures().overruns, 1);
    assert_eq!(number(&program, "/count").await, 1);
}

/// Goal: a sandbox that could not be started fails the request that waited for it, and only those that must fail.
#[tokio::test]
async fn a_start_that_fails_is_told() {
    for mode in [ReuseMode::Serial, ReuseMode::Concurrent] {
        let bench = Bench::new();
        let program = bench.sample_with("keeper", ProgramConfig { memory_bytes: 64 << 10, ..with(reuse(mode)) });
        for _ in 0..3 {
            let error = fetch(&program, "/count").await.unwrap_err();
            assert_eq!(error.code(), "E0305", "{mode:?} {error:?}");
        }
        until_live(&bench, 0).await;
    }
}

#[tokio::test]
async fn nothing_is_kept_when_the_runtime_ends() {
    let bench = Bench::new();
    let program = bench.sample_with("keeper", ProgramConfig { reuse: None, ..config() });
    assert_eq!(number(&program, "/count").await, 1);
    bench.runtime.finish().await;
    drop(program);
    assert_eq!(bench.live(), 0);
}
