//! What stays after a kill, a stop, a lost supervisor; and the pages others poll.

use api::{
    node::{Phase, Report},
    v1::{EventQuery, InstancePhase, NodeState, RolloutPhase},
};
use model::id::{Generation, NodeId, RevisionNumber};

use super::fixture::{ControlPlane, FakeWorker, component, document, id, refusal, status, within};

#[tokio::test]
async fn a_kill_after_an_acknowledged_apply_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let mut worker = FakeWorker::connect(&plane).await;
    let digest = plane.upload(&component("one")).await;
    plane.apply(vec![document("hello", &digest, "hello.localhost", 1)]).await.expect("a good app");
    worker.next().await;
    let (node, assigned) = (worker.node(), worker.assignment.clone());
    plane.kill().await;

    let plane = ControlPlane::start(directory.path()).await;
    assert_eq!(plane.app("hello").await.status.wanted, RevisionNumber(1));
    assert!(plane.client.has_artifact(&digest).await.expect("an answer"));
    let worker = FakeWorker::connect(&plane).await;
    assert_eq!(worker.node(), node, "a node keeps its id");
    assert_eq!((&worker.assignment.programs, &worker.assignment.routes), (&assigned.programs, &assigned.routes));
    assert!(worker.assignment.generation >= assigned.generation, "never older than what the worker has");
    let mut lines = plane.client.watch_app(&id("hello")).await.expect("a stream");
    worker.obey().await;
    status(&mut lines, |app| app.status.rollout.phase == RolloutPhase::Done).await;
    plane.lose_supervisor().await;

    let plane = ControlPlane::start(directory.path()).await;
    let app = plane.app("hello").await;
    assert_eq!((app.status.rollout.phase, app.status.serving), (RolloutPhase::Done, Some(RevisionNumber(1))));
    // Serving it was; whether it does, only its worker knows.
    assert_eq!((app.status.instances[0].phase, app.status.components[0].ready, app.status.routed), (InstancePhase::Unknown, 0, false));
    let worker = FakeWorker::connect(&plane).await;
    worker.obey().await;
    let app = plane.app("hello").await;
    assert_eq!((app.status.instances[0].phase, app.status.components[0].ready, app.status.routed), (InstancePhase::Ready, 1, true));
    plane.stop().await;
}

#[tokio::test]
async fn an_event_stream_goes_on_where_the_list_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let digest = plane.upload(&component("one")).await;
    let list = plane.client.events(&EventQuery::default()).await.expect("a list");
    let after = list.items.last().map(|event| event.sequence);
    let mut lines = plane.client.watch_events(&EventQuery { after, ..EventQuery::default() }).await.expect("a stream");
    plane.apply(vec![document("hello", &digest, "hello.localhost", 1)]).await.expect("a good app");
    let first = within(lines.next()).await.expect("a stream").expect("it goes on");
    assert_eq!((Some(first.sequence), first.kind.as_str(), first.object.as_str()), (after.map(|one| one + 1), "AppDeployed", "hello"));
    let second = within(lines.next()).await.expect("a stream").expect("it goes on");
    assert_eq!(second.sequence, first.sequence + 1, "no gap, nothing twice");
    plane.stop().await;
}

#[tokio::test]
async fn reports_of_others_are_refused_and_ours_are_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let state = async |plane: &ControlPlane| plane.client.nodes().await.expect("a list").items[0].state;
    assert_eq!(state(&plane).await, NodeState::Unknown);
    let foreign = Report {
        node: NodeId(99),
        generation: Generation(1),
        pid: 1,
        sequence: 0,
        placements: Vec::new(),
        events: Vec::new(),
        authorities: None,
    };
    assert_eq!(refusal(plane.node.report(&foreign).await.expect_err("not ours")).code, "E0403");
    let worker = FakeWorker::connect(&plane).await;
    worker.report(|_| Phase::Ready).await;
    assert_eq!(state(&plane).await, NodeState::Ready);
    assert_eq!(plane.client.ready().await.expect("an answer").worker, Some(NodeState::Ready));
    let page = plane.raw(plane.metrics, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    for line in [
        "shoal_worker_connected 1",
        "shoal_api_requests_total{method=\"GET\",route=\"/v1/nodes\",code=\"200\"} 2",
        "shoal_process_open_files{process=\"control-plane\"}",
        "shoal_artifact_bytes 0",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
    assert!(page.trim_end().ends_with("# EOF"), "{page}");
    plane.stop().await;
}
