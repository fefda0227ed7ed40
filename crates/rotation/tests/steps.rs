//! One rotation from its beginning to its end on a real state with real keys: what nodes go by, what is pinned and what is shown at each step. Owns the example.

use std::{collections::BTreeMap, time::Duration};

use api::{node::HeldAuthorities, peer::RotationPhase as Shown};
use model::id::{Index, NodeId, Timestamp};
use rotation::{next, progress::Heard, set, view};
use state::{
    Applied, Command, FOUNDER, Refused, State,
    command::{Addresses, Change, CommandV1, Found, NodeFacts, NodeKeys, RotateAuthority, Sealed},
};
use transport::{Authorities, Authority, AuthorityDigest, ClusterId, ClusterKey, Sealed as SealedKey};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A server that works, and what its secrets are sealed with.
fn founded() -> (State, ClusterKey, AuthorityDigest) {
    let (cluster, key) = (ClusterId::random(), ClusterKey::random());
    let authority = Authority::create(cluster, NOW).expect("an authority");
    let node = NodeFacts {
        name: "one".into(),
        keys: NodeKeys { server: Some([1; 32]), worker: Some([2; 32]) },
        addresses: Addresses::default(),
        place: Default::default(),
        labels: Default::default(),
        memory_bytes: 1,
        cpu_millis: 1,
        release: "0.1.0".into(),
        schema: 1,
    };
    let (ca_certificate, ca_key) = (authority.certificate().der().to_vec(), Sealed(authority.seal(&key).to_bytes()));
    let found = Found { at: NOW, cluster: cluster.to_bytes(), ca_certificate, ca_key, node };
    let mut state = State::empty();
    apply(&mut state, Command::V1(CommandV1::Found(found))).expect("it is the first");
    (state, key, authority.digest())
}

fn apply(state: &mut State, command: Command) -> Result<Applied, Refused> {
    let index = Index(state.index().0 + 1);
    state.apply(index, &command)
}

fn rotate(state: &mut State, change: RotateAuthority) -> Result<Applied, Refused> {
    apply(state, Command::user(NOW, "ann", Change::RotateAuthority(change)))
}

/// Both roles of the only node go by `version` and show `shows`.
fn confirm(state: &mut State, version: u64, shows: AuthorityDigest) -> bool {
    let held = HeldAuthorities { version, shows };
    let heard = Heard {
        own: (FOUNDER, held.clone()),
        workers: BTreeMap::from([(FOUNDER, (NOW, Some(held)))]),
        servers: BTreeMap::from([(FOUNDER, Some(Duration::ZERO))]),
        leading: Duration::from_secs(1),
        leading_at: NOW,
        now: NOW,
    };
    let Some(confirm) = heard.confirms(state) else { return false };
    let confirmed = apply(state, Command::V1(CommandV1::ConfirmAuthority(confirm)));
    matches!(confirmed, Ok(Applied::AuthorityConfirmed { advanced: true, .. }))
}

/// The digests that nodes trust, those that were replaced, and how many crosses there are.
fn told(state: &State) -> (Vec<AuthorityDigest>, Vec<AuthorityDigest>, usize) {
    let list = set::list(state).expect("certificates").expect("there was another one");
    assert_eq!(list.version, state.authorities().version.0);
    let set = Authorities::from_list(&list).expect("a set");
    let digests = |all: &[transport::AuthorityCertificate]| all.iter().map(transport::AuthorityCertificate::digest).collect();
    (digests(set.trusted()), digests(set.retired()), list.crosses.len())
}

#[test]
fn one_rotation() {
    let (mut state, key, old) = founded();
    let shown = |state: &State| view::authority(state, state.cluster().expect("founded")).expect("certificates");
    assert!(set::list(&state).expect("certificates").is_none(), "nodes need no set before the first rotation");
    assert_eq!((set::pinned(&state), shown(&state).digest), (Some(old), old.to_string()));

    let (first, late) = (next::make(&state, &key, NOW).expect("made"), next::make(&state, &key, NOW).expect("made"));
    assert!(next::make(&state, &ClusterKey::random(), NOW).is_err(), "another cluster's key opens nothing");
    rotate(&mut state, first).expect("begins");
    let began = state.index().0;
    let new: AuthorityDigest = shown(&state).rotation.expect("under way").next.parse().expect("a digest");
    assert_eq!((told(&state), set::pinned(&state)), ((vec![old, new], vec![], 1), Some(old)));
    assert_eq!(set::signing(&state), Some(old));
    assert!(!confirm(&mut state, began - 1, old), "nobody has learned");
    assert!(confirm(&mut state, began, old));

    assert_eq!((told(&state), set::pinned(&state)), ((vec![new, old], vec![], 1), Some(old)));
    let rotation = shown(&state).rotation.expect("under way");
    assert_eq!((rotation.phase, rotation.waits_for.len()), (Shown::Renewing, 2));
    let stepped = state.authorities().version.0;
    assert!(!confirm(&mut state, stepped, old), "nobody has renewed");
    assert!(confirm(&mut state, stepped, new));

    assert_eq!((told(&state), set::pinned(&state)), ((vec![new], vec![old], 1), Some(new)));
    let after = shown(&state);
    assert_eq!((after.digest, after.retired.len(), after.behind.len()), (new.to_string(), 1, 0));
    let cluster = state.cluster().expect("founded");
    let sealed = SealedKey::from_bytes(&cluster.ca_key.0).expect("sealed");
    assert_eq!(Authority::open(&cluster.ca_certificate, &sealed, &key).expect("opens").digest(), new);
    // Its cross was made by an authority that does not sign any more: it would lead nobody to it.
    assert!(matches!(rotate(&mut state, late), Err(Refused::Invalid { .. })));
    let again = next::make(&state, &key, NOW).expect("made");
    rotate(&mut state, again).expect("another one begins");
}

#[test]
fn who_is_away_does_not_keep_the_old_authority_trusted() {
    let (mut state, key, _) = founded();
    let change = next::make(&state, &key, NOW).expect("made");
    rotate(&mut state, change).expect("begins");
    let heard = |seconds: u64| Heard {
        own: (FOUNDER, HeldAuthorities { version: 2, shows: AuthorityDigest::from_bytes([9; 32]) }),
        workers: BTreeMap::new(),
        servers: BTreeMap::from([(FOUNDER, Some(Duration::ZERO)), (NodeId(9), None)]),
        leading: Duration::from_secs(seconds),
        leading_at: NOW,
        now: Timestamp(NOW.0 + seconds * 1000),
    };
    assert!(heard(29).confirms(&state).is_some_and(|confirm| confirm.away.is_empty()));
    let confirm = heard(31).confirms(&state).expect("the worker is away");
    assert_eq!((confirm.confirmed.len(), confirm.away.len()), (1, 1));
    let confirmed = apply(&mut state, Command::V1(CommandV1::ConfirmAuthority(confirm)));
    assert!(matches!(confirmed, Ok(Applied::AuthorityConfirmed { advanced: true, .. })), "{confirmed:?}");
}
