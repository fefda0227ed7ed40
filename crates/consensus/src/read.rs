//! Reading what is true now. Owns how a read is made linearizable, on the leader and elsewhere; must never trust a lease.

use std::{
    io,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::future::{Either, select};
use openraft::AsyncRuntime;

use crate::{
    Consensus, Health, Lane, Leadership, Peer, ReadError, StateMachine,
    limits::READ_RETRY_MS,
    message::{Answer, Message, ReadIndex},
    raft::Post,
};

/// No leader has confirmed an index; no log has so many entries.
const NOT_YET: u64 = u64::MAX;

impl<M: StateMachine, R: AsyncRuntime> Consensus<M, R> {
    /// After this returns, [`Self::state`] holds everything that was acknowledged anywhere before the call. Returns the index that it waited for.
    ///
    /// The leader confirms itself with a majority; any other member asks the leader to, then waits until it has applied as much.
    pub async fn read_barrier(&self, within: Duration) -> Result<u64, ReadError> {
        let confirmed = AtomicU64::new(NOT_YET);
        let both = async {
            let index = self.read_index(within).await?;
            confirmed.store(index, Ordering::Relaxed);
            let reached = self.0.shared.reach(index).await;
            reached.map(|()| index).map_err(|_| self.read_ended().unwrap_or(ReadError::Stopped))
        };
        R::timeout(within, both).await.unwrap_or_else(|_| match confirmed.load(Ordering::Relaxed) {
            NOT_YET => Err(ReadError::NoLeader { within }),
            index => Err(ReadError::Lagging { index, within }),
        })
    }

    /// Asks for the index until a leader confirms one.
    async fn read_index(&self, within: Duration) -> Result<u64, ReadError> {
        let mut hint = None;
        loop {
            if let Some(ended) = self.read_ended() {
                return Err(ended);
            }
            match self.ask_once(hint.take(), within).await {
                Ok(ReadIndex::At(index)) => return Ok(index),
                Ok(ReadIndex::NotLeader { leader }) => hint = leader,
                Ok(ReadIndex::NoQuorum) | Err(_) => {}
            }
            R::sleep(Duration::from_millis(READ_RETRY_MS)).await;
        }
    }

    async fn ask_once(&self, hint: Option<Peer>, within: Duration) -> io::Result<ReadIndex> {
        let own = self.0.identity.node_id;
        let known = match &*self.0.leadership.borrow() {
            Leadership::Following { leader, .. } => Some(leader.clone()),
            Leadership::Leading { .. } | Leadership::Unknown => None,
        };
        let Some(to) = hint.or(known).filter(|leader| leader.id != own) else { return self.0.receiver.read_index().await };
        let leader = to.id;
        let post = Post { group: self.0.identity.group, network: self.0.network.clone(), to };
        let (asked, moved) = (post.ask::<R>(Lane::Urgent, Message::ReadIndexV1, within), self.leads_elsewhere(leader));
        let (asked, moved) = (pin!(asked), pin!(moved));
        let answer = match select(asked, moved).await {
            Either::Left((answer, _)) => answer?,
            // One that is gone may not say so for long.
            Either::Right(_) => return Ok(ReadIndex::NotLeader { leader: None }),
        };
        match answer {
            Answer::ReadIndexV1(answer) => Ok(answer),
            other => Err(io::Error::other(format!("a strange answer: {other:?}"))),
        }
    }

    /// Returns once this member hears that another one than `leader` leads. What it knew before may be older than what named this leader.
    async fn leads_elsewhere(&self, leader: u64) {
        let mut leadership = self.leadership();
        leadership.mark_unchanged();
        while leadership.changed().await.is_ok() {
            let elsewhere = match &*leadership.borrow_and_update() {
                Leadership::Leading { .. } => true,
                Leadership::Following { leader: now, .. } => now.id != leader,
                Leadership::Unknown => false,
            };
            if elsewhere {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    fn read_ended(&self) -> Option<ReadError> {
        match self.0.status.get() {
            Health::Failed { message } => Some(ReadError::Failed { message }),
            Health::Stopped => Some(ReadError::Stopped),
            Health::Working | Health::Refusing { .. } => None,
        }
    }
}
