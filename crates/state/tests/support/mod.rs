//! A state under test: every command is applied and every invariant checked. Owns the shorthand; must never hide a refusal.
#![allow(dead_code, reason = "each test file uses its own part")]

use model::{
    frozen::{AppSpecV1, CertificateUseV1, ComponentSpecV1, Frozen, RouteKeyV1, SecretUseV1},
    id::{AppId, Digest, Index, Name, ObjectId, Timestamp, TokenId},
};
use state::{
    AppRecord, Applied, Command, Refused, State,
    command::{
        Addresses, Admission, Ceilings, Change, CommandV1, CreateJoinToken, Deploy, Described, Found, Join, NodeFacts, NodeKeys, NodeRole,
        Plan, PutConfig, PutNamespace, PutSecret, Sealed, SecretKind, Step,
    },
};

/// What a test deploys.
#[derive(Debug, Clone)]
pub struct Wish {
    pub app: String,
    /// Two wishes with other versions are other revisions.
    pub version: u8,
    pub replicas: u32,
    pub routes: Vec<RouteKeyV1>,
    pub expect: Option<Index>,
    pub protected: bool,
    /// Names of a Config, of secrets with key and version, and of certificates.
    pub uses: Uses,
}

/// What a test's app names.
#[derive(Debug, Clone, Default)]
pub struct Uses {
    pub config: Option<String>,
    pub secrets: Vec<(String, String, Option<u64>)>,
    pub certificates: Vec<String>,
    pub egress: Vec<String>,
    pub imports: Vec<String>,
}

pub fn deploy(app: &str, version: u8, replicas: u32, routes: &[RouteKeyV1]) -> Wish {
    Wish { app: app.to_owned(), version, replicas, routes: routes.to_vec(), expect: None, protected: false, uses: Uses::default() }
}

pub fn route(host: &str, path: &str) -> RouteKeyV1 {
    RouteKeyV1 { host: host.into(), path: path.into(), exact: false, methods: vec![], headers: vec![] }
}

pub fn name(text: &str) -> Name {
    text.parse().expect("tests write valid names")
}

pub fn object(text: &str) -> ObjectId {
    text.parse().expect("tests write valid ids")
}

fn secret_use((secret, key, version): &(String, String, Option<u64>)) -> SecretUseV1 {
    SecretUseV1 { name: format!("{secret}-{key}"), secret: name(secret), key: key.clone(), version: *version }
}

pub fn config(id: &str, data: &[(&str, &str)]) -> Change {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Change::PutConfig(PutConfig { id: object(id), described: Some(Described::default()), data, expect: None })
}

pub fn secret(id: &str, kind: SecretKind, keys: &[&str]) -> Change {
    let (keys, sealed) = (keys.iter().map(|key| (*key).to_owned()).collect(), Sealed(vec![1; 10]));
    Change::PutSecret(PutSecret { id: object(id), described: Some(Described::default()), kind, keys, sealed, expect: None })
}

pub fn namespace(text: &str, ceilings: Ceilings) -> Change {
    Change::PutNamespace(PutNamespace { name: name(text), described: Described::default(), ceilings, expect: None })
}

pub fn app(text: &str) -> AppId {
    text.parse().expect("tests write valid ids")
}

pub fn text(refused: &Refused) -> String {
    let problem = refused.problem();
    format!("{} {}\nat {} {}\nhelp: {}\n", problem.code, problem.message, problem.path, problem.label, problem.help)
}

impl Wish {
    /// Every certificate named, for the host of the first route.
    fn certificates(&self) -> Vec<CertificateUseV1> {
        let host = self.routes.first().map_or_else(|| "a.test".to_owned(), |route| route.host.clone());
        self.uses.certificates.iter().map(|text| CertificateUseV1 { host: host.clone(), secret: name(text) }).collect()
    }

