//! The authority is replaced: who is waited for, what signs when, what is remembered; under leaders that die at every step. Owns the examples.

mod support;

use std::collections::BTreeSet;

use model::id::{Index, NodeId, Timestamp};
use proptest::prelude::*;
use state::{
    Applied, Command, FOUNDER, Refused, State,
    command::{
        Change, CommandV1, ConfirmAuthority, CreateJoinToken, NodeRole,
        NodeRole::{Server, Worker},
        Recover, RemoveNode, RotateAuthority, RotationPhase,
        RotationPhase::{Learning, Renewing},
        Sealed,
    },
    limits::AUTHORITIES_RETIRED_MAX,
};
use support::{Cluster, facts, join_token, joining, text, worker};

/// The authority with this number, made for that of now; the one that founds the cluster is `[1, 2]`.
fn authority(state: &State, number: u8) -> RotateAuthority {
    let after = state.authorities().version;
    RotateAuthority { after, certificate: vec![number; 4], cross: vec![number; 3], key: Sealed(vec![number; 5]) }
}

fn ask(cluster: &mut Cluster, number: u8) -> Result<Applied, Refused> {
    let rotate = authority(&cluster.state, number);
    cluster.ask(Change::RotateAuthority(rotate))
}

/// A server that works, and a worker: three certificates.
fn two_nodes() -> (Cluster, NodeId) {
    let mut cluster = Cluster::new();
    cluster.join_workers(&["w"]);
    let id = cluster.state.node_named("w").expect("it joined").id;
    (cluster, id)
}

fn begin(cluster: &mut Cluster, number: u8) -> Index {
    match ask(cluster, number) {
        Ok(Applied::AuthorityRotating { rotation }) => rotation,
        other => panic!("expected a rotation, got {other:?}"),
    }
}

fn confirm(
    cluster: &mut Cluster,
    (rotation, phase): (Index, RotationPhase),
    confirmed: &[(NodeId, NodeRole)],
    away: &[(NodeId, NodeRole)],
) -> (u32, bool) {
    let confirm = ConfirmAuthority { at: Timestamp(9), rotation, phase, confirmed: confirmed.to_vec(), away: away.to_vec() };
    match cluster.wish(CommandV1::ConfirmAuthority(confirm)) {
        Ok(Applied::AuthorityConfirmed { news, advanced }) => (news, advanced),
        other => panic!("a confirmation is always read: {other:?}"),
    }
}

/// What signs, what is on its way, and what was replaced.
fn standing(state: &State) -> (Vec<u8>, Option<RotationPhase>, Vec<Vec<u8>>) {
    let signing = state.cluster().expect("founded").ca_certificate.clone();
    let retired = state.authorities().retired.iter().map(|retired| retired.certificate.clone()).collect();
    (signing, state.authorities().rotation.as_ref().map(|rotation| rotation.phase()), retired)
}

fn events(state: &State) -> Vec<String> {
    let all = state.events_after(0).filter(|event| event.kind.as_str().starts_with("Authority"));
    all.map(|event| format!("{}: {}", event.kind.as_str(), event.message)).collect()
}

