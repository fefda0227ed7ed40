//! The one writer: gathers what is queued, writes and flushes it once, applies it, publishes the state, answers. Owns the order of these steps,
//! and what happens when the disk does not take a write. Must never answer before the flush.
//!
//! A write that fails because there is no room is refused, the log goes back to what it had flushed, and the next proposal is tried.
//! After any other error it is not known what the disk holds, so nothing is written until the process has started again and read it.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    StateMachine,
    frame::{self, Schema},
    handle::{Health, OpenError, ProposeError},
    limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, REPLAY_BYTES_MAX},
    log::{Entry, Flushed, LogBackend, LogId},
};

/// What one entry says. Variants are only ever appended.
#[derive(Serialize, Deserialize)]
enum Payload<C> {
    /// Nothing; a new leader's first entry.
    #[allow(dead_code, reason = "part of the stored format: the number of the next variant depends on it")]
    Blank,
    /// A command.
    Command(C),
}

/// The same, borrowed, for writing.
#[derive(Serialize)]
enum PayloadRef<'a, C> {
    #[allow(dead_code, reason = "part of the stored format: the number of the next variant depends on it")]
    Blank,
    Command(&'a C),
}

/// A command and its payload.
pub(crate) type Encoded<C> = (C, Vec<u8>);

type Answers<M> = Result<Vec<(u64, <M as StateMachine>::Answer)>, ProposeError>;

/// Commands to write next to each other.
pub(crate) struct Proposal<M: StateMachine> {
    pub(crate) commands: Vec<Encoded<M::Command>>,
    pub(crate) answer: oneshot::Sender<Answers<M>>,
}

pub(crate) enum Message<M: StateMachine> {
    Propose(Proposal<M>),
    Stop(oneshot::Sender<()>),
}

/// Encodes a command in the proposer's task, so that the owner only writes.
pub(crate) fn encode<C: Serialize>(command: C) -> Result<Encoded<C>, ProposeError> {
    let payload = frame::encode(Schema::Entry, &PayloadRef::Command(&command)).map_err(|source| ProposeError::Encode { source })?;
    Ok((command, payload))
}

/// Applies every entry of `log` to `machine`; also says how far that is.
pub(crate) fn replay<M: StateMachine>(log: &dyn LogBackend, mut machine: M) -> Result<(M, u64), OpenError> {
    let state = log.state();
    if let Some(purged) = state.purged {
        return Err(OpenError::Gap { found: purged.index + 1, expected: 1 });
    }
    let last = state.last.map_or(0, |id| id.index);
    let mut next = 1;
    while next <= last {
        let entries = log.read(next..last + 1, REPLAY_BYTES_MAX).map_err(|source| OpenError::Read { index: next, source })?;
        if entries.is_empty() {
            return Err(OpenError::Gap { found: last, expected: next });
        }
        for entry in entries {
            let index = entry.id.index;
            if index != next {
                return Err(OpenError::Gap { found: index, expected: next });
            }
            match frame::decode(Schema::Entry, &entry.payload).map_err(|source| OpenError::Entry { index, source })? {
                Payload::Blank => {}
                Payload::Command(command) => drop(machine.apply(index, &command)),
            }
            next += 1;
        }
    }
    Ok((machine, last))
}

pub(crate) struct Owner<M: StateMachine> {
    log: Box<dyn LogBackend>,
    node_id: u64,
    term: u64,
    last: u64,
    /// The log refused a write and must recover before the next one.
    recovering: bool,
    state: Arc<ArcSwap<M>>,
    applied: watch::Sender<u64>,
    /// Held so that watchers see the end of this member's leadership as the end of the channel.
    _leader: watch::Sender<Option<u64>>,
    health: watch::Sender<Health>,
}

impl<M: StateMachine> Owner<M> {
    pub(crate) fn new(
        log: Box<dyn LogBackend>,
        node_id: u64,
        state: Arc<ArcSwap<M>>,
        applied: watch::Sender<u64>,
        leader: watch::Sender<Option<u64>>,
        health: watch::Sender<Health>,
    ) -> Self {
        let last = log.state().last;
        let term = last.map_or(1, |last| last.term.max(1));
        let last = last.map_or(0, |last| last.index);
        Self { log, node_id, term, last, recovering: false, state, applied, _leader: leader, health }
    }

