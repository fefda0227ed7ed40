//! What every long-lived child does around its work: a runtime of its own, and SIGTERM as the wish to stop. Must never know which work it is.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::heap;

/// Runs `work` on a runtime whose threads are called `threads`, until it ends; the token it gets is cancelled by SIGTERM.
///
/// # Errors
/// The runtime or the signal handler cannot be made, or `work` fails.
pub fn run<F, E>(threads: &str, work: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), E>>,
    E: Into<anyhow::Error>,
{
    heap::prepare();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name(threads).build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut term = signal(SignalKind::terminate())?;
        let told = stop.clone();
        let _signals = AbortOnDropHandle::new(tokio::spawn(async move {
            term.recv().await;
            told.cancel();
        }));
        let _trim = AbortOnDropHandle::new(tokio::spawn(heap::trim()));
        work(stop).await.map_err(Into::into)
    })?;
    // What still blocks a thread now, a file of a log query, must not keep the process.
    runtime.shutdown_background();
    Ok(())
}
