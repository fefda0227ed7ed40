//! The processes of a node: a small supervisor that owns every listening socket and starts the control plane, the worker and the compile children from
//! the same binary. Must never know what an app is or how anything is decided.
//!
//! Start with [`start`], then `node.rs` (what can be refused), `supervisor.rs` (who runs when) and `sandbox_process.rs` (what a worker gives up).

mod addresses;
mod below;
mod child;
mod child_main;
mod code_directory;
mod compile;
mod compile_pool;
mod control_plane;
mod data_directory;
mod enroll;
mod form;
mod heap;
mod invite;
mod join;
mod kept_secrets;
mod kernel;
mod limits;
mod node;
mod notify;
mod options;
mod parts;
mod place;
mod readiness;
mod ready_file;
mod sandbox_process;
mod sockets;
mod start_error;
mod stopped;
mod supervisor;
mod system_limits;
mod telemetry;
mod worker_process;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Context;
use model::problem::Problem;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use formation::{InvalidPeers, Peers};
pub use founding::{
    fitness::Profile,
    recovery::{Other, Survivor},
    restore::Restored,
};
pub use kernel::FileRules;
pub use limits::FREE_BYTES_MIN;
pub use options::{
    FormOptions, InternalCommand, JoinOptions, JoinTokens, LogFormat, LogOptions, Part, Place, Ready, ServerOptions, Upkeep,
};
pub use stopped::{Stopped, restore};

use limits::STOPPED_WAIT_MAX;
use node::Node;
use sockets::Inherited;
use start_error::StartError;

/// How a node ended: by itself, and why, or because it was told to.
type NodeEnd = Option<Result<(), Arc<anyhow::Error>>>;

/// A node that is ready. Dropping it stops the node as [`Running::stop`] does, without waiting.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub ready: Ready,
    stop: Option<DropGuard>,
    ended: watch::Receiver<NodeEnd>,
}

impl Running {
    /// Stops the node in order (the worker drains, the control plane last) and waits for it, 70 s at most.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.stop.take());
        self.wait().await
    }

    /// Waits until the node has ended; an error when it ended by itself.
    pub async fn wait(&mut self) -> anyhow::Result<()> {
        match self.ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone()) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(again(&error)),
            None => Err(anyhow::anyhow!("the supervisor ended without a word")),
        }
    }
}

/// Starts a node on a thread of its own and returns once its API answers and its gateway listens. Handles no signal: the caller stops it.
///
/// # Errors
/// A [`model::problem::Problem`] when the refusal has a code: E0601, E0602, E0603, E0606, E0607, E0608, E0609, E0611, E0619, E0620,
/// E0621.
pub async fn start(options: ServerOptions) -> anyhow::Result<Running> {
    begin(options)?.ready().await
}

/// A node that is not ready yet.
struct Starting {
    told: oneshot::Receiver<Result<Ready, StartError>>,
    stop: Option<DropGuard>,
    ended: watch::Receiver<NodeEnd>,
    /// Whether it may have children: nobody is waited for before.
    prepared: Arc<AtomicBool>,
}

impl Starting {
    /// Waits until it is. One that will not be has stopped what it started when this returns.
    async fn ready(&mut self) -> anyhow::Result<Running> {
        match (&mut self.told).await {
            Ok(Ok(ready)) => Ok(Running { ready, stop: self.stop.take(), ended: self.ended.clone() }),
            Ok(Err(error)) => {
                self.stopped().await;
                Err(explain(error))
            }
            Err(_) => Err(anyhow::anyhow!(last_words(self.ended.clone()).await)),
        }
    }

    /// Has it stop, and waits until its children have ended, for as long as these may take.
    async fn stopped(&mut self) {
        drop(self.stop.take());
        if !self.prepared.load(Ordering::Acquire) {
            return;
        }
        if timeout(STOPPED_WAIT_MAX, self.ended.wait_for(Option::is_some)).await.is_err() {
            tracing::warn!(waited.seconds = STOPPED_WAIT_MAX.as_secs(), "the node does not end; its children finish by themselves");
        }
    }
}

