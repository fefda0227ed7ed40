//! What clients, workers and the scheduler of a simulated cluster ask for. Owns the mix: most of it fits the state it was made for, some of it is late,
//! some is nonsense; must never decide what comes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    str::FromStr,
};

use model::{
    frozen::{AppSpecV1, ComponentSpecV1, Frozen, RouteKeyV1},
    id::{Digest, Index, InstanceId, NodeId, ObjectId, Timestamp},
};
use openraft_rt_sim::SimInstant;
use scheduler::Observed;
use state::{
    State,
    command::{
        Addresses, Admission, ApiRole, Ceilings, Change, CommandV1, CreateApiToken, CreateJoinToken, Delete, DeleteNamespace, DeleteObject,
        Deploy, Described, Found, Join, NodeEvent, NodeEventKind, NodeFacts, NodeKeys, NodeRole, Note, Observe, Plan, PutConfig,
        PutNamespace, PutSecret, RemoveNode, RevokeApiToken, RevokeJoinToken, Sealed, SecretKind, SeenPhase, Step, Undo, UpdateNode,
        UserCommand,
    },
};

use crate::Random;

/// Objects, by name: few enough that clients get into each other's way.
const OBJECTS: [&str; 6] = ["alpha", "beta", "gamma", "team/alpha", "team/beta", "ops/gamma"];

const APPS: [&str; 4] = ["hello", "drones", "team/hello", "team/maps"];

/// Tokens with which servers and workers join, from the founding on.
const SERVERS: &str = "servers";
const WORKERS: &str = "workers";

/// Fails only on a name that is written wrongly here.
fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("the names of a simulation are valid")
}

