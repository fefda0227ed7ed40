//! The one handle to consensus: propose, read, watch. Owns what callers see and the errors they get; must never touch the log itself.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    StateMachine,
    disk_log::DiskLog,
    frame::FrameError,
    limits::{COMMAND_BYTES_MAX, QUEUE_MAX},
    log::LogBackend,
    owner::{self, Message, Owner, Proposal},
};

/// Where the log is and whose it is.
#[derive(Debug, Clone)]
pub struct Config {
    /// The log's directory. Made if it is not there, locked while it is open.
    pub dir: PathBuf,
    /// This member's number: it signs the entries it writes.
    pub node_id: u64,
}

/// Why the log could not be opened. Nothing was changed on disk, except that a torn end may have been cut off.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be used, or the log in it is damaged.
    #[error("opening the log in {}", dir.display())]
    Log {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Entries cannot be read back.
    #[error("reading the log from entry {index}")]
    Read {
        /// The first that was wanted.
        index: u64,
        /// Why.
        source: io::Error,
    },
    /// The log does not start at its first entry, and there is nothing to start from instead.
    #[error("the log starts at entry {found}, expected {expected}")]
    Gap {
        /// What is there.
        found: u64,
        /// What should be.
        expected: u64,
    },
    /// An entry cannot be decoded.
    #[error("decoding entry {index} of the log")]
    Entry {
        /// Which.
        index: u64,
        /// Why.
        source: FrameError,
    },
    /// The writer's thread could not be started.
    #[error("starting the log's thread")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

/// Why a proposal was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// It could not be written. It was not applied and never will be; a later one may succeed.
    #[error("writing to the log")]
    Storage {
        /// Why: most often, the disk is full.
        source: Arc<io::Error>,
    },
    /// The log failed in a way that cannot be mended while running. Whether this proposal survives is known after a restart.
    #[error("the log has failed: {message}")]
    Failed {
        /// Why.
        message: String,
    },
    /// The command is too large for one entry.
    #[error("a command of {bytes} bytes is more than one log entry may have ({limit})")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The command cannot be encoded.
    #[error("encoding a command for the log")]
    Encode {
        /// Why.
        source: FrameError,
    },
    /// This member is shutting down.
    #[error("the log is closed")]
    Stopped,
}

/// How the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Proposals are written.
    Working,
    /// The last proposals were refused, most often because the disk is full; the next one is tried.
    Refusing {
        /// Why.
        message: String,
    },
    /// Nothing is written any more: the process should say so and end.
    Failed {
        /// Why.
        message: String,
    },
    /// Shut down.
    Stopped,
}

/// The handle. Clones share one log; the last one to go closes it.
pub struct Consensus<M: StateMachine>(Arc<Inner<M>>);

struct Inner<M: StateMachine> {
    /// Taken when the last handle goes, which ends the owner.
    queue: Option<mpsc::Sender<Message<M>>>,
    state: Arc<ArcSwap<M>>,
    applied: watch::Receiver<u64>,
    leader: watch::Receiver<Option<u64>>,
    health: watch::Receiver<Health>,
    owner: Mutex<Option<JoinHandle<()>>>,
}

impl<M: StateMachine> Clone for Consensus<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: StateMachine> Consensus<M> {
    /// Opens the log on disk and replays it into `machine`. Blocks while it reads.
    pub fn open(config: Config, machine: M) -> Result<Self, OpenError> {
        let log = DiskLog::open(&config.dir).map_err(|source| OpenError::Log { dir: config.dir.clone(), source })?;
        tracing::info!(log.directory = %Path::display(&config.dir), log.last = log.state().last.map(|id| id.index), "log opened");
        Self::start(Box::new(log), config.node_id, machine)
    }

