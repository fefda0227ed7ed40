//! Clients: they write, read, and keep what they were told. Owns what a client concludes from an error; must never know what goes wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use consensus::{AsyncRuntime, ProposeError};
use openraft_rt_sim::SimRuntime;

use crate::{
    Random, Subject,
    oracle::Oracle,
    scenario::Reading,
    wires::{Member, Wires},
};

/// How long a client waits for one answer.
const PATIENCE: Duration = Duration::from_millis(800);

/// One client.
pub(crate) struct Client<S: Subject> {
    pub(crate) wires: Wires<S>,
    pub(crate) oracle: Oracle,
    pub(crate) random: Random,
    pub(crate) reading: Reading,
    /// Names its next write; no other client uses the same.
    pub(crate) next: u64,
    /// Its last write, when nothing is known of it.
    pub(crate) open: Option<S::Command>,
}

impl<S: Subject> Client<S> {
    /// Writes, and reads now and then, until the round is over.
    pub(crate) async fn work(mut self, over: Arc<AtomicBool>) -> Self {
        while !over.load(Ordering::Relaxed) {
            self.write().await;
            if self.random.chance(250) {
                self.read().await;
            }
            SimRuntime::sleep(Duration::from_millis(self.random.below(60))).await;
        }
        self
    }

    /// One write, to whoever leads or to anybody; says whether it was acknowledged.
    pub(crate) async fn write(&mut self) -> bool {
        let Some((_, member)) = self.somebody() else { return false };
        let unique = self.next;
        self.next += 1;
        let again = self.open.take().and_then(|command| S::again(&command, unique));
        let command = again.unwrap_or_else(|| member.state().write(unique, &mut self.random));
        let begun = self.oracle.begin();
        S::unmakes(&command).into_iter().for_each(|object| self.oracle.unmade(object));
        let told = SimRuntime::timeout(PATIENCE, member.propose(command.clone())).await;
        match told {
            Ok(Ok((index, answer))) => {
                self.oracle.acknowledged(unique, begun, index);
                S::made(&command, &answer).into_iter().for_each(|made| self.oracle.made(made));
                S::told(&command, &answer).into_iter().for_each(|(what, told)| self.oracle.told(what, told));
                return true;
            }
            Ok(Err(ProposeError::NotLeader { .. } | ProposeError::Storage { .. } | ProposeError::Stopped)) => self.oracle.refused(unique),
            Ok(Err(_)) | Err(_) => {
                self.open = Some(command);
                self.oracle.unknown();
            }
        }
        false
    }

    /// One read that is promised to be current, of anybody.
    async fn read(&mut self) {
        let Some((id, member)) = self.random.pick(&self.wires.running()) else { return };
        let (promised, begun) = (self.oracle.promised(), self.oracle.begin());
        let waited = match self.reading {
            Reading::Waits => matches!(SimRuntime::timeout(PATIENCE + PATIENCE, member.read_barrier(PATIENCE)).await, Ok(Ok(_))),
            Reading::TakesWhatIsThere => true,
        };
        if waited {
            // What the state says itself: what the barrier waited for, it may not have waited for.
            self.oracle.read(id, begun, &promised, member.state().as_ref());
        }
    }

    fn somebody(&mut self) -> Option<(u64, Member<S>)> {
        let running = self.wires.running();
        let leading: Vec<_> = running.iter().filter(|(_, member)| member.leadership().borrow().is_leading()).cloned().collect();
        if leading.is_empty() || self.random.chance(50) { self.random.pick(&running) } else { self.random.pick(&leading) }
    }
}
