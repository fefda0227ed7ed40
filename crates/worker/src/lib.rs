//! The node agent: takes assignments, keeps what they want running, publishes its own gateway's routing table, reports, keeps logs.
//!
//! Owns the glue of gateway and runtime in one process. Must never decide where something runs, and never need a server to go on serving.
//! Start with [`run`], then `agent.rs` (causes in, steps out), `next_step.rs` (the pure decision) and `bottom.rs` (a request meets its sandbox).

mod access;
mod agent;
mod bottom;
mod chronicle;
mod component_metrics;
mod control;
mod directories;
mod engine;
mod figures;
mod files;
#[cfg(test)]
mod fixtures;
pub mod handover;
mod idle;
mod jobs;
pub mod lifeline;
mod limits;
mod logs;
mod mesh;
mod metrics;
mod needs;
mod next_step;
mod programs;
mod roster;
mod sandboxes;
mod saved;
mod secrets;
mod shared;
mod spans;
mod standing;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod upkeep;
mod way;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use api::node::ReportedEventKind;
use model::id::Generation;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::{
    net::UnixStream,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use directories::Directories;
pub use logs::LogRate;
pub use spans::{Collector, InvalidCollector, Ratio, TraceSettings};

use agent::{Agent, Seat};
use bottom::{Answers, Bottom};
use chronicle::Chronicle;
use component_metrics::ComponentSeries;
use control::Control;
use engine::Engine;
use handover::Handover;
use jobs::Jobs;
use lifeline::Lifeline;
pub use limits::UNLOAD_AFTER;
use limits::{CERTIFICATES_WAIT_MAX, DRAIN_WAIT_MAX, FINISH_WAIT_MAX, FIRST_WAIT_MAX, LAST_SPANS_MAX, RESUME_WAIT_MAX, SETTLE_WAIT_MAX};
use logs::{LogConfig, LogStore};
use metrics::{Metrics, ProcessFigures, ProgramFigures, SandboxFigures, SpanFigures};
use programs::Programs;
use sandboxes::Sandboxes;
use secrets::Vault;
use spans::Spans;
use standing::Standing;
use upkeep::Upkeep;

/// What a worker is told as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The node's name.
    pub node: String,
    /// Where servers were when the node joined, when it has no control plane of its own.
    #[serde(default)]
    pub servers: Vec<String>,
    /// The data directory, as this process reaches it.
    pub data: PathBuf,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<String>,
    /// Sockets of the gateway: guests reach them only by a rule that names the address. An unspecified address means every one of this machine.
    #[serde(default)]
    pub cluster_sockets: Vec<SocketAddr>,
    /// The port at which clients reach the TLS listener, when it is another one.
    #[serde(default)]
    pub advertise_https: Option<u16>,
    /// Ports of this machine by which the cluster is run: no guest reaches them.
    #[serde(default)]
    pub closed_ports: Vec<u16>,
    /// `HOST:PORT` of others that no guest reaches, as far as they are known at start.
    #[serde(default)]
    pub closed: Vec<String>,
    /// How fast one component may write its log.
    pub guest_log: LogRate,
    /// Where spans go; absent: none are made.
    #[serde(default)]
    pub traces: Option<TraceSettings>,
    /// Code nobody asked for since this long is unloaded; zero keeps it for ever.
    pub unload_after: Duration,
}

/// Everything a worker is made of.
#[derive(Debug)]
pub struct Config {
    /// What it is told.
    pub settings: Settings,
    /// Where clients connect.
    pub http: TcpListener,
    /// Where they speak TLS; the certificates come over the lifeline.
    pub https: Option<TcpListener>,
    /// Where this node's control plane connects.
    pub mesh_socket: UnixListener,
    /// Where control planes of other nodes connect.
    pub mesh: Option<TcpListener>,
    /// Where Prometheus connects, on a node without a control plane.
    pub metrics: Option<TcpListener>,
    /// The other end is the supervisor's; its end means that the supervisor is gone.
    pub lifeline: std::os::unix::net::UnixStream,
    /// Secret values of the worker before, and the way to leave them to the next one.
    pub handover: Option<Handover>,
}

