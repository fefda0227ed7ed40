//! How a member starts: its directory, its snapshots, its log, then openraft over them. Owns the order and the refusals; must never propose anything
//! but its own candidacy.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use openraft::{AsyncRuntime, Raft, TokioRuntime};
use tokio::sync::watch;

use crate::{
    Config, Consensus, FoundError, Health, Identity, Network, OpenError, Peer, StateMachine, Tuning,
    disk_log::DiskLog,
    flight::Flights,
    group::Address,
    handle::{Inner, close},
    health::Status,
    identity,
    leadership::{Published, membership_of, watch_raft},
    limits::ELECT_ALONE_MS_MAX,
    log::LogBackend,
    members::finish_changes,
    raft::{Applier, LogStore, RaftOf, Receiver, Senders},
    snapshot::{DiskShelf, Shelf, Snapshots},
    thread::Thread,
    work::Work,
};

/// The folder of the snapshots, beside the log's files.
pub(crate) const SNAPSHOTS: &str = "snapshots";

/// Where a member keeps what it knows.
pub struct Storage {
    /// Its log and vote.
    pub log: Box<dyn LogBackend>,
    /// Its snapshots.
    pub shelf: Arc<dyn Shelf>,
}

impl<M: StateMachine> Consensus<M> {
    /// Opens the log on disk, brings `machine` (an empty one) up to it, and starts to take part in the group, on a thread of its own. Blocks while it reads.
    /// A member that is the only one with a vote leads when this returns.
    pub fn open(config: Config, machine: M, network: Arc<dyn Network>) -> Result<Self, OpenError> {
        let storage = Storage::open(&config.dir, config.identity)?;
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let thread = Thread::start(move |stop| async move {
            let consensus = match Self::start(config.identity, config.profile.into(), storage, machine, network).await {
                Ok(consensus) => consensus,
                Err(error) => return drop(started.send(Err(error))),
            };
            let (raft, log) = (consensus.0.raft.clone(), consensus.0.log.clone());
            drop(started.send(Ok(consensus)));
            // An error means that the handle is gone, which says the same.
            let _ = stop.await;
            close::<M, TokioRuntime>(&raft, &log).await;
        });
        let thread = thread.map_err(|source| OpenError::Thread { source })?;
        let gone = || OpenError::Thread { source: io::Error::other("it panicked") };
        let consensus = start.recv().map_err(|_| gone())??;
        *consensus.0.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(thread);
        Ok(consensus)
    }
}

impl Storage {
    /// The log and the snapshots in `directory`, which must be this member's or empty.
    pub fn open(directory: &Path, identity: Identity) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Log { dir: directory.to_owned(), source };
        let log = DiskLog::open(directory).map_err(failed)?;
        identity::claim(directory, identity)?;
        let shelf = DiskShelf::open(&directory.join(SNAPSHOTS)).map_err(|source| OpenError::Snapshots { source })?;
        let last = log.state().last.map(|id| id.index);
        tracing::info!(log.directory = %Path::display(directory), log.last = last, "log opened");
        Ok(Self { log: Box::new(log), shelf: Arc::new(shelf) })
    }
}

