//! What users wish. Owns `Deploy`, `Undo` and `Delete`, the history they leave and its bound; must never decide where anything runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::id::{AppId, Index, Name, RevisionNumber, Timestamp};

use crate::{
    AppRecord, Applied, DeployOutcome, EventKind, Refused, Revision, Rollout, State,
    command::{Delete, Deploy, Undo, UserCommand},
    limits::{APPS_MAX, CANONICAL_BYTES_MAX, COMPONENTS_PER_APP_MAX, INSTANCES_MAX, REVISIONS_PER_APP_MAX, ROUTES_PER_APP_MAX, bounded},
    routes,
};

impl State {
    pub(super) fn deploy(&mut self, user: &UserCommand, deploy: &Deploy) -> Result<Applied, Refused> {
        self.refuse_conflict(&deploy.app, deploy.expect)?;
        self.refuse_deleting(&deploy.app)?;
        self.refuse_over_limits(deploy)?;
        self.refuse_missing(&deploy.app, &deploy.frozen.spec)?;
        self.refuse_over_ceilings(&deploy.app, &deploy.frozen.spec)?;
        let Some(record) = self.apps.get(&deploy.app) else { return self.create(user, deploy) };
        let same_revision = self.revision(&record.id, record.wanted).is_some_and(|wanted| wanted.identity == deploy.identity);
        if same_revision { Ok(self.adjust(user, deploy)) } else { self.revise(user, deploy) }
    }

    fn create(&mut self, user: &UserCommand, deploy: &Deploy) -> Result<Applied, Refused> {
        let revision = self.revision_of(user, deploy, RevisionNumber(1));
        routes::refuse_collisions(self, &revision)?;
        let record = AppRecord {
            id: deploy.app.clone(),
            version: self.index,
            status_version: self.index,
            created_at: user.at,
            changed_at: user.at,
            wanted: revision.number,
            serving: None,
            serving_since: Index(0),
            newest: revision.number,
            replicas: replicas_of(deploy).collect(),
            protected: deploy.protected,
            deleted: false,
            rollout: Rollout::Progressing,
            waits: Default::default(),
        };
        self.derived.add_app(&record);
        self.apps.insert(record);
        Ok(self.add_revision(user, deploy, revision, DeployOutcome::Created))
    }

    fn revise(&mut self, user: &UserCommand, deploy: &Deploy) -> Result<Applied, Refused> {
        let newest = self.apps.get(&deploy.app).map_or(RevisionNumber(0), |record| record.newest);
        let revision = self.revision_of(user, deploy, newest.next());
        routes::refuse_collisions(self, &revision)?;
        self.change(&deploy.app, |record| {
            record.replicas.extend(replicas_of(deploy));
            record.protected = deploy.protected;
        });
        Ok(self.add_revision(user, deploy, revision, DeployOutcome::Revised))
    }

    fn add_revision(&mut self, user: &UserCommand, deploy: &Deploy, revision: Revision, outcome: DeployOutcome) -> Applied {
        let number = revision.number;
        self.wish(user.at, revision);
        let message = format!("{number} by {}", bounded(&user.by));
        self.record(user.at, EventKind::AppDeployed, Some(&deploy.app), deploy.app.to_string(), message);
        Applied::Deployed { app: deploy.app.clone(), revision: number, version: self.index, outcome }
    }

    /// The same revision again: scale and protection follow the wish, and a failed rollout is tried again.
    fn adjust(&mut self, user: &UserCommand, deploy: &Deploy) -> Applied {
        let app = &deploy.app;
        let record = self.apps.get(app).expect("`deploy` found the app before it came here");
        let failed = matches!(record.rollout, Rollout::Failed { .. });
        let rescaled = replicas_of(deploy).any(|(name, count)| record.replicas.get(&name) != Some(&count));
        let (wanted, protection) = (record.wanted, record.protected != deploy.protected);
        let outcome = match (failed, rescaled || protection) {
            (true, _) => DeployOutcome::Retried,
            (false, true) => DeployOutcome::Adjusted,
            (false, false) => DeployOutcome::Unchanged,
        };
        if outcome == DeployOutcome::Unchanged {
            return Applied::Deployed { app: app.clone(), revision: wanted, version: record.version, outcome };
        }
        self.touch(user.at, app, |record| {
            record.replicas.extend(replicas_of(deploy));
            record.protected = deploy.protected;
            if rescaled || failed {
                record.rollout = Rollout::Progressing;
            }
        });
        self.prune(app);
        if failed {
            self.record(user.at, EventKind::AppRetried, Some(app), app.to_string(), format!("{wanted} is tried again"));
        }
        if rescaled {
            let counts: Vec<_> = replicas_of(deploy).map(|(name, count)| format!("{name}={count}")).collect();
            self.record(user.at, EventKind::AppScaled, Some(app), app.to_string(), bounded(&counts.join(" ")));
            self.settle(user.at, app);
        }
        Applied::Deployed { app: app.clone(), revision: wanted, version: self.index, outcome }
    }

