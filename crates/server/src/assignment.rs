//! From the state to what one worker must know, and of that what it was not told yet. Pure. Owns the derivation; must never know how it travels or what
//! a worker does with it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use api::node::{AssignedApp, AssignedFile, AssignedPlacement, AssignedProgram, AssignedRoute, AssignmentPart, Wanted};
use model::{
    app::{App, Route},
    id::{AppId, ComponentId, Generation, Index, NodeId, RevisionNumber},
};
use state::{AppRecord, Revision, State};

use crate::limits::ASSIGNMENT_PART_BYTES;

/// What one worker was told: only what differs is said again.
#[derive(Debug, Default)]
pub(crate) struct Told {
    generation: Option<Generation>,
    apps: BTreeMap<AppId, ToldApp>,
    under_way: Option<UnderWay>,
}

/// What was told of one app, too little to say it again, enough to know whether to.
#[derive(Debug, Clone, Copy)]
struct ToldApp {
    /// The app's record then.
    version: Index,
    /// What followed from it.
    hash: u64,
    /// Whether the worker has anything of it.
    there: bool,
}

/// A state of which only some apps were told.
#[derive(Debug)]
struct UnderWay {
    state: State,
    after: Option<AppId>,
    /// Whether a part was sent already.
    begun: bool,
}

impl Told {
    /// The next part of what `node` must know of `state`, or of the state that is being told; nothing when the worker knows it all. `parse` gives the
    /// app a revision froze; a revision that cannot be read is left out.
    pub(crate) fn next(&mut self, state: &State, node: NodeId, parse: impl Fn(&Revision) -> Option<Arc<App>>) -> Option<AssignmentPart> {
        let way = self.under_way.take().unwrap_or_else(|| UnderWay { state: state.clone(), after: None, begun: false });
        let generation = Generation(way.state.index().0);
        let mut part = AssignmentPart { generation, node, since: self.generation, apps: Vec::new(), gone: Vec::new(), more: false };
        let mut bytes = 0;
        let due = way.state.apps().filter(|record| way.after.as_ref().is_none_or(|after| record.id > *after));
        for record in due {
            if self.apps.get(&record.id).is_some_and(|told| told.version == record.status_version) {
                continue;
            }
            let app = assigned(&way.state, node, record, &parse);
            let text = serde_json::to_vec(&app).expect("an assignment has string keys only");
            let there = !app.programs.is_empty() || !app.routes.is_empty();
            let told = ToldApp { version: record.status_version, hash: hash(&text), there };
            let before = self.apps.insert(record.id.clone(), told);
            let was_there = before.is_some_and(|before| before.there);
            if there && before.is_none_or(|before| before.hash != told.hash) {
                bytes += text.len();
                part.apps.push(app);
            } else if was_there && !there {
                part.gone.push(record.id.clone());
            }
            if bytes >= ASSIGNMENT_PART_BYTES {
                part.more = true;
                self.under_way = Some(UnderWay { after: Some(record.id.clone()), begun: true, state: way.state.clone() });
                return Some(part);
            }
        }
        part.gone.extend(self.forget_deleted(&way.state));
        let news = way.begun || self.generation.is_none() || !part.apps.is_empty() || !part.gone.is_empty();
        if news {
            self.generation = Some(generation);
        }
        news.then_some(part)
    }