#[test]
fn nothing_is_signed_by_the_new_one_before_everybody_knows_it_and_nothing_forgotten_before_everybody_renewed() {
    let (mut cluster, w) = two_nodes();
    let before = cluster.state.cluster().expect("founded").clone();
    let rotation = begin(&mut cluster, 7);
    assert_eq!(standing(&cluster.state), (vec![1, 2], Some(Learning), vec![]));
    assert_eq!(cluster.state.authorities().version, rotation);
    assert_eq!(cluster.state.unconfirmed(), [(FOUNDER, Server), (FOUNDER, Worker), (w, Worker)]);
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &[(FOUNDER, Server)], &[]), (1, false));
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &[(FOUNDER, Server)], &[]), (0, false), "said twice");
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &[(FOUNDER, Worker), (w, Server)], &[]), (1, false), "w has no such role");
    assert_eq!(standing(&cluster.state), (vec![1, 2], Some(Learning), vec![]));
    assert_eq!(cluster.state.cluster().expect("founded").ca_key, before.ca_key);
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &[(w, Worker)], &[]), (1, true));
    assert_eq!(standing(&cluster.state), (vec![7; 4], Some(Renewing), vec![]));
    assert_eq!(cluster.state.cluster().expect("founded").ca_key, Sealed(vec![7; 5]));
    assert_eq!(cluster.state.unconfirmed().len(), 3, "everybody renews");
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &[(w, Worker)], &[]), (0, false), "one that comes late means nothing");
    let all = [(FOUNDER, Server), (FOUNDER, Worker), (w, Worker)];
    assert_eq!(confirm(&mut cluster, (rotation, Renewing), &all[..2], &[]), (2, false));
    assert_eq!(standing(&cluster.state), (vec![7; 4], Some(Renewing), vec![]));
    assert_eq!(confirm(&mut cluster, (rotation, Renewing), &all, &[]), (1, true));
    assert_eq!(standing(&cluster.state), (vec![7; 4], None, vec![vec![1, 2]]));
    assert_eq!(cluster.state.authorities().version, cluster.state.index());
    expect_test::expect![[r#"
        [
            "AuthorityRotating: another authority is to sign, asked ann: the nodes learn of it",
            "AuthoritySigning: the new authority signs from now on, and the nodes renew their certificates",
            "AuthorityRotated: the old authority makes no node a member any more",
        ]
    "#]]
    .assert_debug_eq(&events(&cluster.state));
}

#[test]
fn two_rotations_at_once_are_refused() {
    let (mut cluster, w) = two_nodes();
    let rotation = begin(&mut cluster, 7);
    let refused = ask(&mut cluster, 8).expect_err("one is under way");
    expect_test::expect![[r#"
        E0430 rotating the authority: a rotation that ann asked for is under way, and is learning
        at  
        help: `shoal ca show` says which nodes it waits for
    "#]]
    .assert_eq(&text(&refused));
    let all = [(FOUNDER, Server), (FOUNDER, Worker), (w, Worker)];
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &all, &[]), (3, true));
    assert!(matches!(ask(&mut cluster, 8), Err(Refused::RotationUnderWay { phase: Renewing, .. })));
    assert_eq!(confirm(&mut cluster, (rotation, Renewing), &all, &[]), (3, true));
    let next = authority(&cluster.state, 9);
    // One of before comes again, or it was made for one that does not sign any more.
    let (known, first) =
        (RotateAuthority { certificate: vec![7; 4], ..next.clone() }, RotateAuthority { certificate: vec![1, 2], ..next.clone() });
    for wrong in [known, first, RotateAuthority { after: rotation, ..next }] {
        assert!(matches!(cluster.ask(Change::RotateAuthority(wrong)), Err(Refused::Invalid { .. })));
    }
    assert!(begin(&mut cluster, 8) > rotation);
}

#[test]
fn who_is_away_is_not_waited_for_and_is_named() {
    let (mut cluster, w) = two_nodes();
    let rotation = begin(&mut cluster, 7);
    let first = [(FOUNDER, Server), (FOUNDER, Worker)];
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &first[..1], &[(w, Worker)]), (1, false), "somebody who is there lacks");
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &first, &[]), (1, false), "what was said of the one away holds once");
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &[], &[(w, Worker)]), (0, true));
    assert_eq!(confirm(&mut cluster, (rotation, Renewing), &first, &[(w, Worker)]), (2, true));
    let told = events(&cluster.state);
    assert!(told.iter().filter(|told| told.ends_with("; without w, not heard of")).count() == 2, "{told:?}");
    // It is known who still has an old certificate, until it comes back.
    assert_eq!((cluster.state.awaited(), cluster.state.unconfirmed()), (Some((rotation, Renewing)), vec![(w, Worker)]));
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &[(w, Worker)], &[]), (0, false));
    assert_eq!(confirm(&mut cluster, (rotation, Renewing), &[(w, Worker)], &[]), (1, false));
    assert_eq!((cluster.state.awaited(), cluster.state.unconfirmed()), (None, vec![]));
}

