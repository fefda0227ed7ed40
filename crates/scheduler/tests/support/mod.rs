//! A cluster without machines: the state, what was observed, and workers that do what they are told. Owns the shorthand; must never decide anything.
#![allow(dead_code, reason = "each test file uses its own part")]

use model::{
    frozen::{AppSpecV1, ComponentSpecV1, Frozen, RouteKeyV1},
    id::{AppId, Digest, InstanceId, NodeId, RevisionNumber, Timestamp},
};
use scheduler::Observed;
use state::{
    Applied, Command, Placement, Refused, State,
    command::{CommandV1, Delete, Deploy, Join, Observe, Plan, SeenPhase, Step, Undo},
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
        self.apply(CommandV1::Join(Join { at: self.now, name: name.to_owned(), memory_bytes, cpu_millis: 1_000 })).expect("the node joins");
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
        };
        let but_scale: Vec<_> = parts.iter().map(|part| (&part.name, part.memory, &part.routes)).collect();
        let identity = Digest::of(format!("{version} {but_scale:?}").as_bytes());
        let spec = AppSpecV1 { components: parts.iter().map(component).collect() };
        let frozen = Frozen { canonical: format!("{version} {parts:?}"), spec };
        let (at, by, app) = (self.now, "ann".to_owned(), app.clone());
        self.apply(CommandV1::Deploy(Deploy { at, by, app, frozen, identity, protected: false, expect: None }))
    }

    pub fn undo(&mut self, app: &AppId, to: Option<RevisionNumber>) -> Result<Applied, Refused> {
        self.apply(CommandV1::Undo(Undo { at: self.now, by: "ann".to_owned(), app: app.clone(), to }))
    }

    pub fn delete(&mut self, app: &AppId) -> Result<Applied, Refused> {
        self.apply(CommandV1::Delete(Delete { at: self.now, by: "ann".to_owned(), app: app.clone() }))
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
        }
    }
}