impl<M: StateMachine, R: AsyncRuntime> Consensus<M, R> {
    /// The same over any storage, in the runtime of the caller.
    pub async fn start(
        identity: Identity,
        tuning: Tuning,
        storage: Storage,
        machine: M,
        network: Arc<dyn Network>,
    ) -> Result<Self, OpenError> {
        let (status, work) = (Status::new(), Work::offered::<R>().await);
        let snapshots = Snapshots::new(storage.shelf);
        let applier = Applier::<M, R>::open(identity.group, tuning.checkpoint_entries, machine, snapshots.clone(), status.clone(), work);
        let applier = applier.map_err(|source| OpenError::Snapshots { source })?;
        reaches(storage.log.as_ref(), &applier)?;
        let shared = applier.shared();
        let log = LogStore::new(storage.log, status.clone());
        let settings = tuning.raft().map_err(|error| OpenError::Settings { reason: error.to_string() })?;
        let senders = Senders::<M, R>::new(identity.group, network.clone(), work);
        let raft = Raft::new(identity.node_id, Arc::new(settings), senders, log.clone(), applier).await;
        let raft: RaftOf<M, R> = raft.map_err(|error| replay_error(&status, &error.to_string()))?;
        let (leadership_out, leadership) = watch::channel(Default::default());
        let known = raft.with_raft_state(|state| membership_of(state.membership_state.effective())).await;
        let known = known.map_err(|error| replay_error(&status, &error.to_string()))?;
        let (membership_out, membership) = watch::channel(known);
        let published = Published { leadership: leadership_out, membership: membership_out };
        // It ends when openraft does.
        drop(R::spawn(watch_raft::<M, R>(raft.metrics(), shared.clone(), published, status.clone())));
        let changing: Arc<tokio::sync::Mutex<()>> = Arc::default();
        drop(R::spawn(finish_changes::<M, R>(raft.clone(), changing.clone(), leadership.clone(), membership.clone())));
        let receiver = Receiver {
            identity,
            raft: raft.clone(),
            log: log.clone(),
            snapshots,
            status: status.clone(),
            work,
            incoming: Mutex::default(),
            heard: Mutex::default(),
        };
        let inner = Inner {
            identity,
            tuning,
            raft,
            log,
            network,
            shared,
            receiver,
            status,
            leadership,
            membership,
            changing,
            flights: Flights::new(),
            thread: Mutex::default(),
        };
        let consensus = Self(Arc::new(inner));
        consensus.lead_alone().await;
        Ok(consensus)
    }

    /// Founds the group: `first` is its only member, and this one. When this returns it leads.
    pub async fn initialize(&self, first: Peer) -> Result<(), FoundError> {
        let node_id = self.0.identity.node_id;
        if first.id != node_id {
            return Err(FoundError::Other { node_id, other: first.id });
        }
        if !self.0.log.is_empty() {
            return Err(FoundError::Exists { node_id });
        }
        let founded = self.0.raft.initialize(std::collections::BTreeMap::from([(node_id, Address(first.address))])).await;
        match founded {
            Ok(()) => {}
            Err(openraft::errors::RaftError::APIError(_)) => return Err(FoundError::Exists { node_id }),
            Err(openraft::errors::RaftError::Fatal(fatal)) => return Err(FoundError::Failed { message: fatal.to_string() }),
        }
        if !self.until_leading().await {
            return Err(FoundError::Failed { message: "it could not elect itself".to_owned() });
        }
        Ok(())
    }

    /// A member that is the only one with a vote need not wait for anybody.
    async fn lead_alone(&self) {
        let alone = {
            let membership = self.0.membership.borrow();
            membership.voters.len() == 1 && membership.is_voter(self.0.identity.node_id)
        };
        // Errors show in the health, which callers watch anyway.
        if alone && self.0.raft.trigger().elect(false).await.is_ok() {
            self.until_leading().await;
        }
    }

    async fn until_leading(&self) -> bool {
        let (mut leadership, mut health) = (self.leadership(), self.health());
        let leads = std::pin::pin!(leadership.wait_for(|leadership| leadership.is_leading()));
        let fails = std::pin::pin!(health.wait_for(|health| matches!(health, Health::Failed { .. })));
        let either = async { matches!(futures_util::future::select(leads, fails).await, futures_util::future::Either::Left((Ok(_), _))) };
        R::timeout(Duration::from_millis(ELECT_ALONE_MS_MAX), either).await.unwrap_or(false)
    }
}

/// The log must reach back to the state that it is applied to.
fn reaches<M: StateMachine, R: AsyncRuntime>(log: &dyn LogBackend, applier: &Applier<M, R>) -> Result<(), OpenError> {
    let purged = log.state().purged.map(|id| id.index);
    let applied = applier.meta().map(|meta| meta.last.index);
    match purged {
        Some(purged) if applied.is_none_or(|applied| applied < purged) => {
            Err(OpenError::Gap { found: purged + 1, expected: applied.map_or(0, |applied| applied + 1) })
        }
        _ => Ok(()),
    }
}

fn replay_error(status: &Status, error: &str) -> OpenError {
    let reason = match status.get() {
        Health::Failed { message } => message,
        _ => error.to_owned(),
    };
    OpenError::Replay { reason }
}
