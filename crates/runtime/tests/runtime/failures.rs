//! Every way a guest can fail: what the caller is told, what stands in the log, and that nothing is left behind.

use std::time::Duration;

use runtime::{ProgramConfig, SandboxError, Stream};

use crate::support::{Bench, SLOTS, call, config, fetch, get, handler};

/// One failing request to the sample that crashes. Returns the error and what the host said.
async fn crash(how: &str, config: ProgramConfig) -> (SandboxError, Vec<String>) {
    let bench = Bench::new();
    let program = bench.sample_with("crash", config);
    let error = fetch(&program, &format!("/?how={how}")).await.unwrap_err();
    let host: Vec<_> = bench.lines.all().into_iter().filter(|line| line.stream == Stream::Host).collect();
    assert!(host.iter().all(|line| line.request_id.as_deref() == Some("request-1")), "{host:?}");
    assert_eq!(bench.live_at_last().await, 0);
    assert_eq!(bench.runtime.figures().pool.map_or(0, |pool| pool.memories), 0);
    assert_eq!(fetch(&program, "/?how=none").await.unwrap().0, 200, "the next request is not harmed");
    (error, host.into_iter().map(|line| line.text).collect())
}

#[tokio::test]
async fn a_trap_is_told_with_the_functions_it_happened_in() {
    let (error, host) = crash("trap", config()).await;
    let SandboxError::Trap { message, backtrace } = &error else { panic!("{error:?}") };
    assert_eq!(error.code(), "E0304");
    assert!(message.contains("unreachable"), "{message}");
    assert!(backtrace.contains("crash::TheServer"), "{backtrace}");
    assert!(!error.to_string().contains("crash::TheServer"), "a caller may show the error's text: {error}");
    assert_eq!(host.len(), 1);
    assert!(host[0].contains("unreachable") && host[0].contains("crash::TheServer"), "{host:?}");
}

#[tokio::test]
async fn a_panic_leaves_its_message_in_the_log() {
    let bench = Bench::new();
    let error = fetch(&bench.sample("crash"), "/?how=panic").await.unwrap_err();
    assert!(matches!(error, SandboxError::Trap { .. }), "{error:?}");
    let stderr = bench.lines.of(Stream::Stderr);
    assert!(stderr.iter().any(|line| line.contains("asked to crash")), "{stderr:?}");
}

#[tokio::test]
async fn an_exit_is_a_failure() {
    let (error, host) = crash("exit", config()).await;
    assert_eq!((&error, error.code()), (&SandboxError::Exit { code: 1 }, "E0304"));
    assert_eq!(host, ["the component ended itself with exit code 1"]);
}

#[tokio::test]
async fn the_memory_limit_holds_and_is_named() {
    let (error, host) = crash("memory", ProgramConfig { memory_bytes: 16 << 20, ..config() }).await;
    let SandboxError::Memory { limit_bytes, wanted_bytes } = error else { panic!("{error:?}") };
    assert!(limit_bytes == 16 << 20 && wanted_bytes > limit_bytes, "{limit_bytes} {wanted_bytes}");
    assert!(host[0].contains("memory limit reached") && host[0].contains("resources.memory"), "{host:?}");
    assert!(host.last().unwrap().contains("failed after it was denied memory"), "{host:?}");
}

#[tokio::test]
async fn a_component_larger_than_its_limit_does_not_start() {
    let bench = Bench::new();
    let program = bench.sample_with("hello", ProgramConfig { memory_bytes: 64 << 10, ..config() });
    let error = program.probe().await.unwrap_err();
    assert!(matches!(error, SandboxError::Memory { .. }), "{error:?}");
    assert_eq!(bench.live(), 0);
}

/// Goal: a guest that computes for ever is ended, and meanwhile others are served by the same thread.
#[tokio::test(flavor = "current_thread")]
async fn an_endless_loop_ends_and_blocks_nobody() {
    let bench = Bench::new();
    let spinning = bench.sample_with("crash", ProgramConfig { timeout: Duration::from_millis(500), ..config() });
    let hello = bench.sample("hello");
    let spin = tokio::spawn(async move { fetch(&spinning, "/?how=loop").await });
    for _ in 0..5 {
        assert_eq!(fetch(&hello, "/").await.unwrap().0, 200);
    }
    assert!(!spin.is_finished(), "the others were answered first");
    let error = spin.await.unwrap().unwrap_err();
    assert_eq!((&error, error.code()), (&SandboxError::Timeout { after: Duration::from_millis(500) }, "E0306"));
    assert_eq!(
        bench.lines.of(Stream::Host),
        [
            "the component sent no response within 500 ms; the sandbox was ended; raise `resources.timeout` of the component or `timeout` of its route"
        ]
    );
    assert_eq!((bench.live_at_last().await, bench.runtime.figures().timeouts), (0, 1));
}

