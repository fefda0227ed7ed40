//! A state under test: every command is applied and every invariant checked. Owns the shorthand; must never hide a refusal.
#![allow(dead_code, reason = "each test file uses its own part")]

use model::{
    frozen::{AppSpecV1, ComponentSpecV1, Frozen, RouteKeyV1},
    id::{AppId, Digest, Index, Timestamp},
};
use state::{
    AppRecord, Applied, Command, Refused, State,
    command::{CommandV1, Deploy, Join, Plan, Step},
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
}

pub fn deploy(app: &str, version: u8, replicas: u32, routes: &[RouteKeyV1]) -> Wish {
    Wish { app: app.to_owned(), version, replicas, routes: routes.to_vec(), expect: None, protected: false }
}

pub fn route(host: &str, path: &str) -> RouteKeyV1 {
    RouteKeyV1 { host: host.into(), path: path.into(), exact: false, methods: vec![], headers: vec![] }
}

pub fn app(text: &str) -> AppId {
    text.parse().expect("tests write valid ids")
}

pub fn text(refused: &Refused) -> String {
    let problem = refused.problem();
    format!("{} {}\nat {} {}\nhelp: {}\n", problem.code, problem.message, problem.path, problem.label, problem.help)
}

impl Wish {
    pub fn command(&self) -> CommandV1 {
        let component = ComponentSpecV1 {
            name: "web".parse().expect("a name"),
            digest: Digest([self.version; 32]),
            replicas: self.replicas,
            instance_memory_bytes: 100 << 20,
            cpu_millis: 100,
            routes: self.routes.clone(),
        };
        let identity = Digest::of(format!("{} {:?}", self.version, self.routes).as_bytes());
        let canonical = format!("{} {} {:?}", self.version, self.replicas, self.routes);
        CommandV1::Deploy(Deploy {
            at: Timestamp(1),
            by: "ann".into(),
            app: app(&self.app),
            frozen: Frozen { canonical, spec: AppSpecV1 { components: vec![component] } },
            identity,
            protected: self.protected,
            expect: self.expect,
        })
    }
}

/// A state with one node, `node-1` called `a`, of 1 GiB.
pub struct Cluster {
    pub state: State,
}

impl Cluster {
    pub fn new() -> Self {
        let mut cluster = Self { state: State::empty() };
        let join = Join { at: Timestamp(1), name: "a".into(), memory_bytes: 1 << 30, cpu_millis: 2_000 };
        cluster.wish(CommandV1::Join(join)).expect("the first node joins");
        cluster
    }

    pub fn wish(&mut self, command: CommandV1) -> Result<Applied, Refused> {
        let applied = self.state.apply(self.state.index().next(), &Command::V1(command));
        self.state.check().expect("every invariant holds");
        applied
    }

    pub fn deploy(&mut self, wish: Wish) -> Result<Applied, Refused> {
        self.wish(wish.command())
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
