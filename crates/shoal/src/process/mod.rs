//! The processes of a node: a small supervisor that owns every listening socket and starts the control plane, the worker and the
//! compile children from the same binary. Must never know what an app is or how anything is decided.

mod options;

use std::process::ExitCode;

pub use options::{InternalCommand, LogFormat, LogOptions, Ready, ServerOptions};
use tokio::sync::{oneshot, watch};

/// A node that is ready. Dropping it stops the node as [`Running::stop`] does, without waiting.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub ready: Ready,
    stop: Option<oneshot::Sender<()>>,
    ended: watch::Receiver<Option<Result<(), String>>>,
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
            Some(Err(message)) => Err(anyhow::anyhow!(message)),
            None => Err(anyhow::anyhow!("the supervisor ended without a word")),
        }
    }
}

/// Starts a node on a thread of its own and returns once its API answers and its gateway listens. Handles no signal: the caller stops it.
///
/// An error carries a [`model::problem::Problem`] in its chain when it has a code (E0601, E0602, E0603, E0604, E0606, E0607).
pub async fn start(options: ServerOptions) -> anyhow::Result<Running> {
    anyhow::bail!("cannot start {}", options.name)
}

/// Runs a node until SIGTERM or SIGINT. Starts its own runtime and the process's log, so the caller must have neither.
pub fn run_server(options: ServerOptions) -> anyhow::Result<ExitCode> {
    anyhow::bail!("cannot start {}", options.name)
}

/// Runs one of the children. Starts its own runtime and the process's log, so the caller must have neither, and no thread.
pub fn internal(command: InternalCommand) -> anyhow::Result<ExitCode> {
    anyhow::bail!("cannot start {command:?}")
}
