//! What other members say to this one: checked, handed to openraft, answered. Owns what is refused and how a snapshot is put together again;
//! must never trust a message about who sent it.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use openraft::{
    AsyncRuntime, Instant, ReadPolicy,
    alias::SnapshotOf,
    errors::{LinearizableReadError, RaftError},
    raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, VoteRequest, VoteResponse},
};

use super::{
    Content, LogStore, RaftOf, RaftVote, TypesOf, applier::meta_in, entry_in, invalid, leader_named, log_id_in, log_id_out, vote_in,
    vote_out,
};
use crate::{
    Identity, StateMachine,
    health::Status,
    log::{Entry, LogId, Vote},
    message::{self, Answer, Appended, Message, Piece, ReadIndex, Received, Transferred},
    snapshot::{Draft, Snapshots, import},
    work::Work,
};

/// Takes what others send.
pub(crate) struct Receiver<M: StateMachine, R: AsyncRuntime> {
    pub(crate) identity: Identity,
    pub(crate) raft: RaftOf<M, R>,
    pub(crate) log: LogStore<M::Answer, R>,
    pub(crate) snapshots: Snapshots,
    pub(crate) status: Status,
    pub(crate) work: Work,
    pub(crate) incoming: Mutex<Option<Incoming>>,
    /// When a leader was heard last, whom this member follows.
    pub(crate) heard: Mutex<Option<R::Instant>>,
}

/// A snapshot of which some pieces are there.
pub(crate) struct Incoming {
    from: u64,
    term: u64,
    transfer: u64,
    length: u64,
    draft: Box<dyn Draft>,
}

impl<M: StateMachine, R: AsyncRuntime> Receiver<M, R> {
    /// Answers a message of `from`, whom the transport has authenticated.
    pub(crate) async fn receive(&self, from: u64, bytes: &[u8]) -> io::Result<Bytes> {
        self.status.check()?;
        let envelope = message::decode(bytes)?;
        let Identity { group, node_id } = self.identity;
        if envelope.group != group {
            return Err(refused(format!("the message is for group {}, this is {group}", envelope.group)));
        }
        if envelope.to != node_id {
            return Err(refused(format!("the message is for member {}, this is {node_id}", envelope.to)));
        }
        message::encode_answer(&self.answer(from, envelope.message).await?)
    }

    async fn answer(&self, from: u64, message: Message) -> io::Result<Answer> {
        let by = |vote: Vote| if vote.node == from { Ok(vote_in(vote)) } else { Err(forged(from, vote)) };
        match message {
            Message::AppendV1 { vote, previous, entries, committed } => {
                by(vote)?;
                self.append(vote, previous, entries, committed).await.map(Answer::AppendV1)
            }
            Message::VoteV1 { vote, last, transfer } => {
                let request = self.poll(by(vote)?, last, transfer);
                self.raft.vote(request).await.map(voted::<M, R>).map_err(|error| ended(&error))
            }
            Message::PreVoteV1 { vote, last, transfer } => {
                let request = self.poll(by(vote)?, last, transfer);
                self.raft.pre_vote(request).await.map(voted::<M, R>).map_err(|error| ended(&error))
            }
            Message::TransferV1 { vote, to, last } => {
                let request = TransferLeaderRequest::new(by(vote)?, to, last.map(log_id_in));
                self.transfer(request).await.map(Answer::TransferV1)
            }
            Message::SnapshotV1(piece) => {
                by(piece.vote)?;
                self.take_piece(from, piece).await.map(Answer::SnapshotV1)
            }
            Message::ReadIndexV1 => self.read_index().await.map(Answer::ReadIndexV1),
        }
    }

    fn poll(&self, vote: RaftVote, last: Option<LogId>, transfer: bool) -> VoteRequest<TypesOf<M, R>> {
        let mut request = VoteRequest::new(vote, last.map(log_id_in));
        request.leadership_transfer = transfer;
        request
    }

    async fn append(&self, vote: Vote, previous: Option<LogId>, entries: Vec<Entry>, committed: Option<LogId>) -> io::Result<Appended> {
        if !entries.is_empty() {
            let room = self.log.room(entries.iter().map(|entry| entry.payload.len()).sum());
            // Heartbeats carry no entries: a member without room still follows.
            self.status.room(&room);
            room?;
        }
        let id = |id: Option<_>| id.map(log_id_in);
        let request = AppendEntriesRequest {
            vote: vote_in(vote),
            prev_log_id: id(previous),
            entries: entries.into_iter().map(entry_in::<M::Answer, R>).collect::<io::Result<_>>()?,
            leader_commit: id(committed),
        };
        let appended = match self.raft.append_entries(request).await.map_err(|error| ended(&error))? {
            AppendEntriesResponse::Success => Appended::Whole,
            AppendEntriesResponse::PartialSuccess(last) => Appended::Upto(last.as_ref().map(log_id_out)),
            AppendEntriesResponse::Conflict => Appended::Conflict,
            AppendEntriesResponse::HigherVote(vote) => return Ok(Appended::Higher(vote_out(&vote))),
        };
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(R::Instant::now());
        Ok(appended)
    }