#[test]
fn who_is_removed_is_not_waited_for_and_who_joins_is() {
    let (mut cluster, w) = two_nodes();
    let rotation = begin(&mut cluster, 7);
    cluster.ask(Change::CreateJoinToken(CreateJoinToken { uses: None, ..join_token("more", Worker) })).expect("a token");
    cluster.wish(CommandV1::Join(joining(worker("x"), "more"))).expect("joins");
    let x = cluster.state.node_named("x").expect("it joined").id;
    let first = [(FOUNDER, Server), (FOUNDER, Worker)];
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &first, &[]), (2, false));
    cluster.ask(Change::RemoveNode(RemoveNode { node: w, lost: true })).expect("goes");
    assert_eq!(cluster.state.unconfirmed(), [(x, Worker)]);
    assert_eq!(confirm(&mut cluster, (rotation, Learning), &[(x, Worker)], &[]), (1, true));
    cluster.ask(Change::RemoveNode(RemoveNode { node: x, lost: true })).expect("goes");
    assert_eq!(confirm(&mut cluster, (rotation, Renewing), &first, &[]), (2, true));
}

#[test]
fn a_group_that_begins_anew_goes_on_with_its_rotation() {
    let (mut cluster, w) = two_nodes();
    cluster.ask(Change::CreateJoinToken(join_token("s", Server))).expect("a token");
    cluster.wish(CommandV1::Join(joining(facts("b"), "s"))).expect("joins");
    let b = cluster.state.node_named("b").expect("it joined").id;
    let rotation = begin(&mut cluster, 7);
    confirm(&mut cluster, (rotation, Learning), &[(b, Server), (b, Worker), (w, Worker)], &[]);
    let mut restored = Cluster { state: State::restore(&mut cluster.state.records().map(Ok)).expect("its own records") };
    assert_eq!((restored.state.hash(), restored.state.unconfirmed()), (cluster.state.hash(), cluster.state.unconfirmed()));
    restored.wish(CommandV1::Recover(Recover { at: Timestamp(20), node: FOUNDER, facts: facts("a") })).expect("begins anew");
    assert_eq!(restored.state.unconfirmed(), [(FOUNDER, Server), (FOUNDER, Worker)], "b is a worker only");
    assert_eq!(confirm(&mut restored, (rotation, Learning), &[(FOUNDER, Server), (FOUNDER, Worker)], &[]), (2, true));
}

#[test]
fn only_the_last_few_are_remembered() {
    let (mut cluster, w) = two_nodes();
    let all = [(FOUNDER, Server), (FOUNDER, Worker), (w, Worker)];
    for number in 10..16 {
        let rotation = begin(&mut cluster, number);
        confirm(&mut cluster, (rotation, Learning), &all, &[]);
        confirm(&mut cluster, (rotation, Renewing), &all, &[]);
    }
    let retired: Vec<u8> = cluster.state.authorities().retired.iter().map(|retired| retired.certificate[0]).collect();
    assert_eq!((retired.len(), retired), (AUTHORITIES_RETIRED_MAX, vec![14, 13, 12]));
    let crosses: Vec<u8> = cluster.state.authorities().retired.iter().map(|retired| retired.cross[0]).collect();
    assert_eq!(crosses, [15, 14, 13], "each vouches for the one that took its place");
}

/// A leader: what it knows of nodes when it writes, which may be stale, and whether it dies before its entry is committed.
#[derive(Debug, Clone)]
enum Move {
    Begin(u8),
    /// One certificate holder says that it has done what the phase that it knows of waits for.
    Confirm {
        holder: usize,
        stale: bool,
        lost: bool,
    },
    Away {
        holder: usize,
    },
    Join,
    Remove {
        node: usize,
    },
    /// A member starts from a snapshot and leads.
    Restart,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => (7..40u8).prop_map(Move::Begin),
        12 => (0..8usize, prop::bool::weighted(0.1), prop::bool::weighted(0.2))
            .prop_map(|(holder, stale, lost)| Move::Confirm { holder, stale, lost }),
        1 => (0..8usize).prop_map(|holder| Move::Away { holder }),
        1 => Just(Move::Join),
        1 => (0..4usize).prop_map(|node| Move::Remove { node }),
        2 => Just(Move::Restart),
    ]
}

