//! The control plane of a node: the public API, the node protocol, the one writer, the leader loop, artifacts.
//!
//! Owns the process around the replicated state: everything that is decided is decided by pure functions in `state`, `scheduler` and here.
//! Must never run a guest, compile, or stand in the way of traffic. Start with [`run`], then `routes.rs` (what is answered), `writer.rs`
//! (how a wish is written) and `leader.rs` (what is done about it).

mod api_error;
mod apps;
mod artifacts;
mod assignment;
mod clock;
mod core;
mod documents;
mod extract;
mod guard;
mod handlers;
mod leader;
mod limits;
mod listen;
mod live;
mod machine;
mod mesh;
mod metrics;
mod openapi;
mod permissions;
mod planned;
mod process;
mod retention;
mod routes;
mod settings;
mod streams;
mod views;
mod why;
mod writer;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

use tokio::{io::AsyncReadExt, net::UnixStream, sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    artifacts::Artifacts,
    core::Core,
    limits::{FINISH_WAIT_MAX, WRITES_WAITING_MAX},
    listen::Gate,
    live::Live,
    machine::Machine,
};
pub use crate::{
    limits::ARTIFACTS_BYTES_MAX,
    settings::{Config, Settings},
};

/// The control plane does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log cannot be opened.
    #[error("cannot open the log of the control plane")]
    Log(#[from] consensus::OpenError),
    /// The log has failed while running; a restart reads what it kept.
    #[error("the log of the control plane has failed: {message}")]
    LogFailed {
        /// Why.
        message: String,
    },
    /// A file or socket cannot be used.
    #[error("cannot {attempt}")]
    Io {
        /// What was tried.
        attempt: String,
        /// Why.
        source: io::Error,
    },
    /// The node cannot be written into the state.
    #[error("cannot join node `{node}`: {message}")]
    Join {
        /// The node's name.
        node: String,
        /// Why not.
        message: String,
    },
}

impl RunError {
    /// `E0406` and the like.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Log(consensus::OpenError::Log { source, .. }) if artifacts::is_full(source) => "E0607",
            Self::Log(consensus::OpenError::Entry { .. } | consensus::OpenError::Gap { .. }) => "E0603",
            Self::Io { source, .. } if artifacts::is_full(source) => "E0607",
            Self::Log(_) | Self::LogFailed { .. } | Self::Io { .. } | Self::Join { .. } => "E0406",
        }
    }
}

/// Serves until `stop`, or until the supervisor is gone (the lifeline ends); then finishes what it has, 30 s at most.
///
/// # Errors
/// It cannot start, or its log fails.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), RunError> {
    let started = clock::Started::now();
    let Config { settings, api, api_socket, control, metrics, lifeline } = config;
    let io = |attempt: &str| {
        let attempt = attempt.to_owned();
        move |source| RunError::Io { attempt, source }
    };
    let mut tasks = JoinSet::new();
    let lifeline = UnixStream::from_std(lifeline).map_err(io("use the lifeline"))?;
    tasks.spawn(watch_lifeline(lifeline, stop.clone()));

    let hosts = guard::Hosts::of(&api, &settings.allowed_hosts).map_err(io("read the address of the API"))?;
    let gates = listen::Gates { public: Gate::default(), node: Gate::default(), metrics: Gate::default() };
    let mut servers = JoinSet::new();
    gates.serve(&mut servers, listen::Sockets { api, api_socket, control, metrics }, &hosts, &stop).map_err(io("listen"))?;

    let outcome = match start(settings, started, stop.clone()).await {
        Ok((core, writes)) => {
            tasks.spawn(writer::run(core.clone(), writes));
            tasks.spawn(leader::run(core.clone()));
            tasks.spawn(retention::run(core.clone()));
            gates.open(&core);
            tracing::info!(node.name = core.settings.node, log.index = core.state().index().0, "the control plane serves");
            let outcome = tokio::select! {
                () = stop.cancelled() => Ok(()),
                message = core.consensus.failed() => Err(RunError::LogFailed { message }),
            };
            stop.cancel();
            finish(servers).await;
            core.consensus.shutdown().await;
            outcome
        }
        Err(error) => {
            stop.cancel();
            Err(error)
        }
    };
    tasks.shutdown().await;
    outcome
}

/// Replays the log and joins this node.
async fn start(
    settings: Settings,
    started: clock::Started,
    stop: CancellationToken,
) -> Result<(Arc<Core>, mpsc::Receiver<writer::Write>), RunError> {
    let directory = settings.data.join("control");
    let artifacts = Artifacts::open(&directory.join("artifacts"), artifacts::Bounds::of(settings.artifact_bytes_max))
        .map_err(|source| RunError::Io { attempt: format!("use {}", directory.join("artifacts").display()), source })?;
    let config = consensus::Config { dir: directory.join("log"), node_id: machine::MEMBER };
    let opened = tokio::task::spawn_blocking(move || consensus::Consensus::open(config, Machine::default())).await;
    let consensus = opened.expect("opening the log does not panic")?;
    let node = machine::join(&consensus, &settings).await?;
    let (writes, waiting) = mpsc::channel(WRITES_WAITING_MAX);
    let mesh = mesh::Mesh::new(settings.data.join("worker").join("mesh.sock"), stop.clone());
    let core = Core {
        node,
        consensus,
        artifacts,
        live: Live::new(started.at),
        apps: apps::Apps::default(),
        writer: writer::Writer(writes),
        metrics: metrics::Metrics::default(),
        mesh,
        started,
        stop,
        settings,
    };
    Ok((Arc::new(core), waiting))
}

/// Waits for the requests under way.
async fn finish(mut servers: JoinSet<()>) {
    let all = async { while servers.join_next().await.is_some() {} };
    if timeout(FINISH_WAIT_MAX, all).await.is_err() {
        tracing::warn!(waited.ms = FINISH_WAIT_MAX.as_millis(), "requests that did not finish are cut");
    }
}

/// The lifeline never says anything to a control plane; its end means that the supervisor is gone.
async fn watch_lifeline(mut lifeline: UnixStream, stop: CancellationToken) {
    let mut byte = [0];
    while lifeline.read(&mut byte).await.is_ok_and(|count| count > 0) {}
    if !stop.is_cancelled() {
        tracing::warn!("the supervisor is gone; finishing");
    }
    stop.cancel();
}