    pub fn change(&self) -> Change {
        let component = ComponentSpecV1 {
            name: "web".parse().expect("a name"),
            digest: Digest([self.version; 32]),
            replicas: self.replicas,
            instance_memory_bytes: 100 << 20,
            cpu_millis: 100,
            routes: self.routes.clone(),
            config: self.uses.config.as_deref().map(name),
            secrets: self.uses.secrets.iter().map(secret_use).collect(),
            certificates: self.certificates(),
            egress: self.uses.egress.iter().map(|rule| rule.parse().expect("a rule")).collect(),
            imports: self.uses.imports.clone(),
        };
        let identity = Digest::of(format!("{} {:?} {:?}", self.version, self.routes, self.uses).as_bytes());
        let canonical = format!("{} {} {:?}", self.version, self.replicas, self.routes);
        Change::Deploy(Deploy {
            app: app(&self.app),
            frozen: Frozen { canonical, spec: AppSpecV1 { components: vec![component] } },
            identity,
            protected: self.protected,
            expect: self.expect,
        })
    }
}

/// What node `name` says of itself when it is a server that works; its keys follow from its name.
pub fn facts(name: &str) -> NodeFacts {
    let key = |role: &str| Digest::of(format!("{role} {name}").as_bytes()).0;
    NodeFacts {
        name: name.into(),
        keys: NodeKeys { server: Some(key("server")), worker: Some(key("worker")) },
        addresses: Addresses::default(),
        place: Default::default(),
        labels: Default::default(),
        memory_bytes: 1 << 30,
        cpu_millis: 2_000,
        release: "0.1.0".into(),
        schema: 1,
    }
}

/// The same as a worker only.
pub fn worker(name: &str) -> NodeFacts {
    let facts = facts(name);
    NodeFacts { keys: NodeKeys { server: None, ..facts.keys }, ..facts }
}

pub fn founding(node: NodeFacts) -> CommandV1 {
    CommandV1::Found(Found { at: Timestamp(1), cluster: [7; 16], ca_certificate: vec![1, 2], ca_key: Sealed(vec![3, 4]), node })
}

/// Joins `node` with the token `id`, whose secret is its id.
pub fn joining(node: NodeFacts, id: &str) -> Join {
    Join { at: Timestamp(1), admission: Some(Admission { token: token(id), secret_hash: Digest::of(id.as_bytes()).0 }), node }
}

pub fn token(id: &str) -> TokenId {
    id.parse().expect("tests write valid ids")
}

/// A token whose secret is its id, good until 1000 and for any number of nodes.
pub fn join_token(id: &str, role: NodeRole) -> CreateJoinToken {
    let secret_hash = Digest::of(id.as_bytes()).0;
    CreateJoinToken { id: token(id), secret_hash, role, expires_at: Timestamp(1_000), uses: None, note: "test".into() }
}

/// A state with one node, `node-1` called `a`, of 1 GiB.
pub struct Cluster {
    pub state: State,
}

impl Cluster {
    pub fn new() -> Self {
        let mut cluster = Self { state: State::empty() };
        cluster.wish(founding(facts("a"))).expect("the first node founds the cluster");
        cluster
    }

    /// A user asks, at 1.
    pub fn ask(&mut self, change: Change) -> Result<Applied, Refused> {
        self.ask_at(1, change)
    }

    pub fn ask_at(&mut self, at: u64, change: Change) -> Result<Applied, Refused> {
        let Command::V1(command) = Command::user(Timestamp(at), "ann", change);
        self.wish(command)
    }

    /// Joins workers with a token of their own.
    pub fn join_workers(&mut self, names: &[&str]) {
        self.ask(Change::CreateJoinToken(join_token("workers", NodeRole::Worker))).expect("makes a token");
        for name in names {
            self.wish(CommandV1::Join(joining(worker(name), "workers"))).expect("joins");
        }
    }

    pub fn wish(&mut self, command: CommandV1) -> Result<Applied, Refused> {
        let applied = self.state.apply(self.state.index().next(), &Command::V1(command));
        self.state.check().expect("every invariant holds");
        applied
    }

    pub fn deploy(&mut self, wish: Wish) -> Result<Applied, Refused> {
        self.ask(wish.change())
    }

    /// Steps done and steps skipped.
    pub fn carry(&mut self, steps: Vec<Step>) -> (u32, u32) {
        match self.wish(CommandV1::Carry(Plan { at: Timestamp(2), based_on: self.state.index(), steps })) {
            Ok(Applied::Carried { done, stale }) => (done, stale),
            other => panic!("a plan is always carried out: {other:?}"),
        }
    }

    pub fn app(&self, id: &str) -> &AppRecord {
        self.state.app(&app(id)).expect("the app exists")
    }
}
