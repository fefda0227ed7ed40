//! From the state and what was observed to what users read. Owns the translation; must never decide, and never read a clock.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    node::{Phase, Wanted},
    v1::{
        API_VERSION, AppStatus, AppView, CertificateView, Change, CompilingView, ComponentStatus, Condition, EventView, InstancePhase,
        InstanceView, KIND_APP, NodeState, NodeView, RevisionComponent, RevisionView, RolloutPhase, RolloutView, Waiting,
    },
};
use model::{
    app::{App, Https, Route},
    id::{AppId, Generation, Timestamp},
    quantity::{Bytes, CpuMillis},
};
use scheduler::Observed;
use state::{AppRecord, Event, NodeRecord, Placement, Revision, Rollout, SecretRecord, State, command::SeenPhase};

use crate::{apps::Apps, reports::Reports};

/// What is said of an instance whose node does not report any more. Tools go by the words before the semicolon.
const SILENT: &str = "its node is silent; it may well still serve";

/// What is said of an instance whose node has not reported to the server that answers.
const UNHEARD: &str = "its node has not reported to this server yet";

/// What a Secret says of its certificate, when it has one and it can be opened.
pub type CertificateOf = dyn Fn(&SecretRecord) -> Option<CertificateView> + Send + Sync;

/// Everything a view is made of, read at one moment.
pub struct Viewer {
    /// The state.
    pub state: State,
    /// What the scheduler sees beside it.
    pub observed: Observed,
    /// What workers said last.
    pub reports: Reports,
    /// The moment.
    pub now: Timestamp,
    /// Parsed apps.
    pub apps: Arc<Apps>,
    /// The gateway's port, for URLs.
    pub gateway_port: u16,
    /// The same for `https://`, when the gateway speaks TLS.
    pub https_port: Option<u16>,
    /// What the values of a Secret say of a certificate.
    pub certificate: Arc<CertificateOf>,
}

impl Viewer {
    /// The app `id`; `None` when it does not exist, or when its frozen form cannot be read.
    pub fn app(&self, id: &AppId) -> Option<AppView> {
        self.view(self.state.app(id)?)
    }

    fn view(&self, record: &AppRecord) -> Option<AppView> {
        let mut app = App::clone(self.parsed(record)?.as_ref());
        for (name, component) in &mut app.spec.components {
            component.scale.replicas = record.replicas.get(name).copied().unwrap_or(component.scale.replicas);
        }
        app.metadata.protected = record.protected;
        app.metadata.resource_version = Some(record.version);
        let spec = serde_json::to_value(&app.spec).expect("a spec has string keys only");
        let (api_version, kind) = (API_VERSION.to_owned(), KIND_APP.to_owned());
        Some(AppView { api_version, kind, spec, status: self.status(record, &app), metadata: app.metadata })
    }

    fn parsed(&self, record: &AppRecord) -> Option<Arc<App>> {
        self.apps.of(self.state.revision(&record.id, record.wanted)?)
    }

    fn status(&self, record: &AppRecord, app: &App) -> AppStatus {
        let instances: Vec<_> = self.state.placements_of(&record.id).map(|placement| self.instance(placement)).collect();
        let components = components(record, app, &instances, self.state.workers());
        let waits: Vec<_> = self.waits(&record.id);
        let rollout = rollout(record, &components, &waits);
        AppStatus {
            created_at: record.created_at.into(),
            wanted: record.wanted,
            serving: record.serving,
            observed_generation: self.observed_generation(&record.id),
            routed: self.is_routed(record),
            conditions: conditions(record, &rollout, &instances),
            rollout,
            components,
            instances,
            waits,
            urls: self.urls(app),
            deleting: record.deleted,
        }
    }

    /// What of `app` waits, and for what.
    fn waits(&self, app: &AppId) -> Vec<Waiting> {
        let waits = scheduler::waiting(&self.state, &self.observed, app);
        waits.into_iter().map(|(instance, reason)| Waiting { instance, reason }).collect()
    }

    /// The oldest assignment that a worker with instances of `app` acts on.
    fn observed_generation(&self, app: &AppId) -> Generation {
        let nodes = self.state.placements_of(app).map(|placement| placement.node);
        let generations = nodes.map(|node| self.reports.seen.get(&node).map_or(Generation(0), |seen| seen.generation));
        generations.min().unwrap_or(Generation(self.state.index().0))
    }

