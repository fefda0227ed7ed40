//! The walk: apply, assignment, report, status; then a second revision, undo, delete.

use api::{
    node::{Phase, Wanted},
    v1::{Direction, EventQuery, InstancePhase, NodeState, Outcome, PlanRequest, RolloutPhase, UndoRequest, WatchEvent, WhyQuery},
};
use model::id::{Index, RevisionNumber};

use super::fixture::{ControlPlane, FakeWorker, component, document, id, status, within};

#[tokio::test]
async fn an_app_is_applied_placed_ready_and_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let mut worker = FakeWorker::connect(&plane).await;
    assert!(worker.assignment.programs.is_empty() && worker.assignment.routes.is_empty());
    let digest = plane.upload(&component("one")).await;
    assert!(plane.client.has_artifact(&digest).await.expect("an answer"));

    let answer = plane.apply(vec![document("hello", &digest, "hello.localhost", 1)]).await.expect("a good app");
    assert_eq!((answer.objects[0].outcome, answer.objects[0].revision), (Outcome::Created, RevisionNumber(1)));
    assert_eq!(answer.objects[0].urls, ["http://hello.localhost:8080/"]);
    let again = plane.apply(vec![document("hello", &digest, "hello.localhost", 1)]).await.expect("the same app");
    assert_eq!((again.objects[0].outcome, again.objects[0].version), (Outcome::Unchanged, answer.objects[0].version));

    let assignment = worker.next().await;
    let program = &assignment.programs[0];
    assert_eq!((program.component.to_string().as_str(), program.digest, program.placements.len()), ("hello/web", digest, 1));
    assert_eq!((assignment.routes[0].host.as_str(), assignment.routes[0].revision), ("hello.localhost", RevisionNumber(1)));
    assert!(plane.node.artifact(&digest).await.is_ok(), "what it is assigned it gets");
    let progressing = plane.app("hello").await;
    assert_eq!(progressing.status.rollout.phase, RolloutPhase::Progressing, "{:?}", progressing.status);

    let mut lines = plane.client.watch_app(&id("hello")).await.expect("a stream");
    worker.report(|_| Phase::Compiling { since: None, bytes: None }).await;
    let compiling = |app: &api::v1::AppView| app.status.instances.iter().all(|one| one.phase == InstancePhase::Compiling);
    let app = status(&mut lines, compiling).await;
    assert!(!app.status.waits.is_empty(), "everything that waits says for what");
    worker.obey().await;
    let app = status(&mut lines, |app| app.status.rollout.phase == RolloutPhase::Done).await;
    assert_eq!((app.status.serving, app.status.components[0].ready), (Some(RevisionNumber(1)), 1));
    assert_eq!(app.metadata.resource_version, Some(answer.objects[0].version));
    let nodes = plane.client.nodes().await.expect("a list");
    assert_eq!((nodes.items[0].id, nodes.items[0].state, nodes.items[0].instances), (worker.node(), NodeState::Ready, 1));
    let why = plane.client.why(&WhyQuery { app: Some("hello/web.1".into()), ..WhyQuery::default() }).await.expect("an answer");
    assert!(why.works, "{why:?}");

    plane.client.delete(&id("hello"), "ana@laptop").await.expect("it is there");
    worker.obey_until(|assignment| assignment.programs.is_empty() && assignment.routes.is_empty()).await;
    let last = async {
        loop {
            if let WatchEvent::Deleted { .. } = lines.next().await.expect("a stream").expect("it says so before it ends") {
                return lines.next().await.expect("a stream");
            }
        }
    };
    assert_eq!(within(last).await, None, "the stream ends with the app");
    let events = plane.client.events(&EventQuery::default()).await.expect("a list");
    let kinds: Vec<_> = events.items.iter().map(|event| event.kind.as_str()).collect();
    for kind in ["NodeJoined", "AppDeployed", "InstancePlaced", "RolloutDone", "AppDeleted"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    plane.stop().await;
}

#[tokio::test]
async fn a_second_revision_takes_over_only_when_it_is_ready() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let mut worker = FakeWorker::connect(&plane).await;
    let (first, second) = (plane.upload(&component("one")).await, plane.upload(&component("two")).await);
    plane.apply(vec![document("hello", &first, "hello.localhost", 1)]).await.expect("a good app");
    worker.next().await;
    worker.obey().await;
    let mut lines = plane.client.watch_app(&id("hello")).await.expect("a stream");
    status(&mut lines, |app| app.status.rollout.phase == RolloutPhase::Done).await;

    let answer = plane.apply(vec![document("hello", &second, "hello.localhost", 1)]).await.expect("a good app");
    assert_eq!((answer.objects[0].outcome, answer.objects[0].revision), (Outcome::Changed, RevisionNumber(2)));
    let both = worker.next().await;
    assert_eq!(both.programs.len(), 2, "the old one runs until the new one serves");
    assert_eq!(both.routes[0].revision, RevisionNumber(1), "traffic stays where it is");
    worker.report(|_| Phase::Ready).await;
    let swapped = worker.next().await;
    assert_eq!(swapped.routes[0].revision, RevisionNumber(2));
    let old = swapped.programs.iter().find(|program| program.revision == RevisionNumber(1)).expect("it drains");
    assert_eq!(old.placements[0].wanted, Wanted::Stop);
    worker.obey_until(|assignment| assignment.programs.len() == 1).await;
    status(&mut lines, |app| app.status.serving == Some(RevisionNumber(2)) && app.status.rollout.phase == RolloutPhase::Done).await;

    let undone = plane.client.undo(&id("hello"), &UndoRequest::default()).await.expect("there is an earlier one");
    assert_eq!(undone.revision, RevisionNumber(3));
    worker.obey_until(|assignment| assignment.routes[0].revision == RevisionNumber(3)).await;
    let revisions = plane.client.revisions(&id("hello")).await.expect("a list").items;
    assert_eq!(revisions.iter().map(|revision| revision.number.0).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!((revisions[0].components[0].digest, revisions[0].note.as_str()), (first, "undo of r2, back to r1"));
    assert!(revisions[1].changes.iter().any(|change| change.path == "spec.components.web.source"), "{:?}", revisions[1].changes);
    plane.stop().await;
}