    /// The same over any log.
    pub fn start(log: Box<dyn LogBackend>, node_id: u64, machine: M) -> Result<Self, OpenError> {
        let (machine, last) = owner::replay(log.as_ref(), machine)?;
        let state = Arc::new(ArcSwap::from_pointee(machine));
        let (queue, inbox) = mpsc::channel(QUEUE_MAX);
        let (applied_out, applied) = watch::channel(last);
        let (leader_out, leader) = watch::channel(Some(node_id));
        let (health_out, health) = watch::channel(Health::Working);
        let owner = Owner::new(log, node_id, state.clone(), applied_out, leader_out, health_out);
        let thread = std::thread::Builder::new().name("consensus".to_owned());
        let owner = thread.spawn(move || owner.run(inbox)).map_err(|source| OpenError::Thread { source })?;
        Ok(Self(Arc::new(Inner { queue: Some(queue), state, applied, leader, health, owner: Mutex::new(Some(owner)) })))
    }

    /// Writes `command` and applies it. When this returns the entry is on disk, [`Self::state`] shows it, and it has the returned index.
    /// A caller that goes away while waiting learns nothing: the command may be applied all the same.
    pub async fn propose(&self, command: M::Command) -> Result<(u64, M::Answer), ProposeError> {
        let mut answers = self.propose_batch(vec![command]).await?;
        answers.pop().ok_or(ProposeError::Stopped)
    }

    /// Writes `commands` next to each other with one flush, and applies them in order. They succeed or fail together;
    /// only a crash in the middle of the write, before this returns, may keep the first few of them.
    pub async fn propose_batch(&self, commands: Vec<M::Command>) -> Result<Vec<(u64, M::Answer)>, ProposeError> {
        let commands = commands.into_iter().map(owner::encode).collect::<Result<Vec<_>, _>>()?;
        let bytes = commands.iter().map(|(_, payload)| payload.len()).max().unwrap_or(0);
        if bytes > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes, limit: COMMAND_BYTES_MAX });
        }
        let (answer, answered) = oneshot::channel();
        self.send(Message::Propose(Proposal { commands, answer })).await?;
        // The owner answers everything it takes; an answer that never comes means that it panicked.
        answered.await.map_err(|_| self.gone())?
    }

    /// The state after the last applied entry. Costs no lock.
    pub fn state(&self) -> Arc<M> {
        self.0.state.load_full()
    }

    /// The index of the last applied entry, as it grows. [`Self::state`] is at least as new.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.0.applied.clone()
    }

    /// Who leads, as this member knows it.
    pub fn leader(&self) -> watch::Receiver<Option<u64>> {
        self.0.leader.clone()
    }

    /// How the log is.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.health.clone()
    }

    /// Waits until the log has failed for good, and says why. The process should then end: its supervisor starts it again.
    /// Returns as well once the log was shut down.
    pub async fn failed(&self) -> String {
        let mut health = self.0.health.clone();
        let ended = health.wait_for(|health| matches!(health, Health::Failed { .. } | Health::Stopped)).await.map(|health| health.clone());
        match ended {
            Ok(Health::Failed { message }) => message,
            Ok(_) => "shut down".to_owned(),
            Err(_) => "the log's thread panicked".to_owned(),
        }
    }

    /// Answers everything proposed so far, closes the log and gives up its directory. Later proposals get `Stopped`.
    pub async fn shutdown(&self) {
        let (done, closed) = oneshot::channel();
        if self.send(Message::Stop(done)).await.is_ok() {
            // Fails when the owner is gone already, which is what was asked for.
            let _ = closed.await;
        }
    }

    async fn send(&self, message: Message<M>) -> Result<(), ProposeError> {
        let queue = self.0.queue.as_ref().ok_or(ProposeError::Stopped)?;
        queue.send(message).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> ProposeError {
        match &*self.0.health.borrow() {
            Health::Stopped => ProposeError::Stopped,
            Health::Failed { message } => ProposeError::Failed { message: message.clone() },
            Health::Working | Health::Refusing { .. } => ProposeError::Failed { message: "the log's thread panicked".to_owned() },
        }
    }
}

impl<M: StateMachine> Drop for Inner<M> {
    fn drop(&mut self) {
        self.queue = None;
        // The directory is free when this returns; the owner has at most one flush to finish.
        if let Some(owner) = self.owner.get_mut().ok().and_then(Option::take) {
            let _ = owner.join();
        }
    }
}
