//! Commands nobody thought of: the invariants hold, replicas agree, and nothing panics. Owns the generator.

mod support;

use std::collections::BTreeMap;

use model::id::{Index, InstanceId, NodeId, PlacementId, RevisionNumber, Timestamp};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use state::{
    Applied, Command, Compacted, ObjectKey, Op, Refused, State,
    command::{
        ApiRole, Attest, Ceilings, Change, CommandV1, ConfirmAuthority, CreateApiToken, CreateJoinToken, Delete, DeleteNamespace,
        DeleteObject, Described, Join, NodeEvent, NodeEventKind, NodeFacts, NodeKeys, NodeRole, Note, Observe, Plan, PutConfig,
        PutNamespace, PutSecret, RemoveNode, RevokeApiToken, RevokeJoinToken, RotateAuthority, RotationPhase, Sealed, SecretKind,
        SeenPhase, Step, Undo, UpdateNode, UserCommand,
    },
    limits,
};
use support::{Uses, Wish, route};

fn app() -> impl Strategy<Value = String> {
    prop_oneof![Just("hello".to_owned()), Just("team/hello".to_owned()), Just("drones".to_owned())]
}

fn instance() -> impl Strategy<Value = InstanceId> {
    let component = prop_oneof![5 => Just("web"), 1 => Just("db")];
    (app(), component, 0..4u32).prop_map(|(app, component, ordinal)| {
        let component = support::app(&app).component(component.parse().expect("a name"));
        InstanceId { component, ordinal }
    })
}

fn revision() -> impl Strategy<Value = RevisionNumber> {
    (0..6u64).prop_map(RevisionNumber)
}

fn placement() -> impl Strategy<Value = PlacementId> {
    (0..12u64).prop_map(PlacementId)
}

fn node() -> impl Strategy<Value = NodeId> {
    (0..9u64).prop_map(NodeId)
}

