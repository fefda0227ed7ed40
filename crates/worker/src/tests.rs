//! A whole worker against a control plane and a supervisor played by the test, with an engine that answers by itself. Everything between, the gateway
//! too, is real.

use std::{
    collections::HashSet,
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::node::{AssignedProgram, Assignment, AssignmentPart, Phase, Report, ReportAnswer, Wanted};
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    response::IntoResponse,
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::stream;
use gateway::{CallError, LocalRequest};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::MapErr};
use hyper_util::rt::TokioIo;
use model::id::{ComponentId, Digest, PlacementId};
use runtime::{ComponentReading, RequestUsage};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::{
    engine::{Again, Failure},
    fixtures::{assignment, place, route},
    lifeline::{ToSupervisor, ToWorker},
    secrets::SecretValues,
};

mod unloading;
mod values;

const DEADLINE: Duration = Duration::from_secs(20);

/// Answers with its name and revision.
struct Echo(String);

impl Answers for Echo {
    type Body = MapErr<Full<Bytes>, fn(Infallible) -> CallError>;

    async fn answer(self: Arc<Self>, _: LocalRequest, _: Option<Arc<RequestUsage>>) -> Result<Response<Self::Body>, CallError> {
        Ok(Response::new(Full::from(self.0.clone()).map_err(unfailing as _)))
    }
}

fn unfailing(never: Infallible) -> CallError {
    match never {}
}

/// Has the code that was compiled; starts everything but `broken/web`.
#[derive(Default)]
struct Stub {
    code: Mutex<HashSet<Digest>>,
    opened: AtomicU64,
    forgotten: Mutex<Vec<String>>,
    closed: watch::Sender<Vec<String>>,
}

impl Engine for Stub {
    type Code = Digest;
    type Program = Echo;

    fn codes_max(&self) -> usize {
        2
    }

    fn has_code(&self, digest: Digest) -> bool {
        self.code.lock().unwrap().contains(&digest)
    }

    fn sandboxes(&self) -> (u32, u32) {
        (0, 8)
    }

    async fn open(&self, digest: Digest, _: bool) -> Result<Digest, Failure> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        if self.has_code(digest) { Ok(digest) } else { Err(Failure::new(Again::WithNewCode, "E0302", "it is gone")) }
    }

    fn program(&self, _: &Digest, assigned: &AssignedProgram, secrets: &SecretValues) -> Result<Arc<Echo>, Failure> {
        let secrets: String = secrets.iter().map(|(name, value)| format!(" {name}={}", value.reveal())).collect();
        Ok(Arc::new(Echo(format!("{} {}{secrets}", assigned.component, assigned.revision))))
    }

    fn held_bytes(&self, _: &Echo, ordinal: u32) -> u64 {
        u64::from(ordinal) << 16
    }

    fn close_to_guests(&self, places: &[String]) {
        self.closed.send_replace(places.to_vec());
    }

    fn forget(&self, component: &ComponentId) {
        self.forgotten.lock().unwrap().push(component.to_string());
    }

    async fn probe(&self, program: &Arc<Echo>) -> Result<(), Failure> {
        if program.0.starts_with("broken/web") { Err(Failure::new(Again::Never, "E0303", "it does not start")) } else { Ok(()) }
    }

    fn counters(&self) -> Vec<(ComponentId, ComponentReading)> {
        let counted = ComponentReading { cpu_nanos: 5_000_000, memory_peak_bytes: 1 << 16, ..ComponentReading::default() };
        vec![("hello/web".parse().unwrap(), counted)]
    }
}