#[tokio::test]
async fn a_failed_revision_leaves_the_old_one_serving() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let mut worker = FakeWorker::connect(&plane).await;
    let (first, second) = (plane.upload(&component("one")).await, plane.upload(&component("two")).await);
    plane.apply(vec![document("hello", &first, "hello.localhost", 1)]).await.expect("a good app");
    worker.next().await;
    worker.obey().await;
    let mut lines = plane.client.watch_app(&id("hello")).await.expect("a stream");
    status(&mut lines, |app| app.status.rollout.phase == RolloutPhase::Done).await;
    plane.apply(vec![document("hello", &second, "hello.localhost", 1)]).await.expect("a good app");
    worker.next().await;
    let failed = || Phase::Failed { code: "E0301".into(), message: "the compiler refuses".into() };
    let newest = worker.assignment.programs.iter().map(|program| program.revision).max();
    let mut assignment = worker.assignment.clone();
    assignment.programs.retain(|program| Some(program.revision) == newest);
    worker.assignment = assignment;
    worker.report(|_| failed()).await;
    let app = status(&mut lines, |app| app.status.rollout.phase == RolloutPhase::Failed).await;
    assert_eq!((app.status.serving, app.status.rollout.code.as_deref()), (Some(RevisionNumber(1)), Some("E0301")));
    plane.stop().await;
}

#[tokio::test]
async fn more_than_one_instance_per_node_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let digest = plane.upload(&component("one")).await;
    let refused = plane.apply(vec![document("hello", &digest, "hello.localhost", 2)]).await.expect_err("every worker runs one");
    assert_eq!((refused.code.as_str(), refused.details.problems[0].problem.path.as_str()), ("E0107", "spec.components.web.scale.replicas"));
    assert!(refused.help.contains("join another worker"), "{refused:?}");
    plane.stop().await;
}

#[tokio::test]
async fn a_plan_changes_nothing_and_says_what_would() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let digest = plane.upload(&component("one")).await;
    let request = PlanRequest { documents: vec![document("hello", &digest, "hello.localhost", 1)], expect: None, artifacts: Vec::new() };
    let before = plane.client.apps(None).await.expect("a list");
    let plan = plane.client.plan(&request).await.expect("a plan");
    let object = &plan.objects[0];
    assert!(plan.has_changes());
    assert_eq!((object.outcome, object.version, object.placements.len()), (Outcome::Created, Index(0), 1));
    assert_eq!((object.placements[0].node.as_str(), object.compile[0].stored), ("one", true));
    assert!(object.changes.iter().any(|change| change.path.ends_with("source") && change.before.is_none()), "{:?}", object.changes);
    assert!(object.permissions.iter().all(|permission| permission.direction == Direction::Gained));
    assert_eq!(plane.client.apps(None).await.expect("a list"), before, "not even the index moved");

    let answer = plane.apply(request.documents.clone()).await.expect("a good app");
    let plan = plane.client.plan(&request).await.expect("a plan");
    assert!(!plan.has_changes(), "{plan:?}");
    assert_eq!(plan.objects[0].version, answer.objects[0].version);
    plane.stop().await;
}

#[tokio::test]
async fn a_long_list_comes_in_pages_that_add_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let digest = plane.upload(&component("pages")).await;
    let names: Vec<_> = (0..crate::limits::APPS_PER_PAGE_MAX + 7).map(|number| format!("app-{number:04}")).collect();
    for batch in names.chunks(wishes::limits::DOCUMENTS_MAX) {
        let documents = batch.iter().map(|name| document(name, &digest, &format!("{name}.test"), 1)).collect();
        let request = api::v1::ApplyRequest { documents, expect: None, by: String::new(), accept_permissions: false };
        plane.client.apply(&request).await.expect("they are new");
    }
    let all = plane.client.apps(None).await.expect("a list");
    assert_eq!(all.next, None);
    assert!(all.items.iter().map(|app| app.metadata.name.to_string()).eq(names), "each of them once, in order");
    let namespace = "elsewhere".parse().expect("a name");
    assert!(plane.client.apps(Some(&namespace)).await.expect("a list").items.is_empty());
}