    /// Whether the last part was not the end of what is to be told.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Apps that the worker was told of and that are not in `state` any more.
    fn forget_deleted(&mut self, state: &State) -> Vec<AppId> {
        if self.apps.len() == state.apps_count() {
            // Every app of the state was told, so none was that is not there.
            return Vec::new();
        }
        let deleted: Vec<_> = self.apps.keys().filter(|app| state.app(app).is_none()).cloned().collect();
        deleted.into_iter().filter(|app| self.apps.remove(app).is_some_and(|told| told.there)).collect()
    }
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

/// What `node` must know of one app.
fn assigned(state: &State, node: NodeId, record: &AppRecord, parse: &impl Fn(&Revision) -> Option<Arc<App>>) -> AssignedApp {
    AssignedApp { app: record.id.clone(), programs: programs(state, node, &record.id, parse), routes: routes(state, record, parse) }
}

fn programs(state: &State, node: NodeId, app: &AppId, parse: &impl Fn(&Revision) -> Option<Arc<App>>) -> Vec<AssignedProgram> {
    let mut programs: BTreeMap<(ComponentId, RevisionNumber), AssignedProgram> = BTreeMap::new();
    for placement in state.placements_of(app).filter(|placement| placement.node == node) {
        let component = &placement.instance.component;
        let program = match programs.entry((component.clone(), placement.revision)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let revision = state.revision(app, placement.revision);
                match revision.and_then(|revision| program(component, revision, parse)) {
                    Some(program) => entry.insert(program),
                    None => continue,
                }
            }
        };
        let wanted = if placement.runs() { Wanted::Run } else { Wanted::Stop };
        program.placements.push(AssignedPlacement { placement: placement.id, ordinal: placement.instance.ordinal, wanted });
    }
    programs.into_values().collect()
}

fn program(component: &ComponentId, revision: &Revision, parse: &impl Fn(&Revision) -> Option<Arc<App>>) -> Option<AssignedProgram> {
    let app = parse(revision)?;
    let spec = app.spec.components.get(&component.component)?;
    let files = spec.files.iter().map(|file| Some(AssignedFile { digest: file.source.digest()?, to: file.to.clone() }));
    Some(AssignedProgram {
        component: component.clone(),
        revision: revision.number,
        digest: spec.source.digest()?,
        env: spec.env.clone(),
        config: spec.config.clone(),
        args: spec.args.clone(),
        resources: spec.resources.clone(),
        reuse: spec.reuse.clone(),
        egress: spec.egress.clone(),
        files: files.collect::<Option<_>>()?,
        placements: Vec::new(),
    })
}

fn routes(state: &State, record: &AppRecord, parse: &impl Fn(&Revision) -> Option<Arc<App>>) -> Vec<AssignedRoute> {
    let Some(revision) = record.routed().and_then(|routed| state.revision(&record.id, routed)) else { return Vec::new() };
    let Some(app) = parse(revision) else { return Vec::new() };
    let routes = app.spec.components.iter().flat_map(|(name, component)| {
        let id = record.id.component(name.clone());
        component.routes.iter().map(move |from| route(&id, revision.number, from))
    });
    routes.collect()
}

