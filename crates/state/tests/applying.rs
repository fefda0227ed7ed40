//! What single commands do. Owns the examples; sequences nobody thought of are `random.rs`'s.

mod support;

use expect_test::expect;
use model::id::{Index, RevisionNumber, Timestamp};
use state::{
    Applied, DeployOutcome, Refused, Rollout,
    command::{Change, CommandV1, Delete, Observe, Plan, SeenPhase, Step, Undo},
    limits::{EVENTS_MAX, REVISIONS_PER_APP_MAX},
};
use support::{Cluster, deploy, route};

fn outcome(applied: Result<Applied, Refused>) -> (DeployOutcome, u64) {
    match applied {
        Ok(Applied::Deployed { outcome, revision, .. }) => (outcome, revision.0),
        other => panic!("expected a deploy, got {other:?}"),
    }
}

#[test]
fn only_what_is_not_protection_makes_a_revision() {
    let mut cluster = Cluster::new();
    assert_eq!(outcome(cluster.deploy(deploy("hello", 1, 1, &[]))), (DeployOutcome::Created, 1));
    assert_eq!(outcome(cluster.deploy(deploy("hello", 1, 1, &[]))), (DeployOutcome::Unchanged, 1));
    assert_eq!(outcome(cluster.deploy(support::Wish { protected: true, ..deploy("hello", 1, 1, &[]) })), (DeployOutcome::Adjusted, 1));
    assert_eq!(outcome(cluster.deploy(deploy("hello", 2, 1, &[]))), (DeployOutcome::Revised, 2));
    let record = cluster.app("hello");
    assert_eq!((record.wanted, record.protected, record.version), (RevisionNumber(2), false, Index(5)));
}

