//! Commands nobody thought of: the invariants hold, replicas agree, and nothing panics. Owns the generator.

mod support;

use model::id::{Index, InstanceId, NodeId, PlacementId, RevisionNumber, Timestamp};
use proptest::prelude::*;
use state::{
    Command, State,
    command::{CommandV1, Delete, Join, NodeEvent, NodeEventKind, Note, Observe, Plan, SeenPhase, Step, Undo},
};
use support::{Wish, route};

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
    (0..5u64).prop_map(NodeId)
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
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let routes = prop::collection::vec((0..3u8, 0..2u8), 0..3)
        .prop_map(|picks| picks.into_iter().map(|(host, path)| route(&format!("h{host}.test"), ["/", "/v1"][path as usize])).collect());
    let expect = prop_oneof![4 => Just(None), 1 => (0..20u64).prop_map(|index| Some(Index(index)))];
    let replicas = prop_oneof![20 => 0..5u32, 1 => Just(u32::MAX)];
    (app(), 0..4u8, replicas, routes, expect, prop::bool::weighted(0.1))
        .prop_map(|(app, version, replicas, routes, expect, protected)| Wish { app, version, replicas, routes, expect, protected })
}

fn command() -> impl Strategy<Value = CommandV1> {
    let at = Timestamp(5);
    let by = || "ann".to_owned();
    let app = || app().prop_map(|id| support::app(&id));
    let name = prop_oneof![Just(String::new()), Just("a".to_owned()), Just("b".to_owned()), Just("n".repeat(5_000))];
    prop_oneof![
        1 => (name, 0..1u64 << 30).prop_map(move |(name, memory_bytes)| {
            CommandV1::Join(Join { at, name, memory_bytes, cpu_millis: 1 })
        }),
        3 => wish().prop_map(|wish| wish.command()),
        1 => (app(), prop::option::of(revision())).prop_map(move |(app, to)| CommandV1::Undo(Undo { at, by: by(), app, to })),
        1 => app().prop_map(move |app| CommandV1::Delete(Delete { at, by: by(), app })),
        4 => prop::collection::vec(step(), 0..8).prop_map(move |steps| CommandV1::Carry(Plan { at, based_on: Index(0), steps })),
        2 => (node(), prop::collection::vec((placement(), phase()), 0..6))
            .prop_map(move |(node, phases)| CommandV1::Observe(Observe { at, node, phases })),
        1 => (node(), prop::option::of(app())).prop_map(move |(node, app)| {
            let component = app.map(|app| app.component("web".parse().expect("a name")));
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
        for command in commands.into_iter().map(Command::V1) {
            let index = leader.index().next();
            let before = leader.clone();
            let applied = leader.apply(index, &command);
            prop_assert_eq!(leader.check(), Ok(()), "after {:?}", &command);
            // The follower reads the command from its own disk.
            let bytes = bincode::serde::encode_to_vec(&command, bincode::config::standard()).expect("encodes");
            let (read, _): (Command, usize) = bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).expect("decodes");
            prop_assert_eq!(&applied, &follower.apply(index, &read));
            prop_assert_eq!(leader.hash(), follower.hash());
            if applied.is_err() {
                unchanged_but_for_the_index(&before, &leader)?;
            }
        }
    }
}

fn unchanged_but_for_the_index(before: &State, after: &State) -> Result<(), TestCaseError> {
    prop_assert!(before.apps().eq(after.apps()));
    prop_assert!(before.nodes().eq(after.nodes()));
    prop_assert!(before.placements().eq(after.placements()));
    prop_assert_eq!(before.newest_event(), after.newest_event());
    Ok(())
}
