//! Changing who is in the group. Owns what is refused before anything is written, and that one change follows another; must never choose members by itself.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use openraft::{
    AsyncRuntime, ChangeMembers, Instant, RaftMetrics, ServerState,
    async_runtime::watch::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
    raft::ClientWriteResponse,
};

use crate::{
    Consensus, Health, Leadership, MemberError, Membership, Peer, Progress, Shape, StateMachine, TransferError,
    group::Address,
    leadership::membership_of,
    limits::{FINISH_RETRY_MS, MEMBER_CHANGE_MS_MAX, PROMOTE_LAG_MAX},
    raft::{RaftLogId, RaftOf, Types, TypesOf, leader_named},
};

/// A change, decided on what the leader knows.
enum Change {
    /// It is so already.
    None,
    /// Without the flag, members that lose their vote leave the group.
    To { members: ChangeMembers<u64, Address>, retain: bool },
}

/// What the leader knows when it decides.
struct View {
    own: u64,
    membership: Membership,
    progress: Vec<Progress>,
    last: u64,
    /// A member not heard for longer does not answer.
    patience: Duration,
}

impl<M: StateMachine, R: AsyncRuntime> Consensus<M, R> {
    /// How long ago this member knew that its group works: a follower by its leader, the leader by a majority that answers, the only voter by itself. None when
    /// it never did. [`Self::leadership`] does not say it: a member that is cut off goes on with the leader it knew, and that may be itself.
    pub fn contact(&self) -> Option<Duration> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state == ServerState::Leader {
            let mut voters = metrics.membership_config.membership().voter_ids();
            if voters.all(|voter| voter == metrics.id) {
                return Some(Duration::ZERO);
            }
            if let Some(answered) = &metrics.last_quorum_acked {
                return Some(answered.elapsed());
            }
        }
        self.0.receiver.heard.lock().unwrap_or_else(PoisonError::into_inner).map(|heard| heard.elapsed())
    }

    /// How far every member has come, in order of id. Empty unless this one leads.
    pub fn progress(&self) -> Vec<Progress> {
        progress_of(&self.0.raft.metrics().borrow_watched())
    }

    /// Adds `peer` without a vote. Returns at once; [`Self::progress`] says how it catches up. One that is there already, at the same address, stays.
    pub async fn add_learner(&self, peer: Peer) -> Result<(), MemberError> {
        self.change(|view| match view.membership.member(peer.id) {
            Some(known) if *known == peer => Ok(Change::None),
            Some(known) => Err(MemberError::Taken { id: peer.id, address: known.address.clone() }),
            None => Ok(Change::To { members: ChangeMembers::AddNodes(BTreeMap::from([(peer.id, Address(peer.address))])), retain: true }),
        })
        .await
    }

    /// A member that was not heard for longer does not answer.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(2 * self.0.tuning.timing.election_max_ms)
    }

    /// Gives the learner `id` a vote. Refused while it lags or is silent, and when too few of the voters would answer then.
    pub async fn promote(&self, id: u64) -> Result<(), MemberError> {
        self.change(|view| {
            view.known(id)?;
            if view.membership.is_voter(id) {
                return Ok(Change::None);
            }
            view.caught_up(id)?;
            view.quorum_of(view.voters().chain([id]))?;
            Ok(Change::To { members: ChangeMembers::AddVoterIds([id].into()), retain: true })
        })
        .await
    }

    /// Takes the vote of `id` away; it stays as a learner. When that is this member, it hands leadership over and answers [`MemberError::NotLeader`]: whoever
    /// leads then is asked for it.
    pub async fn demote(&self, id: u64) -> Result<(), MemberError> {
        self.step_aside(id).await?;
        self.change(|view| {
            view.known(id)?;
            if !view.membership.is_voter(id) {
                return Ok(Change::None);
            }
            view.without(id)?;
            Ok(Change::To { members: ChangeMembers::RemoveVoters([id].into()), retain: true })
        })
        .await
    }

    /// Takes `id` out of the group. When that is this member, it hands leadership over and answers [`MemberError::NotLeader`]: whoever leads then is asked for it.
    pub async fn remove(&self, id: u64) -> Result<(), MemberError> {
        self.step_aside(id).await?;
        self.change(|view| {
            view.known(id)?;
            if !view.membership.is_voter(id) {
                return Ok(Change::To { members: ChangeMembers::RemoveNodes([id].into()), retain: false });
            }
            view.without(id)?;
            Ok(Change::To { members: ChangeMembers::RemoveVoters([id].into()), retain: false })
        })
        .await
    }

    /// Hands leadership over before this member's own vote is taken: a leader that is taken out in the middle of a change leaves it to nobody, and openraft
    /// 0.10.0-alpha.37 asserts that whoever finishes a change leads. Nothing is handed over for a change that would be refused.
    async fn step_aside(&self, id: u64) -> Result<(), MemberError> {
        let view = self.view()?;
        if id != view.own || !view.membership.is_voter(id) {
            return Ok(());
        }
        view.without(id)?;
        match self.transfer_leadership(None, Duration::from_millis(MEMBER_CHANGE_MS_MAX)).await {
            Ok(()) | Err(TransferError::NotLeader { .. }) => Err(MemberError::NotLeader { leader: self.known_leader() }),
            Err(TransferError::Failed { message }) => Err(MemberError::Failed { message }),
            // Nobody else answers, or not in time: nothing was changed.
            Err(
                TransferError::NobodyElse | TransferError::NotAVoter { .. } | TransferError::Silent { .. } | TransferError::Late { .. },
            ) => Err(MemberError::Leads { id }),
        }
    }

    /// One change at a time: waits for its turn, decides, and waits until a majority has it.
    async fn change(&self, decide: impl FnOnce(&View) -> Result<Change, MemberError> + Send) -> Result<(), MemberError> {
        let all = async {
            let turn = self.0.changing.clone().lock_owned().await;
            let view = self.view()?;
            if view.membership.shape == Shape::Joint {
                return Err(MemberError::InProgress);
            }
            match decide(&view)? {
                Change::None => Ok(()),
                Change::To { members, retain } => {
                    let (done, changed) = tokio::sync::oneshot::channel();
                    let raft = self.0.raft.clone();
                    // On its own, so that a caller who goes away does not leave it in the middle.
                    drop(R::spawn(async move {
                        // Nobody may wait for the result any more.
                        let _ = done.send(raft.change_membership(members, retain).await);
                        drop(turn);
                    }));
                    changed.await.map_or(Err(MemberError::Unknown), |result| self.member_result(result))
                }
            }
        };
        R::timeout(Duration::from_millis(MEMBER_CHANGE_MS_MAX), all).await.unwrap_or(Err(MemberError::Unknown))
    }

    /// What the leader knows; an error when this member does not lead.
    fn view(&self) -> Result<View, MemberError> {
        match self.0.status.get() {
            Health::Failed { message } => return Err(MemberError::Failed { message }),
            Health::Stopped => return Err(MemberError::Stopped),
            Health::Working | Health::Refusing { .. } => {}
        }
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            return Err(MemberError::NotLeader { leader: self.known_leader() });
        }
        Ok(View {
            own: metrics.id,
            membership: membership_of(&metrics.membership_config),
            progress: progress_of(&metrics),
            last: metrics.last_log_index.unwrap_or(0),
            patience: self.patience(),
        })
    }

    /// Another member that leads, if one is known.
    pub(crate) fn known_leader(&self) -> Option<Peer> {
        match &*self.0.leadership.borrow() {
            Leadership::Following { leader, .. } => Some(leader.clone()),
            Leadership::Leading { .. } | Leadership::Unknown => None,
        }
    }

    #[allow(clippy::type_complexity, reason = "openraft's own result")]
    fn member_result(
        &self,
        result: Result<ClientWriteResponse<TypesOf<M, R>>, RaftError<TypesOf<M, R>, ClientWriteError<TypesOf<M, R>>>>,
    ) -> Result<(), MemberError> {
        let error = match result {
            Ok(_) => return Ok(()),
            Err(RaftError::APIError(error)) => error,
            Err(RaftError::Fatal(fatal)) => return Err(MemberError::Failed { message: fatal.to_string() }),
        };
        Err(match error {
            ClientWriteError::ForwardToLeader(forward) => MemberError::NotLeader { leader: leader_named(&forward) },
            ClientWriteError::LogEntryDiscarded(_) | ClientWriteError::PreconditionFailed(_) => MemberError::Unknown,
            ClientWriteError::ChangeMembershipError(ChangeMembershipError::LearnerNotFound(missing)) => {
                MemberError::NoSuchMember { id: missing.node_id }
            }
            ClientWriteError::ChangeMembershipError(_) => MemberError::InProgress,
        })
    }
}

