//! What a guest may use, on by default: processor time, host resources, and where it runs when it computes. Nothing here waits for the time of day.

use std::{sync::Arc, time::Duration};

use runtime::{ComponentFigures, Program, ProgramConfig, SandboxError, Stream};

use crate::support::{Bench, call, config, fetch, get, next};

/// Short enough to wait for, and longer than one turn takes where threads wait for their processor: a guest is moved between two turns.
const CPU_TIME: Duration = Duration::from_millis(50);

/// A program of the sample that attacks, with little processor time.
fn hostile(bench: &Bench) -> (Arc<Program>, Arc<ComponentFigures>) {
    hostile_for(bench, CPU_TIME)
}

fn hostile_for(bench: &Bench, cpu_time: Duration) -> (Arc<Program>, Arc<ComponentFigures>) {
    let figures = Arc::new(ComponentFigures::default());
    let timeout = Duration::from_secs(600);
    let config = ProgramConfig { cpu_time, timeout, memory_bytes: 4 << 20, figures: Arc::clone(&figures), ..config() };
    (bench.sample_with("hostile", config), figures)
}

fn exhausted() -> SandboxError {
    SandboxError::CpuTime { limit: CPU_TIME }
}

const EXHAUSTED: &str = "processor time used up: the component computed for 50 ms on one request; the sandbox was ended; raise `resources.cpuTime` of the component";

#[tokio::test]
async fn processor_time_ends_a_guest_before_its_response() {
    let bench = Bench::patient();
    let (program, figures) = hostile(&bench);
    let error = fetch(&program, "/loop").await.unwrap_err();
    assert_eq!((&error, error.code()), (&exhausted(), "E0310"));
    assert_eq!(bench.lines.of(Stream::Host), [EXHAUSTED]);
    assert_eq!(bench.live_at_last().await, 0);
    let read = figures.read();
    assert_eq!((read.requests, read.cpu_exhausted, read.slow_lane, read.traps), (1, 1, 1, 0));
    assert!(read.cpu_nanos >= CPU_TIME.as_nanos() as u64, "{read:?}");
    assert_eq!(bench.runtime.figures().cpu_exhausted, 1);
}

#[tokio::test]
async fn processor_time_ends_a_guest_inside_its_body() {
    let bench = Bench::patient();
    // Enough for the head of the response, also where threads wait for their processor.
    let limit = Duration::from_millis(200);
    let (program, _) = hostile_for(&bench, limit);
    let mut body = program.handle(get("/loop-in-body"), call("request-1")).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "the start of a body\n");
    assert_eq!(next(&mut body).await.unwrap().unwrap_err(), SandboxError::CpuTime { limit });
    assert_eq!(bench.lines.of(Stream::Host), [EXHAUSTED.replace("50 ms", "200 ms")]);
    assert_eq!(bench.live_at_last().await, 0);
}

#[tokio::test]
async fn processor_time_ends_a_guest_after_its_response() {
    let bench = Bench::patient();
    let (program, _) = hostile(&bench);
    assert_eq!(fetch(&program, "/loop-after-body").await.unwrap().0, 200);
    assert_eq!(bench.live_at_last().await, 0);
    assert_eq!(bench.lines.of(Stream::Host), [EXHAUSTED]);
}

/// Goal: what counts is computing, not waiting. Method: a guest that sleeps for longer than a guest is light stays where it is.
#[tokio::test]
async fn the_slow_lane_is_for_guests_that_compute() {
    let bench = Bench::patient();
    let figures = Arc::new(ComponentFigures::default());
    let slow = bench.sample_with("slow", ProgramConfig { figures: Arc::clone(&figures), ..config() });
    assert_eq!(fetch(&slow, "/?ms=30").await.unwrap().0, 200);
    assert_eq!((figures.read().slow_lane, bench.runtime.figures().slow_lane), (0, 0));
    let (spinning, figures) = hostile(&bench);
    fetch(&spinning, "/loop").await.unwrap_err();
    assert_eq!((figures.read().slow_lane, bench.runtime.figures().slow_lane), (1, 1));
}

/// Goal: a component that mostly computes begins in the slow lane, and comes back when it does not any more.
#[tokio::test]
async fn a_heavy_component_begins_in_the_slow_lane() {
    let bench = Bench::patient();
    let (program, figures) = hostile(&bench);
    for _ in 0..8 {
        fetch(&program, "/loop").await.unwrap_err();
    }
    let moved = figures.read().slow_lane;
    assert_eq!(fetch(&program, "/").await.unwrap().0, 200);
    assert_eq!(figures.read().slow_lane, moved + 1, "a light request of a heavy component");
    for _ in 0..20 {
        fetch(&program, "/").await.unwrap();
    }
    let moved = figures.read().slow_lane;
    fetch(&program, "/").await.unwrap();
    assert_eq!(figures.read().slow_lane, moved, "it is light again");
}

