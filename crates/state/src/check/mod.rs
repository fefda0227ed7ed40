//! What must hold of every state. Owns the invariants; must never mend what it finds: a broken invariant is a crash.

mod nodes;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    frozen::RouteKeyV1,
    id::{ComponentId, InstanceId, RevisionNumber},
};

use crate::{
    AppRecord, State,
    limits::{APPS_MAX, AUDIT_MAX, EVENTS_MAX, INSTANCES_MAX, REVISIONS_PER_APP_MAX},
    routes,
};

impl State {
    /// Checks every invariant, in time proportional to the state; says the first that is broken. Run after every apply in tests and simulation.
    pub fn check(&self) -> Result<(), String> {
        self.apps.values().try_for_each(|app| self.check_app(app))?;
        self.check_history()?;
        self.check_placements()?;
        self.check_cluster()?;
        self.check_nodes()?;
        self.check_tokens()?;
        self.check_events()?;
        self.check_routes()?;
        ensure(self.apps.size() <= APPS_MAX, || format!("{} apps", self.apps.size()))?;
        self.check_derived()?;
        self.check_values()?;
        self.check_references()?;
        ensure(self.wished_instances() <= INSTANCES_MAX, || format!("{} wished instances", self.wished_instances()))
    }

    /// What is derived is what deriving it anew gives.
    fn check_derived(&self) -> Result<(), String> {
        let anew = self.derive();
        let (found, expected) = (&self.derived, &anew);
        ensure(found.wished == expected.wished, || format!("{} wished instances are counted as {}", expected.wished, found.wished))?;
        ensure(found.booked == expected.booked, || format!("{:?} is booked, and kept as {:?}", expected.booked, found.booked))?;
        ensure(found.owners == expected.owners, || "the index of routes is not that of the kept revisions".to_owned())?;
        ensure(found == expected, || "an index is not that of the records".to_owned())
    }

    fn check_app(&self, app: &AppRecord) -> Result<(), String> {
        let id = &app.id;
        for number in app.held() {
            ensure(self.revision(id, number).is_some(), || format!("{id} holds {number}, which is not kept"))?;
            ensure(number <= app.newest, || format!("{id} holds {number}, newer than its newest {}", app.newest))?;
        }
        ensure(app.version <= app.status_version && app.status_version <= self.index, || format!("{id} comes from the future"))?;
        ensure(!app.deleted || self.placements_of(id).next().is_some(), || format!("{id} is deleted, has no placement, and is there"))?;
        for instance in app.waits.keys() {
            ensure(instance.component.app == *id, || format!("{id} has {instance} wait"))?;
            ensure(!app.deleted, || format!("{instance} waits in a deleted app"))?;
        }
        Ok(())
    }

    fn check_history(&self) -> Result<(), String> {
        let mut kept: BTreeMap<_, Vec<RevisionNumber>> = BTreeMap::new();
        for ((app, number), revision) in self.revisions.iter() {
            ensure(revision.app == *app && revision.number == *number, || format!("{app} {number} is stored as another"))?;
            kept.entry(app).or_default().push(*number);
        }
        for (app, numbers) in kept {
            let record = self.apps.get(app).ok_or_else(|| format!("revisions of {app}, which does not exist"))?;
            let running: BTreeSet<_> = self.placements_of(app).map(|placement| placement.revision).chain(record.held()).collect();
            let surplus = numbers.len().saturating_sub(REVISIONS_PER_APP_MAX);
            let loose = numbers[..surplus].iter().find(|number| !running.contains(number));
            ensure(loose.is_none(), || format!("{app} keeps {loose:?} past the bound"))?;
        }
        Ok(())
    }

    fn check_placements(&self) -> Result<(), String> {
        let mut running: BTreeSet<(&InstanceId, RevisionNumber)> = BTreeSet::new();
        for (id, placement) in self.placements.iter() {
            let (instance, node) = (&placement.instance, placement.node);
            let component = &instance.component;
            ensure(*id == placement.id && *id < self.next_placement, || format!("{id} was never given"))?;
            ensure(self.apps.get(&component.app).is_some(), || format!("{id} is of {instance}, whose app does not exist"))?;
            ensure(self.nodes.get(&node).is_some(), || format!("{id} is on unknown {node}"))?;
            let revision = self.revision(&component.app, placement.revision);
            let known = revision.is_some_and(|revision| revision.component(component.component.as_str()).is_some());
            ensure(known, || format!("{id} is of {instance} at {}, which has no such component", placement.revision))?;
            let alone = !placement.runs() || running.insert((instance, placement.revision));
            ensure(alone, || format!("{instance} runs twice at {}", placement.revision))?;
        }
        Ok(())
    }

    fn check_events(&self) -> Result<(), String> {
        let numbered =
            self.events_after(0).zip(self.newest_event().saturating_sub(EVENTS_MAX) + 1..).all(|(event, number)| event.sequence == number);
        ensure(self.events.whole() && numbered, || "the ring of events has a gap".to_owned())?;
        let oldest = self.newest_audit().saturating_sub(AUDIT_MAX) + 1;
        let numbered = self.audit_after(0).zip(oldest..).all(|(entry, number)| entry.sequence == number);
        ensure(self.audit.whole() && numbered, || "the audit log has a gap".to_owned())?;
        ensure(self.answers.whole(), || "the kept answers are not what they are found by".to_owned())?;
        self.check_attestations()
    }

    /// No route of a wanted or serving revision collides with that of another component: within a revision, and between apps.
    fn check_routes(&self) -> Result<(), String> {
        let mut owned: BTreeMap<&str, Vec<(ComponentId, RevisionNumber, &RouteKeyV1)>> = BTreeMap::new();
        for app in self.apps.values().filter(|app| !app.deleted) {
            for revision in app.held().filter_map(|number| self.revision(&app.id, number)) {
                for (component, _, route) in routes::of(revision) {
                    let others = owned.entry(&route.host).or_default();
                    let clash = others.iter().find(|(other, number, theirs)| {
                        let comparable = other.app != component.app || (*number == revision.number && *other != component);
                        comparable && routes::collide(route, theirs)
                    });
                    ensure(clash.is_none(), || {
                        format!("a route of {component} collides with one of {:?}", clash.map(|(other, ..)| other))
                    })?;
                    others.push((component, revision.number, route));
                }
            }
        }
        Ok(())
    }
}

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}
