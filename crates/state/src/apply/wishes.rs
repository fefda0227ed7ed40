//! What users wish. Owns `Deploy`, `Undo` and `Delete`, the history they leave and its bound; must never decide where anything runs.

use std::{collections::BTreeSet, sync::Arc};

use model::id::{AppId, Index, Name, RevisionNumber, Timestamp};

use crate::{
    AppRecord, Applied, DeployOutcome, EventKind, Refused, Revision, Rollout, State,
    command::{Delete, Deploy, Undo},
    limits::{APPS_MAX, CANONICAL_BYTES_MAX, COMPONENTS_PER_APP_MAX, INSTANCES_MAX, REVISIONS_PER_APP_MAX, ROUTES_PER_APP_MAX, bounded},
    routes,
};

impl State {
    pub(super) fn deploy(&mut self, deploy: &Deploy) -> Result<Applied, Refused> {
        self.refuse_conflict(&deploy.app, deploy.expect)?;
        self.refuse_deleting(&deploy.app)?;
        self.refuse_over_limits(deploy)?;
        let Some(record) = self.apps.get(&deploy.app) else { return self.create(deploy) };
        let same_revision = self.revision(&record.id, record.wanted).is_some_and(|wanted| wanted.identity == deploy.identity);
        if same_revision { Ok(self.adjust(deploy)) } else { self.revise(deploy) }
    }

    fn create(&mut self, deploy: &Deploy) -> Result<Applied, Refused> {
        let revision = self.revision_of(deploy, RevisionNumber(1));
        routes::refuse_collisions(self, &revision)?;
        let record = AppRecord {
            id: deploy.app.clone(),
            version: self.index,
            status_version: self.index,
            created_at: deploy.at,
            changed_at: deploy.at,
            wanted: revision.number,
            serving: None,
            newest: revision.number,
            replicas: replicas_of(deploy).collect(),
            protected: deploy.protected,
            deleted: false,
            rollout: Rollout::Progressing,
            waits: Default::default(),
        };
        self.wished += record.wished_instances();
        self.apps.insert_mut(deploy.app.clone(), record);
        Ok(self.add_revision(deploy, revision, DeployOutcome::Created))
    }

    fn revise(&mut self, deploy: &Deploy) -> Result<Applied, Refused> {
        let newest = self.apps.get(&deploy.app).map_or(RevisionNumber(0), |record| record.newest);
        let revision = self.revision_of(deploy, newest.next());
        routes::refuse_collisions(self, &revision)?;
        self.change(&deploy.app, |record| {
            record.replicas.extend(replicas_of(deploy));
            record.protected = deploy.protected;
        });
        Ok(self.add_revision(deploy, revision, DeployOutcome::Revised))
    }

    fn add_revision(&mut self, deploy: &Deploy, revision: Revision, outcome: DeployOutcome) -> Applied {
        let number = revision.number;
        self.wish(deploy.at, revision);
        let message = format!("{number} by {}", bounded(&deploy.by));
        self.record(deploy.at, EventKind::AppDeployed, Some(&deploy.app), deploy.app.to_string(), message);
        Applied::Deployed { app: deploy.app.clone(), revision: number, version: self.index, outcome }
    }

    /// The same revision again: scale and protection follow the wish, and a failed rollout is tried again.
    fn adjust(&mut self, deploy: &Deploy) -> Applied {
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
        self.touch(deploy.at, app, |record| {
            record.replicas.extend(replicas_of(deploy));
            record.protected = deploy.protected;
            if rescaled || failed {
                record.rollout = Rollout::Progressing;
            }
        });
        self.prune(app);
        if failed {
            self.record(deploy.at, EventKind::AppRetried, Some(app), app.to_string(), format!("{wanted} is tried again"));
        }
        if rescaled {
            let counts: Vec<_> = replicas_of(deploy).map(|(name, count)| format!("{name}={count}")).collect();
            self.record(deploy.at, EventKind::AppScaled, Some(app), app.to_string(), bounded(&counts.join(" ")));
            self.settle(deploy.at, app);
        }
        Applied::Deployed { app: app.clone(), revision: wanted, version: self.index, outcome }
    }

