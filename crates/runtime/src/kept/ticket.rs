//! A request on its way into a shared sandbox: which one took it, and whether anybody still waits. Owns that meeting; must never read the request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::member::Member;
use crate::error::SandboxError;

/// Of one request, held by whoever waits for its answer and by the sandbox that takes it.
pub(super) struct Ticket(Mutex<State>);

enum State {
    Waiting,
    Taken(Arc<Member>),
    /// No sandbox could be had.
    Failed(SandboxError),
    /// Nobody waits any more.
    Left,
}

/// The waiting side. Dropping it leaves.
pub(crate) struct Seat(Arc<Ticket>);

impl Ticket {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Waiting)))
    }

    /// A sandbox takes the request. False when nobody waits any more.
    pub(super) fn take(&self, member: &Arc<Member>) -> bool {
        let mut state = self.state();
        let is_waiting = matches!(*state, State::Waiting);
        if is_waiting {
            member.watch();
            *state = State::Taken(Arc::clone(member));
        }
        is_waiting
    }

    /// Why there is no answer, for a request that no sandbox took, or that cannot be handed to a guest.
    pub(super) fn fail(&self, error: SandboxError) {
        let mut state = self.state();
        if let State::Taken(member) = std::mem::replace(&mut *state, State::Failed(error)) {
            member.unwatch();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one step, so one that panicked left it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(super) fn new(ticket: &Arc<Ticket>) -> Self {
        Self(Arc::clone(ticket))
    }

    /// Whether no sandbox has taken the request yet.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(*self.0.state(), State::Waiting)
    }

    /// The sandbox takes no more requests, because this one found no answer in time.
    pub(super) fn condemn(&self) {
        if let State::Taken(member) = &*self.0.state() {
            member.condemn();
        }
    }

    /// The guest gave a piece of its response: it may use its time again.
    pub(crate) fn re_arm(&self) {
        if let State::Taken(member) = &*self.0.state() {
            member.meter.re_arm();
        }
    }

    /// What its sandbox died of, if it did.
    pub(crate) fn failure(&self) -> Option<SandboxError> {
        match &*self.0.state() {
            State::Taken(member) => member.fate.get().map(|fate| fate.of(&self.0)),
            State::Failed(error) => Some(error.clone()),
            State::Waiting | State::Left => None,
        }
    }

    /// Why the answer's sender is gone: waits until it is known what the sandbox died of.
    pub(super) async fn why(&self) -> SandboxError {
        let member = match &*self.0.state() {
            State::Taken(member) => Arc::clone(member),
            State::Failed(error) => return error.clone(),
            State::Waiting | State::Left => return SandboxError::Ended { reason: "the node gave it up" },
        };
        member.fate.wait().await.of(&self.0)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let State::Taken(member) = std::mem::replace(&mut *self.0.state(), State::Left) {
            member.unwatch();
        }
    }
}
