//! What people ask for: once per key, and written down. And whether members agree. Owns the examples.

mod support;

use std::collections::BTreeSet;

use expect_test::expect;
use model::id::{Index, NodeId, Timestamp};
use state::{
    Applied, AuditOutcome, Command, DeployOutcome, FOUNDER, Refused, State, Verdict,
    command::{
        Attest, Change, CommandV1, CreateJoinToken, Deed, Delete, NodeRole, PutSecret, RotateAuthority, Sealed, SecretKind, UserCommand,
        Witness,
    },
    limits::{ANSWER_KEPT_MILLIS, ANSWER_SURE_MILLIS, ANSWERS_SPARE, AUDIT_MAX, CHECKPOINT_EVERY, CHECKPOINTS_KEPT},
};
use support::{Cluster, deploy, facts, join_token, joining, worker};

fn keyed(at: u64, by: &str, key: &str, change: Change) -> CommandV1 {
    CommandV1::User(UserCommand { at: Timestamp(at), by: by.into(), token: None, from: "10.0.0.1:9".into(), key: Some(key.into()), change })
}

#[test]
fn the_same_key_is_answered_alike_and_changes_nothing() {
    let mut cluster = Cluster::new();
    let hello = || deploy("hello", 1, 1, &[]).change();
    let first = cluster.wish(keyed(1, "ann", "k", hello()));
    assert!(matches!(first, Ok(Applied::Deployed { outcome: DeployOutcome::Created, .. })));
    cluster.deploy(deploy("hello", 2, 1, &[])).expect("somebody else goes on");
    let before = (cluster.state.newest_audit(), cluster.app("hello").clone());
    assert_eq!(cluster.wish(keyed(1 + ANSWER_KEPT_MILLIS - 1, "ann", "k", hello())), first);
    assert_eq!((cluster.state.newest_audit(), cluster.app("hello").clone()), before);
    // Another person's key is another key; and a day later it is forgotten.
    let revised = |applied| matches!(applied, Ok(Applied::Deployed { outcome: DeployOutcome::Revised, .. }));
    assert!(revised(cluster.wish(keyed(2, "bob", "k", hello()))));
    cluster.deploy(deploy("hello", 3, 1, &[])).expect("somebody else goes on");
    assert!(revised(cluster.wish(keyed(1 + ANSWER_KEPT_MILLIS, "ann", "k", hello()))));
}