    async fn transfer(&self, request: TransferLeaderRequest<TypesOf<M, R>>) -> io::Result<Transferred> {
        let id = |id: Option<_>| id.as_ref().map(log_id_out);
        Ok(match self.raft.handle_transfer_leader(request).await.map_err(|error| io::Error::other(error.to_string()))? {
            Ok(()) => Transferred::Accepted,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Transferred::VoteChanged { expected: vote_out(&expected), actual: vote_out(&actual) }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Transferred::NotFlushed { expected: id(expected), actual: id(actual) }
            }
        })
    }

    /// The index that a read must have seen, confirmed with a majority.
    pub(crate) async fn read_index(&self) -> io::Result<ReadIndex> {
        match self.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
            Ok((read, _)) => Ok(ReadIndex::At(read.index())),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Ok(ReadIndex::NotLeader { leader: leader_named(&forward) })
            }
            Err(RaftError::APIError(_)) => Ok(ReadIndex::NoQuorum),
            Err(RaftError::Fatal(fatal)) => Err(io::Error::other(fatal.to_string())),
        }
    }

    async fn take_piece(&self, from: u64, piece: Piece) -> io::Result<Received> {
        let Some(draft) = self.put_together(from, &piece)? else {
            return Ok(Received::SendFrom(self.expected(from, &piece)));
        };
        let check = move || {
            let mut draft = draft;
            let (meta, machine) = import::<M>(draft.read()?).map_err(invalid)?;
            io::Result::Ok((meta, machine, draft))
        };
        let (meta, machine, draft) = self.work.run::<R, _>(check).await.flatten()?;
        if meta.group != self.identity.group {
            return Err(refused(format!("the snapshot is of group {}, this is {}", meta.group, self.identity.group)));
        }
        let content = Content::Arrived { meta: meta.clone(), machine: Box::new(machine), draft };
        let snapshot = SnapshotOf::<TypesOf<M, R>, _> { meta: meta_in(&meta)?, snapshot: content };
        let installed = self.raft.install_full_snapshot(vote_in(piece.vote), snapshot).await;
        let vote = vote_out(&installed.map_err(|error| io::Error::other(error.to_string()))?.vote);
        Ok(Received::Done { vote })
    }

    /// Adds a piece where it belongs, and gives the whole when it was the last one.
    fn put_together(&self, from: u64, piece: &Piece) -> io::Result<Option<Box<dyn Draft>>> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        if piece.offset == 0 && !incoming.as_ref().is_some_and(|known| known.is(from, piece) && known.length > 0) {
            let draft = self.snapshots.draft()?;
            *incoming = Some(Incoming { from, term: piece.vote.term, transfer: piece.transfer, length: 0, draft });
        }
        let Some(known) = incoming.as_mut().filter(|known| known.is(from, piece) && known.length == piece.offset) else {
            return Ok(None);
        };
        if let Err(error) = known.draft.write_all(&piece.bytes) {
            *incoming = None;
            return Err(error);
        }
        known.length += piece.bytes.len() as u64;
        Ok(if piece.end { incoming.take().map(|whole| whole.draft) } else { None })
    }

    /// Where the sender should go on.
    fn expected(&self, from: u64, piece: &Piece) -> u64 {
        let incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        incoming.as_ref().filter(|known| known.is(from, piece)).map_or(0, |known| known.length)
    }
}

impl Incoming {
    fn is(&self, from: u64, piece: &Piece) -> bool {
        (self.from, self.term, self.transfer) == (from, piece.vote.term, piece.transfer)
    }
}

fn voted<M: StateMachine, R: AsyncRuntime>(response: VoteResponse<TypesOf<M, R>>) -> Answer {
    let last = response.last_log_id.as_ref().map(log_id_out);
    Answer::VoteV1 { vote: vote_out(&response.vote), granted: response.vote_granted, last }
}

fn ended<C: openraft::RaftTypeConfig>(error: &RaftError<C>) -> io::Error {
    io::Error::other(error.to_string())
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

fn forged(from: u64, vote: Vote) -> io::Error {
    refused(format!("member {from} speaks for member {}", vote.node))
}