    pub(super) fn undo(&mut self, user: &UserCommand, undo: &Undo) -> Result<Applied, Refused> {
        let app = &undo.app;
        self.refuse_deleting(app)?;
        let record = self.apps.get(app).ok_or_else(|| Refused::UnknownApp { app: app.clone() })?;
        let target = self.undo_target(record, undo.to)?;
        let (number, of) = (record.newest.next(), target.number);
        let note = format!("undo of {}, back to {of}", record.wanted);
        let revision = Revision { number, at: user.at, by: bounded(&user.by), note: note.clone(), ..target.clone() };
        routes::refuse_collisions(self, &revision)?;
        let names = revision.frozen.spec.components.iter().map(|component| &component.name);
        self.refuse_missing(app, &revision.frozen.spec)?;
        self.refuse_over_ceilings(app, &revision.frozen.spec)?;
        self.refuse_too_many(format!("going back to {of} of app `{app}`"), app, names)?;
        let scale: Vec<_> = revision.frozen.spec.components.iter().map(|component| (component.name.clone(), 1)).collect();
        self.change(app, |record| record.replicas.extend(scale));
        self.wish(user.at, revision);
        self.record(user.at, EventKind::AppUndone, Some(app), app.to_string(), format!("{number} by {}: {note}", bounded(&user.by)));
        Ok(Applied::Undone { app: app.clone(), revision: number, of, version: self.index })
    }

    fn undo_target(&self, record: &AppRecord, to: Option<RevisionNumber>) -> Result<&Revision, Refused> {
        let app = record.id.clone();
        let Some(revision) = to else {
            // Out of a rollout that is not done one goes back to what serves; otherwise to the revision before.
            let serving = record.serving.filter(|serving| *serving != record.wanted).and_then(|serving| self.revision(&app, serving));
            let earlier = serving.or_else(|| self.revisions_before(&app, record.wanted).next_back());
            return earlier.ok_or(Refused::NoEarlierRevision { app, revision: record.wanted });
        };
        if revision == record.wanted {
            return Err(Refused::AlreadyWanted { app, revision });
        }
        let oldest = self.revisions(&app).next().map_or(record.newest, |revision| revision.number);
        let found = self.revision(&app, revision);
        found.ok_or(Refused::UnknownRevision { app, revision, oldest, newest: record.newest })
    }

    pub(super) fn delete(&mut self, user: &UserCommand, delete: &Delete) -> Result<Applied, Refused> {
        let app = &delete.app;
        let record = self.apps.get(app).ok_or_else(|| Refused::UnknownApp { app: app.clone() })?;
        if record.protected {
            return Err(Refused::Protected { app: app.clone() });
        }
        if !record.deleted {
            self.touch(user.at, app, |record| {
                record.deleted = true;
                record.waits.clear();
            });
            let message = format!("by {}", bounded(&user.by));
            self.record(user.at, EventKind::AppDeleting, Some(app), app.to_string(), message);
        }
        let gone = self.remove_if_empty(user.at, app);
        Ok(Applied::Deleted { app: app.clone(), gone })
    }

    /// Removes a deleted app and its history once nothing of it runs. Says whether it did.
    pub(super) fn remove_if_empty(&mut self, at: Timestamp, app: &AppId) -> bool {
        let deleted = self.apps.get(app).is_some_and(|record| record.deleted);
        if !deleted || self.placements_of(app).next().is_some() {
            return false;
        }
        let numbers: Vec<_> = self.revisions(app).map(|revision| revision.number).collect();
        for number in numbers {
            self.forget_revision(app, number);
        }
        if let Some(record) = self.apps.get(app) {
            self.derived.remove_app(record);
        }
        self.apps.remove(app);
        self.record(at, EventKind::AppDeleted, Some(app), app.to_string(), "gone".to_owned());
        true
    }

    /// Makes `revision` the wanted one and bounds the history.
    fn wish(&mut self, at: Timestamp, revision: Revision) {
        let (app, number) = (revision.app.clone(), revision.number);
        self.derived.add_revision(&revision);
        self.revisions.insert(revision);
        self.touch(at, &app, |record| {
            record.wanted = number;
            record.newest = number;
            record.rollout = Rollout::Progressing;
            record.waits.clear();
        });
        self.prune(&app);
    }

    /// Changes the wish for `app`: its version becomes this entry's index.
    fn touch(&mut self, at: Timestamp, app: &AppId, change: impl FnOnce(&mut AppRecord)) {
        let index = self.index;
        self.change(app, |record| {
            change(record);
            record.version = index;
            record.changed_at = at;
        });
    }