impl View {
    fn known(&self, id: u64) -> Result<(), MemberError> {
        self.membership.member(id).map(drop).ok_or(MemberError::NoSuchMember { id })
    }

    fn voters(&self) -> impl Iterator<Item = u64> {
        self.membership.voters.iter().map(|peer| peer.id)
    }

    fn of(&self, id: u64) -> Option<&Progress> {
        self.progress.iter().find(|progress| progress.id == id)
    }

    fn caught_up(&self, id: u64) -> Result<(), MemberError> {
        let matched = self.of(id).and_then(|progress| progress.matched);
        let behind = matched.map_or(self.last + 1, |matched| self.last.saturating_sub(matched));
        if behind > PROMOTE_LAG_MAX {
            return Err(MemberError::Lagging { id, behind });
        }
        if self.answers(id) { Ok(()) } else { Err(MemberError::Silent { id }) }
    }

    /// Whether it was heard of lately. How far it had come says nothing of that.
    fn answers(&self, id: u64) -> bool {
        id == self.own || self.of(id).and_then(|progress| progress.heard).is_some_and(|heard| heard <= self.patience)
    }

    /// Whether the group goes on without the vote of `id`.
    fn without(&self, id: u64) -> Result<(), MemberError> {
        if self.membership.voters.len() == 1 {
            return Err(MemberError::LastVoter { id });
        }
        self.quorum_of(self.voters().filter(|voter| *voter != id))
    }