#[test]
fn more_than_one_instance_per_node_is_refused_with_the_reason() {
    let mut cluster = Cluster::new();
    for replicas in [0, 2] {
        let refused = cluster.deploy(deploy("hello", 1, replicas, &[])).expect_err("every node runs one");
        assert_eq!(refused, Refused::Replicas { component: "hello/web".parse().expect("a component"), replicas });
    }
    let refused = cluster.deploy(deploy("hello", 1, 3, &[])).expect_err("every node runs one");
    expect![[r#"
        E0107 deploying `hello/web`: 3 replicas are not supported yet, every node runs one instance of every component
        at spec.components.web.scale.replicas 
        help: leave `scale` out; to have more instances, join another worker
    "#]]
    .assert_eq(&support::text(&refused));
}

#[test]
fn an_unexpected_version_is_refused() {
    let mut cluster = Cluster::new();
    let with = |version: u8, expect| support::Wish { expect: Some(Index(expect)), ..deploy("hello", version, 1, &[]) };
    cluster.deploy(with(1, 0)).expect("it did not exist");
    let refused = cluster.deploy(with(2, 0)).expect_err("it exists");
    expect![[r#"
        E0403 app `hello` was changed by somebody else: expected version 0, it has 2
        at metadata.resourceVersion 
        help: read it again (`shoal get app hello -o yaml`), merge your change and apply that, or leave `resourceVersion` out
    "#]]
    .assert_eq(&support::text(&refused));
    cluster.deploy(with(2, 2)).expect("nobody changed it");
}

#[test]
fn a_collision_names_the_owner_also_across_apps() {
    let mut cluster = Cluster::new();
    cluster.deploy(deploy("hello", 1, 1, &[route("h.test", "/v1/")])).expect("the first owns it");
    let refused = cluster.deploy(deploy("team/other", 1, 1, &[route("h.test", "/"), route("h.test", "/v1")])).expect_err("collides");
    expect![[r#"
        E0401 deploying `team/other/web`: its route `h.test/v1` belongs to `hello/web`
        at spec.components.web.routes[1] belongs to `hello/web`
        help: choose another host or path, tell the two apart by `methods` or `headers`, or take the route from `hello/web`
    "#]]
    .assert_eq(&support::text(&refused));
    cluster.ask(Change::Delete(Delete { app: support::app("hello") })).expect("deletes");
    cluster.deploy(deploy("team/other", 1, 1, &[route("h.test", "/v1")])).expect("the route is free");
}

#[test]
fn going_back_makes_a_new_revision() {
    let mut cluster = Cluster::new();
    let undo = |to: Option<u64>| Change::Undo(Undo { app: support::app("hello"), to: to.map(RevisionNumber) });
    assert!(matches!(cluster.ask(undo(None)), Err(Refused::UnknownApp { .. })));
    cluster.deploy(deploy("hello", 1, 1, &[])).expect("deploys");
    assert!(matches!(cluster.ask(undo(None)), Err(Refused::NoEarlierRevision { .. })));
    cluster.deploy(deploy("hello", 2, 1, &[])).expect("deploys");
    assert!(matches!(cluster.ask(undo(Some(7))), Err(Refused::UnknownRevision { .. })));
    assert!(matches!(cluster.ask(undo(Some(2))), Err(Refused::AlreadyWanted { .. })));
    cluster.ask(undo(None)).expect("goes back");
    let app = support::app("hello");
    let made = cluster.state.revision(&app, RevisionNumber(3)).expect("the new revision");
    let first = cluster.state.revision(&app, RevisionNumber(1)).expect("the first revision");
    assert_eq!((made.identity, made.note.as_str()), (first.identity, "undo of r2, back to r1"));
}

#[test]
fn history_is_bounded_but_what_serves_is_kept() {
    let mut cluster = Cluster::new();
    cluster.deploy(deploy("hello", 0, 1, &[])).expect("deploys");
    let serve = Step::Serve { app: support::app("hello"), revision: RevisionNumber(1) };
    cluster.carry(vec![serve]);
    for version in 1..100 {
        cluster.deploy(deploy("hello", version, 1, &[])).expect("deploys");
    }
    let kept: Vec<_> = cluster.state.revisions(&support::app("hello")).map(|revision| revision.number.0).collect();
    assert_eq!((kept[0], kept[1], kept.len()), (1, 51, REVISIONS_PER_APP_MAX + 1), "the last 50, and what serves");
}

#[test]
fn stale_steps_are_skipped_and_counted() {
    let mut cluster = Cluster::new();
    cluster.deploy(deploy("hello", 1, 1, &[])).expect("deploys");
    let place = |instance: &str, revision, node| Step::Place {
        instance: instance.parse().expect("an instance"),
        revision: RevisionNumber(revision),
        node: model::id::NodeId(node),
    };
    let steps = vec![
        place("hello/web.1", 1, 1),
        place("hello/web.1", 1, 1),                            // twice
        place("hello/web.2", 1, 1),                            // not this node's number
        place("hello/db.1", 1, 1),                             // no such component
        place("hello/web.1", 9, 1),                            // no such revision
        place("hello/web.1", 1, 7),                            // no such node
        place("other/web.1", 1, 1),                            // no such app
        Step::Forget { placement: model::id::PlacementId(1) }, // still runs
    ];
    assert_eq!(cluster.carry(steps), (1, 7));
}

#[test]
fn a_rollout_is_done_when_every_instance_was_seen_ready() {
    let mut cluster = Cluster::new();
    cluster.join_workers(&["b"]);
    let nodes: Vec<_> = cluster.state.nodes().map(|node| node.id).collect();
    cluster.deploy(deploy("hello", 1, 1, &[])).expect("deploys");
    let place = |ordinal: usize| Step::Place {
        instance: format!("hello/web.{ordinal}").parse().expect("an instance"),
        revision: RevisionNumber(1),
        node: nodes[ordinal - 1],
    };
    let serve = Step::Serve { app: support::app("hello"), revision: RevisionNumber(1) };
    assert_eq!(cluster.carry(vec![serve, place(1), place(2)]), (3, 0));
    for (placement, expected) in [(1, Rollout::Progressing), (2, Rollout::Done)] {
        let phases = vec![(model::id::PlacementId(placement), SeenPhase::Ready)];
        let seen = cluster.wish(CommandV1::Observe(Observe { at: Timestamp(3), node: nodes[placement as usize - 1], phases }));
        assert_eq!(seen, Ok(Applied::Observed { changed: 1, stale: 0 }));
        assert_eq!(cluster.app("hello").rollout, expected);
    }
}

#[test]
fn a_protected_app_is_not_deleted() {
    let mut cluster = Cluster::new();
    let delete = || Change::Delete(Delete { app: support::app("hello") });
    cluster.deploy(support::Wish { protected: true, ..deploy("hello", 1, 1, &[]) }).expect("deploys");
    assert_eq!(cluster.ask(delete()), Err(Refused::Protected { app: support::app("hello") }));
    assert_eq!(outcome(cluster.deploy(deploy("hello", 1, 1, &[]))), (DeployOutcome::Adjusted, 1));
    assert_eq!(cluster.ask(delete()), Ok(Applied::Deleted { app: support::app("hello"), gone: true }));
    assert_eq!(cluster.state.revisions(&support::app("hello")).count(), 0);
}

#[test]
fn the_ring_of_events_forgets_the_oldest() {
    let mut cluster = Cluster::new();
    for version in 0..=EVENTS_MAX + 10 {
        cluster.deploy(deploy("hello", u8::try_from(version % 2).expect("a bit"), 1, &[])).expect("deploys");
    }
    let newest = cluster.state.newest_event();
    assert_eq!(cluster.state.events_after(0).count() as u64, EVENTS_MAX);
    assert_eq!(cluster.state.events_after(0).next().map(|event| event.sequence), Some(newest - EVENTS_MAX + 1));
    assert_eq!(cluster.state.events_after(newest - 3).count(), 3);
}

#[test]
#[should_panic(expected = "entry 1 comes after entry 1")]
fn the_index_only_grows() {
    let mut cluster = Cluster::new();
    let empty = state::Command::V1(CommandV1::Carry(Plan::default()));
    let _ = cluster.state.apply(Index(1), &empty);
}