fn one(random: &mut Random, list: &[&'static str]) -> &'static str {
    random.pick(list).unwrap_or_default()
}

fn now() -> Timestamp {
    Timestamp(SimInstant::try_now().map_or(0, |now| now.elapsed_since_start().as_millis() as u64))
}

fn secret_hash(token: &str) -> [u8; 32] {
    Digest::of(token.as_bytes()).0
}

/// What a server called `name` says of itself.
fn facts(name: &str, role: NodeRole) -> NodeFacts {
    let key = |role: &str| Digest::of(format!("{role} {name}").as_bytes()).0;
    NodeFacts {
        name: name.to_owned(),
        keys: NodeKeys { server: (role == NodeRole::Server).then(|| key("server")), worker: Some(key("worker")) },
        addresses: Addresses::default(),
        place: Default::default(),
        labels: BTreeMap::new(),
        memory_bytes: 1 << 30,
        cpu_millis: 4_000,
        release: "0.1.0".to_owned(),
        schema: 1,
    }
}

/// What founds a cluster and lets others in.
pub(crate) fn founding() -> Vec<CommandV1> {
    let node = facts("server-1", NodeRole::Server);
    let found = Found { at: now(), cluster: [7; 16], ca_certificate: vec![1; 300], ca_key: Sealed(vec![2; 100]), node };
    let token = |name: &str, role| {
        user(
            0,
            Change::CreateJoinToken(CreateJoinToken {
                id: id(name),
                secret_hash: secret_hash(name),
                role,
                expires_at: Timestamp(u64::MAX),
                uses: None,
                note: "founding".to_owned(),
            }),
        )
    };
    vec![CommandV1::Found(found), token(SERVERS, NodeRole::Server), token(WORKERS, NodeRole::Worker)]
}

/// A server asks to be let in.
pub(crate) fn join_server(name: &str) -> CommandV1 {
    CommandV1::Join(join(facts(name, NodeRole::Server), SERVERS))
}

fn join(node: NodeFacts, token: &str) -> Join {
    Join { at: now(), admission: Some(Admission { token: id(token), secret_hash: secret_hash(token) }), node }
}

fn user(unique: u64, change: Change) -> CommandV1 {
    CommandV1::User(UserCommand {
        at: now(),
        by: format!("client-{}", unique >> 32),
        token: None,
        from: "10.0.0.1:9".to_owned(),
        key: None,
        change,
    })
}

/// A command from somebody who last saw `state`.
pub(crate) fn any(state: &State, unique: u64, random: &mut Random) -> CommandV1 {
    match random.below(100) {
        0..60 => {
            let change = change(state, random);
            // Under a key it can be sent again.
            let key = random.chance(400).then(|| format!("key-{unique}"));
            match user(unique, change) {
                CommandV1::User(user) => CommandV1::User(UserCommand { key, ..user }),
                other => other,
            }
        }
        60..78 => CommandV1::Carry(plan(state, random)),
        78..91 => observe(state, random),
        91..94 => CommandV1::Join(join(facts(one(random, &["worker-a", "worker-b", "worker-c"]), NodeRole::Worker), WORKERS)),
        94..95 => {
            let node = facts(one(random, &["worker-a", "worker-b"]), NodeRole::Worker);
            // Now and then another machine under the name.
            let worker = random.chance(500).then(|| [random.below(200) as u8; 32]).or(node.keys.worker);
            CommandV1::Replace(join(NodeFacts { keys: NodeKeys { server: None, worker }, ..node }, WORKERS))
        }
        95..97 => update(state, random),
        _ => note(state, random),
    }
}

fn change(state: &State, random: &mut Random) -> Change {
    let object: ObjectId = id(one(random, &OBJECTS));
    let described = || Described::default();
    match random.below(60) {
        0..28 => {
            let found = state.config(&object).map_or(Index(0), |config| config.version);
            let expect = random.chance(600).then_some(found).filter(|expect| expect.0 > 0);
            let data = [("value".to_owned(), random.below(1_000).to_string())].into();
            Change::PutConfig(PutConfig { id: object, described: Some(described()), data, expect })
        }
        28..31 => Change::DeleteConfig(DeleteObject { id: object, expect: None }),
        31..37 => {
            let keys: BTreeSet<String> = ["user", "password"].map(str::to_owned).into();
            let sealed = Sealed(vec![random.below(256) as u8; 60]);
            Change::PutSecret(PutSecret { id: object, described: Some(described()), kind: SecretKind::Opaque, keys, sealed, expect: None })
        }
        37..39 => Change::DeleteSecret(DeleteObject { id: object, expect: None }),
        39..40 => {
            let ceilings = Ceilings { apps: random.chance(500).then(|| random.below(3)), ..Ceilings::default() };
            Change::PutNamespace(PutNamespace { name: id("team"), described: described(), ceilings, expect: None })
        }
        40..41 => Change::DeleteNamespace(DeleteNamespace { name: id("team"), expect: None }),
        41..50 => deploy(random),
        50..52 => Change::Undo(Undo { app: id(one(random, &APPS)), to: None }),
        52..54 => Change::Delete(Delete { app: id(one(random, &APPS)) }),
        _ => tokens_and_nodes(state, random),
    }
}

fn deploy(random: &mut Random) -> Change {
    let (app, version) = (one(random, &APPS), random.below(5) as u8);
    let component = |name: &str, routes| ComponentSpecV1 {
        name: id(name),
        digest: Digest([version; 32]),
        replicas: 1,
        instance_memory_bytes: 16 << 20,
        cpu_millis: 10,
        routes,
        config: None,
        secrets: Vec::new(),
        certificates: Vec::new(),
        egress: Vec::new(),
        imports: Vec::new(),
    };
    // Two apps may wish the same host.
    let host = format!("host-{}.test", random.below(6));
    let route = RouteKeyV1 { host: host.clone(), path: "/".to_owned(), exact: false, methods: vec![], headers: vec![] };
    let mut components = vec![component("web", vec![route])];
    if version >= 3 {
        components.push(component("worker", Vec::new()));
    }
    let canonical = format!("{app} {version} {host}");
    Change::Deploy(Deploy {
        app: id(app),
        identity: Digest::of(canonical.as_bytes()),
        frozen: Frozen { canonical, spec: AppSpecV1 { components } },
        protected: false,
        expect: None,
    })
}

fn tokens_and_nodes(state: &State, random: &mut Random) -> Change {
    let token = one(random, &["ta", "tb", "tc"]);
    let expires_at = Timestamp(now().0 + random.below(10_000));
    match random.below(6) {
        0 => Change::CreateJoinToken(CreateJoinToken {
            id: id(token),
            secret_hash: secret_hash(token),
            role: NodeRole::Worker,
            expires_at,
            uses: Some(2),
            note: String::new(),
        }),
        1 => Change::RevokeJoinToken(RevokeJoinToken { id: id(token) }),
        2 => {
            let expires_at = Some(expires_at);
            let (secret_hash, role) = (secret_hash(token), ApiRole::Viewer);
            Change::CreateApiToken(CreateApiToken { id: id(token), secret_hash, name: "ci".to_owned(), role, namespace: None, expires_at })
        }
        3 => Change::RevokeApiToken(RevokeApiToken { id: id(token) }),
        _ => {
            let workers: Vec<NodeId> = state.nodes().filter(|node| !node.is_server()).map(|node| node.id).collect();
            let node = random.pick(&workers).unwrap_or(NodeId(3));
            Change::RemoveNode(RemoveNode { node, lost: random.chance(700) })
        }
    }
}

/// What the scheduler would do, or something that no longer fits.
fn plan(state: &State, random: &mut Random) -> Plan {
    if random.chance(850) {
        return scheduler::plan(state, &Observed::default(), now());
    }
    let placements: Vec<_> = state.placements().map(|placement| placement.id).collect();
    let nodes: Vec<_> = state.nodes().map(|node| node.id).collect();
    let steps = (0..random.below(4)).filter_map(|_| {
        let app = one(random, &APPS);
        Some(match random.below(4) {
            0 => {
                let instance = InstanceId { component: id::<model::id::AppId>(app).component(id("web")), ordinal: random.below(4) as u32 };
                let revision = state.app(&id(app))?.wanted;
                Step::Place { instance, revision, node: random.pick(&nodes)? }
            }
            1 => Step::Stop { placement: random.pick(&placements)?, why: "chance".to_owned() },
            2 => Step::Serve { app: id(app), revision: state.app(&id(app))?.wanted },
            _ => Step::Forget { placement: random.pick(&placements)? },
        })
    });
    Plan { at: now(), based_on: state.index(), steps: steps.collect() }
}

/// A worker says how far its instances are: as it should be, most often.
fn observe(state: &State, random: &mut Random) -> CommandV1 {
    let nodes: Vec<NodeId> = state.nodes().map(|node| node.id).collect();
    let node = random.pick(&nodes).unwrap_or(NodeId(9));
    let mut phases = Vec::new();
    for placement in state.placements_on(node) {
        let phase = match (placement.runs(), random.below(10)) {
            (_, 0) => SeenPhase::Preparing,
            (true, 1) => SeenPhase::Failed { code: "E0301".to_owned(), message: "by chance".to_owned() },
            (true, _) => SeenPhase::Ready,
            (false, 1..4) => SeenPhase::Draining,
            (false, _) => SeenPhase::Stopped,
        };
        phases.push((placement.id, phase));
    }
    CommandV1::Observe(Observe { at: now(), node, phases })
}

fn update(state: &State, random: &mut Random) -> CommandV1 {
    let all: Vec<_> = state.nodes().map(|node| (node.id, node.facts())).collect();
    let (node, facts) = random.pick(&all).unwrap_or((NodeId(9), facts("nobody", NodeRole::Worker)));
    let facts = NodeFacts { memory_bytes: random.between(1, 3) << 30, ..facts };
    CommandV1::UpdateNode(UpdateNode { at: now(), node, facts })
}

fn note(state: &State, random: &mut Random) -> CommandV1 {
    let nodes: Vec<NodeId> = state.nodes().map(|node| node.id).collect();
    let event = NodeEvent { at: now(), kind: NodeEventKind::WorkerStarted, component: None, message: "again".to_owned() };
    CommandV1::Note(Note { node: random.pick(&nodes).unwrap_or(NodeId(9)), events: vec![event] })
}
