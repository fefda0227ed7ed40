//! A group that begins anew: who stays, who goes, and that nothing that was lost comes again with another meaning. Owns the examples.

mod support;

use model::id::{Index, NodeId, Timestamp};
use state::{
    Applied, AuditOutcome, FOUNDER, Refused,
    command::{Addresses, Change, Command, CommandV1, NodeFacts, NodeKeys, NodeRole, Recover, Step},
    limits::RECOVERY_STEP,
};
use support::{Cluster, app, deploy, facts, join_token, joining, text, worker};

fn server_only(name: &str) -> NodeFacts {
    let facts = facts(name);
    NodeFacts { keys: NodeKeys { worker: None, ..facts.keys }, ..facts }
}

/// Servers `a`, `b` (no worker) and `c`, a worker `d`.
fn group() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.ask(Change::CreateJoinToken(join_token("s", NodeRole::Server))).expect("makes a token");
    cluster.wish(CommandV1::Join(joining(server_only("b"), "s"))).expect("joins");
    cluster.wish(CommandV1::Join(joining(facts("c"), "s"))).expect("joins");
    cluster.join_workers(&["d"]);
    cluster
}

/// The first entry after the step.
fn recover(cluster: &mut Cluster, node: NodeId, facts: NodeFacts) -> Result<Applied, Refused> {
    let last = state::begins_anew_after(cluster.state.index());
    let recover = Recover { at: Timestamp(5), node, facts };
    let applied = cluster.state.apply(last.next(), &Command::V1(CommandV1::Recover(recover)));
    cluster.state.check().expect("every invariant holds");
    applied
}

fn servers(cluster: &Cluster) -> Vec<(String, u64)> {
    cluster.state.servers().map(|server| (server.name.clone(), server.id.0)).collect()
}

#[test]
fn the_one_that_is_left_stays_what_it_was() {
    let mut cluster = group();
    let (c, names) = (cluster.state.node_named("c").expect("joined").id, ["a", "c", "d"]);
    assert_eq!(recover(&mut cluster, c, facts("c")), Ok(Applied::Recovered { node: c, retired: 2 }));
    assert_eq!(servers(&cluster), [("c".to_owned(), c.0)]);
    assert_eq!(cluster.state.nodes().map(|node| node.name.as_str()).collect::<Vec<_>>(), names, "`a` works on, `b` did nothing else");
    assert_eq!(recover(&mut cluster, c, facts("c")), Ok(Applied::Recovered { node: c, retired: 0 }), "said twice, it is the same");
}

#[test]
fn beginning_anew_is_in_the_audit_log_done_or_not() {
    let mut cluster = group();
    let c = cluster.state.node_named("c").expect("joined").id;
    let count = cluster.state.audit_after(0).count();
    let addresses = Addresses { peer: "c:1".into(), ..Addresses::default() };
    recover(&mut cluster, c, NodeFacts { addresses, ..facts("c") }).expect("it is left");
    recover(&mut cluster, c, facts("other")).expect_err("that is another node");
    let index = cluster.state.index();
    let entries: Vec<_> = cluster.state.audit_after(0).skip(count).cloned().collect();
    let [done, refused] = entries.as_slice() else { panic!("one entry each: {entries:?}") };
    assert_eq!((done.by.as_str(), done.from.as_str(), done.verb.as_str(), done.object.as_str()), ("node/c", "c:1", "recover", "cluster"));
    assert_eq!((&done.outcome, done.at, &done.token), (&AuditOutcome::Done, Timestamp(5), &None));
    assert!(matches!(&refused.outcome, AuditOutcome::Refused { code, .. } if code == "E0411"), "{refused:?}");
    assert_eq!(refused.index, index);
}

#[test]
fn a_restored_server_takes_over_its_name_or_is_new() {
    let mut cluster = group();
    let id = NodeId(state::begins_anew_after(cluster.state.index()).0);
    let again = NodeFacts { keys: facts("other").keys, ..facts("a") };
    assert_eq!(recover(&mut cluster, id, again), Ok(Applied::Recovered { node: id, retired: 2 }));
    let node = cluster.state.node_named("a").expect("it is there");
    assert_eq!((node.id, node.replaces, node.ordinal), (id, Some(FOUNDER), 1), "with the number of its instances");
    let mut cluster = group();
    assert_eq!(recover(&mut cluster, id, facts("z")), Ok(Applied::Recovered { node: id, retired: 3 }));
    assert_eq!(servers(&cluster), [("z".to_owned(), id.0)]);
}

#[test]
fn what_was_lost_never_comes_again() {
    let mut cluster = group();
    cluster.deploy(deploy("hello", 1, 1, &[])).expect("deploys");
    let before = cluster.state.index();
    let c = cluster.state.node_named("c").expect("joined").id;
    recover(&mut cluster, c, facts("c")).expect("begins anew");
    assert_eq!(cluster.state.index(), Index(RECOVERY_STEP + 1));
    assert!(cluster.state.changes_after(before).is_err(), "whoever watched lists again");
    let revision = cluster.app("hello").wanted;
    let instance = "hello/web.1".parse().expect("an instance");
    cluster.carry(vec![Step::Place { instance, node: FOUNDER, revision }]);
    let placed = cluster.state.placements_of(&app("hello")).map(|placement| placement.id.0).min();
    assert!(placed.is_none_or(|placed| placed >= RECOVERY_STEP), "{placed:?}");
    let joined = cluster.wish(CommandV1::Join(joining(worker("e"), "workers"))).expect("joins");
    assert!(matches!(joined, Applied::Joined { node, .. } if node.0 > RECOVERY_STEP), "{joined:?}");
}

#[test]
fn nobody_else_begins_anew() {
    let refused = |node: NodeId, facts: NodeFacts| {
        let refused = recover(&mut group(), node, facts).expect_err("refused");
        text(&refused).lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(refused(FOUNDER, worker("a")), "E0408 beginning the group anew: its first node is a server");
    assert!(refused(FOUNDER, facts("b")).starts_with("E0411"), "another name");
    assert!(refused(NodeId(2), facts("z")).contains("an id above all others"));
}
