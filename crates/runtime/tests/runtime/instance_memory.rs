//! The memory that the sandboxes of one instance share: a hard sum, and who waits for it.

use std::{pin::Pin, sync::Arc, task::Poll, time::Duration};

use runtime::{Call, ComponentFigures, Program, ProgramConfig, SandboxBody, SandboxError, Stream};

use crate::support::{Bench, call, config, fetch, get};

const MIB: u64 = 1 << 20;

type Request = Pin<Box<dyn Future<Output = Result<http::Response<SandboxBody>, SandboxError>> + Send>>;

/// A program whose instances hold 8 MiB each.
fn hostile(bench: &Bench, queue_wait: Duration) -> (Arc<Program>, Arc<ComponentFigures>) {
    let figures = Arc::new(ComponentFigures::default());
    let timeout = Duration::from_secs(600);
    let limits = ProgramConfig { instance_memory_bytes: 8 * MIB, queue_wait, timeout, figures: Arc::clone(&figures), ..config() };
    (bench.sample_with("hostile", limits), figures)
}

/// A request that sleeps in its sandbox for ever, of one instance.
async fn sleeper(program: &Arc<Program>, ordinal: u32) -> Request {
    let mut request: Request = Box::pin(program.handle(get("/sleep"), Call { ordinal, ..call("request-1") }));
    assert!(!is_answered(&mut request).await);
    request
}

/// Polls a request once.
async fn is_answered(request: &mut Request) -> bool {
    std::future::poll_fn(|context| Poll::Ready(request.as_mut().poll(context).is_ready())).await
}

/// Goal: two sandboxes never hold more than their instance may, and another instance is not concerned.
#[tokio::test]
async fn growth_stops_at_the_sum() {
    let bench = Bench::patient();
    let (program, figures) = hostile(&bench, Duration::ZERO);
    let sleeper = sleeper(&program, 0).await;
    let first_bytes = figures.read().memory_held_bytes;
    assert!((64 << 10..4 * MIB).contains(&first_bytes), "{first_bytes}");
    assert_eq!(fetch(&program, "/grow").await.unwrap().0, 200, "a guest that is content with less goes on");
    let read = figures.read();
    assert_eq!((read.memory_denials, read.memory_held_bytes), (1, first_bytes));
    let both_bytes = read.memory_peak_bytes + first_bytes;
    assert!((8 * MIB - (128 << 10)..=8 * MIB).contains(&both_bytes), "{both_bytes}: all of it, and not more");
    let host = bench.lines.of(Stream::Host);
    assert!(host.len() == 1 && host[0].starts_with("instance memory is full") && host[0].contains("resources.instanceMemory"), "{host:?}");
    drop(sleeper);
    assert_eq!(figures.read().memory_held_bytes, 0);
}

#[tokio::test]
async fn a_guest_that_dies_of_the_sum_says_so() {
    let bench = Bench::patient();
    let (program, _) = hostile(&bench, Duration::ZERO);
    let error = fetch(&program, "/memory").await.unwrap_err();
    let SandboxError::InstanceMemory { limit_bytes, held_bytes } = error else { panic!("{error:?}") };
    assert!(limit_bytes == 8 * MIB && held_bytes <= limit_bytes && error.code() == "E0311", "{held_bytes}");
    assert_eq!(bench.live_at_last().await, 0);
}

/// Goal: a request that finds no room waits in line until there is some, or is told why not. Method: one sandbox grows, so that the next ones are expected
/// to need everything.
#[tokio::test]
async fn requests_wait_for_room_in_their_order() {
    let bench = Bench::patient();
    let (program, figures) = hostile(&bench, Duration::from_secs(600));
    fetch(&program, "/grow").await.unwrap();
    let first = sleeper(&program, 0).await;
    let (mut second, mut third) = (sleeper(&program, 0).await, sleeper(&program, 0).await);
    assert_eq!(bench.live(), 1, "those who wait have no sandbox");
    let elsewhere = sleeper(&program, 1).await;
    assert_eq!(bench.live(), 2, "another instance has memory of its own");
    drop((first, elsewhere));
    assert!(!is_answered(&mut third).await && bench.live() == 0, "it is not its turn");
    assert!(!is_answered(&mut second).await && bench.live() == 1, "the first in line");
    drop(second);
    assert!(!is_answered(&mut third).await && bench.live() == 1);
    drop(third);
    assert_eq!((bench.live_at_last().await, figures.read().memory_held_bytes), (0, 0));
}

#[tokio::test]
async fn a_request_that_waited_too_long_is_told_why() {
    let bench = Bench::patient();
    let (program, figures) = hostile(&bench, Duration::ZERO);
    fetch(&program, "/grow").await.unwrap();
    let _first = sleeper(&program, 0).await;
    let error = fetch(&program, "/").await.unwrap_err();
    assert_eq!((&error, error.code()), (&SandboxError::InstanceMemory { limit_bytes: 8 * MIB, held_bytes: 8 * MIB }, "E0311"));
    assert_eq!(bench.runtime.figures().instance_memory_refusals, 1);
    assert_eq!(figures.read().memory_denials, 2, "one of the guest that grew, one of the request");
    let host = bench.lines.of(Stream::Host);
    assert!(host.last().unwrap().contains("found no room within 0 ms"), "{host:?}");
}

/// Goal: the wait counts against the time until the response begins.
#[tokio::test]
async fn a_call_without_time_does_not_wait() {
    let bench = Bench::patient();
    let (program, _) = hostile(&bench, Duration::from_secs(600));
    fetch(&program, "/grow").await.unwrap();
    let _first = sleeper(&program, 0).await;
    let error = program.handle(get("/"), Call { timeout: Some(Duration::ZERO), ..call("request-1") }).await.err().unwrap();
    assert_eq!(error.code(), "E0311");
}
