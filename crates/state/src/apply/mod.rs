//! The one way the state changes. Owns the dispatch over commands; must never do anything that two members could do differently.

mod authority;
mod carry;
mod nodes;
mod observe;
mod recover;
mod removal;
mod tokens;
mod user;
mod values;
mod wishes;

pub use self::recover::begins_anew_after;

use model::id::{AppId, Index, Timestamp};

use crate::{
    Applied, Event, EventKind, Refused, Rollout, State,
    command::{Attest, Command, CommandV1, SeenPhase},
    limits::CHECKPOINT_EVERY,
};

impl State {
    /// Applies the entry at `index`. A refused command changes nothing but the index, and, when somebody asked for it, the audit log.
    ///
    /// # Panics
    /// When `index` does not grow: the log was replayed wrongly, and going on would make this member differ from the others.
    pub fn apply(&mut self, index: Index, command: &Command) -> Result<Applied, Refused> {
        assert!(index > self.index, "entry {index} comes after entry {}", self.index);
        self.index = index;
        let Command::V1(command) = command;
        let applied = match command {
            CommandV1::Found(found) => self.found(found),
            CommandV1::Join(join) => {
                let applied = self.join(join);
                self.audit_join(join, "join", &applied);
                applied
            }
            CommandV1::Replace(join) => {
                let applied = self.replace(join);
                self.audit_join(join, "replace", &applied);
                applied
            }
            CommandV1::UpdateNode(update) => self.update_node(update),
            CommandV1::User(user) => self.user(user),
            CommandV1::Carry(plan) => Ok(self.carry(plan)),
            CommandV1::Observe(observe) => Ok(self.observe(observe)),
            CommandV1::Note(note) => Ok(self.note(note)),
            CommandV1::Attest(attest) => Ok(self.attest(attest)),
            CommandV1::Recover(recover) => {
                let applied = self.recover(recover);
                self.audit_recovery(recover, &applied);
                applied
            }
            CommandV1::ConfirmAuthority(confirm) => Ok(self.confirm_authority(confirm)),
        };
        self.tell_changes();
        applied
    }

    /// Keeps what a server says of its state at a checkpoint that was reached.
    fn attest(&mut self, attest: &Attest) -> Applied {
        let Attest { node, index, hash } = *attest;
        let known = self.node(node).is_some_and(crate::NodeRecord::is_server);
        let reached = index.0 % CHECKPOINT_EVERY == 0 && index <= self.index;
        Applied::Attested { kept: known && reached && self.attestations.keep(index, node, hash) }
    }

    /// Writes what this entry touched into the ring for those who watch.
    fn tell_changes(&mut self) {
        let changed = (self.cluster.take_changes())
            .chain(self.nodes.take_changes())
            .chain(self.join_tokens.take_changes())
            .chain(self.api_tokens.take_changes())
            .chain(self.apps.take_changes())
            .chain(self.revisions.take_changes())
            .chain(self.placements.take_changes())
            .chain(self.configs.take_changes())
            .chain(self.secrets.take_changes())
            .chain(self.namespaces.take_changes());
        if !self.trial {
            self.changes.extend(self.index, changed);
        }
    }

    fn record(&mut self, at: Timestamp, kind: EventKind, app: Option<&AppId>, object: String, message: String) {
        if self.trial {
            return;
        }
        self.events.push(|sequence| Event { sequence, at, kind, app: app.cloned(), object, message });
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
        // `check` holds that no instance runs twice under one revision.
        let wished = revision.frozen.spec.components.len() * self.derived.workers;
        wished > 0 && ready.filter(|placement| self.wishes(placement)).count() == wished
    }

    /// Whether the instance of `placement` is wished today under the placement's revision: every worker runs one of every component, under its own number.
    fn wishes(&self, placement: &crate::Placement) -> bool {
        let instance = &placement.instance;
        let Some(record) = self.apps.get(&instance.component.app) else { return false };
        let Some(revision) = self.revision(&record.id, placement.revision) else { return false };
        let known = revision.component(instance.component.component.as_str()).is_some();
        let numbered = self.node(placement.node).is_some_and(|node| node.is_worker() && node.ordinal == instance.ordinal);
        !record.deleted && known && numbered
    }

    /// Changes the record of `app`, if there is one, and its status version.
    fn change(&mut self, app: &AppId, change: impl FnOnce(&mut crate::AppRecord)) {
        let index = self.index;
        if let Some(record) = self.apps.get_mut(app) {
            self.derived.remove_app(record);
            change(record);
            record.status_version = index;
            self.derived.add_app(record);
        }
    }
}