/// A worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A network of the trusted proxies is none.
    #[error("`{text}` is not a network")]
    Network {
        /// What was given.
        text: String,
    },
    /// A file or socket cannot be used.
    #[error("cannot {attempt}")]
    Io {
        /// What was tried.
        attempt: &'static str,
        /// Why.
        source: io::Error,
    },
    /// What says who this worker is cannot be used.
    #[error("cannot use the identity of this worker: {message}")]
    Identity {
        /// Why.
        message: String,
    },
    /// The engine does not start.
    #[error("cannot start the engine")]
    Engine(#[from] runtime::StartError),
    /// A part of the worker ended while the rest went on.
    #[error("a part of the worker ended by itself: {words}")]
    Part {
        /// How.
        words: String,
    },
    /// The supervisor lent a socket for TLS and sent no certificates.
    #[error("the certificates did not come within {} s", CERTIFICATES_WAIT_MAX.as_secs())]
    Certificates,
    /// The gateway does not start.
    #[error("cannot start the gateway")]
    Gateway(#[from] gateway::BindError),
}

/// Serves until `stop`, or until the supervisor is gone; then drains, 30 s at most.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), RunError> {
    let directories = Directories::new(&config.settings.data);
    let logs = LogConfig::new(directories.logs(), config.settings.node.clone(), config.settings.guest_log);
    let logs = Arc::new(LogStore::start(logs).map_err(|source| RunError::Io { attempt: "open the logs", source })?);
    let (cluster_sockets, closed_ports) = (config.settings.cluster_sockets.clone(), config.settings.closed_ports.clone());
    let settings = runtime::Settings { cluster_sockets, closed_ports, ..runtime::Settings::for_this_machine() };
    let engine = Sandboxes::start(&settings, &directories, logs.clone())?;
    let runtime = engine.runtime().clone();
    let mut registry = Registry::with_prefix("shoal");
    registry.register_collector(Box::new(SandboxFigures { runtime: runtime.clone() }));
    serve(config, Arc::new(engine), logs, registry, stop).await?;
    if timeout(FINISH_WAIT_MAX, runtime.finish()).await.is_err() {
        tracing::warn!(waited.ms = FINISH_WAIT_MAX.as_millis(), "guests that went on after their responses are cut");
    }
    Ok(())
}