    fn quorum_of(&self, voters: impl Iterator<Item = u64>) -> Result<(), MemberError> {
        let (mut count, mut heard) = (0, 0);
        for voter in voters {
            count += 1;
            heard += usize::from(self.answers(voter));
        }
        let needed = count / 2 + 1;
        if heard < needed { Err(MemberError::NoQuorumAfter { voters: count, heard, needed }) } else { Ok(()) }
    }
}

fn progress_of<A: Send + 'static, R: AsyncRuntime>(metrics: &RaftMetrics<Types<A, R>>) -> Vec<Progress> {
    let (Some(replication), ServerState::Leader) = (&metrics.replication, metrics.state) else { return Vec::new() };
    let heard = |id: &u64| metrics.heartbeat.as_ref().and_then(|heard| heard.get(id)).and_then(|at| at.as_ref().map(|at| at.elapsed()));
    let of = |(id, matched): (&u64, &Option<_>)| Progress {
        id: *id,
        matched: matched.as_ref().map(|id: &RaftLogId| id.index),
        heard: if *id == metrics.id { Some(Duration::ZERO) } else { heard(id) },
    };
    replication.iter().map(of).collect()
}

/// Ends changes that were left in the middle: whoever leads makes the membership whole, unless a change of its own is about to. Looks whenever the membership or
/// the leader is another, and again after a while: the last step can be refused to a leader that then goes on leading.
pub(crate) async fn finish_changes<M: StateMachine, R: AsyncRuntime>(
    raft: RaftOf<M, R>,
    changing: Arc<tokio::sync::Mutex<()>>,
    mut leadership: tokio::sync::watch::Receiver<Leadership>,
    mut membership: tokio::sync::watch::Receiver<Membership>,
) {
    loop {
        let open = leadership.borrow_and_update().is_leading() && membership.borrow_and_update().shape == Shape::Joint;
        if open && let Ok(_turn) = changing.try_lock() {
            let whole = raft.change_membership(ChangeMembers::AddVoterIds(Default::default()), true);
            // When it fails, it is tried again, by the next leader if leadership was lost.
            if let Ok(Err(error)) = R::timeout(Duration::from_millis(MEMBER_CHANGE_MS_MAX), whole).await {
                tracing::warn!(error = %error, "a change of the membership could not be finished yet");
            }
        }
        let again = async { if open { R::sleep(Duration::from_millis(FINISH_RETRY_MS)).await } else { std::future::pending().await } };
        let ended = tokio::select! {
            biased;
            changed = leadership.changed() => changed.is_err(),
            changed = membership.changed() => changed.is_err(),
            () = again => false,
        };
        if ended {
            return;
        }
    }
}