    /// Forgets revisions past the bound that neither serve nor run, and the scale of components that no held revision has.
    pub(super) fn prune(&mut self, app: &AppId) {
        let Some(record) = self.apps.get(app) else { return };
        let mut needed: BTreeSet<_> = record.held().collect();
        needed.extend(self.placements_of(app).map(|placement| placement.revision));
        let kept = self.revisions(app).count();
        let surplus = kept.saturating_sub(REVISIONS_PER_APP_MAX);
        let oldest = self.revisions(app).map(|revision| revision.number).take(surplus);
        let forgotten: Vec<_> = oldest.filter(|number| !needed.contains(number)).collect();
        let names: BTreeSet<Name> = needed
            .iter()
            .filter_map(|number| self.revision(app, *number))
            .flat_map(|revision| revision.frozen.spec.components.iter().map(|component| component.name.clone()))
            .collect();
        for number in forgotten {
            self.forget_revision(app, number);
        }
        let Some(record) = self.apps.get(app) else { return };
        if record.replicas.keys().all(|name| names.contains(name)) {
            return;
        }
        if let Some(record) = self.apps.get_mut(app) {
            self.derived.remove_app(record);
            record.replicas.retain(|name, _| names.contains(name));
            self.derived.add_app(record);
        }
    }

    fn forget_revision(&mut self, app: &AppId, number: RevisionNumber) {
        let Some(revision) = self.revision(app, number).cloned() else { return };
        self.revisions.remove(&(app.clone(), number));
        self.derived.remove_references(&revision);
        let mut owners = self.derived.owners.clone();
        let kept: Vec<_> = self.revisions(app).collect();
        owners.remove(&revision, kept.iter().copied());
        self.derived.owners = owners;
    }

    fn revision_of(&self, user: &UserCommand, deploy: &Deploy, number: RevisionNumber) -> Revision {
        Revision {
            app: deploy.app.clone(),
            number,
            at: user.at,
            by: bounded(&user.by),
            frozen: Arc::new(deploy.frozen.clone()),
            identity: deploy.identity,
            note: String::new(),
        }
    }

    fn refuse_conflict(&self, app: &AppId, expect: Option<Index>) -> Result<(), Refused> {
        let found = self.apps.get(app).map_or(Index(0), |record| record.version);
        match expect {
            Some(expected) if expected != found => Err(Refused::Conflict { app: app.clone(), expected, found }),
            _ => Ok(()),
        }
    }

    fn refuse_deleting(&self, app: &AppId) -> Result<(), Refused> {
        match self.apps.get(app) {
            Some(record) if record.deleted => Err(Refused::Deleting { app: app.clone() }),
            _ => Ok(()),
        }
    }

    fn refuse_over_limits(&self, deploy: &Deploy) -> Result<(), Refused> {
        let what = || format!("deploying `{}`", deploy.app);
        let components = &deploy.frozen.spec.components;
        let routes: usize = components.iter().map(|component| component.routes.len()).sum();
        if self.apps.get(&deploy.app).is_none() {
            refuse_above(what(), "apps", self.apps.size() as u64 + 1, APPS_MAX as u64)?;
        }
        refuse_above(what(), "components", components.len() as u64, COMPONENTS_PER_APP_MAX as u64)?;
        refuse_above(what(), "routes", routes as u64, ROUTES_PER_APP_MAX as u64)?;
        refuse_above(what(), "bytes of manifest", deploy.frozen.canonical.len() as u64, CANONICAL_BYTES_MAX as u64)?;
        self.refuse_too_many(what(), &deploy.app, components.iter().map(|component| &component.name))?;
        match components.iter().find(|component| component.replicas != 1) {
            Some(other) => Err(Refused::Replicas { component: deploy.app.component(other.name.clone()), replicas: other.replicas }),
            None => Ok(()),
        }
    }

    /// Every worker, and the first one that is yet to come, runs these components of `app` beside those it has and everything else.
    fn refuse_too_many<'a>(&self, what: String, app: &AppId, names: impl Iterator<Item = &'a Name>) -> Result<(), Refused> {
        let none = BTreeMap::new();
        let known = self.apps.get(app).map_or(&none, |record| &record.replicas);
        let added = names.filter(|name| !known.contains_key(*name)).count() as u64;
        let workers = self.derived.workers.max(1) as u64;
        refuse_above(what, "instances in the cluster", (self.derived.wished + added).saturating_mul(workers), INSTANCES_MAX)
    }
}

fn replicas_of(deploy: &Deploy) -> impl Iterator<Item = (Name, u32)> {
    deploy.frozen.spec.components.iter().map(|component| (component.name.clone(), component.replicas))
}

pub(super) fn refuse_above(what: String, unit: &'static str, found: u64, limit: u64) -> Result<(), Refused> {
    if found <= limit { Ok(()) } else { Err(Refused::LimitReached { what, unit, found, limit }) }
}
