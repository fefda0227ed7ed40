//! The one handle to consensus: propose, read, watch. Owns what callers see; must never touch the log itself.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use openraft::{AsyncRuntime, TokioRuntime};
use tokio::sync::watch;

use crate::{
    Checkpoint, Health, Leadership, Membership, Network, StateMachine,
    flight::Flights,
    health::Status,
    limits::{CLOSE_MS_MAX, SHUTDOWN_MS_MAX},
    raft::{LogStore, RaftOf, Receiver, Shared},
    settings::{Identity, Tuning},
    thread::Thread,
};

/// The handle. Clones share one member of a group; the last one to go closes it.
pub struct Consensus<M: StateMachine, R: AsyncRuntime = TokioRuntime>(pub(crate) Arc<Inner<M, R>>);

pub(crate) struct Inner<M: StateMachine, R: AsyncRuntime> {
    pub(crate) identity: Identity,
    pub(crate) tuning: Tuning,
    pub(crate) raft: RaftOf<M, R>,
    pub(crate) log: LogStore<M::Answer, R>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) receiver: Receiver<M, R>,
    pub(crate) status: Status,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) membership: watch::Receiver<Membership>,
    /// Held while the membership is changed.
    pub(crate) changing: Arc<tokio::sync::Mutex<()>>,
    pub(crate) flights: Flights,
    /// The thread that all of this runs on, when it has one of its own.
    pub(crate) thread: Mutex<Option<Thread>>,
}

impl<M: StateMachine, R: AsyncRuntime> Clone for Consensus<M, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: StateMachine, R: AsyncRuntime> Consensus<M, R> {
    /// The state after the last applied entry. Costs no lock.
    pub fn state(&self) -> Arc<M> {
        self.0.shared.published().machine.clone()
    }

    /// The index of the last applied entry, as it grows. [`Self::state`] is at least as new.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.0.shared.applied.subscribe()
    }

    /// Who leads, as this member knows it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.clone()
    }

    /// Who is in the group, as this member knows it.
    pub fn membership(&self) -> watch::Receiver<Membership> {
        self.0.membership.clone()
    }

    /// What the state hashed to at the newest multiple of [`crate::limits::CHECKPOINT_ENTRIES`] that was applied one by one. Members that differ at the same
    /// index have different states, and at least one of them must [`Self::halt`].
    pub fn hashes(&self) -> watch::Receiver<Option<Checkpoint>> {
        self.0.shared.checkpoint.subscribe()
    }

    /// Which member of which group this is.
    pub fn identity(&self) -> Identity {
        self.0.identity
    }

    /// How the log is.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.status.subscribe()
    }

    /// Why the last snapshot could not be written, unless it could: the log grows until one can.
    pub fn snapshot_error(&self) -> Option<String> {
        self.0.status.snapshot_error()
    }

    /// Waits until the log has failed for good, and says why. The process should then end: its supervisor starts it again.
    /// Returns as well once the log was shut down.
    pub async fn failed(&self) -> String {
        let mut health = self.health();
        let ended = health.wait_for(|health| matches!(health, Health::Failed { .. } | Health::Stopped)).await.map(|health| health.clone());
        match ended {
            Ok(Health::Failed { message }) => message,
            Ok(_) | Err(_) => "shut down".to_owned(),
        }
    }

    /// This member must not go on, for `reason`: nothing more is written, applied or answered by it, and [`Self::failed`] returns.
    pub fn halt(&self, reason: String) {
        self.0.status.fail(reason);
    }

    /// Answers a message of the member `from`, whom the transport has authenticated. Refuses what is meant for another group or another member.
    pub fn receive(&self, from: u64, message: Bytes) -> BoxFuture<'static, io::Result<Bytes>> {
        let inner = self.0.clone();
        // Boxed here, where openraft's types are known: callers could not see that it may change threads.
        Box::pin(async move {
            let answer = inner.receiver.receive(from, &message).await?;
            // A member that failed while it answered does not answer.
            inner.status.check()?;
            Ok(answer)
        })
    }

    /// Waits for what was proposed, for a moment, then closes the log and gives up its directory; a log that does not close in time is left to the end of the
    /// process. Later proposals get `Stopped`.
    pub async fn shutdown(&self) {
        self.0.flights.close();
        // What is still under way after that is answered with `Unknown`.
        let _ = R::timeout(std::time::Duration::from_millis(SHUTDOWN_MS_MAX), self.0.flights.landed()).await;
        self.0.status.stop();
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        match thread {
            Some(thread) => {
                if R::timeout(std::time::Duration::from_millis(CLOSE_MS_MAX), thread.stop()).await.is_err() {
                    // Everything acknowledged is on disk; a process that stayed for this would keep the next one out.
                    tracing::error!("consensus does not end; it ends with the process");
                }
            }
            None => close(&self.0.raft, &self.0.log).await,
        }
    }
}

/// Ends openraft, then gives up the log.
pub(crate) async fn close<M: StateMachine, R: AsyncRuntime>(raft: &RaftOf<M, R>, log: &LogStore<M::Answer, R>) {
    if let Err(error) = raft.shutdown().await {
        tracing::warn!(error = %error, "consensus did not end in order");
    }
    log.close();
}
