//! What those who watch are told, and when they must list again. Owns the examples; that nothing is left out is `random.rs`'s.

mod support;

use model::id::Index;
use state::{
    Command, Compacted, ObjectKey, Op,
    command::{Change, Delete, NodeRole, RevokeJoinToken},
    limits::CHANGES_MAX,
};
use support::{Cluster, deploy, join_token};

#[test]
fn an_entry_tells_each_object_once_and_in_order() {
    let mut cluster = Cluster::new();
    cluster.deploy(deploy("hello", 1, 1, &[])).expect("deploys");
    cluster.ask(Change::Delete(Delete { app: support::app("hello") })).expect("deletes");
    let told = |after| {
        let changes = cluster.state.changes_after(Index(after)).expect("nothing is forgotten yet");
        changes.map(|change| format!("{} {:?} {} {}", change.index, change.op, change.object.kind(), change.object)).collect::<Vec<_>>()
    };
    let all = told(0);
    let expected = ["1 Added Cluster cluster", "1 Added Node a", "2 Added App hello", "2 Added Revision hello r1", "3 Deleted App hello"];
    assert_eq!((&all[..5], all.len()), (&expected.map(str::to_owned)[..], 6));
    assert_eq!(told(2).len(), 2);
    assert!(told(3).is_empty() && told(9).is_empty(), "who is ahead hears later");
}

#[test]
fn who_is_too_far_behind_lists_again() {
    let mut state = Cluster::new().state;
    let make = || Change::CreateJoinToken(join_token("w", NodeRole::Worker));
    let revoke = || Change::RevokeJoinToken(RevokeJoinToken { id: support::token("w") });
    for number in 0..CHANGES_MAX + 10 {
        let change = if number.is_multiple_of(2) { make() } else { revoke() };
        state.apply(state.index().next(), &Command::user(model::id::Timestamp(1), "ann", change)).expect("it is done");
    }
    state.check().expect("every invariant holds");
    // The last of them are known; the entry before them is the one to have listed at.
    let newest = state.index().0;
    let oldest = Index(newest - CHANGES_MAX as u64);
    assert_eq!(state.changes_after(Index(oldest.0 - 1)).err(), Some(Compacted { oldest }));
    let told: Vec<_> = state.changes_after(oldest).expect("they are kept").collect();
    assert_eq!((told.len(), told[0].index, told[CHANGES_MAX - 1].index), (CHANGES_MAX, oldest.next(), Index(newest)));
    assert!(told.iter().all(|change| change.object == ObjectKey::JoinToken(support::token("w")) && change.op != Op::Modified));
}