#[test]
fn a_key_stands_for_one_change_and_a_refusal_for_none() {
    let mut cluster = Cluster::new();
    let delete = || Change::Delete(Delete { app: support::app("hello") });
    assert!(matches!(cluster.wish(keyed(1, "ann", "k", delete())), Err(Refused::UnknownApp { .. })));
    cluster.wish(keyed(2, "ann", "k", deploy("hello", 1, 1, &[]).change())).expect("nothing was done under that key yet");
    let refused = cluster.wish(keyed(3, "ann", "k", delete())).expect_err("it stands for a deploy");
    expect![[r#"
        E0416 the idempotency key `k` was used for something else within the last day
        at  
        help: make a new key for every new request
    "#]]
    .assert_eq(&support::text(&refused));
    for key in ["", &"k".repeat(129)] {
        assert!(matches!(cluster.wish(keyed(3, "ann", key, delete())), Err(Refused::Invalid { .. })));
    }
    cluster.wish(keyed(3, "ann", &"k".repeat(128), delete())).expect("as long as may be");
}

#[test]
fn what_a_server_makes_for_it_is_not_what_was_asked() {
    let mut cluster = Cluster::new();
    let put = |sealed: u8, expect: u64| match support::secret("db", SecretKind::Opaque, &["password"]) {
        Change::PutSecret(put) => Change::PutSecret(PutSecret { sealed: Sealed(vec![sealed; 10]), expect: Some(Index(expect)), ..put }),
        other => unreachable!("{other:?}"),
    };
    let first = cluster.wish(keyed(1, "ann", "k", put(1, 0))).expect("it is new");
    let version = cluster.state.secret(&support::object("db")).expect("there").version;
    cluster.wish(keyed(2, "bob", "k", put(2, version.0))).expect("somebody else goes on");
    let before = cluster.state.secret(&support::object("db")).expect("there").clone();
    // Sealed anew, for the version that is there by now.
    let again = keyed(3, "ann", "k", put(3, before.version.0));
    let CommandV1::User(asked) = &again else { unreachable!("it is what a user asks") };
    assert!(cluster.state.remembers(asked));
    assert!(!cluster.state.remembers(&UserCommand { key: None, ..asked.clone() }));
    assert_eq!(cluster.wish(again), Ok(first));
    assert_eq!(cluster.state.secret(&support::object("db")), Some(&before), "what somebody else wrote stays");

    let rotate = |number: u8, after: Index| {
        Change::RotateAuthority(RotateAuthority {
            after,
            certificate: vec![number; 4],
            cross: vec![number; 3],
            key: Sealed(vec![number; 5]),
        })
    };
    let after = cluster.state.authorities().version;
    let first = cluster.wish(keyed(4, "ann", "r", rotate(1, after))).expect("no other is under way");
    let again = rotate(2, cluster.state.authorities().version);
    assert_eq!(cluster.wish(keyed(5, "ann", "r", again)), Ok(first));
}

/// Makes a token and revokes it, in turn, each under its own key.
fn numbered(at: u64, number: u64) -> Command {
    let make = Change::CreateJoinToken(CreateJoinToken { expires_at: Timestamp(u64::MAX), ..join_token("w", NodeRole::Worker) });
    let revoke = Change::RevokeJoinToken(state::command::RevokeJoinToken { id: support::token("w") });
    Command::V1(keyed(at, "ann", &format!("k{number}"), if number.is_multiple_of(2) { make } else { revoke }))
}

#[test]
fn no_answer_is_forgotten_while_somebody_may_ask_again() {
    let mut state = Cluster::new().state;
    let count = ANSWERS_SPARE as u64 + 10;
    for number in 0..count {
        state.apply(state.index().next(), &numbered(1, number)).expect("it is done");
    }
    state.check().expect("every invariant holds");
    assert_eq!((state.newest_audit(), state.audit_after(0).count() as u64), (count, AUDIT_MAX));
    let sure = 1 + ANSWER_SURE_MILLIS;
    for number in [0, 9, count - 1] {
        state.apply(state.index().next(), &numbered(sure - 1, number)).expect("it is answered as it was then");
    }
    assert_eq!(state.newest_audit(), count, "nothing was done again");
    // Two minutes later there are more than are kept for a day, and the oldest go when somebody asks for something new.
    state.apply(state.index().next(), &numbered(sure, count)).expect("it is done");
    for number in [11, count - 1] {
        state.apply(state.index().next(), &numbered(sure, number)).expect("it is answered as it was then");
    }
    assert_eq!(state.newest_audit(), count + 1, "nothing was done again");
    state.apply(state.index().next(), &numbered(sure, 9)).expect("it is done");
    assert_eq!(state.newest_audit(), count + 2, "it was forgotten, and is done again");
    state.check().expect("every invariant holds");
}

#[test]
fn everything_people_do_is_written_down() {
    let mut cluster = Cluster::new();
    cluster.wish(keyed(5, "ann", "k", Change::CreateJoinToken(join_token("w", NodeRole::Worker)))).expect("makes a token");
    cluster.wish(CommandV1::Join(joining(worker("b"), "w"))).expect("joins");
    cluster.wish(CommandV1::Join(joining(worker("b"), "w"))).expect("was joined");
    cluster.wish(CommandV1::Join(joining(facts("c"), "w"))).expect_err("it is for workers");
    cluster.deploy(deploy("team/hello", 1, 1, &[])).expect("deploys");
    cluster.ask(Change::Delete(Delete { app: support::app("other") })).expect_err("there is none");
    let before = (cluster.state.newest_event(), cluster.state.index());
    let witness = |deed, object: &str| Change::Witness(Witness { deed, object: object.into() });
    assert_eq!(cluster.ask(witness(Deed::RemoveMember, "member/b")), Ok(Applied::Witnessed));
    assert_eq!(cluster.state.newest_event(), before.0, "nothing but the entry");
    cluster.ask(witness(Deed::GiveKey, &"x".repeat(5_000))).expect("it is bounded");
    let lines: Vec<_> = cluster
        .state
        .audit_after(0)
        .map(|entry| {
            let outcome = match &entry.outcome {
                AuditOutcome::Done => "done".to_owned(),
                AuditOutcome::Begun => "begun".to_owned(),
                AuditOutcome::Refused { code, message } => format!("{code} {message}"),
            };
            let token = entry.token.as_ref().map_or("-", |token| token.as_str());
            let object: String = entry.object.chars().take(20).collect();
            format!("{} @{} {} {token} [{}] {} {object}: {outcome}", entry.sequence, entry.index, entry.by, entry.from, entry.verb)
        })
        .collect();
    expect![[r#"
        1 @2 ann - [10.0.0.1:9] create join-token/w: done
        2 @3 join-token/w w [] join node/b: done
        3 @5 join-token/w w [] join node/c: E0412 joining node `c`: its join token is for a worker, not for a server
        4 @6 ann - [] deploy app/team/hello: done
        5 @7 ann - [] delete app/other: E0402 app `other` does not exist
        6 @8 ann - [] remove member/b: begun
        7 @9 ann - [] give xxxxxxxxxxxxxxxxxxxx: begun"#]]
    .assert_eq(&lines.join("\n"));
}

fn agreed(said: &[(u64, u8)], me: u64, mine: u8, voters: &[u64]) -> Verdict {
    let mut state = Cluster::new().state;
    let mut ask = |command| state.apply(state.index().next(), &Command::V1(command)).expect("it is done");
    let Command::V1(token) = Command::user(Timestamp(1), "ann", Change::CreateJoinToken(join_token("s", NodeRole::Server)));
    ask(token);
    // The founder and the servers 3, 4, 5.
    for name in ["b", "c", "d"] {
        ask(CommandV1::Join(joining(facts(name), "s")));
    }
    for (node, hash) in said {
        ask(CommandV1::Attest(Attest { node: NodeId(*node), index: Index(0), hash: [*hash; 32] }));
    }
    state.check().expect("every invariant holds");
    state.verdict(NodeId(me), (Index(0), [mine; 32]), &voters.iter().copied().map(NodeId).collect::<BTreeSet<_>>())
}

#[test]
fn a_member_that_differs_from_most_finds_out() {
    let diverged = |mine: u8, theirs: u8, majority| Verdict::Diverged { at: Index(0), mine: [mine; 32], theirs: [theirs; 32], majority };
    assert_eq!(agreed(&[], 1, 7, &[1]), Verdict::Agree, "alone");
    assert_eq!(agreed(&[], 1, 7, &[1, 3, 4]), Verdict::Wait);
    assert_eq!(agreed(&[(3, 7)], 1, 7, &[1, 3, 4]), Verdict::Agree);
    assert_eq!(agreed(&[(3, 8)], 1, 7, &[1, 3, 4]), Verdict::Wait, "one against one, and the third has not spoken");
    assert_eq!(agreed(&[(3, 8), (4, 8)], 1, 7, &[1, 3, 4]), diverged(7, 8, true));
    assert_eq!(agreed(&[(3, 8), (4, 7)], 1, 7, &[1, 3, 4]), Verdict::Agree, "the other one is wrong");
    assert_eq!(agreed(&[(1, 8), (3, 8), (4, 7)], 1, 7, &[1, 3, 4]), Verdict::Agree, "what it is counts, not what it said");
    assert_eq!(agreed(&[(3, 8)], 1, 7, &[1, 3]), diverged(7, 8, false), "two that differ");
    assert_eq!(agreed(&[(3, 8), (4, 9)], 1, 7, &[1, 3, 4]), diverged(7, 9, false), "three that differ");
    assert_eq!(agreed(&[(3, 8), (4, 8)], 5, 7, &[1, 3, 4]), diverged(7, 8, true), "a learner compares itself too");
    assert_eq!(agreed(&[(3, 8), (5, 8)], 1, 7, &[1, 3, 4]), Verdict::Wait, "learners do not count");
}

#[test]
fn only_the_last_checkpoints_are_kept() {
    let mut state: State = Cluster::new().state;
    let attest = |state: &mut State, at: u64, checkpoint: u64| {
        let attest = Attest { node: FOUNDER, index: Index(checkpoint), hash: [1; 32] };
        state.apply(Index(at), &Command::V1(CommandV1::Attest(attest))).expect("it is done")
    };
    let every = CHECKPOINT_EVERY;
    assert_eq!(attest(&mut state, 2, every), Applied::Attested { kept: false }, "it is not reached");
    assert_eq!(attest(&mut state, every, every - 1), Applied::Attested { kept: false }, "it is none");
    for number in 1..=10 {
        assert_eq!(attest(&mut state, number * every + 1, number * every), Applied::Attested { kept: true });
    }
    assert_eq!(attest(&mut state, 10 * every + 2, every), Applied::Attested { kept: false }, "it is forgotten");
    let kept: Vec<_> = state.attestations().map(|(at, ..)| at.0 / every).collect();
    assert_eq!(kept, [7, 8, 9, 10]);
    assert_eq!(kept.len(), CHECKPOINTS_KEPT);
    state.check().expect("every invariant holds");
}
