//! The seam to openraft: the types it runs with, and how ours become its own. The only door to that crate, with its neighbors in this folder.
//! Must never decide what an entry means.

mod applier;
mod log_store;
mod receiver;
mod sender;
#[cfg(test)]
mod suite;
mod words;

use std::{fmt, io, marker::PhantomData, sync::Mutex};

use bytes::Bytes;
use openraft::{
    AsyncRuntime, EntryPayload, RaftTypeConfig,
    alias::EntryOf,
    errors::ForwardToLeader,
    impls::{BoxedErrorSource, InlineBatch, ProgressResponder, leader_id_std},
};

pub(crate) use self::{
    applier::{Applier, Content, Shared},
    log_store::LogStore,
    receiver::Receiver,
    sender::{Post, Senders},
};
use crate::{
    Peer, StateMachine,
    entry::{self, Body},
    group::{Address, Members},
    log::{Entry, LogId, Vote},
};

/// What openraft is asked to run with: answers of type `A` in the runtime `R`.
///
/// One leader per term, as in the paper: a term is then a fencing token.
pub(crate) struct Types<A, R>(PhantomData<fn() -> (A, R)>);

/// The types for a state machine.
pub(crate) type TypesOf<M, R> = Types<<M as StateMachine>::Answer, R>;

/// openraft itself, over a state machine.
pub(crate) type RaftOf<M, R> = openraft::Raft<TypesOf<M, R>, Applier<M, R>>;

type LeaderId = leader_id_std::LeaderId<u64, u64>;
type Committed = <LeaderId as openraft::vote::RaftLeaderId>::Committed;
pub(crate) type RaftLogId = openraft::LogId<Committed>;
pub(crate) type RaftVote = openraft::Vote<LeaderId>;
pub(crate) type StoredMembers = openraft::StoredMembership<Committed, u64, Address>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<Committed, u64, Address>;
type Payload = EntryPayload<Encoded, u64, Address>;

impl<A: Send + 'static, R: AsyncRuntime> RaftTypeConfig for Types<A, R> {
    type D = Encoded;
    type R = Reply<A>;
    type NodeId = u64;
    type Node = Address;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = openraft::Vote<LeaderId>;
    type Payload = Payload;
    type Entry = openraft::Entry<Committed, Payload>;
    type AsyncRuntime = R;
    type Responder<T>
        = ProgressResponder<Self, T>
    where
        T: Send + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// The traits openraft wants of a type that has no values; derived ones would ask them of `A` and `R`.
macro_rules! impl_for_types {
    ($($name:path { $($body:tt)* })*) => { $(impl<A, R> $name for Types<A, R> { $($body)* })* };
}

impl_for_types! {
    Clone { fn clone(&self) -> Self { *self } }
    Copy {}
    Default { fn default() -> Self { Self(PhantomData) } }
    Eq {}
    Ord { fn cmp(&self, _: &Self) -> std::cmp::Ordering { std::cmp::Ordering::Equal } }
    fmt::Debug { fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result { out.write_str("Types") } }
}

impl<A, R> PartialEq for Types<A, R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<A, R> PartialOrd for Types<A, R> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A command in its frame: encoded once by whoever proposes, and carried as it is to every log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Encoded(pub(crate) Bytes);

impl fmt::Display for Encoded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: a command may hold what must not be in a log file.
        write!(out, "{} bytes", self.0.len())
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Encoded({self})")
    }
}

/// Who leads instead, as far as a refusal says so.
pub(crate) fn leader_named<A: Send + 'static, R: AsyncRuntime>(forward: &ForwardToLeader<Types<A, R>>) -> Option<Peer> {
    forward.leader_id.zip(forward.leader_node.as_ref()).map(|(id, address)| address.peer(id))
}

/// What applying an entry answered; nothing for entries that are not commands. The lock is never contended: it makes any answer shareable.
pub(crate) struct Reply<A>(Mutex<Option<A>>);

impl<A> Reply<A> {
    pub(crate) fn new(answer: Option<A>) -> Self {
        Self(Mutex::new(answer))
    }

    /// The answer.
    pub(crate) fn into_answer(self) -> Option<A> {
        self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<A> fmt::Debug for Reply<A> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Reply")
    }
}

pub(crate) fn log_id_in(id: LogId) -> RaftLogId {
    openraft::LogId::new(Committed::new(id.term), id.index)
}

pub(crate) fn log_id_out(id: &RaftLogId) -> LogId {
    LogId { term: id.committed_leader_id().term, index: id.index }
}

pub(crate) fn vote_in(vote: Vote) -> RaftVote {
    if vote.committed { openraft::Vote::new_committed(vote.term, vote.node) } else { openraft::Vote::new(vote.term, vote.node) }
}

pub(crate) fn vote_out(vote: &RaftVote) -> Vote {
    Vote { term: vote.leader_id.term, committed: vote.committed, node: vote.leader_id.voted_for }
}

/// A stored or received entry as openraft's. Fails on damage, and on what a later version wrote.
pub(crate) fn entry_in<A: Send + 'static, R: AsyncRuntime>(entry: Entry) -> io::Result<EntryOf<Types<A, R>>> {
    let payload = match entry::open(&entry.payload).map_err(invalid)? {
        Body::Blank => EntryPayload::Blank,
        Body::Command => EntryPayload::Normal(Encoded(entry.payload)),
        Body::Members(members) => {
            let membership = members.membership().ok_or_else(|| invalid("an entry names a membership that cannot be"))?;
            EntryPayload::Membership(membership)
        }
    };
    Ok(openraft::Entry { log_id: log_id_in(entry.id), payload })
}

/// An entry of openraft as it is stored and sent.
pub(crate) fn entry_out<A: Send + 'static, R: AsyncRuntime>(entry: EntryOf<Types<A, R>>) -> io::Result<Entry> {
    let id = log_id_out(&entry.log_id);
    let payload = match entry.payload {
        EntryPayload::Blank => entry::blank().map_err(invalid)?,
        EntryPayload::Normal(command) => command.0,
        EntryPayload::Membership(membership) => entry::members(&Members::of(&membership)).map_err(invalid)?,
    };
    Ok(Entry { id, payload })
}

/// A membership with the entry it stands in.
pub(crate) fn stored(at: Option<LogId>, members: &Members) -> io::Result<StoredMembers> {
    if at.is_none() {
        return Ok(StoredMembers::default());
    }
    let membership = members.membership().ok_or_else(|| invalid("a snapshot names a membership that cannot be"))?;
    Ok(openraft::StoredMembership::new(at.map(log_id_in), membership))
}

pub(crate) fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