    pub(super) fn undo(&mut self, undo: &Undo) -> Result<Applied, Refused> {
        let app = &undo.app;
        self.refuse_deleting(app)?;
        let record = self.apps.get(app).ok_or_else(|| Refused::UnknownApp { app: app.clone() })?;
        let target = self.undo_target(record, undo.to)?;
        let (number, of) = (record.newest.next(), target.number);
        let note = format!("undo of {}, back to {of}", record.wanted);
        let revision = Revision { number, at: undo.at, by: bounded(&undo.by), note: note.clone(), ..target.clone() };
        routes::refuse_collisions(self, &revision)?;
        let added: u64 = revision.frozen.spec.components.iter().map(|component| u64::from(record.wished(component))).sum();
        refuse_above(format!("going back to {of} of app `{app}`"), "instances", self.instances_beside(app) + added, INSTANCES_MAX)?;
        let scale: Vec<_> =
            revision.frozen.spec.components.iter().map(|component| (component.name.clone(), record.wished(component))).collect();
        self.change(app, |record| record.replicas.extend(scale));
        self.wish(undo.at, revision);
        self.record(undo.at, EventKind::AppUndone, Some(app), app.to_string(), format!("{number} by {}: {note}", bounded(&undo.by)));
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

    pub(super) fn delete(&mut self, delete: &Delete) -> Result<Applied, Refused> {
        let app = &delete.app;
        let record = self.apps.get(app).ok_or_else(|| Refused::UnknownApp { app: app.clone() })?;
        if record.protected {
            return Err(Refused::Protected { app: app.clone() });
        }
        if !record.deleted {
            self.touch(delete.at, app, |record| {
                record.deleted = true;
                record.waits.clear();
            });
            let message = format!("by {}", bounded(&delete.by));
            self.record(delete.at, EventKind::AppDeleting, Some(app), app.to_string(), message);
        }
        let gone = self.remove_if_empty(delete.at, app);
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
        self.wished -= self.apps.get(app).map_or(0, AppRecord::wished_instances);
        self.apps.remove_mut(app);
        self.record(at, EventKind::AppDeleted, Some(app), app.to_string(), "gone".to_owned());
        true
    }

    /// Makes `revision` the wanted one and bounds the history.
    fn wish(&mut self, at: Timestamp, revision: Revision) {
        let (app, number) = (revision.app.clone(), revision.number);
        self.owners.add(&revision);
        self.revisions.insert_mut((app.clone(), number), revision);
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
        if let Some(record) = self.apps.get_mut(app) {
            let before = record.wished_instances();
            record.replicas.retain(|name, _| names.contains(name));
            self.wished = self.wished - before + record.wished_instances();
        }
    }

    fn forget_revision(&mut self, app: &AppId, number: RevisionNumber) {
        let Some(revision) = self.revision(app, number).cloned() else { return };
        self.revisions.remove_mut(&(app.clone(), number));
        let mut owners = self.owners.clone();
        let kept: Vec<_> = self.revisions(app).collect();
        owners.remove(&revision, kept.iter().copied());
        self.owners = owners;
    }

    fn revision_of(&self, deploy: &Deploy, number: RevisionNumber) -> Revision {
        Revision {
            app: deploy.app.clone(),
            number,
            at: deploy.at,
            by: bounded(&deploy.by),
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
        let instances: u64 = components.iter().map(|component| u64::from(component.replicas)).sum();
        if self.apps.get(&deploy.app).is_none() {
            refuse_above(what(), "apps", self.apps.size() as u64 + 1, APPS_MAX as u64)?;
        }
        refuse_above(what(), "components", components.len() as u64, COMPONENTS_PER_APP_MAX as u64)?;
        refuse_above(what(), "routes", routes as u64, ROUTES_PER_APP_MAX as u64)?;
        refuse_above(what(), "bytes of manifest", deploy.frozen.canonical.len() as u64, CANONICAL_BYTES_MAX as u64)?;
        refuse_above(what(), "wished instances in the cluster", self.instances_beside(&deploy.app) + instances, INSTANCES_MAX)
    }

    fn instances_beside(&self, app: &AppId) -> u64 {
        self.wished_instances() - self.apps.get(app).map_or(0, AppRecord::wished_instances)
    }
}

fn replicas_of(deploy: &Deploy) -> impl Iterator<Item = (Name, u32)> {
    deploy.frozen.spec.components.iter().map(|component| (component.name.clone(), component.replicas))
}

fn refuse_above(what: String, unit: &'static str, found: u64, limit: u64) -> Result<(), Refused> {
    if found <= limit { Ok(()) } else { Err(Refused::LimitReached { what, unit, found, limit }) }
}