fn route(component: &ComponentId, revision: RevisionNumber, route: &Route) -> AssignedRoute {
    AssignedRoute {
        component: component.clone(),
        revision,
        host: route.host.clone(),
        path: route.path.clone(),
        exact: route.exact,
        methods: route.methods.clone(),
        headers: route.headers.clone(),
        rewrite: route.rewrite.clone(),
        timeout: route.timeout,
        idle_timeout: route.idle_timeout,
        max_body: route.max_body,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use api::node::Parts;
    use model::id::{Digest, PlacementId, Timestamp};
    use state::{
        Command,
        command::{Change, CommandV1, Delete, Deploy, Found, NodeFacts, NodeKeys, Observe, Plan, Sealed, SeenPhase},
    };

    use super::*;

    struct World {
        state: State,
        told: Told,
        parts: usize,
    }

    impl World {
        fn new() -> Self {
            let mut world = Self { state: State::empty(), told: Told::default(), parts: 0 };
            let node = NodeFacts {
                name: "one".into(),
                keys: NodeKeys { server: Some([1; 32]), worker: Some([2; 32]) },
                addresses: Default::default(),
                place: Default::default(),
                labels: Default::default(),
                memory_bytes: 1 << 40,
                cpu_millis: 1_000,
                release: "1".into(),
                schema: 1,
            };
            let (ca_certificate, ca_key) = (Vec::new(), Sealed(Vec::new()));
            world.apply(CommandV1::Found(Found { at: Timestamp(0), cluster: [0; 16], ca_certificate, ca_key, node }));
            world
        }

        fn apply(&mut self, command: CommandV1) {
            self.state.apply(self.state.index().next(), &Command::V1(command)).expect("it is allowed");
            let plan: Plan = scheduler::plan(&self.state, &Default::default(), Timestamp(0));
            if !plan.is_empty() {
                self.state.apply(self.state.index().next(), &Command::V1(CommandV1::Carry(plan))).expect("a plan is carried");
            }
        }

        fn ask(&mut self, change: Change) {
            let Command::V1(command) = Command::user(Timestamp(0), "ana", change);
            self.apply(command);
        }

        fn deploy(&mut self, name: &str, env: &str) {
            let source = Digest::of(b"artifact");
            let text = format!(
                "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec: {{components: {{web: {{source: \"{source}\", env: {{A: \"{env}\"}}, routes: [{{host: {name}.test}}]}}}}}}\n"
            );
            let documents = model::manifest::parse(&text, "app.yaml", &Default::default()).expect("a manifest");
            let Some(model::manifest::Document::App(app)) = documents.into_iter().next() else { panic!("one app") };
            self.ask(Change::Deploy(Deploy::of(&app).expect("every source is a digest")));
        }

        /// Everything that is said now, as one.
        fn say(&mut self) -> Option<AssignmentPart> {
            let mut parts = Parts::default();
            loop {
                let state = self.state.clone();
                let part =
                    self.told.next(&state, NodeId(1), |revision| serde_json::from_str(&revision.frozen.canonical).ok().map(Arc::new))?;
                self.parts += 1;
                if let Some(whole) = parts.take(part) {
                    return Some(whole);
                }
            }
        }
    }

    fn names(part: &AssignmentPart) -> BTreeSet<&str> {
        part.apps.iter().map(|app| app.app.name.as_str()).collect()
    }

    #[test]
    fn first_everything_is_said_and_then_only_what_changed() {
        let mut world = World::new();
        let first = world.say().expect("the first is said even when it is empty");
        assert_eq!((first.since, first.apps.len()), (None, 0));
        world.deploy("hello", "1");
        world.deploy("other", "1");
        let both = world.say().expect("two new apps");
        assert_eq!((both.since, names(&both)), (Some(first.generation), BTreeSet::from(["hello", "other"])));
        assert_eq!((both.apps[0].programs.len(), both.apps[0].routes.len()), (1, 1));
        assert_eq!(world.say(), None);
        let seen = Observe { at: Timestamp(1), node: NodeId(1), phases: vec![(PlacementId(1), SeenPhase::Ready)] };
        world.apply(CommandV1::Observe(seen));
        assert_eq!(world.say(), None, "what a worker said itself is no news to it");
        world.deploy("hello", "2");
        let changed = world.say().expect("a new revision");
        assert_eq!((changed.since, names(&changed)), (Some(both.generation), BTreeSet::from(["hello"])));
        assert_eq!(changed.apps[0].programs.len(), 2, "the new one beside the old one");
    }

    #[test]
    fn an_app_that_went_away_is_said_to_be_gone() {
        let mut world = World::new();
        world.deploy("hello", "1");
        world.say().expect("a new app");
        world.ask(Change::Delete(Delete { app: "hello".parse().expect("an id") }));
        let stopping = world.say().expect("it is to stop");
        assert_eq!((stopping.apps[0].routes.len(), stopping.apps[0].programs[0].placements[0].wanted), (0, Wanted::Stop));
        let seen = Observe { at: Timestamp(1), node: NodeId(1), phases: vec![(PlacementId(1), SeenPhase::Stopped)] };
        world.apply(CommandV1::Observe(seen));
        assert!(world.state.app(&"hello".parse().expect("an id")).is_none());
        let gone = world.say().expect("it is gone");
        assert_eq!((gone.apps.len(), gone.gone), (0, vec!["hello".parse().expect("an id")]));
        assert_eq!(world.say(), None);
    }

    #[test]
    fn much_is_said_in_parts_of_bounded_size_that_tell_one_state() {
        let mut world = World::new();
        // As much as a manifest may have.
        let long = "x".repeat(60_000);
        (0..20).for_each(|number| world.deploy(&format!("app-{number}"), &long));
        let whole = world.say().expect("twenty apps");
        assert_eq!((whole.since, whole.apps.len()), (None, 20));
        assert!((4..=7).contains(&world.parts), "{} parts", world.parts);
    }
}