    /// Whether every worker with instances of the app acts on an assignment that says who has the traffic. One that is silent is not waited for; one that is not
    /// known to be is.
    fn is_routed(&self, record: &AppRecord) -> bool {
        let nodes = self.state.placements_of(&record.id).map(|placement| placement.node);
        let mut speaking = nodes.filter(|node| self.reports.state_of(*node, self.now) != NodeState::Silent);
        let knows = |node| self.reports.seen.get(&node).is_some_and(|seen| seen.generation.0 >= record.serving_since.0);
        record.serving.is_some() && speaking.all(knows)
    }

    /// Where the app `id`, as it is wished now, answers once it serves.
    pub fn urls_of(&self, id: &AppId) -> Vec<String> {
        let parsed = self.state.app(id).and_then(|record| self.parsed(record));
        parsed.map(|app| self.urls(&app)).unwrap_or_default()
    }

    /// Where `app` answers once it serves.
    fn urls(&self, app: &App) -> Vec<String> {
        let url = |route: &Route| {
            // Where the gateway speaks no TLS it answers in the clear whatever the route wants.
            let (scheme, usual, port) = match self.https_port.filter(|_| route.https() == Https::Redirect) {
                Some(port) => ("https", 443, port),
                None => ("http", 80, self.gateway_port),
            };
            let port = if port == usual { String::new() } else { format!(":{port}") };
            format!("{scheme}://{}{port}{}", route.host, route.path)
        };
        app.spec.components.values().flat_map(|component| &component.routes).map(url).collect()
    }

    /// One placement.
    pub fn instance(&self, placement: &Placement) -> InstanceView {
        let node = self.state.node(placement.node);
        let state = self.reports.state_of(placement.node, self.now);
        let silent = state == NodeState::Silent;
        let live = self.reports.seen.get(&placement.node).and_then(|seen| seen.phases.get(&placement.id));
        let (phase, code, message) = phase(placement, live, state);
        let compiling = match live {
            Some(Phase::Compiling { since: Some(since), bytes }) if !silent => Some(CompilingView { since: *since, bytes: *bytes }),
            _ => None,
        };
        InstanceView {
            instance: placement.instance.clone(),
            revision: placement.revision,
            placement: placement.id,
            node: node.map(|node| node.name.clone()).unwrap_or_default(),
            wanted: if placement.runs() { Wanted::Run } else { Wanted::Stop },
            phase,
            since: placement.at.into(),
            code,
            message: if message.is_empty() { placement.stopping.clone().unwrap_or_default() } else { message },
            compiling,
        }
    }

    /// One node.
    pub fn node(&self, node: &NodeRecord) -> NodeView {
        let seen = self.reports.seen.get(&node.id);
        let placements: Vec<_> = self.state.placements_on(node.id).collect();
        let cpu = placements.iter().filter_map(|placement| {
            let component = &placement.instance.component;
            let revision = self.state.revision(&component.app, placement.revision)?;
            revision.component(component.component.as_str()).map(|spec| spec.cpu_millis)
        });
        NodeView {
            id: node.id,
            name: node.name.clone(),
            state: self.reports.state_of(node.id, self.now),
            last_report_at: seen.map(|seen| seen.at.into()),
            worker_pid: seen.map(|seen| seen.pid),
            memory: Bytes(node.memory_bytes),
            memory_booked: Bytes(self.state.booked_memory(node.id)),
            cpu: CpuMillis(node.cpu_millis),
            cpu_booked: CpuMillis(cpu.fold(0, u32::saturating_add)),
            instances: placements.len(),
        }
    }

    /// The revisions of `record`, the newest first.
    pub fn revisions(&self, record: &AppRecord) -> Vec<RevisionView> {
        let mut views = Vec::new();
        let mut before: Option<Arc<App>> = None;
        for revision in self.state.revisions(&record.id) {
            let app = self.apps.of(revision);
            // The oldest that is kept has nothing to be compared with, unless it is the first there ever was.
            let comparable = before.is_some() || revision.number.0 == 1;
            let changes = if comparable { changes(before.as_deref(), app.as_deref()) } else { Vec::new() };
            views.push(view_of_revision(record, revision, changes));
            before = app;
        }
        views.reverse();
        views
    }
}