    /// Until every handle is gone or one says stop.
    pub(crate) fn run(mut self, mut inbox: mpsc::Receiver<Message<M>>) {
        let mut stopped = Vec::new();
        while let Some(message) = inbox.blocking_recv() {
            let batch = gather(message, &mut inbox, &mut stopped);
            if !batch.is_empty() {
                self.accept(batch);
            }
            if !stopped.is_empty() {
                inbox.close();
            }
        }
        let health = self.health.clone();
        // The log goes first, and with it the lock on its directory.
        drop(self);
        health.send_if_modified(|health| {
            let failed = matches!(health, Health::Failed { .. });
            *health = if failed { health.clone() } else { Health::Stopped };
            !failed
        });
        for stopped in stopped {
            // Whoever asked and went away does not need the answer.
            let _ = stopped.send(());
        }
    }

    fn accept(&mut self, batch: Vec<Proposal<M>>) {
        match self.write(&batch) {
            Ok(()) => self.apply(batch),
            Err(error) => {
                for proposal in batch {
                    // A proposer that went away does not need the answer.
                    let _ = proposal.answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// Puts `batch` on disk, or leaves the log as it was.
    fn write(&mut self, batch: &[Proposal<M>]) -> Result<(), ProposeError> {
        if let Health::Failed { message } = &*self.health.borrow() {
            return Err(ProposeError::Failed { message: message.clone() });
        }
        if self.recovering {
            self.recover()?;
        }
        let payloads = batch.iter().flat_map(|proposal| &proposal.commands).map(|(_, payload)| payload);
        let indices = self.last + 1..;
        let place = |index| LogId { term: self.term, leader: self.node_id, index };
        let entries = payloads.zip(indices).map(|(payload, index)| Entry { id: place(index), payload: payload.clone() }).collect();
        let (flushed, result) = Flushed::pair();
        let written = self.log.append(entries, flushed).and_then(|()| {
            let gone = || io::Error::other("the log never said whether a write was flushed");
            result.recv().unwrap_or_else(|_| Err(gone()))
        });
        match written {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// Takes back what was not flushed, and decides whether there is a next time.
    fn refuse(&mut self, error: io::Error) -> ProposeError {
        if !is_full(&error) {
            return self.fail(format!("writing to it failed: {error}"));
        }
        tracing::warn!(error = %error, log.last = self.last, "log refused a write");
        self.recovering = true;
        self.health.send_replace(Health::Refusing { message: error.to_string() });
        match self.recover() {
            Err(failed @ ProposeError::Failed { .. }) => failed,
            // Taking back worked, or will be tried again before the next write: either way nothing of this one stays.
            _ => ProposeError::Storage { source: Arc::new(error) },
        }
    }

    fn recover(&mut self) -> Result<(), ProposeError> {
        if let Err(error) = self.log.recover() {
            if is_full(&error) {
                return Err(ProposeError::Storage { source: Arc::new(error) });
            }
            return Err(self.fail(format!("going back after a refused write failed: {error}")));
        }
        let found = self.log.state().last.map_or(0, |last| last.index);
        if found != self.last {
            return Err(self.fail(format!("it went back to entry {found} after a refused write, expected {}", self.last)));
        }
        self.recovering = false;
        Ok(())
    }

    fn fail(&mut self, message: String) -> ProposeError {
        tracing::error!(log.last = self.last, reason = message, "log failed");
        self.health.send_replace(Health::Failed { message: message.clone() });
        ProposeError::Failed { message }
    }

    fn apply(&mut self, batch: Vec<Proposal<M>>) {
        let mut machine = M::clone(&self.state.load());
        let mut answered = Vec::with_capacity(batch.len());
        for proposal in batch {
            let mut answers = Vec::with_capacity(proposal.commands.len());
            for (command, _) in &proposal.commands {
                self.last += 1;
                answers.push((self.last, machine.apply(self.last, command)));
            }
            answered.push((proposal.answer, answers));
        }
        self.state.store(Arc::new(machine));
        self.applied.send_replace(self.last);
        self.health.send_if_modified(|health| std::mem::replace(health, Health::Working) != Health::Working);
        for (answer, answers) in answered {
            // A proposer that went away does not need the answer.
            let _ = answer.send(Ok(answers));
        }
    }
}

/// Takes what is queued behind `first`, up to the limits of a batch.
fn gather<M: StateMachine>(
    first: Message<M>,
    inbox: &mut mpsc::Receiver<Message<M>>,
    stopped: &mut Vec<oneshot::Sender<()>>,
) -> Vec<Proposal<M>> {
    let (mut batch, mut entries, mut bytes) = (Vec::new(), 0, 0);
    let mut next = Some(first);
    while let Some(message) = next {
        match message {
            Message::Stop(done) => stopped.push(done),
            Message::Propose(proposal) => {
                entries += proposal.commands.len();
                bytes += proposal.commands.iter().map(|(_, payload)| payload.len()).sum::<usize>();
                batch.push(proposal);
            }
        }
        let room = entries < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_MAX;
        next = if room { inbox.try_recv().ok() } else { None };
    }
    batch
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