fn under_way(state: &State) -> Option<(Index, RotationPhase)> {
    state.authorities().rotation.as_ref().map(|rotation| (rotation.began, rotation.phase()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever leads, and whenever it dies: the new authority signs only when everybody there has learned of it, the old one goes only when everybody there
    /// has renewed, and a leader that goes on comes to the end.
    #[test]
    fn a_rotation_survives_its_leaders(moves in prop::collection::vec(moves(), 1..60)) {
        let (mut cluster, _) = two_nodes();
        let (mut done, mut joined) = (BTreeSet::new(), 0u32);
        let mut before = None;
        for step in moves {
            let under_way = under_way(&cluster.state);
            if under_way != before {
                done.clear();
                before = under_way;
            }
            let holders: Vec<_> = cluster.state.certificate_holders().collect();
            let nodes: Vec<_> = cluster.state.nodes().map(|node| node.id).collect();
            let signing = cluster.state.cluster().expect("founded").ca_certificate.clone();
            match step {
                Move::Begin(number) => {
                    let known = number == 7 && signing == vec![7; 4];
                    let asked = ask(&mut cluster, number);
                    prop_assert!(under_way.is_none() || asked.is_err());
                    prop_assert!(!known || asked.is_err());
                    prop_assert_eq!(&cluster.state.cluster().expect("founded").ca_certificate, &signing);
                }
                Move::Confirm { holder, stale, lost } => {
                    let (Some((rotation, phase)), Some(holder)) = (under_way, holders.get(holder % holders.len())) else { continue };
                    let rotation = if stale { Index(rotation.0 - 1) } else { rotation };
                    if lost {
                        continue;
                    }
                    if !stale {
                        done.insert(*holder);
                    }
                    let whole = holders.iter().all(|holder| done.contains(holder));
                    let (_, advanced) = confirm(&mut cluster, (rotation, phase), &[*holder], &[]);
                    prop_assert_eq!(advanced, whole && !stale, "{:?} of {:?}", &done, &holders);
                }
                Move::Away { holder } => {
                    let (Some(under_way), Some(away)) = (under_way, holders.get(holder % holders.len())) else { continue };
                    let whole = holders.iter().all(|holder| done.contains(holder) || holder == away);
                    prop_assert_eq!(confirm(&mut cluster, under_way, &[], &[*away]).1, whole);
                }
                Move::Join => {
                    joined += 1;
                    let (token, name) = (format!("t{joined}"), format!("n{joined}"));
                    let _ = cluster.ask(Change::CreateJoinToken(join_token(&token, Worker)));
                    let _ = cluster.wish(CommandV1::Join(joining(worker(&name), &token)));
                }
                Move::Remove { node } => {
                    let node = nodes[node % nodes.len()];
                    let _ = cluster.ask(Change::RemoveNode(RemoveNode { node, lost: true }));
                }
                Move::Restart => {
                    let restored = State::restore(&mut cluster.state.records().map(Ok)).expect("its own records are a state");
                    prop_assert_eq!(restored.hash(), cluster.state.hash());
                    cluster.state = restored;
                }
            }
        }
        // The leader that stays brings it to its end: each of two steps takes one entry.
        for _ in 0..2 {
            let Some(under_way) = under_way(&cluster.state) else { break };
            let holders: Vec<_> = cluster.state.certificate_holders().collect();
            prop_assert!(confirm(&mut cluster, under_way, &holders, &[]).1);
        }
        prop_assert_eq!(under_way(&cluster.state), None);
    }
}

/// Entries of before a cluster is founded, and of clusters without a rotation, mean nothing.
#[test]
fn without_a_rotation_nothing_is_confirmed() {
    let confirm =
        ConfirmAuthority { at: Timestamp(1), rotation: Index(1), phase: Learning, confirmed: vec![(FOUNDER, Server)], away: vec![] };
    let mut state = State::empty();
    let told = state.apply(Index(1), &Command::V1(CommandV1::ConfirmAuthority(confirm.clone())));
    assert_eq!(told, Ok(Applied::AuthorityConfirmed { news: 0, advanced: false }));
    let refused = state.apply(Index(2), &Command::user(Timestamp(1), "ann", Change::RotateAuthority(authority(&State::empty(), 7))));
    assert!(matches!(refused, Err(Refused::NotFounded { .. })), "{refused:?}");
    let mut cluster = Cluster::new();
    assert_eq!(cluster.wish(CommandV1::ConfirmAuthority(confirm)), Ok(Applied::AuthorityConfirmed { news: 0, advanced: false }));
}
