//! From the state to what one worker must know, and of that what it was not told yet. Pure. Owns the derivation; must never know how it travels or what
//! a worker does with it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use api::node::{
    AssignedApp, AssignedFile, AssignedPlacement, AssignedProgram, AssignedRoute, AssignedSecret, AssignmentPart, CertificateUse,
    SecretText, SecretUse, Wanted,
};
use model::{
    app::{App, Component, Route},
    id::{AppId, ComponentId, Generation, Index, Name, NodeId, ObjectId, RevisionNumber},
    object::{TLS_CERTIFICATE, TLS_KEY},
};
use state::{AppRecord, Revision, SecretRecord, State};
use zeroize::Zeroizing;

use crate::limits::ASSIGNMENT_PART_BYTES;

/// What one worker was told: only what differs is said again.
#[derive(Debug, Default)]
pub struct Told {
    generation: Option<Generation>,
    apps: BTreeMap<AppId, ToldApp>,
    under_way: Option<UnderWay>,
}

/// What the state does not say in the clear.
pub trait Sources {
    /// The app a revision froze; none when it cannot be read, and then it is left out.
    fn app(&self, revision: &Revision) -> Option<Arc<App>>;

    /// The values of the version `number` of a Secret that are text, by key.
    fn values(&self, secret: &SecretRecord, number: u64) -> BTreeMap<String, SecretText>;
}

/// What was told of one app, too little to say it again, enough to know whether to.
#[derive(Debug, Clone)]
struct ToldApp {
    /// The app's record then.
    version: Index,
    /// What followed from it.
    hash: u64,
    /// Whether the worker has anything of it.
    there: bool,
    /// The Configs and Secrets it named, with their versions then.
    named: Named,
}

/// Configs and Secrets with the versions they have: they change without the app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Named {
    configs: Vec<(ObjectId, Option<Index>)>,
    secrets: Vec<(ObjectId, Option<Index>)>,
}

impl Named {
    /// Whether `state` has other versions by now.
    fn changed(&self, state: &State) -> bool {
        self.configs.iter().any(|(id, version)| state.config(id).map(|record| record.version) != *version)
            || self.secrets.iter().any(|(id, version)| state.secret(id).map(|record| record.version) != *version)
    }