fn view_of_revision(record: &AppRecord, revision: &Revision, changes: Vec<Change>) -> RevisionView {
    let components = revision.frozen.spec.components.iter();
    RevisionView {
        app: record.id.clone(),
        number: revision.number,
        at: revision.at.into(),
        by: revision.by.clone(),
        note: revision.note.clone(),
        serving: record.serving == Some(revision.number),
        wanted: record.wanted == revision.number,
        components: components.map(|spec| RevisionComponent { name: spec.name.clone(), digest: spec.digest }).collect(),
        changes,
    }
}

/// Every field in which the two differ.
fn changes(before: Option<&App>, after: Option<&App>) -> Vec<Change> {
    model::difference::between(before, after).into_iter().map(Change::from).collect()
}

/// One event.
pub fn event(event: &Event) -> EventView {
    EventView {
        sequence: event.sequence,
        at: event.at.into(),
        kind: event.kind.as_str().to_owned(),
        object: event.object.clone(),
        message: event.message.clone(),
    }
}

/// How far a placement is, as its worker says now. What was recorded was so once: of a node that says nothing it says nothing, but for failures.
fn phase(placement: &Placement, live: Option<&Phase>, node: NodeState) -> (InstancePhase, Option<String>, String) {
    let plain = |phase| (phase, None, String::new());
    let unknown = |why: &str| (InstancePhase::Unknown, None, why.to_owned());
    match (live, &placement.phase) {
        _ if node == NodeState::Silent => unknown(SILENT),
        (None, SeenPhase::Preparing | SeenPhase::Ready | SeenPhase::Draining) if node == NodeState::Unknown => unknown(UNHEARD),
        (Some(Phase::Failed { code, message }), _) | (None, SeenPhase::Failed { code, message }) => {
            (InstancePhase::Failed, Some(code.clone()), message.clone())
        }
        // It speaks, and not of this one: it has begun anew.
        (Some(Phase::Assigned), _) | (None, SeenPhase::Preparing | SeenPhase::Ready) => plain(InstancePhase::Assigned),
        (Some(Phase::Fetching), _) => plain(InstancePhase::Fetching),
        (Some(Phase::Compiling { .. }), _) => plain(InstancePhase::Compiling),
        (Some(Phase::Starting), _) => plain(InstancePhase::Starting),
        (Some(Phase::Waiting { message }), _) => (InstancePhase::Starting, None, message.clone()),
        (Some(Phase::Ready), _) => plain(InstancePhase::Ready),
        (Some(Phase::Draining), _) | (None, SeenPhase::Draining) => plain(InstancePhase::Draining),
        (Some(Phase::Stopped), _) | (None, SeenPhase::Stopped) => plain(InstancePhase::Stopped),
    }
}

/// Every worker runs one instance of every component.
fn components(record: &AppRecord, app: &App, instances: &[InstanceView], workers: usize) -> Vec<ComponentStatus> {
    let wanted = u32::try_from(workers).unwrap_or(u32::MAX);
    let mut ready: BTreeMap<&model::id::Name, u32> = BTreeMap::new();
    for instance in instances {
        if instance.phase == InstancePhase::Ready && instance.wanted == Wanted::Run && instance.revision == record.wanted {
            *ready.entry(&instance.instance.component.component).or_default() += 1;
        }
    }
    let components = app.spec.components.iter();
    let status = components.filter_map(|(name, component)| {
        let digest = component.source.digest()?;
        let ready = ready.get(name).copied().unwrap_or(0);
        Some(ComponentStatus { name: name.clone(), digest, wanted, ready })
    });
    status.collect()
}

fn rollout(record: &AppRecord, components: &[ComponentStatus], waits: &[Waiting]) -> RolloutView {
    let (ready, wanted) = totals(components);
    match &record.rollout {
        Rollout::Progressing => {
            let first = waits.first().map(|wait| format!("; {}", wait_words(wait))).unwrap_or_default();
            let message = format!("{ready} of {wanted} instances of {} are ready{first}", record.wanted);
            RolloutView { phase: RolloutPhase::Progressing, code: None, message }
        }
        Rollout::Done => {
            let message = format!("{} serves, {ready} of {wanted} instances are ready", record.wanted);
            RolloutView { phase: RolloutPhase::Done, code: None, message }
        }
        Rollout::Failed { code, message } => {
            RolloutView { phase: RolloutPhase::Failed, code: Some(code.clone()), message: message.clone() }
        }
    }
}