/// The same with any engine, which is how tests run it.
async fn serve<E>(
    config: Config,
    engine: Arc<E>,
    logs: Arc<LogStore>,
    mut registry: Registry,
    stop: CancellationToken,
) -> Result<(), RunError>
where
    E: Engine<Program: Answers>,
{
    let Config { settings, http, https, mesh_socket, mesh, metrics, lifeline, handover } = config;
    let io = |attempt| move |source| RunError::Io { attempt, source };
    let started_at = Instant::now();
    let directories = Directories::new(&settings.data);
    let standing = Standing::read(&directories).map_err(|message| RunError::Identity { message })?;
    let control = Control::new(standing.way(&settings, &directories), standing.clone());
    let (lifeline, lifeline_task) = Lifeline::new(UnixStream::from_std(lifeline).map_err(io("use the lifeline"))?, stop.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(lifeline_task);
    tasks.spawn(close_to_guests(settings.closed.clone(), control.closed(), engine.clone()));
    let mesh_socket = tokio::net::UnixListener::from_std(mesh_socket).map_err(io("listen for the control plane"))?;

    let counts = register(&mut registry, &engine, &logs);
    let chronicle = counts.chronicle.clone();
    let jobs = Arc::new(Jobs::new(engine.clone(), control.clone(), lifeline.clone(), directories.clone(), counts));
    let programs = Arc::new(Programs::new(jobs.clone()));
    registry.register_collector(Box::new(ProgramFigures { programs: programs.clone() }));
    let (route_certificates, for_routes) = watch::channel(Arc::default());
    let tls = tls::config(https, settings.advertise_https, (&lifeline, for_routes), &mut tasks).await?;
    let traffic = gateway::Metrics::register(&mut registry);
    let tracing = settings.traces.as_ref().map(|traces| Tracing::start(traces, &settings.node, &mut registry));
    let spans = tracing.as_ref().map(|tracing| tracing.spans.clone());
    let (gateway, handle) = gateway_of(Doors { http, tls }, &settings, programs.clone(), logs.clone(), (traffic.clone(), spans))?;
    let figures = figures::Sources::new(&settings.node, (traffic, handle.clone()), engine.clone(), programs.clone(), logs.clone());

    let ((seat, seats), wished) = (watch::channel(Seat::default()), control.wished());
    let (keep, wishes) = watch::channel(None);
    let (keeping, kept) = watch::channel(Generation::default());
    let (connect, connected) = watch::channel(false);
    let (offer, offers) = mpsc::channel(4);
    let upkeep = Upkeep { seats: seats.clone(), logs: logs.clone(), engine: engine.clone(), chronicle: chronicle.clone() };
    let (vault, vaults) = watch::channel(Arc::default());
    let agent = Agent { jobs, programs: programs.clone(), gateway: handle.clone(), seat, keep, vault, certificates: route_certificates };
    let left = hand_over(handover, vaults, &mut tasks);
    let saved = saved::load_or_tell(&directories.assignment());
    let resuming = saved.is_some();

    tasks.spawn(needs::tell(seats.clone(), lifeline.clone()));
    tasks.spawn(idle::unload(programs, settings.unload_after));
    tasks.spawn(saved::keep(directories.assignment(), wishes, keeping));
    tasks.spawn(agent.run((saved, left), offers, CancellationToken::new()));
    let stream = control.clone();
    tasks.spawn(async move { stream.stream_assignments(offer, connect).await });
    let (reports, told) = (seats.clone(), chronicle.clone());
    tasks.spawn(standing.clone().keep_renewed(control.clone()));
    tasks.spawn(async move { control.send_reports(reports, kept, &told).await });
    tasks.spawn(upkeep.run());
    let (registry, figures) = (Arc::new(registry), figures.reader());
    let mesh_state = mesh::Mesh { logs, registry, seat: seats.clone(), connected, gateway: handle, figures, started_at };
    tasks.spawn(mesh::serve(mesh_socket, mesh_state.clone()));
    listen_to_others(&mut tasks, (mesh, metrics), &standing, mesh_state).map_err(io("listen for other machines"))?;

    open(resuming.then(|| seats.clone()), started_at).await;
    tasks.spawn(announce(lifeline, seats.clone(), if resuming { Before::Last } else { Before::First(wished) }));
    tell_start(&chronicle, &seats);
    let result = run_gateway(gateway, &mut tasks, stop).await;
    tasks.shutdown().await;
    Tracing::end(tracing).await;
    result
}

/// Has the engine keep guests from the sockets by which the cluster is run: those known at start and those that the control plane names.
async fn close_to_guests<E: Engine>(known: Vec<String>, mut named: watch::Receiver<Vec<String>>, engine: Arc<E>) {
    loop {
        let named_now = named.borrow_and_update().clone();
        engine.close_to_guests(&[known.as_slice(), named_now.as_slice()].concat());
        if named.changed().await.is_err() {
            return;
        }
    }
}

/// Leaves every new set of secrets to the next worker; returns what the one before left.
fn hand_over(handover: Option<Handover>, vaults: watch::Receiver<Arc<Vault>>, tasks: &mut JoinSet<()>) -> Vault {
    let Some(Handover { last, to }) = handover else { return Vault::default() };
    tasks.spawn(handover::keep(to, vaults));
    handover::read(last)
}

/// Answers control planes of other nodes and Prometheus, where the worker listens for them.
fn listen_to_others(
    tasks: &mut JoinSet<()>,
    (mesh, metrics): (Option<TcpListener>, Option<TcpListener>),
    standing: &Standing,
    state: mesh::Mesh,
) -> io::Result<()> {
    if let Some(mesh) = mesh {
        tasks.spawn(mesh::serve_servers(tokio::net::TcpListener::from_std(mesh)?, standing.acceptor(), standing.known(), state.clone()));
    }
    if let Some(metrics) = metrics {
        tasks.spawn(mesh::serve_metrics(tokio::net::TcpListener::from_std(metrics)?, state));
    }
    Ok(())
}

/// Has `registry` show what is counted beside the gateway.
fn register<E: Engine>(registry: &mut Registry, engine: &Arc<E>, logs: &Arc<LogStore>) -> Arc<Metrics> {
    registry.register_collector(Box::new(ProcessFigures { logs: logs.clone() }));
    registry.register_collector(Box::new(ComponentSeries { engine: engine.clone(), logs: logs.clone() }));
    Arc::new(Metrics::register(registry))
}

/// Spans on their way out.
struct Tracing {
    spans: Spans,
    exporter: AbortOnDropHandle<()>,
    stop: CancellationToken,
}

impl Tracing {
    fn start(settings: &TraceSettings, node: &str, registry: &mut Registry) -> Self {
        let (spans, exporter) = Spans::new(settings, node);
        registry.register_collector(Box::new(SpanFigures { counts: spans.counts().clone() }));
        let stop = CancellationToken::new();
        Self { spans, exporter: AbortOnDropHandle::new(tokio::spawn(exporter.run(stop.clone()))), stop }
    }

    /// Sends what still waits, for a moment.
    async fn end(tracing: Option<Self>) {
        let Some(Self { exporter, stop, .. }) = tracing else { return };
        stop.cancel();
        if timeout(LAST_SPANS_MAX, exporter).await.is_err() {
            tracing::warn!(waited.ms = LAST_SPANS_MAX.as_millis(), "the last spans are lost");
        }
    }
}

/// Where clients connect.
struct Doors {
    http: TcpListener,
    tls: Option<gateway::TlsConfig>,
}

fn gateway_of<E: Engine<Program: Answers>>(
    doors: Doors,
    settings: &Settings,
    programs: Arc<Programs<E>>,
    logs: Arc<LogStore>,
    (metrics, spans): (gateway::Metrics, Option<Spans>),
) -> Result<(gateway::Gateway<Bottom<E>>, gateway::Handle), RunError> {
    let config = gateway::Config {
        listener: doors.http,
        tls: doors.tls,
        bottom: Bottom::new(programs, spans.clone()),
        trusted_proxies: networks(&settings.trusted_proxies)?,
        limits: gateway::Limits { drain_max: DRAIN_WAIT_MAX, ..gateway::Limits::standard() },
        own_spans: settings.traces.as_ref().map(|traces| gateway::Sampling::millionths(traces.ratio.0)),
        access_log: Arc::new(access::StoredAccess { logs, spans }),
        metrics,
    };
    Ok(config.bind()?)
}

/// Runs the gateway until `stop`, or until one of the other parts ends: a worker without one of its parts must not look alive, so it drains and ends,
/// and the supervisor starts a whole one.
async fn run_gateway<E: Engine<Program: Answers>>(
    gateway: gateway::Gateway<Bottom<E>>,
    parts: &mut JoinSet<()>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let gateway = gateway.run(stop.clone().cancelled_owned());
    tokio::pin!(gateway);
    tokio::select! {
        _ = &mut gateway => Ok(()),
        ended = parts.join_next() => {
            let result = if stop.is_cancelled() { Ok(()) } else { Err(RunError::Part { words: words_of(ended) }) };
            stop.cancel();
            gateway.await;
            result
        }
    }
}

fn words_of(ended: Option<Result<(), tokio::task::JoinError>>) -> String {
    match ended {
        Some(Err(error)) => error.to_string(),
        _ => "it returned".to_owned(),
    }
}

/// Waits until connections can be accepted: soon, and if possible not before the last assignment is served again where there is one.
async fn open(seats: Option<watch::Receiver<Seat>>, started_at: Instant) {
    let resuming = seats.is_some();
    if let Some(seats) = seats
        && !is_resumed(seats, RESUME_WAIT_MAX).await
    {
        tracing::warn!(waited.ms = RESUME_WAIT_MAX.as_millis(), "not everything assigned is ready again; serving what is");
    }
    tracing::info!(resuming, took.ms = started_at.elapsed().as_millis(), "the worker serves");
}

/// What a worker serves before it counts as ready.
enum Before {
    /// What it served last.
    Last,
    /// What every worker serves, as soon as the control plane says how many components that are.
    First(watch::Receiver<Option<u64>>),
}

/// Tells the supervisor that the worker serves, once the last assignment is served again as a whole: after an upgrade all code may have to be made anew, and a
/// node is not ready before. One that is new is ready once it serves what the others do. Lives as long as the worker, as its parts do.
async fn announce(lifeline: Lifeline, seats: watch::Receiver<Seat>, before: Before) {
    match before {
        Before::Last if !is_resumed(seats.clone(), SETTLE_WAIT_MAX).await => tracing::warn!(
            waited.ms = SETTLE_WAIT_MAX.as_millis(),
            "not everything assigned is ready again; the node counts as ready all the same"
        ),
        Before::First(wished) if !is_served(seats.clone(), wished.clone(), FIRST_WAIT_MAX).await => {
            let (wished, assigned) = (*wished.borrow(), seats.borrow().roster.placements().size());
            tracing::warn!(
                waited.ms = FIRST_WAIT_MAX.as_millis(),
                components.wished = wished,
                placements.assigned = assigned,
                "this node waits for the assignment or the code of what the others serve; it counts as ready all the same"
            );
        }
        Before::Last | Before::First(_) => {}
    }
    lifeline.listening().await;
    std::future::pending().await
}

fn tell_start(chronicle: &Chronicle, seats: &watch::Receiver<Seat>) {
    let ready = seats.borrow().roster.placements().values().filter(|held| held.seen == next_step::Seen::Ready).count();
    let resumed = if ready == 0 { String::new() } else { format!(", {ready} instances resumed") };
    let message = format!("the worker serves as process {}{resumed}", std::process::id());
    chronicle.tell(ReportedEventKind::WorkerStarted, None, message);
}

/// Whether as many components as are `wished` are assigned, and ready or failed, `within` that time.
async fn is_served(mut seats: watch::Receiver<Seat>, mut wished: watch::Receiver<Option<u64>>, within: Duration) -> bool {
    let served = async {
        let wished = wished.wait_for(Option::is_some).await.map_or(0, |wished| wished.unwrap_or_default());
        let is_whole = |seat: &Seat| seat.settled && seat.roster.is_assigned() && seat.roster.placements().size() as u64 >= wished;
        seats.wait_for(is_whole).await.is_ok()
    };
    timeout(within, served).await.unwrap_or(false)
}

/// Whether the last assignment is served again `within` that time, so that connections which wait in the accept queue meet instances.
async fn is_resumed(mut seats: watch::Receiver<Seat>, within: Duration) -> bool {
    timeout(within, seats.wait_for(|seat| seat.settled && seat.roster.is_assigned())).await.is_ok()
}

fn networks(texts: &[String]) -> Result<Vec<gateway::Cidr>, RunError> {
    texts.iter().map(|text| text.parse().map_err(|_| RunError::Network { text: text.clone() })).collect()
}