    /// Those that `revisions` of the app `id` name.
    fn of<'a>(state: &State, id: &AppId, revisions: impl Iterator<Item = &'a Revision>) -> Self {
        let object = |name: &Name| ObjectId { namespace: id.namespace.clone(), name: name.clone() };
        let (mut configs, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for component in revisions.flat_map(|revision| &revision.frozen.spec.components) {
            for id in component.config.iter().map(object) {
                configs.insert(id.clone(), state.config(&id).map(|record| record.version));
            }
            let certificates = component.certificates.iter().map(|wanted| &wanted.secret);
            for id in component.secrets.iter().map(|wanted| &wanted.secret).chain(certificates).map(object) {
                secrets.insert(id.clone(), state.secret(&id).map(|record| record.version));
            }
        }
        Self { configs: configs.into_iter().collect(), secrets: secrets.into_iter().collect() }
    }
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
    /// The next part of what `node` must know of `state`, or of the state that is being told; nothing when the worker knows it all.
    pub fn next(&mut self, state: &State, node: NodeId, sources: &impl Sources) -> Option<AssignmentPart> {
        let way = self.under_way.take().unwrap_or_else(|| UnderWay { state: state.clone(), after: None, begun: false });
        let generation = Generation(way.state.index().0);
        let mut part = AssignmentPart { generation, node, since: self.generation, apps: Vec::new(), gone: Vec::new(), more: false };
        let mut bytes = 0;
        let due = way.state.apps().filter(|record| way.after.as_ref().is_none_or(|after| record.id > *after));
        for record in due {
            if self.apps.get(&record.id).is_some_and(|told| told.version == record.status_version && !told.named.changed(&way.state)) {
                continue;
            }
            let app = assigned(&way.state, node, record, sources);
            let text = Zeroizing::new(serde_json::to_vec(&app).expect("an assignment has string keys only"));
            let there = !app.programs.is_empty() || !app.routes.is_empty();
            let named = Named::of(&way.state, &record.id, way.state.revisions(&record.id));
            let (version, hash) = (record.status_version, hash(&text));
            let before = self.apps.insert(record.id.clone(), ToldApp { version, hash, there, named });
            let was_there = before.as_ref().is_some_and(|before| before.there);
            if there && before.is_none_or(|before| before.hash != hash) {
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
    pub fn is_under_way(&self) -> bool {
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
fn assigned(state: &State, node: NodeId, record: &AppRecord, sources: &impl Sources) -> AssignedApp {
    let programs = programs(state, node, &record.id, sources);
    let mut routes = routes(state, record, sources);
    let runs = |component: &ComponentId| {
        programs.iter().any(|program| program.component == *component && program.placements.iter().any(|one| one.wanted == Wanted::Run))
    };
    // A key goes only where something of its component runs.
    routes.iter_mut().filter(|route| !runs(&route.component)).for_each(|route| route.certificate = None);
    let secrets = secrets(state, &record.id, &programs, &routes, sources);
    AssignedApp { app: record.id.clone(), programs, routes, secrets }
}

/// The values that `programs` which run and `routes` name, and no others.
fn secrets(
    state: &State,
    app: &AppId,
    programs: &[AssignedProgram],
    routes: &[AssignedRoute],
    sources: &impl Sources,
) -> Vec<AssignedSecret> {
    let mut needed: BTreeMap<(&Name, u64), BTreeSet<&str>> = BTreeMap::new();
    let running = programs.iter().filter(|program| program.placements.iter().any(|one| one.wanted == Wanted::Run));
    for wanted in running.flat_map(|program| &program.secrets) {
        needed.entry((&wanted.secret, wanted.version)).or_default().insert(&wanted.key);
    }
    for certificate in routes.iter().filter_map(|route| route.certificate.as_ref()) {
        needed.entry((&certificate.secret, certificate.version)).or_default().extend([TLS_CERTIFICATE, TLS_KEY]);
    }
    let values = needed.into_iter().filter_map(|((name, version), keys)| {
        let record = state.secret(&ObjectId { namespace: app.namespace.clone(), name: name.clone() })?;
        let mut values = sources.values(record, version);
        values.retain(|key, _| keys.contains(key.as_str()));
        Some(AssignedSecret { secret: name.clone(), version, values })
    });
    values.collect()
}

fn programs(state: &State, node: NodeId, app: &AppId, sources: &impl Sources) -> Vec<AssignedProgram> {
    let mut programs: BTreeMap<(ComponentId, RevisionNumber), AssignedProgram> = BTreeMap::new();
    for placement in state.placements_of(app).filter(|placement| placement.node == node) {
        let component = &placement.instance.component;
        let program = match programs.entry((component.clone(), placement.revision)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let revision = state.revision(app, placement.revision);
                match revision.and_then(|revision| program(state, component, revision, sources)) {
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

fn program(state: &State, component: &ComponentId, revision: &Revision, sources: &impl Sources) -> Option<AssignedProgram> {
    let app = sources.app(revision)?;
    let spec = app.spec.components.get(&component.component)?;
    let files = spec.files.iter().map(|file| Some(AssignedFile { digest: file.source.digest()?, to: file.to.clone() }));
    Some(AssignedProgram {
        component: component.clone(),
        revision: revision.number,
        digest: spec.source.digest()?,
        env: spec.env.clone(),
        config: config(state, &component.app, spec),
        args: spec.args.clone(),
        resources: spec.resources.clone(),
        reuse: spec.reuse.clone(),
        egress: spec.egress.clone(),
        files: files.collect::<Option<_>>()?,
        secrets: uses(state, &component.app, spec),
        placements: Vec::new(),
    })
}

/// The values of `wasi:config/store`: its own, or those the Config it names has now.
fn config(state: &State, app: &AppId, spec: &Component) -> BTreeMap<String, String> {
    let named = spec.config_from.as_ref().map(|name| ObjectId { namespace: app.namespace.clone(), name: name.clone() });
    named.map_or_else(|| spec.config.clone(), |id| state.config(&id).map(|record| record.data.clone()).unwrap_or_default())
}

/// The secret values it gets, each with the version that is in force now.
fn uses(state: &State, app: &AppId, spec: &Component) -> Vec<SecretUse> {
    let version = |secret: &Name, fixed: Option<u64>| {
        let record = state.secret(&ObjectId { namespace: app.namespace.clone(), name: secret.clone() });
        // What is not there has no version: the worker waits for it.
        record.and_then(|record| record.version_of(fixed)).map_or(fixed.unwrap_or(0), |version| version.number)
    };
    let uses = spec.secrets.iter().map(|(name, wanted)| SecretUse {
        name: name.clone(),
        secret: wanted.secret.clone(),
        version: version(&wanted.secret, wanted.version),
        key: wanted.key.clone(),
    });
    uses.collect()
}

fn routes(state: &State, record: &AppRecord, sources: &impl Sources) -> Vec<AssignedRoute> {
    let Some(revision) = record.routed().and_then(|routed| state.revision(&record.id, routed)) else { return Vec::new() };
    let Some(app) = sources.app(revision) else { return Vec::new() };
    let certificate = |route: &Route| {
        let secret = route.tls.as_ref()?.secret.clone();
        let found = state.secret(&ObjectId { namespace: record.id.namespace.clone(), name: secret.clone() });
        Some(CertificateUse { version: found.and_then(|found| found.version_of(None))?.number, secret })
    };
    let routes = app.spec.components.iter().flat_map(|(name, component)| {
        let id = record.id.component(name.clone());
        component.routes.iter().map(move |from| AssignedRoute { certificate: certificate(from), ..route(&id, revision.number, from) })
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
        certificate: None,
        https: route.https(),
    }
}

#[cfg(test)]
mod tests {
    use api::node::Parts;
    use model::id::{Digest, PlacementId, Timestamp};
    use state::{
        Command,
        command::{
            Change, CommandV1, Delete, Deploy, Found, NodeFacts, NodeKeys, Observe, Plan, PutConfig, PutSecret, Sealed, SecretKind,
            SeenPhase,
        },
    };

    use super::*;

    /// What is sealed is the text itself.
    struct Plain;

    impl Sources for Plain {
        fn app(&self, revision: &Revision) -> Option<Arc<App>> {
            serde_json::from_str(&revision.frozen.canonical).ok().map(Arc::new)
        }

        fn values(&self, secret: &SecretRecord, number: u64) -> BTreeMap<String, SecretText> {
            let version = secret.version_of(Some(number)).expect("only what is there is asked for");
            let text = String::from_utf8(version.sealed.0.clone()).expect("text");
            version.keys.iter().map(|key| (key.clone(), SecretText::new(text.clone()))).collect()
        }
    }

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
            self.deploy_with(name, &format!("env: {{A: \"{env}\"}}, routes: [{{host: {name}.test}}]"));
        }

        fn deploy_with(&mut self, name: &str, fields: &str) {
            let source = Digest::of(b"artifact");
            let text = format!(
                "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec: {{components: {{web: {{source: \"{source}\", {fields}}}}}}}\n"
            );
            let documents = model::manifest::parse(&text, "app.yaml", &Default::default()).expect("a manifest");
            let Some(model::manifest::Document::App(app)) = documents.into_iter().next() else { panic!("one app") };
            self.ask(Change::Deploy(Deploy::of(&app).expect("every source is a digest")));
        }

        fn put_secret(&mut self, name: &str, kind: SecretKind, keys: &[&str], text: &str) {
            let id = name.parse().expect("an id");
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            let sealed = Sealed(text.as_bytes().to_vec());
            self.ask(Change::PutSecret(PutSecret { id, described: Default::default(), kind, keys, sealed, expect: None }));
        }

        fn put_config(&mut self, name: &str, value: &str) {
            let (id, data) = (name.parse().expect("an id"), [("color".to_owned(), value.to_owned())].into());
            self.ask(Change::PutConfig(PutConfig { id, described: Default::default(), data, expect: None }));
        }

        /// Everything that is said now, as one.
        fn say(&mut self) -> Option<AssignmentPart> {
            let mut parts = Parts::default();
            loop {
                let state = self.state.clone();
                let part = self.told.next(&state, NodeId(1), &Plain)?;
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
    fn values_are_said_beside_what_names_them_and_again_when_they_change() {
        let mut world = World::new();
        world.put_config("colors", "blue");
        world.put_secret("db", SecretKind::Opaque, &["other", "password"], "one");
        world.put_secret("web", SecretKind::Tls, &[TLS_CERTIFICATE, TLS_KEY], "pair");
        world.put_secret("unused", SecretKind::Opaque, &["password"], "never said");
        world.deploy_with(
            "hello",
            "config: {config: colors}, secrets: {PASSWORD: {secret: db, key: password}, FIRST: {secret: db, key: password, version: 1}}, \
             routes: [{host: hello.test, tls: {secret: web}}]",
        );
        world.deploy("other", "1");
        let seen = Observe { at: Timestamp(1), node: NodeId(1), phases: vec![(PlacementId(1), SeenPhase::Ready)] };
        world.apply(CommandV1::Observe(seen));
        let shown = |part: &AssignmentPart| {
            let app = &part.apps[0];
            let uses = app.programs[0].secrets.iter().map(|one| format!("{}={}.{}@{}", one.name, one.secret, one.key, one.version));
            let values = app.secrets.iter().flat_map(|one| {
                one.values.iter().map(move |(key, value)| format!("{}.{key}@{}:{}", one.secret, one.version, value.reveal()))
            });
            let certificates = app.routes.iter().filter_map(|route| route.certificate.as_ref());
            let certificates = certificates.map(|one| format!("tls={}@{}", one.secret, one.version));
            (app.programs[0].config["color"].clone(), uses.chain(values).chain(certificates).collect::<Vec<_>>().join(" "))
        };
        let first = world.say().expect("two apps");
        assert_eq!(
            shown(&first),
            (
                "blue".to_owned(),
                "FIRST=db.password@1 PASSWORD=db.password@1 db.password@1:one web.tls.crt@1:pair web.tls.key@1:pair tls=web@1".to_owned()
            )
        );
        world.put_secret("unused", SecretKind::Opaque, &["password"], "nobody cares");
        assert_eq!(world.say(), None, "what nothing names is nobody's news");
        world.put_secret("db", SecretKind::Opaque, &["password"], "two");
        let second = world.say().expect("another version");
        assert_eq!(names(&second), BTreeSet::from(["hello"]));
        assert_eq!(
            shown(&second).1,
            "FIRST=db.password@1 PASSWORD=db.password@2 db.password@1:one db.password@2:two web.tls.crt@1:pair web.tls.key@1:pair tls=web@1"
        );
        world.put_config("colors", "green");
        assert_eq!(shown(&world.say().expect("another value")).0, "green");
        assert_eq!(world.say(), None);
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