fn phase() -> impl Strategy<Value = SeenPhase> {
    prop_oneof![
        1 => Just(SeenPhase::Preparing),
        3 => Just(SeenPhase::Ready),
        1 => Just(SeenPhase::Draining),
        1 => Just(SeenPhase::Stopped),
        1 => Just(SeenPhase::Failed { code: "E0301".into(), message: "no".into() }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let app = || app().prop_map(|id| support::app(&id));
    prop_oneof![
        4 => (instance(), revision(), node()).prop_map(|(instance, revision, node)| Step::Place { instance, revision, node }),
        2 => placement().prop_map(|placement| Step::Stop { placement, why: "why".into() }),
        2 => (app(), revision()).prop_map(|(app, revision)| Step::Serve { app, revision }),
        1 => (app(), revision()).prop_map(|(app, revision)| Step::Fail { app, revision, code: "E".into(), message: "m".repeat(3_000) }),
        2 => placement().prop_map(|placement| Step::Forget { placement }),
        1 => instance().prop_map(|instance| Step::Wait { instance, reason: "room".into() }),
        1 => instance().prop_map(|instance| Step::Resume { instance }),
        1 => (app(), revision()).prop_map(|(app, revision)| Step::Settle { app, revision }),
    ]
}

fn uses() -> impl Strategy<Value = Uses> {
    let secrets = prop::collection::vec(("[xy]", "[kl]", prop::option::of(1..4u64)), 0..2);
    let some = (prop::option::of("[xy]"), secrets, prop::collection::vec("[xy]", 0..2), any::<bool>());
    let some = some.prop_map(|(config, secrets, certificates, outside)| {
        let egress = if outside { vec!["https://a.test".to_owned()] } else { vec![] };
        Uses { config, secrets, certificates, egress, imports: vec![] }
    });
    prop_oneof![2 => Just(Uses::default()), 1 => some]
}

/// Puts and deletes of what apps name.
fn values() -> impl Strategy<Value = Change> {
    let id = || ("(team/)?[xy]").prop_map(|id| support::object(&id));
    let expect = || prop_oneof![6 => Just(None), 1 => (0..20u64).prop_map(|index| Some(Index(index)))];
    let described = || prop::bool::weighted(0.1).prop_map(|protected| Described { protected, ..Described::default() });
    let data = prop::collection::btree_map("[kl]", prop_oneof![9 => "[ab]", 1 => Just("v".repeat(70_000))], 0..3);
    let kind = prop_oneof![3 => Just(SecretKind::Opaque), 2 => Just(SecretKind::Tls)];
    let sealed = prop_oneof![9 => Just(10), 1 => Just(100_000)].prop_map(|size| Sealed(vec![1; size]));
    let hosts = prop::option::of(Just(vec!["h0.test".to_owned(), "h1.test".to_owned()]));
    let ceilings = (hosts, prop::option::of(0..3u64)).prop_map(|(hosts, apps)| Ceilings { hosts, apps, ..Ceilings::default() });
    let space = || prop_oneof![Just("team"), Just("default")].prop_map(support::name);
    prop_oneof![
        4 => (id(), prop::option::of(described()), data, expect())
            .prop_map(|(id, described, data, expect)| Change::PutConfig(PutConfig { id, described, data, expect })),
        2 => (id(), expect()).prop_map(|(id, expect)| Change::DeleteConfig(DeleteObject { id, expect })),
        6 => (id(), prop::option::of(described()), kind, prop::collection::btree_set("[kl]", 0..3), sealed, expect()).prop_map(
            |(id, described, kind, keys, sealed, expect)| Change::PutSecret(PutSecret { id, described, kind, keys, sealed, expect })
        ),
        2 => (id(), expect()).prop_map(|(id, expect)| Change::DeleteSecret(DeleteObject { id, expect })),
        1 => (space(), described(), ceilings, expect())
            .prop_map(|(name, described, ceilings, expect)| Change::PutNamespace(PutNamespace { name, described, ceilings, expect })),
        1 => (space(), expect()).prop_map(|(name, expect)| Change::DeleteNamespace(DeleteNamespace { name, expect })),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let routes = prop::collection::vec((0..3u8, 0..2u8), 0..3)
        .prop_map(|picks| picks.into_iter().map(|(host, path)| route(&format!("h{host}.test"), ["/", "/v1"][path as usize])).collect());
    let expect = prop_oneof![4 => Just(None), 1 => (0..20u64).prop_map(|index| Some(Index(index)))];
    let replicas = prop_oneof![20 => Just(1), 1 => Just(0), 1 => Just(u32::MAX)];
    (app(), 0..4u8, replicas, routes, expect, prop::bool::weighted(0.1), uses()).prop_map(
        |(app, version, replicas, routes, expect, protected, uses)| Wish { app, version, replicas, routes, expect, protected, uses },
    )
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[a-d]", 1 => Just(String::new()), 1 => Just("n".repeat(5_000))]
}

fn facts() -> impl Strategy<Value = NodeFacts> {
    // The keys follow from another letter than the name now and then: a copied directory, or a new machine under an old name.
    (name(), "[a-e]", any::<bool>(), any::<bool>(), 0..3u32, 0..1u64 << 30).prop_map(
        |(name, keys, server, worker, schema, memory_bytes)| {
            let made = support::facts(if keys == "e" { "other" } else { &name });
            let keys = NodeKeys { server: made.keys.server.filter(|_| server), worker: made.keys.worker.filter(|_| worker) };
            NodeFacts { name, keys, schema, memory_bytes, ..made }
        },
    )
}

fn join() -> impl Strategy<Value = Join> {
    (facts(), prop::option::weighted(0.9, "[st]"), 0..30u64).prop_map(|(facts, token, at)| match token {
        Some(id) => Join { at: Timestamp(at), ..support::joining(facts, &id) },
        None => Join { at: Timestamp(at), admission: None, node: facts },
    })
}

fn change() -> impl Strategy<Value = Change> {
    let app = || app().prop_map(|id| support::app(&id));
    let role = || prop_oneof![Just(NodeRole::Server), Just(NodeRole::Worker)];
    let end = || (0..40u64).prop_map(Timestamp);
    let join_token = ("[stu]", role(), end(), prop::option::of(0..3u32)).prop_map(|(id, role, expires_at, uses)| {
        Change::CreateJoinToken(CreateJoinToken { expires_at, uses, ..support::join_token(&id, role) })
    });
    let api_role = prop_oneof![Just(ApiRole::Admin), Just(ApiRole::Deployer), Just(ApiRole::Viewer)];
    let api_token = ("[u-x]", api_role, prop::option::of(end()), any::<bool>()).prop_map(|(id, role, expires_at, held)| {
        let namespace = held.then(|| "team".parse().expect("a name"));
        Change::CreateApiToken(CreateApiToken {
            id: support::token(&id),
            secret_hash: [1; 32],
            name: "ci".into(),
            role,
            namespace,
            expires_at,
        })
    });
    prop_oneof![
        6 => wish().prop_map(|wish| wish.change()),
        2 => (app(), prop::option::of(revision())).prop_map(|(app, to)| Change::Undo(Undo { app, to })),
        2 => app().prop_map(|app| Change::Delete(Delete { app })),
        6 => values(),
        2 => join_token,
        1 => "[stu]".prop_map(|id| Change::RevokeJoinToken(RevokeJoinToken { id: support::token(&id) })),
        1 => api_token,
        1 => "[u-x]".prop_map(|id| Change::RevokeApiToken(RevokeApiToken { id: support::token(&id) })),
        1 => (node(), any::<bool>()).prop_map(|(node, lost)| Change::RemoveNode(RemoveNode { node, lost })),
        1 => (0..3u8, prop_oneof![3 => Just(0), 1 => 0..60u64]).prop_map(|(number, after)| {
            let (after, certificate) = (Index(after), vec![number; 2]);
            Change::RotateAuthority(RotateAuthority { after, certificate, cross: vec![9], key: Sealed(vec![number]) })
        }),
    ]
}

fn command() -> impl Strategy<Value = CommandV1> {
    let at = Timestamp(5);
    let key = prop::option::weighted(0.5, prop_oneof![4 => "[kl]", 1 => Just(String::new()), 1 => Just("k".repeat(129))]);
    let time = prop_oneof![8 => 0..30u64, 1 => Just(limits::ANSWER_KEPT_MILLIS + 20)];
    let user = (change(), time, "[ab]", key).prop_map(|(change, at, by, key)| {
        CommandV1::User(UserCommand { at: Timestamp(at), by, token: None, from: "10.0.0.1:9".into(), key, change })
    });
    let attest = (node(), 0..3u64, 0..2u8)
        .prop_map(|(node, checkpoint, hash)| CommandV1::Attest(Attest { node, index: Index(checkpoint * 500), hash: [hash; 32] }));
    let role = || prop_oneof![Just(NodeRole::Server), Just(NodeRole::Worker)];
    let phases = prop_oneof![Just(RotationPhase::Learning), Just(RotationPhase::Renewing)];
    let (confirmed, away) = (prop::collection::vec((node(), role()), 0..6), prop::collection::vec((node(), role()), 0..9));
    let confirm = (0..60u64, phases, confirmed, away).prop_map(move |(rotation, phase, confirmed, away)| {
        CommandV1::ConfirmAuthority(ConfirmAuthority { at, rotation: Index(rotation), phase, confirmed, away })
    });
    prop_oneof![
        1 => facts().prop_map(support::founding),
        4 => join().prop_map(CommandV1::Join),
        2 => join().prop_map(CommandV1::Replace),
        2 => (node(), facts()).prop_map(move |(node, facts)| CommandV1::UpdateNode(UpdateNode { at, node, facts })),
        10 => user,
        1 => attest,
        2 => confirm,
        6 => prop::collection::vec(step(), 0..8).prop_map(move |steps| CommandV1::Carry(Plan { at, based_on: Index(0), steps })),
        3 => (node(), prop::collection::vec((placement(), phase()), 0..6))
            .prop_map(move |(node, phases)| CommandV1::Observe(Observe { at, node, phases })),
        1 => (node(), prop::option::of(app())).prop_map(move |(node, app)| {
            let component = app.map(|app| support::app(&app).component("web".parse().expect("a name")));
            let event = NodeEvent { at, kind: NodeEventKind::CodeCompiled, component, message: "m".repeat(5_000) };
            CommandV1::Note(Note { node, events: vec![event] })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_replicas_agree(commands in prop::collection::vec(command(), 1..60)) {
        let mut leader = support::Cluster::new().state;
        let mut follower = support::Cluster::new().state;
        let middle = commands.len() / 2;
        for (number, command) in commands.into_iter().map(Command::V1).enumerate() {
            let index = leader.index().next();
            let before = leader.clone();
            let applied = leader.apply(index, &command);
            a_trial_comes_to_the_same(&before, &command, &applied, &leader)?;
            prop_assert_eq!(leader.check(), Ok(()), "after {:?}", &command);
            // The follower reads the command from its own disk.
            let bytes = bincode::serde::encode_to_vec(&command, bincode::config::standard()).expect("encodes");
            let (read, _): (Command, usize) = bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).expect("decodes");
            prop_assert_eq!(&applied, &follower.apply(index, &read));
            prop_assert_eq!(leader.hash(), follower.hash());
            the_watch_is_complete(&before, &leader)?;
            if number == middle {
                // A member that starts from a snapshot goes on like the others.
                follower = State::restore(&mut leader.records().map(Ok)).expect("its own records are a state");
            }
            if applied.is_err() {
                unchanged_but_for_the_index(&before, &leader)?;
            }
        }
        a_snapshot_is_the_state(&leader)?;
    }
}

/// Commands in the log of `past.rs`.
const PAST: usize = 300;

/// Makes a log for `past.rs` when `WRITE_PAST` is set. Only for a vocabulary that was never released: what is in that file was written by somebody once, and stays.
#[test]
fn a_past_is_written() {
    if std::env::var_os("WRITE_PAST").is_none() {
        return;
    }
    let mut runner = TestRunner::deterministic();
    let commands = prop::collection::vec(command(), 4 * PAST).new_tree(&mut runner).expect("commands are made").current();
    let short = |bytes: &Vec<u8>| bytes.len() < 1_000;
    let encode = |command| bincode::serde::encode_to_vec(Command::V1(command), bincode::config::standard()).expect("encodes");
    let founding = std::iter::once(support::founding(support::facts("a")));
    let line = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    let lines: String = founding.chain(commands).map(encode).filter(short).take(PAST).map(line).collect();
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/past/log.hex"), lines).expect("written");
}

/// What somebody sees who lists everything: every object, and what it is.
fn listing(state: &State) -> BTreeMap<ObjectKey, String> {
    let mut all = BTreeMap::new();
    all.extend(state.cluster().map(|row| (ObjectKey::Cluster, format!("{row:?}"))));
    all.extend(state.nodes().map(|row| (ObjectKey::Node(row.id, row.name.clone()), format!("{row:?}"))));
    all.extend(state.join_tokens().map(|row| (ObjectKey::JoinToken(row.id.clone()), format!("{row:?} {:?}", row.version))));
    all.extend(state.api_tokens().map(|row| (ObjectKey::ApiToken(row.id.clone()), format!("{row:?}"))));
    all.extend(state.apps().map(|row| (ObjectKey::App(row.id.clone()), format!("{row:?}"))));
    all.extend(state.all_revisions().map(|row| (ObjectKey::Revision(row.app.clone(), row.number), format!("{row:?}"))));
    all.extend(state.placements().map(|row| (ObjectKey::Placement(row.id, row.instance.clone()), format!("{row:?}"))));
    all.extend(state.configs().map(|row| (ObjectKey::Config(row.id.clone()), format!("{row:?}"))));
    all.extend(state.secrets().map(|row| (ObjectKey::Secret(row.id.clone()), format!("{row:?}"))));
    all.extend(state.namespaces().map(|row| (ObjectKey::Namespace(row.name.clone()), format!("{row:?}"))));
    all
}

/// The watch tells exactly what comparing two listings tells.
fn the_watch_is_complete(before: &State, after: &State) -> Result<(), TestCaseError> {
    let (old, new) = (listing(before), listing(after));
    let added = new.keys().filter(|key| !old.contains_key(*key)).map(|key| (key.clone(), Op::Added));
    let deleted = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Op::Deleted));
    let modified = old.iter().filter(|(key, row)| new.get(*key).is_some_and(|now| now != *row)).map(|(key, _)| (key.clone(), Op::Modified));
    let expected: BTreeMap<_, _> = added.chain(deleted).chain(modified).collect();
    let told: Vec<_> = after.changes_after(before.index()).expect("nothing is forgotten so soon").cloned().collect();
    prop_assert!(told.iter().all(|change| change.index == after.index()));
    prop_assert_eq!(told.len(), expected.len(), "{:?}", &told);
    prop_assert_eq!(told.into_iter().map(|change| (change.object, change.op)).collect::<BTreeMap<_, _>>(), expected);
    Ok(())
}

/// Tried out, a command is answered alike and leaves the same objects, and nothing of it is kept.
fn a_trial_comes_to_the_same(
    before: &State,
    command: &Command,
    applied: &Result<Applied, Refused>,
    after: &State,
) -> Result<(), TestCaseError> {
    let mut trial = before.trial();
    prop_assert_eq!(&trial.apply(after.index(), command), applied);
    prop_assert_eq!(listing(&trial), listing(after));
    prop_assert_eq!((trial.newest_event(), trial.newest_audit()), (before.newest_event(), before.newest_audit()));
    prop_assert!(trial.changes_after(before.index()).is_ok_and(|changes| changes.count() == 0));
    Ok(())
}

fn a_snapshot_is_the_state(state: &State) -> Result<(), TestCaseError> {
    let restored = State::restore(&mut state.records().map(Ok)).expect("its own records are a state");
    prop_assert_eq!(restored.hash(), state.hash());
    prop_assert!(restored.records().eq(state.records()));
    prop_assert!(restored.changes_after(state.index()).is_ok_and(|changes| changes.count() == 0));
    prop_assert_eq!(restored.changes_after(Index(0)).err(), Some(Compacted { oldest: state.index() }));
    Ok(())
}

fn unchanged_but_for_the_index(before: &State, after: &State) -> Result<(), TestCaseError> {
    prop_assert!(before.apps().eq(after.apps()));
    prop_assert!(before.nodes().eq(after.nodes()));
    prop_assert!(before.placements().eq(after.placements()));
    prop_assert!(before.join_tokens().eq(after.join_tokens()));
    prop_assert!(before.api_tokens().eq(after.api_tokens()));
    prop_assert_eq!(before.cluster(), after.cluster());
    prop_assert!(before.configs().eq(after.configs()));
    prop_assert!(before.secrets().eq(after.secrets()));
    prop_assert!(before.namespaces().eq(after.namespaces()));
    prop_assert_eq!(before.authorities(), after.authorities());
    prop_assert_eq!(before.newest_event(), after.newest_event());
    Ok(())
}
