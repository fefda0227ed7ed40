//! What workers said last, as it comes in. Owns taking it and telling that there is news, which never enters the log; what follows from it is `views::reports`'.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};

use api::{
    node::{Report, ReportedEvent},
    v1::NodeState,
};
use model::id::{NodeId, Timestamp};
use scheduler::Observed;
use state::{
    State,
    command::{NodeEvent, Note},
};
use tokio::sync::watch;
use views::reports::{Reports, Seen, SeenNodes, is_silent, recorded_event};

use crate::limits::{EVENT_WAIT_MAX, EVENTS_WAITING_MAX};

/// What workers did and the log has not recorded yet.
#[derive(Debug, Default)]
struct Events {
    /// In order, with when they came; the oldest goes when there are too many.
    waiting: VecDeque<(Timestamp, NodeId, NodeEvent)>,
    /// The process of each worker and the last event it told: what is told twice is recorded once.
    told: BTreeMap<NodeId, (u32, u64)>,
}

/// Reports as they come in.
#[derive(Debug)]
pub(crate) struct Live {
    since: Timestamp,
    nodes: Mutex<SeenNodes>,
    events: Mutex<Events>,
    /// Who was silent at the last look; nodes that never reported are together none.
    silent: Mutex<BTreeSet<Option<NodeId>>>,
    changes: watch::Sender<u64>,
}

