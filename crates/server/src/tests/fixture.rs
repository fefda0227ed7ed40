//! A control plane in this process, and the worker's side of the node protocol. Owns starting, stopping and waiting; must never sleep for luck.

use std::{
    collections::BTreeSet,
    future::Future,
    net::{SocketAddr, TcpListener},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api::{
    client::{Client, ClientError, Lines, NodeClient, Server},
    node::{Assignment, AssignmentPart, Parts, Phase, Report, ReportedPlacement, Wanted},
    peer::Introduction,
    v1::{AppView, ApplyAnswer, ApplyRequest, ErrorDetail, WatchEvent},
};
use founding::{
    cluster::{self, Begun},
    fitness::Profile,
};
use model::id::{AppId, Digest, Generation, NodeId, Timestamp};
use serde_json::{Value, json};
use state::{
    Command,
    command::{Change, PutConfig},
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use transport::{Credentials, Role};

use crate::{Config, FOUNDER, RunError, Settings, Standing, clock, core::Core, listen::Gates, run};

/// Long enough for a slow disk, short enough for a failing test.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A control plane that runs.
pub(super) struct ControlPlane {
    pub(super) client: Client,
    pub(super) node: NodeClient,
    pub(super) api: SocketAddr,
    pub(super) metrics: SocketAddr,
    pub(super) peer: SocketAddr,
    data: PathBuf,
    task: JoinHandle<Result<(), RunError>>,
    stop: CancellationToken,
    lifeline: Option<UnixStream>,
}

impl ControlPlane {
    /// Starts one over `data`, as a supervisor would.
    pub(super) async fn start(data: &Path) -> Self {
        std::fs::create_dir_all(data.join("worker")).expect("a directory of ours");
        let bind = |name: &str| {
            let path = data.join(name);
            let _ = std::fs::remove_file(&path);
            (UnixListener::bind(&path).expect("a socket of ours"), Server::Socket(path))
        };
        let ((api_socket, public), (control, node)) = (bind("api.sock"), bind("control.sock"));
        let tcp = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (api, metrics, peer) = (tcp(), tcp(), tcp());
        let address = |listener: &TcpListener| listener.local_addr().expect("bound");
        let (api_address, metrics_address, peer_address) = (address(&api), address(&metrics), address(&peer));
        let (lifeline, theirs) = UnixStream::pair().expect("a pair");
        theirs.set_nonblocking(true).expect("a socket");
        let config =
            Config { settings: settings(data), api, api_socket, control, peer: Some(peer), metrics: Some(metrics), lifeline: theirs };
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(config, stop.clone()));
        let (client, node) = (Client::new(public), NodeClient::new(node));
        let this = Self {
            client,
            node,
            api: api_address,
            metrics: metrics_address,
            peer: peer_address,
            data: data.to_owned(),
            task,
            stop,
            lifeline: Some(lifeline),
        };
        this.until("ready", async |plane| plane.client.ready().await.is_ok_and(|view| view.ready)).await;
        this
    }

    /// Stops it as SIGTERM does.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.ended().await;
    }

    /// Stops it as the supervisor's death does.
    pub(super) async fn lose_supervisor(mut self) {
        drop(self.lifeline.take());
        self.ended().await;
    }

    async fn ended(self) {
        within(self.task).await.expect("it does not panic").expect("it ends well");
    }

    /// Ends it as a kill does: no part of it is told.
    pub(super) async fn kill(self) {
        self.task.abort();
        let ended = within(self.task).await.expect_err("it was aborted");
        assert!(ended.is_cancelled(), "{ended}");
    }

    /// Waits until `holds`: each look is a call to the server, so that looking again is never idle haste.
    pub(super) async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let looking = async {
            while !holds(self).await {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(WAIT_MAX, looking).await.is_ok(), "never {what}");
    }

    /// Uploads `bytes`.
    pub(super) async fn upload(&self, bytes: &[u8]) -> Digest {
        let path = self.data.join("upload.wasm");
        std::fs::write(&path, bytes).expect("a file of ours");
        let digest = Digest::of(bytes);
        self.client.put_artifact(&digest, &path, |_, _| {}).await.expect("a whole upload");
        digest
    }

    /// Applies `documents`.
    pub(super) async fn apply(&self, documents: Vec<Value>) -> Result<ApplyAnswer, ErrorDetail> {
        let request = ApplyRequest { documents, expect: None, by: "ana@laptop".into(), accept_permissions: false };
        self.client.apply(&request).await.map_err(refusal)
    }

    /// The app called `name`.
    pub(super) async fn app(&self, name: &str) -> AppView {
        self.client.app(&id(name)).await.expect("the app is there")
    }

    /// One raw HTTP/1.1 exchange over TCP, for what a well-behaved client never sends.
    pub(super) async fn raw(&self, address: SocketAddr, request: &[u8]) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request).await.expect("it reads");
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// The core of a control plane over `data` that leads, without its doors and its parts: nothing happens to it by itself.
pub(super) async fn core(data: &Path) -> Arc<Core> {
    let settings = settings(data);
    let standing = Standing::read(&settings).expect("it was begun");
    let gates = Gates::default();
    let started = crate::start(settings, standing, &gates, clock::Started::now(), CancellationToken::new());
    let (core, _) = started.await.expect("it starts");
    let mut leadership = core.consensus.leadership();
    within(leadership.wait_for(consensus::Leadership::is_leading)).await.expect("it has a log");
    core
}

