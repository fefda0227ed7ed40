//! What changes of the membership that came to nothing have left undone, once nothing goes wrong any more. Owns how it is put in order; whether it had to
//! succeed is for whoever asks.

use std::time::Duration;

use consensus::{AsyncRuntime, Instant};
use openraft_rt_sim::{SimInstant, SimRuntime};

use crate::{Subject, nemesis::CHANGE, world::World};

/// What is done next.
enum Step {
    Wait,
    Leave(u64),
    Join(u64),
    Newcomer,
    Done,
}

impl<S: Subject> World<S> {
    /// Takes out who is gone for good, and gives votes until there are as many as at first. False when the group does not do in time what is asked of it.
    pub(crate) async fn fill_seats(&mut self) -> bool {
        let began = SimInstant::now();
        while SimInstant::now() - began < 3 * CHANGE {
            match self.next_step() {
                Step::Wait => SimRuntime::sleep(Duration::from_millis(50)).await,
                Step::Leave(id) => {
                    self.leave(id).await;
                }
                Step::Join(id) => {
                    self.join(id).await;
                }
                Step::Newcomer => {
                    self.newcomer().await;
                }
                Step::Done => return true,
            }
        }
        false
    }

    fn next_step(&self) -> Step {
        let Some((_, leader)) = self.leader() else { return Step::Wait };
        let membership = leader.membership().borrow().clone();
        let gone = membership.voters.iter().chain(&membership.learners).find(|peer| !self.homes.contains_key(&peer.id));
        let enough = membership.voters.len() as u64 >= self.scenario.members;
        match (gone, membership.learners.first()) {
            (Some(peer), _) => Step::Leave(peer.id),
            (None, _) if enough => Step::Done,
            (None, Some(peer)) => Step::Join(peer.id),
            (None, None) => Step::Newcomer,
        }
    }
}
