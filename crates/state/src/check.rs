//! What must hold of every state. Owns the invariants; must never mend what it finds: a broken invariant is a crash.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    frozen::RouteKeyV1,
    id::{ComponentId, InstanceId, RevisionNumber},
};

use crate::{
    AppRecord, Booked, State,
    limits::{APPS_MAX, EVENTS_MAX, INSTANCES_MAX, NODES_MAX, PLACEMENTS_PER_NODE_MAX, REVISIONS_PER_APP_MAX},
    owners::Owners,
    routes,
};

impl State {
    /// Checks every invariant, in time proportional to the state; says the first that is broken. Run after every apply in tests and simulation.
    pub fn check(&self) -> Result<(), String> {
        self.apps.values().try_for_each(|app| self.check_app(app))?;
        self.check_history()?;
        self.check_placements()?;
        self.check_nodes()?;
        self.check_events()?;
        self.check_routes()?;
        ensure(self.apps.size() <= APPS_MAX, || format!("{} apps", self.apps.size()))?;
        self.check_sums()?;
        ensure(self.wished_instances() <= INSTANCES_MAX, || format!("{} wished instances", self.wished_instances()))
    }

    /// What is derived is what deriving it anew gives.
    fn check_sums(&self) -> Result<(), String> {
        let wished: u64 = self.apps.values().map(AppRecord::wished_instances).sum();
        ensure(self.wished == wished, || format!("{wished} wished instances are counted as {}", self.wished))?;
        for node in self.nodes.values() {
            let memory_bytes = self.placements_on(node.id).fold(0, |sum: u64, placement| sum.saturating_add(placement.memory_bytes));
            let expected = Booked { memory_bytes, placements: self.placements_on(node.id).count() };
            let found = self.booked.get(&node.id).copied().unwrap_or_default();
            ensure(found == expected, || format!("{expected:?} on {} is kept as {found:?}", node.name))?;
        }
        let mut owners = Owners::empty();
        self.revisions.values().for_each(|revision| owners.add(revision));
        ensure(self.owners == owners, || "the index of routes is not that of the kept revisions".to_owned())
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
            ensure(self.placements_by_app.contains_key(&(component.app.clone(), *id)), || format!("{id} is missing by app"))?;
            ensure(self.placements_by_node.contains_key(&(node, *id)), || format!("{id} is missing by node"))?;
        }
        let sizes = (self.placements_by_app.size(), self.placements_by_node.size());
        ensure(sizes == (self.placements.size(), self.placements.size()), || "an index of placements holds more than there are".to_owned())
    }

    fn check_nodes(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for node in self.nodes.values() {
            ensure(names.insert(&node.name), || format!("two nodes are called {}", node.name))?;
            let placed = self.placements_on(node.id).count();
            ensure(placed <= PLACEMENTS_PER_NODE_MAX, || format!("{} has {placed} placements", node.name))?;
        }
        ensure(self.nodes.size() <= NODES_MAX, || format!("{} nodes", self.nodes.size()))
    }

    fn check_events(&self) -> Result<(), String> {
        let sequences: Vec<_> = self.events_after(0).map(|event| event.sequence).collect();
        let newest = self.newest_event();
        let expected: Vec<_> = (newest.saturating_sub(EVENTS_MAX) + 1..=newest).collect();
        ensure(sequences == expected && self.events.len() <= EVENTS_MAX, || "the ring of events has a gap".to_owned())
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