/// Who waits for what: the reason mostly brings its verb.
pub(crate) fn wait_words(wait: &Waiting) -> String {
    let has_verb = wait.reason.starts_with("waits ") || wait.reason.starts_with("failed");
    let verb = if has_verb { "" } else { "waits: " };
    format!("{} {verb}{}", wait.instance, wait.reason)
}

fn totals(components: &[ComponentStatus]) -> (u32, u32) {
    components.iter().fold((0, 0), |(ready, wanted), component| {
        (u32::saturating_add(ready, component.ready), u32::saturating_add(wanted, component.wanted))
    })
}

fn conditions(record: &AppRecord, rollout: &RolloutView, instances: &[InstanceView]) -> Vec<Condition> {
    // What has the traffic decides, even while another revision is wished or has failed.
    let serves = |instance: &&InstanceView| record.routed() == Some(instance.revision) && instance.wanted == Wanted::Run;
    let wanted = instances.iter().filter(serves).count();
    let ready = instances.iter().filter(serves).filter(|instance| instance.phase == InstancePhase::Ready).count();
    let condition =
        |kind: &str, status, reason: &str, message: String| Condition { kind: kind.to_owned(), status, reason: reason.to_owned(), message };
    let serving = record.routed().map_or_else(|| "nothing serves".to_owned(), |serving| format!("{serving} serves"));
    let reason = if ready == wanted && ready > 0 { "AllReady" } else { "NotAllReady" };
    let mut conditions = vec![condition("Available", record.routed().is_some() && ready > 0, reason, serving)];
    let (progressing, reason) = match rollout.phase {
        RolloutPhase::Progressing => (true, "Progressing"),
        RolloutPhase::Done => (false, "Done"),
        RolloutPhase::Failed => (false, "Failed"),
    };
    conditions.push(condition("Progressing", progressing, reason, rollout.message.clone()));
    if record.deleted {
        conditions.push(condition("Deleting", true, "Deleted", "its last instances are stopping".to_owned()));
    }
    conditions
}

#[cfg(test)]
mod tests {
    use model::id::{Index, NodeId, PlacementId, RevisionNumber};

    use super::*;

    fn placed(recorded: SeenPhase) -> Placement {
        Placement {
            id: PlacementId(1),
            instance: "hello/web.1".parse().expect("an instance"),
            revision: RevisionNumber(1),
            node: NodeId(1),
            decided: Index(1),
            memory_bytes: 0,
            at: Timestamp(1),
            stopping: None,
            phase: recorded,
            since: Timestamp(1),
        }
    }

    /// What was ready when somebody recorded it is not said to be, unless its node says so to this server.
    #[test]
    fn an_instance_is_what_its_node_says_now() {
        let failed = || SeenPhase::Failed { code: "E0303".into(), message: "no".into() };
        let check = |node: NodeState, live: Option<Phase>, recorded: SeenPhase, expected: InstancePhase| {
            let (found, ..) = phase(&placed(recorded.clone()), live.as_ref(), node);
            assert_eq!(found, expected, "{node:?} {live:?} {recorded:?}");
        };
        check(NodeState::Ready, Some(Phase::Ready), SeenPhase::Preparing, InstancePhase::Ready);
        check(NodeState::Ready, Some(Phase::Fetching), SeenPhase::Ready, InstancePhase::Fetching);
        check(NodeState::Ready, None, SeenPhase::Ready, InstancePhase::Assigned);
        check(NodeState::Ready, None, SeenPhase::Stopped, InstancePhase::Stopped);
        check(NodeState::Unknown, None, SeenPhase::Ready, InstancePhase::Unknown);
        check(NodeState::Unknown, None, SeenPhase::Preparing, InstancePhase::Unknown);
        check(NodeState::Unknown, None, failed(), InstancePhase::Failed);
        check(NodeState::Silent, Some(Phase::Ready), SeenPhase::Ready, InstancePhase::Unknown);
        check(NodeState::Silent, None, failed(), InstancePhase::Unknown);
    }
}
