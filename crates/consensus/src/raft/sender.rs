//! What this member says to others: openraft's requests as our messages, and the answers back. Owns the mapping and how a snapshot is cut into pieces;
//! must never know how a message travels.

use std::{
    future::Future,
    io::{self, Read},
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use openraft::{
    AsyncRuntime, RaftNetworkFactory, RaftNetworkV2,
    alias::SnapshotOf,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
        VoteRequest, VoteResponse,
    },
};

use super::{Content, RaftVote, Types, TypesOf, entry_out, log_id_in, log_id_out, vote_in, vote_out};
use crate::{
    GroupId, Lane, Network, Peer, StateMachine,
    group::Address,
    limits::{SNAPSHOT_PIECE_BYTES, SNAPSHOT_PIECE_MS_MAX, SNAPSHOT_SEND_MS_MAX},
    message::{self, Answer, Appended, Envelope, Message, Piece, Received, Transferred},
    raft::words::Words,
    work::Work,
};

/// Makes the way to each member.
pub(crate) struct Senders<M, R> {
    group: GroupId,
    network: Arc<dyn Network>,
    transfers: Arc<AtomicU64>,
    words: Words,
    work: Work,
    types: PhantomData<fn() -> (M, R)>,
}

impl<M, R> Senders<M, R> {
    pub(crate) fn new(group: GroupId, network: Arc<dyn Network>, work: Work) -> Self {
        Self { group, network, transfers: Arc::default(), words: Words::default(), work, types: PhantomData }
    }

    fn sender(&self, to: Peer, lane: Lane) -> Sender<M, R> {
        let post = Post { group: self.group, network: self.network.clone(), to };
        let words = self.words.clone();
        Sender { post, lane, transfers: self.transfers.clone(), words, work: self.work, types: PhantomData }
    }
}

impl<M: StateMachine, R: AsyncRuntime> RaftNetworkFactory<TypesOf<M, R>> for Senders<M, R> {
    type Network = Sender<M, R>;

    async fn new_client(&mut self, id: u64, at: &Address) -> Sender<M, R> {
        self.sender(at.peer(id), Lane::Entries)
    }

    async fn new_heartbeat_client(&mut self, id: u64, at: &Address) -> Sender<M, R> {
        self.sender(at.peer(id), Lane::Urgent)
    }

    async fn new_snapshot_client(&mut self, id: u64, at: &Address) -> Sender<M, R> {
        self.sender(at.peer(id), Lane::Snapshots)
    }
}

/// Sends messages to one member and reads the answers.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) group: GroupId,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) to: Peer,
}

impl Post {
    /// One message and its answer, within a time that does not depend on the network keeping it.
    pub(crate) async fn ask<R: AsyncRuntime>(&self, lane: Lane, message: Message, within: Duration) -> io::Result<Answer> {
        let bytes = message::encode(&Envelope { group: self.group, to: self.to.id, message })?;
        let answer = R::timeout(within, self.network.call(&self.to, lane, bytes, within)).await;
        let answer = answer.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))?;
        message::decode_answer(&answer)
    }
}

/// The way to one member.
pub(crate) struct Sender<M, R> {
    post: Post,
    lane: Lane,
    transfers: Arc<AtomicU64>,
    words: Words,
    work: Work,
    types: PhantomData<fn() -> (M, R)>,
}

impl<M: StateMachine, R: AsyncRuntime> Sender<M, R> {
    async fn ask(&self, lane: Lane, message: Message, option: &RPCOption) -> Result<Answer, RPCError<TypesOf<M, R>>> {
        self.post.ask::<R>(lane, message, option.soft_ttl()).await.map_err(|error| lost(&error))
    }

    async fn poll(&self, message: Message, option: &RPCOption) -> Result<VoteResponse<TypesOf<M, R>>, RPCError<TypesOf<M, R>>> {
        match self.ask(Lane::Urgent, message, option).await? {
            Answer::VoteV1 { vote, granted, last } => {
                let last = last.map(log_id_in);
                Ok(VoteResponse::new(vote_in(vote), last, granted))
            }
            other => Err(strange(&other)),
        }
    }

    /// Sends a file piece by piece; where to go on is what the other side says.
    async fn send_file(&self, vote: &RaftVote, content: Content<M>) -> io::Result<SnapshotResponse<TypesOf<M, R>>> {
        let Content::Saved { snapshots, name } = content else {
            return Err(io::Error::other("a snapshot that was not saved cannot be sent"));
        };
        let transfer = self.transfers.fetch_add(1, Ordering::Relaxed);
        let mut file = Some(snapshots.open(&name)?);
        let mut offset = 0;
        loop {
            let mut reading = file.take().ok_or_else(|| io::Error::other("a snapshot's file was lost"))?;
            let read = move || {
                reading.seek(io::SeekFrom::Start(offset))?;
                let mut bytes = Vec::with_capacity(SNAPSHOT_PIECE_BYTES);
                (&mut reading).take(SNAPSHOT_PIECE_BYTES as u64).read_to_end(&mut bytes)?;
                let end = bytes.len() < SNAPSHOT_PIECE_BYTES;
                io::Result::Ok((reading, Bytes::from(bytes), end))
            };
            let (reading, bytes, end) = self.work.run::<R, _>(read).await.flatten()?;
            file = Some(reading);
            // After the last piece the other side reads all of it.
            let within = Duration::from_millis(if end { SNAPSHOT_SEND_MS_MAX } else { SNAPSHOT_PIECE_MS_MAX });
            let piece = Piece { vote: vote_out(vote), transfer, offset, bytes, end };
            match self.post.ask::<R>(self.lane, Message::SnapshotV1(piece), within).await? {
                Answer::SnapshotV1(Received::SendFrom(from)) => offset = from,
                Answer::SnapshotV1(Received::Done { vote }) => return Ok(SnapshotResponse::new(vote_in(vote))),
                other => return Err(io::Error::other(format!("a strange answer: {other:?}"))),
            }
        }
    }
}

