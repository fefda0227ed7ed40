//! What every long-lived child does around its work: a runtime of its own, and SIGTERM as the wish to stop. Must never know which work it is.

use std::{future::Future, io, os::unix::net::UnixStream, thread};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Signal, getpid, kill_process},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{heap, limits::ORPHAN_LIFE_MAX};

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
    let worked = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut term = signal(SignalKind::terminate())?;
        let told = stop.clone();
        let _signals = AbortOnDropHandle::new(tokio::spawn(async move {
            term.recv().await;
            told.cancel();
        }));
        let _trim = AbortOnDropHandle::new(tokio::spawn(heap::trim()));
        work(stop).await.map_err(Into::into)
    });
    // What still blocks a thread now, a file of a log query, must not keep the process, whether the work was done or has failed.
    runtime.shutdown_background();
    worked
}

/// Kills this process when it still lives `ORPHAN_LIFE_MAX` after the other end of `lifeline`, the supervisor, is gone: whatever hangs, no child is left behind
/// with the node's sockets and locks. It is asked to finish long before, by its own watch over the lifeline.
///
/// # Errors
/// The lifeline cannot be duplicated, or no thread be made.
pub fn die_with(lifeline: &UnixStream) -> io::Result<()> {
    let lifeline = lifeline.try_clone()?;
    let watch = move || {
        if let Err(error) = wait_until_gone(&lifeline) {
            return tracing::error!(error = %error, "the supervisor cannot be watched");
        }
        thread::sleep(ORPHAN_LIFE_MAX);
        tracing::error!(
            waited.seconds = ORPHAN_LIFE_MAX.as_secs(),
            "the supervisor is gone, and this process does not end; it kills itself"
        );
        // Nothing else of this process can be relied on.
        let _ = kill_process(getpid(), Signal::KILL);
    };
    thread::Builder::new().name("lifeline".to_owned()).spawn(watch).map(drop)
}

/// Returns once nobody has the other end of `lifeline` any more; what was written before does not matter.
fn wait_until_gone(lifeline: &UnixStream) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(lifeline, PollFlags::RDHUP)], None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::mpsc};

    use super::*;

    #[test]
    fn a_supervisor_is_gone_when_nobody_has_its_end() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        ours.write_all(b"said and never read").expect("written");
        let also_ours = ours.try_clone().expect("a second handle");
        let (said, gone) = mpsc::channel();
        let watch = thread::spawn(move || {
            let waited = wait_until_gone(&theirs);
            said.send(()).expect("somebody listens");
            waited
        });
        drop(ours);
        assert!(gone.try_recv().is_err(), "somebody still has it");
        drop(also_ours);
        gone.recv().expect("it is noticed");
        watch.join().expect("no panic").expect("watched");
    }
}