/// Writes `count` entries, each of which changes the Config `tick`.
pub(super) async fn tick(core: &Core, count: usize) {
    let first = core.state().index().0;
    let numbers: Vec<_> = (0..count).map(|number| first + number as u64).collect();
    for numbers in numbers.chunks(1_000) {
        let put = |number: &u64| {
            let data = [("number".to_owned(), number.to_string())].into();
            let id = "tick".parse().expect("an id");
            Command::user(Timestamp(1), "ann", Change::PutConfig(PutConfig { id, described: None, data, expect: None }))
        };
        for (_, answer) in core.consensus.propose_batch(numbers.iter().map(put).collect()).await.expect("it leads") {
            answer.expect("it is in order");
        }
    }
}

fn settings(data: &Path) -> Settings {
    let begun = begin(data);
    Settings {
        node: "one".into(),
        node_id: FOUNDER,
        cluster: begun.cluster,
        group: begun.cluster,
        worker_key: begun.worker_key,
        introduction: introduction(),
        profile: Profile::Lan,
        data: data.to_owned(),
        gateway_port: 8080,
        https_port: None,
        allowed_hosts: Vec::new(),
        artifact_bytes_max: 1 << 30,
        supervisor_pid: std::process::id(),
    }
}

/// What the node says of itself.
fn introduction() -> Introduction {
    Introduction {
        name: "one".into(),
        peer: None,
        mesh: None,
        api: None,
        zone: None,
        region: None,
        labels: Default::default(),
        memory_bytes: 1024 * 1024 * 1024,
        cpu_millis: 2_000,
        release: String::new(),
        schema: 1,
    }
}

/// The cluster whose files lie in `data`, begun when there are none.
fn begin(data: &Path) -> Begun {
    let read = |role| Credentials::read(&cluster::identity_of(data, role));
    match (read(Role::Server), read(Role::Worker)) {
        (Ok(server), Ok(worker)) => Begun { cluster: server.identity().cluster, worker_key: Some(Digest(worker.key_digest().to_bytes())) },
        _ => cluster::begin(data, &introduction(), true, clock::now()).expect("a directory of ours"),
    }
}

/// The worker's side of the node protocol: does nothing but say so.
pub(super) struct FakeWorker {
    node: NodeClient,
    parts: Lines<AssignmentPart>,
    pub(super) assignment: Assignment,
}

impl FakeWorker {
    /// Connects and takes the first assignment.
    pub(super) async fn connect(plane: &ControlPlane) -> Self {
        let parts = plane.node.assignments().await.expect("the control plane listens");
        let assignment = Assignment { generation: Generation(0), node: NodeId(0), programs: Vec::new(), routes: Vec::new() };
        let mut worker = Self { node: plane.node.clone(), parts, assignment };
        worker.next().await;
        worker
    }