impl Live {
    /// Nobody has reported since `since`.
    pub(crate) fn new(since: Timestamp) -> Self {
        Self { since, nodes: Mutex::default(), events: Mutex::default(), silent: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// Takes a report that came at `now`. One that was overtaken by a newer one on another way says nothing any more.
    pub(crate) fn report(&self, report: Report, now: Timestamp) {
        let phases = report.placements.into_iter().map(|placement| (placement.placement, placement.phase)).collect();
        let Report { pid, generation, sequence, authorities, .. } = report;
        let seen = Seen { at: now, pid, generation, sequence, phases, authorities };
        let has_events = self.take_events((report.node, report.pid), report.events, now);
        let news = {
            let mut nodes = self.nodes.lock().expect("nothing panics while holding the reports");
            // A worker whose clock went back counts from lower on: once nothing newer comes, what it says is the newest.
            let overtakes = |known: &Seen| known.pid == seen.pid && known.sequence > seen.sequence;
            let overtaken = nodes.get(&report.node).is_some_and(|known| overtakes(known) && !is_silent(known.at, now));
            let before = if overtaken { Some(seen.clone()) } else { Arc::make_mut(&mut nodes).insert(report.node, seen.clone()) };
            before.is_none_or(|before| Seen { at: now, sequence: seen.sequence, ..before } != seen)
        };
        if news || has_events {
            self.changes.send_modify(|version| *version += 1);
        }
    }

    /// Forgets the nodes that are not in `state`: they are gone for good.
    pub(crate) fn keep_only(&self, state: &State) {
        let is_gone = |node: &NodeId| node.0 <= state.index().0 && state.node(*node).is_none();
        Arc::make_mut(&mut self.nodes.lock().expect("nothing panics while holding the reports")).retain(|node, _| !is_gone(node));
        self.events.lock().expect("nothing panics while holding the events").told.retain(|node, _| !is_gone(node));
    }

    /// Keeps the events that were not told before; says whether there were any.
    fn take_events(&self, (node, pid): (NodeId, u32), reported: Vec<ReportedEvent>, now: Timestamp) -> bool {
        let mut events = self.events.lock().expect("nothing panics while holding the events");
        let last = events.told.get(&node).filter(|(known, _)| *known == pid).map_or(0, |(_, sequence)| *sequence);
        let new: Vec<_> = reported.into_iter().filter(|event| event.sequence > last).collect();
        let Some(newest) = new.iter().map(|event| event.sequence).max() else { return false };
        events.told.insert(node, (pid, newest));
        events.waiting.extend(new.into_iter().map(|event| (now, node, recorded_event(event))));
        let surplus = events.waiting.len().saturating_sub(EVENTS_WAITING_MAX);
        events.waiting.drain(..surplus);
        true
    }

    /// Takes what waits to be recorded at `now`, by node; what is not recorded after all is lost, as any event may be. Where this server did not lead another one
    /// recorded what came: the last of it may have been lost with that one, and the state knows which.
    pub(crate) fn take_unrecorded_events(&self, now: Timestamp) -> Vec<Note> {
        let waiting = std::mem::take(&mut self.events.lock().expect("nothing panics while holding the events").waiting);
        let mut notes: BTreeMap<NodeId, Vec<NodeEvent>> = BTreeMap::new();
        let fresh = |at: &Timestamp| u128::from(now.millis_since(*at)) <= EVENT_WAIT_MAX.as_millis();
        for (_, node, event) in waiting.into_iter().filter(|(at, ..)| fresh(at)) {
            notes.entry(node).or_default().push(event);
        }
        notes.into_iter().map(|(node, events)| Note { node, events }).collect()
    }

    /// Whether events wait to be recorded.
    pub(crate) fn has_unrecorded_events(&self) -> bool {
        !self.events.lock().expect("nothing panics while holding the events").waiting.is_empty()
    }

    /// Looks who has fallen silent by `now`, or speaks again: that is news too, though nobody tells it.
    pub(crate) fn look(&self, now: Timestamp) {
        let silent = self.reports().silent(now);
        let mut known = self.silent.lock().expect("nothing panics while holding the silent nodes");
        if *known != silent {
            *known = silent;
            self.changes.send_modify(|version| *version += 1);
        }
    }

    /// Grows with every report that says something new, and when a node falls silent.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All of it, as it is now.
    pub(crate) fn reports(&self) -> Reports {
        Reports { since: self.since, seen: self.nodes.lock().expect("nothing panics while holding the reports").clone() }
    }

    /// What the scheduler may know of `state` at `now`.
    pub(crate) fn observed(&self, state: &State, now: Timestamp) -> Observed {
        self.reports().observed(state, now)
    }

    /// How `node` is at `now`.
    pub(crate) fn state_of(&self, node: NodeId, now: Timestamp) -> NodeState {
        self.reports().state_of(node, now)
    }
}

#[cfg(test)]
mod tests {
    use api::node::{Phase, ReportedEventKind, ReportedPlacement};
    use model::{
        frozen::{AppSpecV1, ComponentSpecV1, Frozen},
        id::{AppId, Digest, Generation, Index, PlacementId, RevisionNumber},
    };
    use state::command::{Addresses, Change, Command, CommandV1, Deploy, Found, NodeFacts, NodeKeys, Plan, Sealed, SeenPhase, Step};

    use super::*;

    /// A cluster of one node that works.
    fn founded() -> State {
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
        let sealed = Sealed(Vec::new());
        let found = Found { at: Timestamp(1), cluster: [7; 16], ca_certificate: Vec::new(), ca_key: sealed, node };
        let mut state = State::empty();
        state.apply(Index(1), &Command::V1(CommandV1::Found(found))).expect("it is the first");
        state
    }

    /// What a worker says of another node's placement, or of one that nobody decided, is not heard.
    #[test]
    fn a_worker_speaks_of_its_own_placements_alone() {
        let mut state = founded();
        let component = ComponentSpecV1 {
            name: "web".parse().expect("a name"),
            digest: Digest([3; 32]),
            replicas: 1,
            instance_memory_bytes: 1,
            cpu_millis: 1,
            routes: Vec::new(),
            config: None,
            secrets: Vec::new(),
            certificates: Vec::new(),
            egress: Vec::new(),
            imports: Vec::new(),
        };
        let frozen = Frozen { canonical: String::new(), spec: AppSpecV1 { components: vec![component] } };
        let app: AppId = "hello".parse().expect("an app");
        let deploy = Deploy { app, frozen, identity: Digest([4; 32]), protected: false, expect: None };
        let instance = "hello/web.1".parse().expect("an instance");
        let place = Step::Place { instance, revision: RevisionNumber(1), node: NodeId(1) };
        let plan = Plan { at: Timestamp(1), based_on: Index(2), steps: vec![place] };
        state.apply(Index(2), &Command::user(Timestamp(1), "ann", Change::Deploy(deploy))).expect("deploys");
        state.apply(Index(3), &Command::V1(CommandV1::Carry(plan))).expect("places");
        let placed = state.placements().next().expect("it is placed").id;
        let live = Live::new(Timestamp(1));
        let says = |node: u64, placement: PlacementId| {
            let placements = vec![ReportedPlacement { placement, phase: Phase::Ready }];
            let (generation, events) = (Generation(1), Vec::new());
            live.report(
                Report { node: NodeId(node), generation, pid: 7, sequence: 1, placements, events, authorities: None },
                Timestamp(2),
            );
            live.observed(&state, Timestamp(3)).phases
        };
        assert!(says(2, placed).is_empty(), "it is another node's");
        assert!(says(2, PlacementId(99)).is_empty(), "nobody decided it");
        assert_eq!(says(1, placed).into_iter().collect::<Vec<_>>(), [(placed, SeenPhase::Ready)]);
        assert_eq!(says(2, placed).len(), 1, "what its own worker says stands");
    }

    #[test]
    fn silence_shows_after_its_limit_and_ends_with_a_report() {
        let live = Live::new(Timestamp(1_000));
        let check = |at: u64, expected: NodeState| assert_eq!(live.state_of(NodeId(1), Timestamp(at)), expected, "at {at}");
        let state = founded();
        check(2_000, NodeState::Unknown);
        assert!(live.observed(&state, Timestamp(2_000)).silent.is_empty());
        check(11_001, NodeState::Silent);
        assert!(live.observed(&state, Timestamp(11_001)).silent.contains(&NodeId(1)), "one that never reported is waited for no longer");
        let report = |generation| Report {
            node: NodeId(1),
            generation: Generation(generation),
            pid: 7,
            sequence: generation,
            placements: Vec::new(),
            events: Vec::new(),
            authorities: None,
        };
        let changes = live.changes();
        live.report(report(1), Timestamp(12_000));
        check(12_001, NodeState::Ready);
        assert!(live.observed(&state, Timestamp(12_001)).silent.is_empty());
        check(22_001, NodeState::Silent);
        assert!(live.observed(&state, Timestamp(22_001)).silent.contains(&NodeId(1)));
        live.report(report(1), Timestamp(23_000));
        check(23_000, NodeState::Ready);
        assert_eq!(*changes.borrow(), 1, "a mere sign of life is no news");
        live.report(report(2), Timestamp(24_000));
        assert_eq!(*changes.borrow(), 2);
        live.report(report(1), Timestamp(24_100));
        assert_eq!((*changes.borrow(), live.reports().seen[&NodeId(1)].generation), (2, Generation(2)), "it was overtaken on its way");
        live.look(Timestamp(24_150));
        live.look(Timestamp(24_150));
        assert_eq!(*changes.borrow(), 3, "nodes that never reported are silent by now, which is told once");
        live.look(Timestamp(34_001));
        assert_eq!(*changes.borrow(), 4, "it fell silent");
        live.report(Report { pid: 8, ..report(1) }, Timestamp(24_200));
        assert_eq!(live.reports().seen[&NodeId(1)].generation, Generation(1), "another process begins anew");
    }

    #[test]
    fn an_event_that_is_told_twice_is_recorded_once() {
        let live = Live::new(Timestamp(0));
        let report = |pid: u32, sequences: &[u64]| {
            let event = |sequence: &u64| ReportedEvent {
                sequence: *sequence,
                at: Timestamp(5).into(),
                kind: ReportedEventKind::CodeCompiled,
                component: "hello/web".parse().ok(),
                message: format!("{pid}.{sequence}"),
            };
            let events = sequences.iter().map(event).collect();
            live.report(
                Report { node: NodeId(1), generation: Generation(1), pid, sequence: 1, placements: Vec::new(), events, authorities: None },
                Timestamp(10),
            );
        };
        let taken_at = |now| {
            let notes = live.take_unrecorded_events(Timestamp(now)).into_iter();
            notes.flat_map(|note| note.events).map(|event| event.message).collect::<Vec<_>>()
        };
        let taken = || taken_at(10);
        let changes = live.changes();
        report(7, &[1, 2]);
        report(7, &[1, 2, 3]);
        assert_eq!(*changes.borrow(), 2);
        assert!(live.has_unrecorded_events());
        assert_eq!(taken(), ["7.1", "7.2", "7.3"]);
        report(8, &[1]);
        assert_eq!(taken(), ["8.1"], "another process counts anew");
        assert!(!live.has_unrecorded_events());
        report(8, &(2..1_000).collect::<Vec<_>>());
        assert_eq!(taken().len(), EVENTS_WAITING_MAX);
        report(9, &[1]);
        assert!(taken_at(10 + 30_001).is_empty(), "whoever led then has recorded it");
    }
}