#[tokio::test]
async fn a_call_may_shorten_the_timeout() {
    let bench = Bench::new();
    let call = runtime::Call { timeout: Some(Duration::from_millis(20)), ..call("request-1") };
    let error = bench.sample("slow").handle(get("/?ms=60000"), call).await.err().unwrap();
    assert_eq!(error, SandboxError::Timeout { after: Duration::from_millis(20) });
}

/// The head of a response leaves when its guest first waits; a guest that fails before has answered nothing.
#[tokio::test]
async fn a_trap_before_the_head_has_left_is_no_response() {
    let (error, _) = crash("late", config()).await;
    assert!(matches!(error, SandboxError::Trap { .. }), "{error:?}");
}

#[tokio::test]
async fn a_guest_that_returns_without_a_response_is_told() {
    let bench = Bench::new();
    let error = fetch(&bench.text(&handler(r#"(func (export "handle") (param i32 i32))"#)), "/").await.unwrap_err();
    assert_eq!((&error, error.code()), (&SandboxError::NoResponse, "E0307"));
    assert_eq!(bench.lines.of(Stream::Host), ["the component returned without sending a response"]);
}

#[tokio::test]
async fn start_code_that_traps_or_spins_fails_the_probe() {
    let bench = Bench::new();
    let traps = r#"(func $boom unreachable) (start $boom) (func (export "handle") (param i32 i32))"#;
    let error = bench.text(&handler(traps)).probe().await.unwrap_err();
    assert!(matches!(&error, SandboxError::Trap { backtrace, .. } if backtrace.contains("boom")), "{error:?}");
    let spins = r#"(func $spin (loop (br 0))) (start $spin) (func (export "handle") (param i32 i32))"#;
    let config = ProgramConfig { cpu_time: Duration::from_millis(50), ..config() };
    let error = bench.text_with(&handler(spins), config).probe().await.unwrap_err();
    assert!(matches!(error, SandboxError::CpuTime { .. }), "{error:?}");
    assert_eq!((bench.live_at_last().await, bench.runtime.figures().start_failures), (0, 1));
}

#[tokio::test]
async fn sockets_are_denied_with_a_remedy_and_few_lines() {
    let bench = Bench::new();
    bench.text(include_str!("sockets.wat")).probe().await.unwrap();
    let host = bench.lines.of(Stream::Host);
    assert_eq!(host.len(), 8, "ten refusals, eight lines");
    assert!(host[0].starts_with("a TCP socket denied: `hello/web` may not use sockets") && host[0].contains("egress:"), "{host:?}");
}

#[tokio::test]
async fn random_bytes_are_bounded() {
    let bench = Bench::new();
    let error = bench.text(include_str!("random.wat")).probe().await.unwrap_err();
    assert_eq!(error.code(), "E0312");
    assert_eq!(error, SandboxError::HostLimit { reason: "asked for 1048577 random bytes at once, the limit is 1048576".into() });
}

#[tokio::test]
async fn tables_count_against_the_memory_limit() {
    let bench = Bench::new();
    let module = r#"(table 10000 funcref) (func (export "handle") (param i32 i32))"#;
    let config = ProgramConfig { memory_bytes: 79_999, ..config() };
    let error = bench.text_with(&handler(module), config).probe().await.unwrap_err();
    assert_eq!(error, SandboxError::Memory { limit_bytes: 79_999, wanted_bytes: 80_000 });
}

#[tokio::test]
async fn a_request_without_a_host_is_refused() {
    let bench = Bench::new();
    let mut request = get("/");
    request.headers_mut().clear();
    let error = bench.sample("hello").handle(request, call("request-1")).await.err().unwrap();
    assert!(matches!(error, SandboxError::BadRequest { .. }), "{error:?}");
    assert_eq!(bench.live(), 0);
}

/// Goal: a full pool refuses at once and is whole again when its requests are dropped, whatever they were doing.
#[tokio::test]
async fn a_full_pool_refuses_and_recovers() {
    let bench = Bench::new();
    let slow = bench.sample("slow");
    let mut held: Vec<_> = (0..SLOTS).map(|_| Box::pin(slow.handle(get("/?ms=60000"), call("request-1")))).collect();
    for request in &mut held {
        assert!(futures_once(request).await.is_none(), "it waits");
    }
    assert_eq!(bench.live(), SLOTS);
    assert_eq!(fetch(&slow, "/").await.unwrap_err(), SandboxError::Exhausted { slots: SLOTS });
    assert_eq!(slow.probe().await.unwrap_err().code(), "E0308");
    drop(held);
    let figures = bench.runtime.figures();
    assert_eq!((figures.sandboxes_live, figures.exhaustions), (0, 2));
    assert_eq!(figures.pool.map_or(0, |pool| pool.memories + pool.stacks), 0);
    assert_eq!(fetch(&slow, "/?ms=0").await.unwrap().0, 200);
}

/// Polls a future once.
async fn futures_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
