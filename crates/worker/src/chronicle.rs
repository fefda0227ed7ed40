//! What this worker does that people want to know of: what it compiles right now, and what happened. Owns both until a report has brought them to the control
//! plane; bounded, the oldest events go first. Must never decide anything.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api::{
    node::{Phase, Report, ReportedEvent, ReportedEventKind},
    time::Time,
};
use model::id::{ComponentId, Digest};
use tokio::sync::watch;

use crate::{figures::now, limits::EVENTS_KEPT_MAX, roster::Roster};

/// What is done, and what happened.
#[derive(Debug)]
pub struct Chronicle {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What is being compiled: since when, of how many bytes.
    compiling: BTreeMap<Digest, (Time, Option<u64>)>,
    /// What was compiled since somebody last asked whose it is.
    compiled: Vec<(Digest, Duration)>,
    events: VecDeque<ReportedEvent>,
    told: u64,
}

/// A compilation under way; it is over when this is dropped.
#[derive(Debug)]
pub struct Compilation<'a> {
    chronicle: &'a Chronicle,
    digest: Digest,
}

impl Default for Chronicle {
    fn default() -> Self {
        // Events are numbered from the clock on: above those of any worker before this one, which may have had the same process id.
        let inner = Inner { told: crate::sandboxes::now().0, ..Inner::default() };
        Self { inner: Mutex::new(inner), changed: watch::Sender::new(0) }
    }
}

impl Chronicle {
    /// Sees everything that is told from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Something happened.
    pub fn tell(&self, kind: ReportedEventKind, component: Option<ComponentId>, message: String) {
        let mut inner = self.lock();
        inner.tell(kind, component, message);
        drop(inner);
        self.changed.send_modify(|version| *version += 1);
    }

    /// The artifact `digest` of `bytes` is being compiled from here on.
    pub fn compile(&self, digest: Digest, bytes: Option<u64>) -> Compilation<'_> {
        self.lock().compiling.insert(digest, (now(), bytes));
        self.changed.send_modify(|version| *version += 1);
        Compilation { chronicle: self, digest }
    }

    /// Puts into `report` what it cannot know: how long compilations of what `roster` holds are going on, and what happened.
    pub fn complete(&self, report: &mut Report, roster: &Roster) {
        let mut inner = self.lock();
        inner.name_compiled(roster);
        for placement in &mut report.placements {
            if let Phase::Compiling { since, bytes } = &mut placement.phase
                && let Some(held) = roster.placements().get(&placement.placement)
                && let Some((begun, size)) = inner.compiling.get(&held.digest)
            {
                (*since, *bytes) = (Some(*begun), *size);
            }
        }
        report.events = inner.events.iter().cloned().collect();
    }

    /// A report with these events was taken.
    pub fn taken(&self, events: &[ReportedEvent]) {
        let Some(last) = events.last().map(|event| event.sequence) else { return };
        self.lock().events.retain(|event| event.sequence > last);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tell(&mut self, kind: ReportedEventKind, component: Option<ComponentId>, message: String) {
        if self.events.len() == EVENTS_KEPT_MAX {
            self.events.pop_front();
        }
        self.told += 1;
        self.events.push_back(ReportedEvent { sequence: self.told, at: now(), kind, component, message });
    }

    /// Tells of every component whose code was made.
    fn name_compiled(&mut self, roster: &Roster) {
        for (digest, took) in std::mem::take(&mut self.compiled) {
            let of_it = roster.placements().values().filter(|held| held.digest == digest);
            let components: BTreeSet<&ComponentId> = of_it.map(|held| &held.key.component).collect();
            for component in components {
                let message = format!("compiled {} in {:.1} s", component.component, took.as_secs_f64());
                self.tell(ReportedEventKind::CodeCompiled, Some(component.clone()), message);
            }
        }
    }
}

impl Compilation<'_> {
    /// It went well.
    pub fn done(self, took: Duration) {
        self.chronicle.lock().compiled.push((self.digest, took));
    }
}

impl Drop for Compilation<'_> {
    fn drop(&mut self) {
        self.chronicle.lock().compiling.remove(&self.digest);
        self.chronicle.changed.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
mod tests {
    use api::node::Wanted;
    use model::id::PlacementId;

    use super::*;
    use crate::{
        fixtures::{assignment, place},
        next_step::Seen,
    };

    fn report(chronicle: &Chronicle, roster: &Roster) -> Report {
        let mut report = roster.report(7).unwrap();
        chronicle.complete(&mut report, roster);
        report
    }

    fn messages(report: &Report) -> Vec<&str> {
        report.events.iter().map(|event| event.message.as_str()).collect()
    }

    #[test]
    fn a_compilation_is_told_while_it_goes_on_and_named_when_it_is_over() {
        let chronicle = Chronicle::default();
        let mut changes = chronicle.changes();
        let mut roster = Roster::default();
        roster.accept(assignment(1, vec![place("hello/web", 1, 7, Wanted::Run)]).into()).unwrap();
        roster.set(PlacementId(7), Seen::Compiling);
        let digest = Digest::of(b"hello/web");
        let compilation = chronicle.compile(digest, Some(14_000_000));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let told = report(&chronicle, &roster);
        assert!(matches!(told.placements[0].phase, Phase::Compiling { since: Some(_), bytes: Some(14_000_000) }), "{told:?}");
        compilation.done(Duration::from_millis(6_120));
        assert!(changes.has_changed().unwrap());
        let told = report(&chronicle, &roster);
        assert_eq!(told.placements[0].phase, Phase::Compiling { since: None, bytes: None });
        assert_eq!(messages(&told), ["compiled web in 6.1 s"]);
        drop(chronicle.compile(digest, None));
        assert_eq!(messages(&report(&chronicle, &roster)), ["compiled web in 6.1 s"], "one that failed is told elsewhere");
    }

    #[test]
    fn events_are_told_until_they_are_taken_and_are_bounded() {
        let (chronicle, mut roster) = (Chronicle::default(), Roster::default());
        roster.accept(assignment(1, Vec::new()).into()).unwrap();
        let tell = |text: &str| chronicle.tell(ReportedEventKind::WorkerStarted, None, text.to_owned());
        tell("one");
        let first = report(&chronicle, &roster);
        tell("two");
        assert_eq!(messages(&report(&chronicle, &roster)), ["one", "two"]);
        chronicle.taken(&first.events);
        assert_eq!(messages(&report(&chronicle, &roster)), ["two"]);
        (0..EVENTS_KEPT_MAX).for_each(|_| tell("more"));
        let told = report(&chronicle, &roster);
        assert_eq!(told.events.len(), EVENTS_KEPT_MAX);
        assert!(messages(&told).iter().all(|message| *message == "more"));
    }
}
