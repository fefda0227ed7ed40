//! Whatever users wish and workers do: planning and carrying out ends, a rollout takes nothing from what serves, and no node is overbooked.
//! Owns the chaos; the examples are in tests/scripts.

mod support;

use std::collections::BTreeMap;

use model::id::{AppId, Timestamp};
use proptest::prelude::*;
use state::{AppRecord, Placement, Rollout, State, command::SeenPhase};
use support::{Part, World};

#[derive(Debug, Clone)]
enum Act {
    Deploy {
        app: usize,
        version: u8,
        db: bool,
        memory: u64,
    },
    Undo {
        app: usize,
    },
    Delete {
        app: usize,
    },
    Join {
        node: usize,
    },
    Remove {
        node: usize,
    },
    Silence {
        node: usize,
        silent: bool,
    },
    Plan,
    /// Workers do what they are told, except that revisions of `broken` do not run.
    Work {
        broken: Option<u8>,
    },
    Break {
        pick: usize,
    },
    Later {
        seconds: u64,
    },
}

const APPS: [&str; 3] = ["hello", "drones", "team/hello"];
const NODES: [&str; 3] = ["a", "b", "c"];

fn act() -> impl Strategy<Value = Act> {
    let deploy = (0..3usize, 0..4u8, any::<bool>(), prop_oneof![Just(64u64 << 20), Just(300 << 20)]);
    prop_oneof![
        4 => deploy.prop_map(|(app, version, db, memory)| Act::Deploy { app, version, db, memory }),
        1 => (0..3usize).prop_map(|app| Act::Undo { app }),
        1 => (0..3usize).prop_map(|app| Act::Delete { app }),
        1 => (0..3usize).prop_map(|node| Act::Join { node }),
        1 => (0..3usize).prop_map(|node| Act::Remove { node }),
        1 => (0..3usize, any::<bool>()).prop_map(|(node, silent)| Act::Silence { node, silent }),
        6 => Just(Act::Plan),
        4 => prop::option::weighted(0.3, 0..4u8).prop_map(|broken| Act::Work { broken }),
        1 => (0..10usize).prop_map(|pick| Act::Break { pick }),
        1 => (0..40u64).prop_map(|seconds| Act::Later { seconds }),
    ]
}

fn app(number: usize) -> AppId {
    APPS[number].parse().expect("an app")
}

/// Does `act`; a refusal is a valid answer to any of them.
fn perform(world: &mut World, act: &Act) {
    match act {
        Act::Deploy { app: number, version, db, memory } => {
            let part = |name: &str| Part { name: name.to_owned(), replicas: 1, memory: *memory, routes: vec![] };
            let parts: Vec<_> = std::iter::once(part("web")).chain(db.then(|| part("db"))).collect();
            let _ = world.deploy(&app(*number), *version, &parts);
        }
        Act::Undo { app: number } => drop(world.undo(&app(*number), None)),
        Act::Delete { app: number } => drop(world.delete(&app(*number))),
        Act::Join { node } => world.join(NODES[*node], 1 << 30),
        Act::Remove { node } => drop(world.remove(NODES[*node])),
        Act::Silence { node, silent } => {
            let known = world.state.node_named(NODES[*node]).map(|node| node.id);
            match known {
                Some(id) if *silent => drop(world.observed.silent.insert(id)),
                Some(id) => drop(world.observed.silent.remove(&id)),
                None => {}
            }
        }
        Act::Plan => plan_and_carry(world),
        Act::Work { broken } => {
            let state = world.state.clone();
            world.work(|placement| version_of(&state, placement) == *broken);
        }
        Act::Break { pick } => {
            let running: Vec<_> = world.state.placements().filter(|placement| placement.runs()).cloned().collect();
            if let Some(placement) = running.get(*pick) {
                world.report(placement, SeenPhase::Failed { code: "E0302".to_owned(), message: "gone".to_owned() });
            }
        }
        Act::Later { seconds } => world.now = Timestamp(world.now.0 + seconds * 1_000),
    }
}

fn version_of(state: &State, placement: &Placement) -> Option<u8> {
    let revision = state.revision(&placement.instance.component.app, placement.revision)?;
    revision.frozen.spec.components.first().map(|component| component.digest.0[0])
}

/// Carries out a fresh plan: no step of it is stale, and it takes no ready instance from a revision that serves while another is wished.
fn plan_and_carry(world: &mut World) {
    let before = ready_and_serving(world);
    let plan = world.plan();
    let text: Vec<_> = plan.steps.iter().map(|step| world.text(step)).collect();
    assert_eq!(world.carry(plan), 0, "a fresh plan had stale steps: {text:#?}");
    for (app, ready) in before {
        let now = ready_and_serving(world).remove(&app).unwrap_or_default();
        let record = world.state.app(&app);
        let rolling = |record: &AppRecord| record.serving != Some(record.wanted) && !record.deleted;
        assert!(!record.is_some_and(rolling) || now >= ready, "{app} had {ready} ready instances, and has {now}: {text:#?}");
    }
    for node in world.state.nodes() {
        assert!(world.state.booked_memory(node.id) <= node.memory_bytes, "{} is overbooked: {text:#?}", node.name);
    }
}

fn ready_and_serving(world: &World) -> BTreeMap<AppId, usize> {
    let serving = |app: &AppRecord| {
        let of_serving = world.state.placements_of(&app.id).filter(|at| at.runs() && Some(at.revision) == app.serving);
        of_serving.filter(|placement| *world.observed.phase(placement) == SeenPhase::Ready).count()
    };
    world.state.apps().map(|app| (app.id.clone(), serving(app))).collect()
}

/// Everything heals: all nodes report, workers work, time passes. Planning must come to an end.
fn settle(world: &mut World) {
    world.observed.silent.clear();
    for _ in 0..200 {
        world.work(|_| false);
        if world.plan().is_empty() {
            match scheduler::wake_at(&world.state, &world.observed) {
                Some(at) => world.now = world.now.max(at),
                None => return,
            }
        }
        plan_and_carry(world);
    }
    panic!("two hundred plans, and still something to do: {:#?}", world.plan());
}

/// Without wishes that wait for room, every app is where it was wished to be.
fn check_settled(world: &World) {
    for app in world.state.apps() {
        assert!(!app.deleted, "{} is deleted, and still there", app.id);
        let failed = matches!(app.rollout, Rollout::Failed { .. });
        if failed || !app.waits.is_empty() {
            continue;
        }
        assert_eq!(app.serving, Some(app.wanted), "{} does not serve what is wished", app.id);
        assert_eq!(app.rollout, Rollout::Done, "{} is not done", app.id);
        let components = world.state.revision(&app.id, app.wanted).map_or(0, |revision| revision.frozen.spec.components.len());
        let placed: Vec<_> = world.state.placements_of(&app.id).collect();
        assert_eq!(placed.len(), components * world.state.workers(), "{}: {placed:#?}", app.id);
        assert!(placed.iter().all(|placement| placement.runs() && placement.revision == app.wanted));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn planning_ends_where_it_was_wished(acts in prop::collection::vec(act(), 1..60)) {
        let mut world = World::new();
        world.join("a", 1 << 30);
        for act in &acts {
            perform(&mut world, act);
        }
        settle(&mut world);
        check_settled(&world);
    }
}
