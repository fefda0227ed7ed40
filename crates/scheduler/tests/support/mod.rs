//! A cluster without machines: the state, what was observed, and workers that do what they are told. Owns the shorthand; must never decide anything.
#![allow(dead_code, reason = "each test file uses its own part")]

use model::{
    frozen::{AppSpecV1, ComponentSpecV1, Frozen, RouteKeyV1},
    id::{AppId, Digest, InstanceId, NodeId, RevisionNumber, Timestamp, TokenId},
};
use scheduler::Observed;
use state::{
    Applied, Command, Placement, Refused, State,
    command::{
        Addresses, Admission, Change, CommandV1, CreateJoinToken, Delete, Deploy, Found, Join, NodeFacts, NodeKeys, NodeRole, Observe,
        Place, Plan, RemoveNode, Sealed, SeenPhase, Step, Undo, UpdateNode,
    },
};

/// One component of a deployed app.
#[derive(Debug, Clone)]
pub struct Part {
    pub name: String,
    pub replicas: u32,
    pub memory: u64,
    pub routes: Vec<RouteKeyV1>,
}

pub struct World {
    pub state: State,
    pub observed: Observed,
    pub now: Timestamp,
}

impl World {
    pub fn new() -> Self {
        Self { state: State::empty(), observed: Observed::default(), now: Timestamp(1_000_000) }
    }

    pub fn apply(&mut self, command: CommandV1) -> Result<Applied, Refused> {
        let applied = self.state.apply(self.state.index().next(), &Command::V1(command));
        self.state.check().expect("every invariant holds");
        applied
    }

    pub fn join(&mut self, name: &str, memory_bytes: u64) {
        let key = |role: &str| Digest::of(format!("{role} {name}").as_bytes()).0;
        let first = self.state.cluster().is_none();
        let node = NodeFacts {
            name: name.to_owned(),
            keys: NodeKeys { server: first.then(|| key("server")), worker: Some(key("worker")) },
            addresses: Addresses::default(),
            place: Place::default(),
            labels: Default::default(),
            memory_bytes,
            cpu_millis: 1_000,
            release: "0.1.0".to_owned(),
            schema: 1,
        };
        let at = self.now;
        if first {
            let (ca_certificate, ca_key) = (Vec::new(), Sealed(Vec::new()));
            self.apply(CommandV1::Found(Found { at, cluster: [1; 16], ca_certificate, ca_key, node })).expect("the first node founds");
            return;
        }
        if let Some(known) = self.state.node_named(name) {
            let facts = NodeFacts { keys: known.keys, ..node };
            let node = known.id;
            self.apply(CommandV1::UpdateNode(UpdateNode { at, node, facts })).expect("the node says what is new");
            return;
        }
        let token: TokenId = "t".parse().expect("an id");
        let _ = self.ask(Change::CreateJoinToken(CreateJoinToken {
            id: token.clone(),
            secret_hash: [0; 32],
            role: NodeRole::Worker,
            expires_at: Timestamp(u64::MAX),
            uses: None,
            note: String::new(),
        }));
        let admission = Some(Admission { token, secret_hash: [0; 32] });
        self.apply(CommandV1::Join(Join { at, admission, node })).expect("the node joins");
    }

    /// A user removes the node `name`, which is lost.
    pub fn remove(&mut self, name: &str) -> Result<Applied, Refused> {
        let node = self.state.node_named(name).map_or(NodeId(0), |node| node.id);
        self.ask(Change::RemoveNode(RemoveNode { node, lost: true }))
    }

    pub fn ask(&mut self, change: Change) -> Result<Applied, Refused> {
        let Command::V1(command) = Command::user(self.now, "ann", change);
        self.apply(command)
    }

