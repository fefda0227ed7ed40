//! Handing leadership over. Owns the choice of who gets it; must never force anybody.

use std::time::Duration;

use openraft::AsyncRuntime;

use crate::{Consensus, Leadership, StateMachine, TransferError};

impl<M: StateMachine, R: AsyncRuntime> Consensus<M, R> {
    /// Hands leadership to `to`, or to the voter that has come furthest. Returns once another member leads. From the first moment on this member refuses
    /// proposals, and when nobody takes over within `within` somebody is elected later.
    pub async fn transfer_leadership(&self, to: Option<u64>, within: Duration) -> Result<(), TransferError> {
        let own = self.0.identity.node_id;
        if !self.0.leadership.borrow().is_leading() {
            return Err(TransferError::NotLeader { leader: self.known_leader() });
        }
        let to = match to {
            Some(id) if id == own || !self.0.membership.borrow().is_voter(id) => return Err(TransferError::NotAVoter { id }),
            // Once it is asked to lead this member leads no more, and nobody does until an election.
            Some(id) if !self.answers(id) => return Err(TransferError::Silent { id }),
            Some(id) => id,
            None => self.furthest().ok_or(TransferError::NobodyElse)?,
        };
        let mut leadership = self.leadership();
        // Asking waits too, when consensus does not take what it is asked.
        let over = async {
            let asked = self.0.raft.trigger().transfer_leader(to).await;
            asked.map_err(|fatal| TransferError::Failed { message: fatal.to_string() })?;
            // What a wait gives back holds a lock, which must not travel between threads.
            let led = leadership.wait_for(|leadership| matches!(leadership, Leadership::Following { .. })).await.map(drop);
            led.map_err(|_| TransferError::Failed { message: "consensus ended".to_owned() })
        };
        R::timeout(within, over).await.unwrap_or(Err(TransferError::Late { to, within }))
    }

    /// The voter besides this one that answers and has come furthest.
    fn furthest(&self) -> Option<u64> {
        let own = self.0.identity.node_id;
        let membership = self.0.membership.borrow();
        let others = self.progress().into_iter().filter(|one| one.id != own && membership.is_voter(one.id) && self.is_heard(one.heard));
        others.max_by_key(|one| one.matched).map(|one| one.id)
    }

    /// Whether the member `id` answers.
    fn answers(&self, id: u64) -> bool {
        self.progress().into_iter().any(|one| one.id == id && self.is_heard(one.heard))
    }

    fn is_heard(&self, heard: Option<Duration>) -> bool {
        heard.is_some_and(|heard| heard <= self.patience())
    }
}
