//! Who belongs to a cluster: founding, joining with tokens, coming back, replacing, removing. Owns the examples.

mod support;

use expect_test::expect;
use model::id::{Digest, NodeId, PlacementId, RevisionNumber, Timestamp};
use state::{
    Applied, FOUNDER, Refused, Rollout, State,
    command::{
        Change, Command, CommandV1, CreateJoinToken, Join, NodeEvent, NodeEventKind, NodeFacts, NodeKeys, NodeRole, Note, Observe,
        RemoveNode, RevokeJoinToken, SeenPhase, Step, UpdateNode,
    },
    refused::NotAdmitted,
};
use support::{Cluster, deploy, facts, founding, join_token, joining, text, worker};

fn joined(applied: Result<Applied, Refused>) -> NodeId {
    match applied {
        Ok(Applied::Joined { node, fresh: true, .. }) => node,
        other => panic!("expected a fresh join, got {other:?}"),
    }
}

fn with_tokens() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.ask(Change::CreateJoinToken(join_token("s", NodeRole::Server))).expect("makes a token");
    cluster.ask(Change::CreateJoinToken(join_token("w", NodeRole::Worker))).expect("makes a token");
    cluster
}

#[test]
fn a_cluster_is_founded_once_and_before_anybody_joins() {
    let mut cluster = Cluster { state: State::empty() };
    let refused = cluster.wish(CommandV1::Join(joining(facts("b"), "s"))).expect_err("there is nothing to join");
    assert_eq!(text(&refused).lines().next(), Some("E0415 joining node `b`: there is no cluster yet"));
    let only_worker = cluster.wish(founding(worker("a"))).expect_err("nobody would hold the log");
    assert_eq!(text(&only_worker).lines().next(), Some("E0408 founding a cluster: its first node is a server"));
    assert_eq!(cluster.wish(founding(facts("a"))), Ok(Applied::Founded { node: FOUNDER }));
    let again = cluster.wish(founding(facts("b"))).expect_err("there is one");
    expect![[r#"
        E0415 founding a cluster: this log holds the cluster 07070707070707070707070707070707 already
        at  
        help: a cluster is founded once, by its first server on an empty data directory
    "#]]
    .assert_eq(&text(&again));
}

/// The founder has the only id that is not an index, and no entry after the founding one has that index.
#[test]
fn ids_are_indexes_above_the_founders_and_never_come_again() {
    let mut cluster = with_tokens();
    assert_eq!(cluster.state.node_named("a").map(|node| node.id), Some(FOUNDER));
    let first = joined(cluster.wish(CommandV1::Join(joining(facts("b"), "s"))));
    assert_eq!(first.0, cluster.state.index().0);
    cluster.ask(Change::RemoveNode(RemoveNode { node: first, lost: true })).expect("goes");
    let second = joined(cluster.wish(CommandV1::Join(joining(facts("b"), "s"))));
    assert!(first > FOUNDER && second > first);
    let numbers: Vec<_> = cluster.state.nodes().map(|node| (node.name.as_str(), node.ordinal)).collect();
    assert_eq!(numbers, [("a", 1), ("b", 2)], "the number of its instances is the lowest that is free");
}

#[test]
fn a_join_token_admits_by_secret_role_time_and_uses() {
    let check = |token: CreateJoinToken, join: Join, expected: Option<NotAdmitted>| {
        let mut cluster = Cluster::new();
        cluster.ask(Change::CreateJoinToken(token)).expect("makes a token");
        let refused = cluster.wish(CommandV1::Join(join.clone())).err();
        let reason = refused.map(|refused| match refused {
            Refused::NotAdmitted { reason, .. } => reason,
            other => panic!("refused otherwise: {other:?}"),
        });
        assert_eq!(reason, expected, "{join:?}");
    };
    let server = || join_token("s", NodeRole::Server);
    let at = |at, join: Join| Join { at: Timestamp(at), ..join };
    check(server(), joining(facts("b"), "s"), None);
    check(server(), joining(facts("b"), "other"), Some(NotAdmitted::Unknown));
    check(CreateJoinToken { secret_hash: [0; 32], ..server() }, joining(facts("b"), "s"), Some(NotAdmitted::Unknown));
    check(server(), Join { admission: None, ..joining(facts("b"), "s") }, Some(NotAdmitted::Nothing));
    check(server(), at(999, joining(facts("b"), "s")), None);
    check(server(), at(1_000, joining(facts("b"), "s")), Some(NotAdmitted::Expired));
    let other = |token, node| Some(NotAdmitted::OtherRole { token, node });
    check(server(), joining(worker("b"), "s"), other(NodeRole::Server, NodeRole::Worker));
    check(join_token("w", NodeRole::Worker), joining(facts("b"), "w"), other(NodeRole::Worker, NodeRole::Server));
    check(join_token("w", NodeRole::Worker), joining(worker("b"), "w"), None);
}

#[test]
fn uses_are_consumed_by_the_entry_that_admits() {
    let mut cluster = Cluster::new();
    let token = CreateJoinToken { uses: Some(1), ..join_token("w", NodeRole::Worker) };
    cluster.ask(Change::CreateJoinToken(token)).expect("makes a token");
    joined(cluster.wish(CommandV1::Join(joining(worker("b"), "w"))));
    let refused = cluster.wish(CommandV1::Join(joining(worker("c"), "w"))).expect_err("one was all");
    expect![[r#"
        E0412 joining node `c`: its join token is used up
        at  
        help: `shoal join-token create server` or `shoal join-token create worker` on a server makes a new one
    "#]]
    .assert_eq(&text(&refused));
    let id = cluster.state.node_named("b").map(|node| node.id).expect("it joined");
    // The answer got lost: the same join again is no other node, and takes no use.
    assert_eq!(cluster.wish(CommandV1::Join(joining(worker("b"), "w"))), Ok(Applied::Joined { node: id, fresh: false, replaced: None }));
    let token = cluster.state.join_token(&support::token("w")).expect("it is listed");
    assert_eq!((token.used, token.uses_left), (1, Some(0)));
}

#[test]
fn tokens_are_revoked_and_expired_ones_forgotten_when_one_is_made() {
    let mut cluster = with_tokens();
    cluster.ask(Change::RevokeJoinToken(RevokeJoinToken { id: support::token("w") })).expect("revokes");
    let refused = cluster.wish(CommandV1::Join(joining(worker("b"), "w")));
    assert!(matches!(refused, Err(Refused::NotAdmitted { reason: NotAdmitted::Unknown, .. })));
    let again = cluster.ask(Change::RevokeJoinToken(RevokeJoinToken { id: support::token("w") }));
    assert_eq!(again, Err(Refused::UnknownToken { id: support::token("w") }));
    let later = CreateJoinToken { expires_at: Timestamp(9_000), ..join_token("x", NodeRole::Worker) };
    cluster.ask_at(1_000, Change::CreateJoinToken(later)).expect("makes a token");
    let left: Vec<_> = cluster.state.join_tokens().map(|token| token.id.as_str()).collect();
    assert_eq!(left, ["x"]);
}

#[test]
fn a_name_is_held_by_a_key() {
    let mut cluster = with_tokens();
    let copied = NodeFacts { name: "b".into(), ..facts("a") };
    let refused = cluster.wish(CommandV1::Join(joining(copied, "s"))).expect_err("the key has a name");
    assert_eq!(
        text(&refused).lines().next(),
        Some("E0411 joining node `b`: its key belongs to node-1 already, under another name or role")
    );
    let imposter = NodeFacts { name: "a".into(), ..facts("other") };
    let refused = cluster.wish(CommandV1::Join(joining(imposter, "s"))).expect_err("the name has a key");
    expect![[r#"
        E0411 joining node `a`: node-1 has that name, and another key
        at  
        help: choose another name with `--name`; when `a` is lost for good, start this node with `--replace a`, or remove the lost one with `shoal node remove a --lost`
    "#]]
    .assert_eq(&text(&refused));
}

#[test]
fn a_node_that_comes_back_needs_no_token_and_says_what_is_new() {
    let mut cluster = Cluster::new();
    let back = |memory_bytes| CommandV1::Join(Join { at: Timestamp(9), admission: None, node: NodeFacts { memory_bytes, ..facts("a") } });
    let events = cluster.state.newest_event();
    let known = Applied::Joined { node: FOUNDER, fresh: false, replaced: None };
    assert_eq!(cluster.wish(back(1 << 30)), Ok(known.clone()));
    assert_eq!(cluster.state.newest_event(), events, "nothing changed, so nothing happened");
    assert_eq!(cluster.wish(back(2 << 30)), Ok(known));
    assert_eq!(cluster.state.node(FOUNDER).map(|node| node.memory_bytes), Some(2 << 30));
    assert_eq!(cluster.state.newest_event(), events + 1);
    let other = NodeFacts { keys: NodeKeys { server: None, ..facts("a").keys }, ..facts("a") };
    let refused = cluster.wish(CommandV1::UpdateNode(UpdateNode { at: Timestamp(9), node: FOUNDER, facts: other }));
    assert!(matches!(refused, Err(Refused::NameTaken { .. })), "keys do not change by an update");
}

/// Places and readies `hello` on every worker.
fn run_everywhere(cluster: &mut Cluster) {
    cluster.deploy(deploy("hello", 1, 1, &[])).expect("deploys");
    let mut steps = vec![Step::Serve { app: support::app("hello"), revision: RevisionNumber(1) }];
    let nodes: Vec<_> = cluster.state.nodes().map(|node| (node.id, node.ordinal)).collect();
    steps.extend(nodes.iter().map(|(node, ordinal)| Step::Place {
        instance: format!("hello/web.{ordinal}").parse().expect("an instance"),
        revision: RevisionNumber(1),
        node: *node,
    }));
    assert_eq!(cluster.carry(steps).1, 0);
}

#[test]
fn a_removed_node_takes_its_placements_along_and_the_rest_is_all_there_is() {
    let mut cluster = Cluster::new();
    cluster.join_workers(&["b"]);
    run_everywhere(&mut cluster);
    let observe = Observe { at: Timestamp(3), node: FOUNDER, phases: vec![(PlacementId(1), SeenPhase::Ready)] };
    cluster.wish(CommandV1::Observe(observe)).expect("observes");
    assert_eq!(cluster.app("hello").rollout, Rollout::Progressing, "b is not ready");
    let b = cluster.state.node_named("b").map(|node| node.id).expect("it joined");
    let events = cluster.state.newest_event();
    let gone = cluster.ask(Change::RemoveNode(RemoveNode { node: b, lost: true }));
    assert_eq!(gone, Ok(Applied::NodeRemoved { node: b, placements: 1 }));
    assert_eq!(cluster.app("hello").rollout, Rollout::Done);
    let told: Vec<_> =
        cluster.state.events_after(events).map(|event| format!("{:?} {}: {}", event.kind, event.object, event.message)).collect();
    expect![[r#"
        InstanceLost hello/web.2: b is lost
        RolloutDone hello: r1 serves, all its instances are ready
        NodeRemoved b: is lost, by ann"#]]
    .assert_eq(&told.join("\n"));
    assert_eq!(cluster.state.known_keys().count(), 2, "only the keys of a are left");
}

/// A worker speaks of what it has a placement of, and of itself.
#[test]
fn a_node_has_events_of_its_own_components_alone() {
    let mut cluster = Cluster::new();
    cluster.join_workers(&["b"]);
    run_everywhere(&mut cluster);
    let b = cluster.state.node_named("b").map(|node| node.id).expect("it joined");
    cluster.deploy(deploy("bank/pay", 1, 1, &[])).expect("deploys, and nothing of it is placed");
    let mut told = |at: u64, component: Option<&str>| {
        let component = component.map(|component| component.parse().expect("a component"));
        let event = NodeEvent { at: Timestamp(at), kind: NodeEventKind::GuestsTrapped, component, message: "so".into() };
        cluster.wish(CommandV1::Note(Note { node: b, events: vec![event] }))
    };
    assert_eq!(told(5, Some("hello/web")), Ok(Applied::Noted { events: 1 }));
    assert_eq!(told(5, None), Ok(Applied::Noted { events: 1 }));
    assert_eq!(told(5, None), Ok(Applied::Noted { events: 0 }), "another leader heard of it too");
    assert_eq!(told(6, None), Ok(Applied::Noted { events: 1 }), "it happened again");
    for foreign in ["bank/pay/web", "hello/other", "gone/web"] {
        assert_eq!(told(7, Some(foreign)), Ok(Applied::Noted { events: 0 }), "{foreign}");
    }
}

#[test]
fn the_last_server_stays() {
    let mut cluster = Cluster::new();
    cluster.join_workers(&["b"]);
    let refused = cluster.ask(Change::RemoveNode(RemoveNode { node: FOUNDER, lost: true })).expect_err("nobody would decide");
    expect![[r#"
        E0413 removing node `a`: it is the last server
        at  
        help: join another server first; to end a cluster, stop it
    "#]]
    .assert_eq(&text(&refused));
}

#[test]
fn a_replacement_has_the_name_and_the_number_and_another_id() {
    let mut cluster = with_tokens();
    let lost = joined(cluster.wish(CommandV1::Join(joining(facts("b"), "s"))));
    run_everywhere(&mut cluster);
    let new = NodeFacts { name: "b".into(), ..facts("new") };
    let replaced = cluster.wish(CommandV1::Replace(joining(new.clone(), "s")));
    let id = NodeId(cluster.state.index().0);
    assert_eq!(replaced, Ok(Applied::Joined { node: id, fresh: true, replaced: Some(lost) }));
    let record = cluster.state.node_named("b").expect("the new one");
    assert_eq!((record.id, record.ordinal, record.replaces), (id, 2, Some(lost)));
    assert_eq!(cluster.state.placements_on(lost).count(), 0);
    let again = cluster.wish(CommandV1::Replace(joining(new, "s")));
    assert_eq!(again, Ok(Applied::Joined { node: id, fresh: false, replaced: Some(lost) }), "the answer got lost");
    let nobody = cluster.wish(CommandV1::Replace(joining(facts("c"), "s")));
    assert_eq!(nobody, Err(Refused::UnknownNode { node: "c".into() }));
}

/// Whoever may let workers in cannot take a server away by it.
#[test]
fn a_replacement_is_all_that_the_lost_one_was() {
    let mut cluster = with_tokens();
    let lost = joined(cluster.wish(CommandV1::Join(joining(facts("b"), "s"))));
    let named = |node: NodeFacts| NodeFacts { name: "b".into(), ..node };
    let only = |node: NodeFacts| NodeFacts { keys: NodeKeys { worker: None, ..node.keys }, ..node };
    let refused = cluster.wish(CommandV1::Replace(joining(named(worker("new")), "w"))).expect_err("it is no server");
    expect![[r#"
        E0412 replacing node `b`: node-4 is a server, and the new one is none
        at  
        help: start it as all that the lost one was; to do without, remove the lost one: `shoal node remove b --lost`
    "#]]
    .assert_eq(&text(&refused));
    let lesser = |role| Err(Refused::LesserReplacement { name: "b".into(), lost, role });
    assert_eq!(cluster.wish(CommandV1::Replace(joining(only(named(facts("new"))), "s"))), lesser(NodeRole::Worker));
    let other = NotAdmitted::OtherRole { token: NodeRole::Worker, node: NodeRole::Server };
    let refused = cluster.wish(CommandV1::Replace(joining(named(facts("new")), "w")));
    assert_eq!(refused, Err(Refused::NotAdmitted { name: "b".into(), reason: other }), "the token is for workers");
    assert_eq!(cluster.state.node_named("b").map(|node| node.id), Some(lost));
    let worker_alone = joined(cluster.wish(CommandV1::Join(joining(worker("c"), "w"))));
    let more = NodeFacts { name: "c".into(), ..facts("more") };
    let replaced = cluster.wish(CommandV1::Replace(joining(more, "s")));
    assert!(matches!(replaced, Ok(Applied::Joined { replaced: Some(old), .. }) if old == worker_alone), "more than it was may be");
}

#[test]
fn the_cluster_writes_what_every_server_reads() {
    let mut cluster = with_tokens();
    let reading = |name: &str, schema| NodeFacts { schema, ..facts(name) };
    let writes = |cluster: &Cluster| cluster.state.cluster().map(|cluster| cluster.schema);
    let b = joined(cluster.wish(CommandV1::Join(joining(reading("b", 3), "s"))));
    assert_eq!(writes(&cluster), Some(1));
    let update = |schema| CommandV1::UpdateNode(UpdateNode { at: Timestamp(2), node: FOUNDER, facts: reading("a", schema) });
    cluster.wish(update(2)).expect("upgrades");
    assert_eq!(writes(&cluster), Some(2));
    let refused = cluster.wish(CommandV1::Join(joining(reading("c", 1), "s"))).expect_err("it could not read the log");
    expect![[r#"
        E0414 node `c`: its program reads commands up to version 1, and the cluster writes version 2
        at  
        help: start the node with the version of shoal that the servers run: `shoal version`
    "#]]
    .assert_eq(&text(&refused));
    assert!(matches!(cluster.wish(update(1)), Err(Refused::TooOld { .. })), "nor does a server go back");
    cluster.wish(CommandV1::Join(joining(NodeFacts { schema: 0, ..worker("w") }, "w"))).expect("a worker reads no log");
    cluster.ask(Change::RemoveNode(RemoveNode { node: FOUNDER, lost: false })).expect("b is left");
    assert_eq!((writes(&cluster), cluster.state.servers().map(|node| node.id).collect::<Vec<_>>()), (Some(3), vec![b]));
}

#[test]
fn keys_tell_who_calls_and_as_what() {
    let mut cluster = Cluster::new();
    cluster.join_workers(&["b"]);
    let b = cluster.state.node_named("b").map(|node| node.id).expect("it joined");
    let key = |text: &str| Digest::of(text.as_bytes()).0;
    assert_eq!(cluster.state.node_with_key(&key("server a")), Some((FOUNDER, NodeRole::Server)));
    assert_eq!(cluster.state.node_with_key(&key("worker b")), Some((b, NodeRole::Worker)));
    assert_eq!(cluster.state.node_with_key(&key("server b")), None);
    let Command::V1(CommandV1::User(user)) = Command::user(Timestamp(1), "ann", Change::CreateJoinToken(join_token("x", NodeRole::Server)))
    else {
        unreachable!("that is what it makes")
    };
    assert!(!format!("{user:?}").contains("secret"), "no log line shows the hash of a secret: {user:?}");
}