/// The control plane of the test: says one assignment after another, keeps the newest report.
struct Control {
    assign: watch::Sender<Option<AssignmentPart>>,
    reports: watch::Receiver<Option<Report>>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct ControlState {
    assigned: watch::Receiver<Option<AssignmentPart>>,
    report: watch::Sender<Option<Report>>,
}

impl Control {
    fn listen(directory: &Path) -> Self {
        let (assign, assigned) = watch::channel(None);
        let (report, reports) = watch::channel(None);
        let router = Router::new()
            .route("/node/v1/assignments", get(assignments))
            .route("/node/v1/report", post(take_report))
            .route("/node/v1/artifacts/{digest}", get(artifact))
            .with_state(ControlState { assigned, report });
        let listener = tokio::net::UnixListener::bind(directory.join("control.sock")).unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { assign, reports, _serving: AbortOnDropHandle::new(serving) }
    }

    async fn phase(&mut self, placement: u64, wanted: Phase) {
        let found = |report: &Option<Report>| {
            report
                .as_ref()
                .is_some_and(|report| report.placements.iter().any(|seen| seen.placement == PlacementId(placement) && seen.phase == wanted))
        };
        let reports = self.reports.clone();
        if timeout(DEADLINE, self.reports.wait_for(found)).await.is_err() {
            panic!("placement {placement} is never {wanted:?}: {:?}", reports.borrow());
        }
    }
}

async fn assignments(State(state): State<ControlState>) -> Body {
    let lines = stream::unfold((state.assigned, true), |(mut assigned, first)| async move {
        if !first {
            assigned.changed().await.ok()?;
        }
        let line = match assigned.borrow_and_update().clone() {
            Some(part) => format!("{}\n", serde_json::to_string(&part).unwrap()),
            None => "\n".to_owned(),
        };
        Some((Ok::<String, std::convert::Infallible>(line), (assigned, false)))
    });
    Body::from_stream(lines)
}

async fn take_report(State(state): State<ControlState>, Json(report): Json<Report>) -> Json<ReportAnswer> {
    state.report.send_replace(Some(report));
    Json(ReportAnswer { closed: vec!["10.0.0.9:7070".into()], wished: 1, ..ReportAnswer::default() })
}

async fn artifact(axum::extract::Path(digest): axum::extract::Path<String>) -> Response<Body> {
    let known = ["hello/web", "broken/web"].into_iter().find(|name| Digest::of(name.as_bytes()).to_string() == digest);
    match known {
        Some(name) => Response::new(Body::from(name)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A worker, its supervisor's end of the lifeline answered by a task, its engine.
struct Fixture {
    address: SocketAddr,
    stop: CancellationToken,
    worker: AbortOnDropHandle<Result<(), RunError>>,
    /// Whether the supervisor was told that the worker serves.
    listens: watch::Receiver<bool>,
    _supervisor: AbortOnDropHandle<()>,
}

impl Fixture {
    async fn start(directory: &Path, engine: Arc<Stub>) -> Self {
        for name in ["worker/incoming", "worker/logs", "code"] {
            std::fs::create_dir_all(directory.join(name)).unwrap();
        }
        identify(directory);
        let http = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = http.local_addr().unwrap();
        let _ = std::fs::remove_file(directory.join("worker/mesh.sock"));
        let mesh = UnixListener::bind(directory.join("worker/mesh.sock")).unwrap();
        mesh.set_nonblocking(true).unwrap();
        let (theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.set_nonblocking(true).unwrap();
        let settings = Settings {
            node: "one".into(),
            servers: Vec::new(),
            data: directory.to_owned(),
            trusted_proxies: Vec::new(),
            cluster_sockets: Vec::new(),
            advertise_https: None,
            closed_ports: Vec::new(),
            closed: vec!["own.test:7071".into()],
            guest_log: LogRate::standard(),
            traces: None,
            unload_after: UNLOAD_AFTER,
        };
        let logs = Arc::new(LogStore::start(LogConfig::new(directory.join("worker/logs"), "one".into(), LogRate::standard())).unwrap());
        let stop = CancellationToken::new();
        let config = Config { settings, http, https: None, mesh_socket: mesh, mesh: None, metrics: None, lifeline: theirs, handover: None };
        let (listening, listens) = watch::channel(false);
        let supervisor = tokio::spawn(supervise(UnixStream::from_std(ours).unwrap(), engine.clone(), listening));
        let worker = tokio::spawn(serve(config, engine, logs, Registry::default(), stop.clone()));
        let mut this =
            Self { address, stop, worker: AbortOnDropHandle::new(worker), listens, _supervisor: AbortOnDropHandle::new(supervisor) };
        // A new one does not before it has something to serve.
        if directory.join("worker/assignment.json").exists() {
            this.listening().await;
        }
        this
    }

    async fn listening(&mut self) {
        timeout(DEADLINE, self.listens.wait_for(|listens| *listens)).await.expect("the worker listens").unwrap();
    }

    async fn get(&self, host: &str) -> (StatusCode, String) {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = http::Request::get("/").header("host", host).body(Full::<Bytes>::default()).unwrap();
        let response = timeout(DEADLINE, sender.send_request(request)).await.expect("an answer in time").unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.worker).await.expect("the drain ends").unwrap().unwrap();
    }
}

/// Gives the worker in `directory` a key and a certificate, unless it has them.
fn identify(directory: &Path) {
    use transport::{Authority, Clock, ClusterId, Credentials, Issue, KeyPair, NODE_LIFETIME, NodeIdentity, Role, SystemClock};
    let directory = directory.join("worker/identity");
    if directory.exists() {
        return;
    }
    let (cluster, now, key) = (ClusterId::random(), SystemClock.now(), KeyPair::generate());
    let authority = Authority::create(cluster, now).unwrap();
    let identity = NodeIdentity { cluster, node: model::id::NodeId(1), role: Role::Worker };
    let issue = Issue { identity, key: &key.public(), names: &[], now, lifetime: NODE_LIFETIME };
    let certificate = authority.issue(&issue).unwrap();
    Credentials::new(key, &certificate, authority.certificate().clone()).unwrap().write(&directory).unwrap();
}

/// Makes "code" of whatever the worker asks for.
async fn supervise(lifeline: UnixStream, engine: Arc<Stub>, listening: watch::Sender<bool>) {
    let (reader, mut writer) = lifeline.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line).unwrap() {
            ToSupervisor::Listening {} => {
                listening.send_replace(true);
            }
            ToSupervisor::Needs { .. } => {}
            ToSupervisor::Compile { digest } => {
                engine.code.lock().unwrap().insert(digest);
                let answer = serde_json::to_string(&ToWorker::Compiled { digest, millis: 1 }).unwrap();
                writer.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            }
        }
    }
}

fn serving(generation: u64, programs: Vec<AssignedProgram>, revision: u64) -> Assignment {
    Assignment { routes: vec![route("hello.localhost", "hello/web", revision)], ..assignment(generation, programs) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_becomes_answers_and_a_new_revision_takes_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::listen(directory.path());
    let worker = Fixture::start(directory.path(), Arc::default()).await;
    control.assign.send_replace(Some(serving(1, vec![place("hello/web", 1, 1, Wanted::Run)], 1).into()));
    control.phase(1, Phase::Ready).await;
    assert_eq!(worker.get("hello.localhost").await, (StatusCode::OK, "hello/web r1".into()));
    assert_eq!(worker.get("other.localhost").await.0, StatusCode::NOT_FOUND);
    assert!(!directory.path().join("worker/incoming").read_dir().unwrap().any(|_| true), "artifacts go once they are compiled");

    let both = vec![place("hello/web", 1, 1, Wanted::Run), place("hello/web", 2, 2, Wanted::Run)];
    control.assign.send_replace(Some(serving(2, both, 1).into()));
    control.phase(2, Phase::Ready).await;
    assert_eq!(worker.get("hello.localhost").await.1, "hello/web r1", "ready, but not serving yet");
    let both = vec![place("hello/web", 1, 1, Wanted::Stop), place("hello/web", 2, 2, Wanted::Run)];
    control.assign.send_replace(Some(serving(3, both, 2).into()));
    control.phase(1, Phase::Stopped).await;
    assert_eq!(worker.get("hello.localhost").await.1, "hello/web r2");
    worker.end().await;
}

/// Goal: whoever waits for a new node meets what the others serve, though at first nothing was assigned to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_worker_is_ready_when_it_serves_what_every_worker_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::listen(directory.path());
    let mut worker = Fixture::start(directory.path(), Arc::default()).await;
    control.assign.send_replace(Some(assignment(1, Vec::new()).into()));
    timeout(DEADLINE, control.reports.wait_for(Option::is_some)).await.expect("it reports").unwrap();
    control.assign.send_replace(Some(serving(2, vec![place("hello/web", 1, 1, Wanted::Run)], 1).into()));
    worker.listening().await;
    assert_eq!(worker.get("hello.localhost").await, (StatusCode::OK, "hello/web r1".into()));
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_is_told_and_does_not_touch_what_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::listen(directory.path());
    let worker = Fixture::start(directory.path(), Arc::default()).await;
    let programs =
        vec![place("hello/web", 1, 1, Wanted::Run), place("broken/web", 1, 2, Wanted::Run), place("absent/web", 1, 3, Wanted::Run)];
    control.assign.send_replace(Some(serving(1, programs, 1).into()));
    control.phase(1, Phase::Ready).await;
    control.phase(2, Phase::Failed { code: "E0303".into(), message: "it does not start".into() }).await;
    let message = format!("artifact {} is not in the cluster", Digest::of(b"absent/web"));
    control.phase(3, Phase::Failed { code: "E0206".into(), message }).await;
    assert_eq!(worker.get("hello.localhost").await.0, StatusCode::OK);
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_worker_serves_before_it_has_spoken_to_any_server() {
    let directory = tempfile::tempdir().unwrap();
    let engine: Arc<Stub> = Arc::default();
    let mut control = Control::listen(directory.path());
    let worker = Fixture::start(directory.path(), engine.clone()).await;
    control.assign.send_replace(Some(serving(7, vec![place("hello/web", 1, 1, Wanted::Run)], 1).into()));
    control.phase(1, Phase::Ready).await;
    let saved = directory.path().join("worker/assignment.json");
    timeout(DEADLINE, async {
        while !saved.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the assignment is kept");
    worker.end().await;
    drop(control);
    std::fs::remove_file(directory.path().join("control.sock")).unwrap();

    let worker = Fixture::start(directory.path(), engine).await;
    assert_eq!(worker.get("hello.localhost").await, (StatusCode::OK, "hello/web r1".into()));

    let mut control = Control::listen(directory.path());
    control.assign.send_replace(Some(serving(6, Vec::new(), 1).into()));
    control.phase(1, Phase::Ready).await;
    assert_eq!(worker.get("hello.localhost").await.0, StatusCode::OK, "an older assignment changes nothing");
    control.assign.send_replace(Some(Assignment { routes: Vec::new(), ..assignment(8, Vec::new()) }.into()));
    control.phase(1, Phase::Stopped).await;
    assert_eq!(worker.get("hello.localhost").await.0, StatusCode::NOT_FOUND);
    worker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_supervisor_is_the_end_of_the_worker() {
    let directory = tempfile::tempdir().unwrap();
    let worker = Fixture::start(directory.path(), Arc::default()).await;
    worker._supervisor.abort();
    timeout(DEADLINE, worker.worker).await.expect("the worker ends").unwrap().unwrap();
}

/// Goal: guests are kept from the servers the moment a report says where they are, and from what was known before all the while.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_is_run_by_is_closed_to_guests() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::<Stub>::default();
    let mut closed = engine.closed.subscribe();
    let control = Control::listen(directory.path());
    let worker = Fixture::start(directory.path(), engine).await;
    control.assign.send_replace(Some(serving(7, vec![place("hello/web", 1, 1, Wanted::Run)], 1).into()));
    let both = ["own.test:7071", "10.0.0.9:7070"];
    timeout(DEADLINE, closed.wait_for(|closed| *closed == both)).await.expect("the answer to a report is heard").unwrap();
    worker.end().await;
}