    /// Deploys `app` with `parts`; another `version` is another revision.
    pub fn deploy(&mut self, app: &AppId, version: u8, parts: &[Part]) -> Result<Applied, Refused> {
        let component = |part: &Part| ComponentSpecV1 {
            name: part.name.parse().expect("a name"),
            digest: Digest([version; 32]),
            replicas: part.replicas,
            instance_memory_bytes: part.memory,
            cpu_millis: 100,
            routes: part.routes.clone(),
            config: None,
            secrets: vec![],
            certificates: vec![],
            egress: vec![],
            imports: vec![],
        };
        let but_scale: Vec<_> = parts.iter().map(|part| (&part.name, part.memory, &part.routes)).collect();
        let identity = Digest::of(format!("{version} {but_scale:?}").as_bytes());
        let spec = AppSpecV1 { components: parts.iter().map(component).collect() };
        let frozen = Frozen { canonical: format!("{version} {parts:?}"), spec };
        self.ask(Change::Deploy(Deploy { app: app.clone(), frozen, identity, protected: false, expect: None }))
    }

    pub fn undo(&mut self, app: &AppId, to: Option<RevisionNumber>) -> Result<Applied, Refused> {
        self.ask(Change::Undo(Undo { app: app.clone(), to }))
    }

    pub fn delete(&mut self, app: &AppId) -> Result<Applied, Refused> {
        self.ask(Change::Delete(Delete { app: app.clone() }))
    }

    pub fn plan(&self) -> Plan {
        scheduler::plan(&self.state, &self.observed, self.now)
    }

    /// Carries `plan` out; returns how many of its steps were stale.
    pub fn carry(&mut self, plan: Plan) -> u32 {
        match self.apply(CommandV1::Carry(plan)) {
            Ok(Applied::Carried { stale, .. }) => stale,
            other => panic!("a plan is always carried out: {other:?}"),
        }
    }

    /// A worker reports `phase` of `placement`, and that is recorded.
    pub fn report(&mut self, placement: &Placement, phase: SeenPhase) {
        self.observed.phases.insert(placement.id, phase.clone());
        let observe = Observe { at: self.now, node: placement.node, phases: vec![(placement.id, phase)] };
        self.apply(CommandV1::Observe(observe)).expect("observing is never refused");
    }

    /// Placements of which `instance` and, when given, `revision` are true.
    pub fn find(&self, instance: &InstanceId, revision: Option<RevisionNumber>) -> Vec<Placement> {
        let placed = self.state.placements_of(&instance.component.app);
        placed.filter(|at| at.instance == *instance && revision.is_none_or(|number| number == at.revision)).cloned().collect()
    }

    /// Every worker does what it is told: what should run becomes ready unless `broken` says otherwise, what should stop has stopped.
    pub fn work(&mut self, broken: impl Fn(&Placement) -> bool) {
        let placements: Vec<_> = self.state.placements().cloned().collect();
        for placement in placements {
            let known = self.observed.phase(&placement).clone();
            let phase = match placement.stopping {
                Some(_) => SeenPhase::Stopped,
                None if matches!(known, SeenPhase::Failed { .. }) => continue,
                None if broken(&placement) => SeenPhase::Failed { code: "E0301".to_owned(), message: "does not compile".to_owned() },
                None => SeenPhase::Ready,
            };
            if known != phase {
                self.report(&placement, phase);
            }
        }
    }

    pub fn node_name(&self, node: NodeId) -> String {
        self.state.node(node).map_or_else(|| node.to_string(), |node| node.name.clone())
    }

    /// A step as scripts show it; to be asked before it is carried out.
    pub fn text(&self, step: &Step) -> String {
        let placed = |id| {
            let placement: Option<&Placement> = self.state.placement(id);
            placement.map_or_else(|| format!("{id}"), |at| format!("{} {} on {}", at.instance, at.revision, self.node_name(at.node)))
        };
        match step {
            Step::Place { instance, revision, node } => format!("place   {instance} {revision} on {}", self.node_name(*node)),
            Step::Stop { placement, why } => format!("stop    {}: {why}", placed(*placement)),
            Step::Serve { app, revision } => format!("serve   {app} {revision}"),
            Step::Fail { app, revision, code, message } => format!("fail    {app} {revision}: {code} {message}"),
            Step::Forget { placement } => format!("forget  {}", placed(*placement)),
            Step::Wait { instance, reason } => format!("wait    {instance} {reason}"),
            Step::Resume { instance } => format!("resume  {instance}"),
            Step::Settle { app, revision } => format!("settle  {app} {revision}"),
        }
    }
}