fn begin(options: ServerOptions) -> anyhow::Result<Starting> {
    let (ready, told) = oneshot::channel();
    let (end, ended) = watch::channel(None);
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let prepared = Arc::new(AtomicBool::new(false));
    let is_prepared = prepared.clone();
    // A thread that lives as long as the node: the kernel kills compile children when the thread that started them ends, and a runtime's threads may.
    thread::Builder::new().name("supervisor".into()).spawn(move || {
        let result = run_on_this_thread(options, ready, &is_prepared, stop);
        end.send_replace(Some(result.map_err(Arc::new)));
    })?;
    Ok(Starting { told, stop: Some(guard), ended, prepared })
}

/// Runs a node until SIGTERM or SIGINT. Starts its own runtime and the process's log, so the caller must have neither.
pub fn run_server(options: ServerOptions) -> anyhow::Result<ExitCode> {
    telemetry::start(&options.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut starting = begin(options)?;
        let started = tokio::select! {
            started = starting.ready() => Some(started?),
            name = first(&mut term, &mut interrupt) => {
                tracing::info!(signal = name, "the node is told to stop before it is ready");
                None
            }
        };
        let Some(mut running) = started else {
            tokio::select! {
                () = starting.stopped() => return Ok(ExitCode::SUCCESS),
                _ = first(&mut term, &mut interrupt) => return Ok(ExitCode::FAILURE),
            }
        };
        tokio::select! {
            ended = running.wait() => { ended?; return Ok(ExitCode::FAILURE) }
            name = first(&mut term, &mut interrupt) => tracing::info!(signal = name, "the node is told to stop"),
        }
        tokio::select! {
            stopped = running.stop() => stopped?,
            // Asked twice: the children see our end and finish by themselves.
            _ = first(&mut term, &mut interrupt) => return Ok(ExitCode::FAILURE),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs one of the children. Starts its own runtime and the process's log, so the caller must have neither, and no thread.
pub fn internal(command: InternalCommand) -> anyhow::Result<ExitCode> {
    let config = std::env::var(child::CHILD_CONFIG).context("the supervisor starts this command, not people")?;
    // SAFETY: main does nothing before this but parse its arguments, so nobody owns a descriptor above 2.
    let inherited = unsafe { Inherited::take() };
    match command {
        InternalCommand::ControlPlane => {
            let config: control_plane::ControlPlaneConfig = serde_json::from_str(&config)?;
            enter(&config.log, c"control-plane")?;
            control_plane::run(config, inherited)
        }
        InternalCommand::Worker => {
            let config: worker_process::WorkerConfig = serde_json::from_str(&config)?;
            enter(&config.log, c"worker")?;
            worker_process::run(config, inherited)
        }
        InternalCommand::Compile => {
            let config: compile::CompileConfig = serde_json::from_str(&config)?;
            enter(&config.log, c"compile")?;
            compile::run(&config)
        }
    }
}

/// What every child does first: its log, and a name that `ps` and `top` show.
fn enter(log: &LogOptions, name: &std::ffi::CStr) -> anyhow::Result<()> {
    telemetry::start(log);
    rustix::thread::set_name(name).context("naming the process")
}

fn run_on_this_thread(
    options: ServerOptions,
    ready: oneshot::Sender<Result<Ready, StartError>>,
    prepared: &AtomicBool,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let node = match Node::prepare(options) {
        Ok(node) => node,
        Err(error) => {
            // Whoever started the node may have stopped waiting for it.
            let _ = ready.send(Err(error));
            return Ok(());
        }
    };
    prepared.store(true, Ordering::Release);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(supervisor::supervise(node, ready, stop)).map_err(explain)
}

/// The refusal in the form the command line renders, with its help.
fn explain(error: StartError) -> anyhow::Error {
    match error.problem() {
        Some(problem) => anyhow::Error::new(problem),
        None => anyhow::Error::new(error),
    }
}

/// The same error for one more who asks: with its code, when it has one.
fn again(error: &anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Problem>() {
        Some(problem) => anyhow::Error::new(problem.clone()),
        None => anyhow::anyhow!("{error:#}"),
    }
}

async fn last_words(mut ended: watch::Receiver<NodeEnd>) -> String {
    match ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone()) {
        Some(Err(error)) => format!("{error:#}"),
        _ => "the node was stopped before it was ready".to_owned(),
    }
}

async fn first(term: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
