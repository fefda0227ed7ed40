//! The one way the state changes. Owns the dispatch over commands; must never do anything that two members could do differently.

mod carry;
mod nodes;
mod wishes;

use model::id::{AppId, Index, Timestamp};

use crate::{
    Applied, Event, EventKind, Refused, Rollout, State,
    command::{Command, CommandV1, SeenPhase},
};

impl State {
    /// Applies the entry at `index`. A refused command changes nothing but the index.
    ///
    /// # Panics
    /// When `index` does not grow: the log was replayed wrongly, and going on would make this member differ from the others.
    pub fn apply(&mut self, index: Index, command: &Command) -> Result<Applied, Refused> {
        assert!(index > self.index, "entry {index} comes after entry {}", self.index);
        self.index = index;
        match command {
            Command::V1(CommandV1::Join(join)) => self.join(join),
            Command::V1(CommandV1::Deploy(deploy)) => self.deploy(deploy),
            Command::V1(CommandV1::Undo(undo)) => self.undo(undo),
            Command::V1(CommandV1::Delete(delete)) => self.delete(delete),
            Command::V1(CommandV1::Carry(plan)) => Ok(self.carry(plan)),
            Command::V1(CommandV1::Observe(observe)) => Ok(self.observe(observe)),
            Command::V1(CommandV1::Note(note)) => Ok(self.note(note)),
        }
    }

    fn record(&mut self, at: Timestamp, kind: EventKind, app: Option<&AppId>, object: String, message: String) {
        self.events.push(Event { sequence: 0, at, kind, app: app.cloned(), object, message });
    }

    /// Ends the rollout of `app` when its wanted revision serves and every wished instance of it was seen ready.
    fn settle(&mut self, at: Timestamp, app: &AppId) {
        let Some(record) = self.apps.get(app) else { return };
        let settled = record.rollout == Rollout::Progressing && record.serving == Some(record.wanted) && !record.deleted;
        if !settled || !self.all_ready(app) {
            return;
        }
        let wanted = record.wanted;
        self.change(app, |record| record.rollout = Rollout::Done);
        self.record(at, EventKind::RolloutDone, Some(app), app.to_string(), format!("{wanted} serves, all its instances are ready"));
    }

    fn all_ready(&self, app: &AppId) -> bool {
        let Some(record) = self.apps.get(app) else { return false };
        let Some(revision) = self.revision(app, record.wanted) else { return false };
        let ready = self
            .placements_of(app)
            .filter(|placement| placement.runs() && placement.revision == record.wanted && placement.phase == SeenPhase::Ready);
        let wished: u64 = revision.frozen.spec.components.iter().map(|component| u64::from(record.wished(component))).sum();
        // `check` holds that no instance runs twice under one revision, and `carry` that none runs above the wished number when placed.
        ready.filter(|placement| self.wishes(placement)).count() as u64 == wished
    }

    /// Whether the instance of `placement` is wished today under the placement's revision.
    fn wishes(&self, placement: &crate::Placement) -> bool {
        let instance = &placement.instance;
        let Some(record) = self.apps.get(&instance.component.app) else { return false };
        let Some(revision) = self.revision(&record.id, placement.revision) else { return false };
        let component = revision.component(instance.component.component.as_str());
        !record.deleted && component.is_some_and(|component| (1..=record.wished(component)).contains(&instance.ordinal))
    }

    /// Changes the record of `app`, if there is one, and its status version.
    fn change(&mut self, app: &AppId, change: impl FnOnce(&mut crate::AppRecord)) {
        let index = self.index;
        if let Some(record) = self.apps.get_mut(app) {
            let before = record.wished_instances();
            change(record);
            record.status_version = index;
            self.wished = self.wished - before + record.wished_instances();
        }
    }
}