/// Goal: timers of a guest work in the slow lane, and its response streams from there.
#[tokio::test]
async fn a_guest_in_the_slow_lane_waits_and_streams() {
    let bench = Bench::patient();
    let figures = Arc::new(ComponentFigures::default());
    let program = |name| bench.sample_with(name, ProgramConfig { cpu_time: CPU_TIME, figures: Arc::clone(&figures), ..config() });
    let (hostile, slow) = (program("hostile"), program("slow"));
    for _ in 0..8 {
        fetch(&hostile, "/loop").await.unwrap_err();
    }
    let moved = figures.read().slow_lane;
    let (status, text) = fetch(&slow, "/?ms=1").await.unwrap();
    assert_eq!((status, text.starts_with("slept for ")), (200, true), "{text}");
    assert_eq!(figures.read().slow_lane, moved + 1);
    assert_eq!(bench.live_at_last().await, 0);
}

/// Goal: a client that leaves ends its guest in the slow lane too. Method: the request is dropped once its guest is there.
#[tokio::test]
async fn dropping_a_spinning_guest_frees_its_slot() {
    let bench = Bench::patient();
    let figures = Arc::new(ComponentFigures::default());
    let config = ProgramConfig { cpu_time: Duration::from_secs(600), figures: Arc::clone(&figures), ..config() };
    let program = bench.sample_with("hostile", config);
    let request = tokio::spawn(async move { fetch(&program, "/loop").await });
    while figures.read().slow_lane == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.live(), 1);
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    assert_eq!(bench.live_at_last().await, 0);
    assert_eq!((figures.read().memory_held_bytes, figures.read().cpu_exhausted), (0, 0));
}

/// Goal: every limit that protects the host has its own error and its line, and is no plain trap.
#[tokio::test]
async fn limits_of_the_host_are_told_apart_from_traps() {
    let cases = [
        ("fields", "more than 65536 bytes of header fields in one map"),
        ("trailers", "more than 65536 bytes of header fields in one map"),
        ("handles", "more resources of the host at once than a sandbox may hold"),
        ("pollables", "more resources of the host at once than a sandbox may hold"),
        ("poll-many", "more than 10000 handles"),
        ("random", "asked for 1073741824 random bytes at once, the limit is 1048576"),
    ];
    for (how, expected) in cases {
        let bench = Bench::patient();
        let program = bench.sample_with("hostile", config());
        let error = fetch(&program, &format!("/{how}")).await.unwrap_err();
        assert_eq!((&error, error.code()), (&SandboxError::HostLimit { reason: expected.into() }, "E0312"), "{how}");
        let host = bench.lines.of(Stream::Host);
        let line = format!("the component reached a limit of the host that no setting raises: {expected}\n");
        assert!(host.len() == 1 && host[0].starts_with(&line), "{how}: {host:?}");
        assert_eq!((bench.live_at_last().await, bench.runtime.figures().host_limits), (0, 1), "{how}");
    }
    let bench = Bench::patient();
    let error = bench.text(include_str!("host_call.wat")).probe().await.unwrap_err();
    assert_eq!(error, SandboxError::HostLimit { reason: "more than 16777216 bytes copied by one call of the host".into() });
    let error = fetch(&bench.sample("hostile"), "/trap").await.unwrap_err();
    assert!(matches!(error, SandboxError::Trap { .. }), "{error:?}");
}

#[tokio::test]
async fn a_trap_in_every_request_leaves_room_in_the_log() {
    let bench = Bench::patient();
    let (program, figures) = hostile(&bench);
    for _ in 0..20 {
        fetch(&program, "/trap").await.unwrap_err();
    }
    let host = bench.lines.of(Stream::Host);
    assert_eq!(host.len(), 7, "five with everything, the eighth and the sixteenth in one line: {host:?}");
    assert!(host[..5].iter().all(|line| line.contains("wasm backtrace")), "{host:?}");
    assert!(host[5].ends_with("(8 failures within a minute; most are left out, and all backtraces)"), "{host:?}");
    assert_eq!(figures.read().traps, 20);
}

/// Sends `rounds` requests, one after the other, and reads what comes; a response that never ends is dropped after its first piece.
async fn rounds(bench: &Bench, program: &Arc<Program>, how: &str, rounds: u32) {
    for _ in 0..rounds {
        if let Ok(response) = program.handle(get(&format!("/{how}")), call("request-1")).await {
            let mut body = response.into_body();
            while let Some(Ok(_)) = next(&mut body).await
                && how != "endless-body"
            {}
        }
        // Slots are few, and what ends in the slow lane ends a little later.
        while bench.live() > 2 {
            tokio::task::yield_now().await;
        }
    }
}

/// Goal: nothing is left behind, however a guest ends. Method: a thousand of each way, a hundred where it computes, then what there is is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rounds_leave_nothing() {
    let bench = Bench::patient();
    let (program, figures) = hostile_for(&bench, Duration::from_millis(5));
    for how in ["", "trap", "exit", "memory", "trap-in-body", "endless-body"] {
        rounds(&bench, &program, how, 1_000).await;
    }
    for how in ["fields", "loop", "loop-in-body", "loop-after-body"] {
        rounds(&bench, &program, how, 100).await;
    }
    assert_eq!(bench.live_at_last().await, 0);
    let (node, read) = (bench.runtime.figures(), figures.read());
    assert_eq!(node.pool.map_or(0, |pool| pool.memories + pool.tables + pool.stacks), 0, "{node:?}");
    assert_eq!((read.memory_held_bytes, read.requests, node.exhaustions), (0, 6_400, 0), "{node:?}");
}