impl<M: StateMachine, R: AsyncRuntime> RaftNetworkV2<TypesOf<M, R>> for Sender<M, R> {
    type SnapshotData = Content<M>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypesOf<M, R>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypesOf<M, R>>, RPCError<TypesOf<M, R>>> {
        let id = |id: Option<_>| id.as_ref().map(log_id_out);
        let entries = request.entries.into_iter().map(entry_out::<M::Answer, R>).collect::<io::Result<Vec<_>>>();
        let entries = entries.map_err(|error| lost(&error))?;
        let (vote, previous) = (vote_out(&request.vote), id(request.prev_log_id));
        let last = entries.last().map(|entry| entry.id).or(previous);
        let message = Message::AppendV1 { vote, previous, entries, committed: id(request.leader_commit) };
        let answer = self.ask(self.lane, message, &option).await?;
        if let Answer::AppendV1(appended) = &answer {
            self.words.hold(self.post.to.id, vote, (previous, last), appended).map_err(|error| lost(&error))?;
        }
        match answer {
            Answer::AppendV1(appended) => Ok(match appended {
                Appended::Whole => AppendEntriesResponse::Success,
                Appended::Upto(last) => AppendEntriesResponse::PartialSuccess(last.map(log_id_in)),
                Appended::Conflict => AppendEntriesResponse::Conflict,
                Appended::Higher(vote) => AppendEntriesResponse::HigherVote(vote_in(vote)),
            }),
            other => Err(strange(&other)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypesOf<M, R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypesOf<M, R>>, RPCError<TypesOf<M, R>>> {
        let (vote, last, transfer) = vote_parts(&request);
        self.poll(Message::VoteV1 { vote, last, transfer }, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypesOf<M, R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypesOf<M, R>>, RPCError<TypesOf<M, R>>> {
        let (vote, last, transfer) = vote_parts(&request);
        self.poll(Message::PreVoteV1 { vote, last, transfer }, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: SnapshotOf<TypesOf<M, R>, Content<M>>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypesOf<M, R>>, StreamingError<TypesOf<M, R>>> {
        let sent = std::pin::pin!(self.send_file(&vote, snapshot.snapshot));
        match select(sent, std::pin::pin!(cancel)).await {
            Either::Left((sent, _)) => sent.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error))),
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypesOf<M, R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypesOf<M, R>>, RPCError<TypesOf<M, R>>> {
        let vote = vote_out(request.from_leader());
        let last = request.last_log_id().map(log_id_out);
        let message = Message::TransferV1 { vote, to: *request.to_node_id(), last };
        let id = |id: Option<_>| id.map(log_id_in);
        match self.ask(Lane::Urgent, message, &option).await? {
            Answer::TransferV1(Transferred::Accepted) => Ok(Ok(())),
            Answer::TransferV1(Transferred::VoteChanged { expected, actual }) => {
                let (expected, actual) = (vote_in(expected), vote_in(actual));
                Ok(Err(TransferLeaderError::VoteChanged { expected, actual }))
            }
            Answer::TransferV1(Transferred::NotFlushed { expected, actual }) => {
                Ok(Err(TransferLeaderError::LogNotFlushed { expected: id(expected), actual: id(actual) }))
            }
            other => Err(strange(&other)),
        }
    }
}

fn vote_parts<A: Send + 'static, R: AsyncRuntime>(
    request: &VoteRequest<Types<A, R>>,
) -> (crate::log::Vote, Option<crate::log::LogId>, bool) {
    let last = request.last_log_id.as_ref().map(log_id_out);
    (vote_out(&request.vote), last, request.leadership_transfer)
}

/// A message that was lost on the way is sent again at once; a member that cannot be reached, or refuses, gets some time.
fn lost<A: Send + 'static, R: AsyncRuntime>(error: &io::Error) -> RPCError<Types<A, R>> {
    if error.kind() == io::ErrorKind::TimedOut {
        RPCError::Network(NetworkError::new(error))
    } else {
        RPCError::Unreachable(Unreachable::new(error))
    }
}

fn strange<A: Send + 'static, R: AsyncRuntime>(answer: &Answer) -> RPCError<Types<A, R>> {
    RPCError::Unreachable(Unreachable::from_string(format!("a strange answer: {answer:?}")))
}