    /// Takes the next assignment.
    pub(super) async fn next(&mut self) -> &Assignment {
        let mut parts = Parts::default();
        let part = loop {
            let part = within(self.parts.next()).await.expect("a stream").expect("it goes on");
            if let Some(whole) = parts.take(part) {
                break whole;
            }
        };
        assert!(part.generation >= self.assignment.generation, "generations only grow");
        assert!(part.since.is_none_or(|since| since == self.assignment.generation), "a change follows what it changes");
        let said: BTreeSet<_> = part.apps.iter().map(|app| app.app.clone()).chain(part.gone).collect();
        let Assignment { mut programs, mut routes, .. } = self.assignment.clone();
        programs.retain(|program| part.since.is_some() && !said.contains(&program.component.app));
        routes.retain(|route| part.since.is_some() && !said.contains(&route.component.app));
        for app in part.apps {
            programs.extend(app.programs);
            routes.extend(app.routes);
        }
        self.assignment = Assignment { generation: part.generation, node: part.node, programs, routes };
        &self.assignment
    }

    /// Takes assignments until one `holds`, doing what each says.
    pub(super) async fn obey_until(&mut self, holds: impl Fn(&Assignment) -> bool) {
        while !holds(&self.assignment) {
            self.obey().await;
            self.next().await;
        }
        self.obey().await;
    }

    /// Says that everything wanted is ready, and everything unwanted stopped.
    pub(super) async fn obey(&self) {
        self.report(|wanted| if wanted == Wanted::Run { Phase::Ready } else { Phase::Stopped }).await;
    }

    /// Says `phase` of everything assigned.
    pub(super) async fn report(&self, phase: impl Fn(Wanted) -> Phase) {
        let placements = self.assignment.programs.iter().flat_map(|program| &program.placements);
        let placements = placements.map(|one| ReportedPlacement { placement: one.placement, phase: phase(one.wanted) }).collect();
        let Assignment { node, generation, .. } = self.assignment;
        let report = Report { node, generation, pid: std::process::id(), sequence: 0, placements, events: Vec::new(), authorities: None };
        self.node.report(&report).await.expect("a report is taken");
    }

    /// The node it was told to be.
    pub(super) fn node(&self) -> NodeId {
        self.assignment.node
    }
}

/// The next line of a watch that `holds`.
pub(super) async fn status(lines: &mut Lines<WatchEvent>, holds: impl Fn(&AppView) -> bool) -> AppView {
    loop {
        match within(lines.next()).await.expect("a stream").expect("it goes on") {
            WatchEvent::Status { app, .. } if holds(&app) => return *app,
            WatchEvent::Status { .. } => {}
            WatchEvent::Deleted { .. } => panic!("the app is gone"),
        }
    }
}

/// `future`, which must end soon.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(WAIT_MAX, future).await.expect("it ends in time")
}

/// What the server said no with.
pub(super) fn refusal(error: ClientError) -> ErrorDetail {
    match error {
        ClientError::Refused { error, .. } => *error,
        other => panic!("no refusal: {other}"),
    }
}

/// An app's id.
pub(super) fn id(name: &str) -> AppId {
    name.parse().expect("an id")
}

/// A component that answers HTTP; `salt` makes it another artifact.
pub(super) fn component(salt: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasi:http/types@0.2.12" (instance))
            (core module $m (func (export "handle")) (@custom "salt" "{salt}"))
            (core instance $c (instantiate $m))
            (func $f (canon lift (core func $c "handle")))
            (instance $i (export "handle" (func $f)))
            (export "wasi:http/incoming-handler@0.2.12" (instance $i)))"#
    );
    wat::parse_str(text).expect("the text above is a component")
}

/// The canonical form of an app with one component, `web`, on one host.
pub(super) fn document(name: &str, digest: &Digest, host: &str, replicas: u32) -> Value {
    let text = format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec: {{components: {{web: {{source: \"{digest}\", routes: [{{host: {host}}}], scale: {{replicas: {replicas}}}}}}}}}\n"
    );
    let documents = model::manifest::parse(&text, "app.yaml", &Default::default()).expect("a manifest");
    let Some(model::manifest::Document::App(app)) = documents.into_iter().next() else { panic!("one app") };
    let mut value = serde_json::to_value(app).expect("plain data");
    value["kind"] = json!("App");
    value
}
