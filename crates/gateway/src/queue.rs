//! Requests that wait for their turn at a component. Owns first come, first served, and the hand-over of a freed place to the one who waits longest;
//! must never know time or what a request is. A `std` mutex, never held across an await, and untouched while nobody waits.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use model::id::{ComponentId, RevisionNumber};
use tokio::sync::oneshot;

use crate::{
    endpoint::{EndpointSet, EndpointState},
    metrics::ComponentMetrics,
};

/// A component as the gateway knows it. It outlives tables, so that those who wait keep their place.
#[derive(Debug)]
pub(crate) struct ComponentState {
    pub(crate) id: ComponentId,
    pub(crate) metrics: ComponentMetrics,
    /// How many wait; read without the lock by every request that comes or goes.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    sets: Vec<(RevisionNumber, Arc<EndpointSet>)>,
    /// In order of `number`.
    waiters: VecDeque<Waiter>,
    number_next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    revision: RevisionNumber,
    turn: oneshot::Sender<Permit>,
}

/// A place at an endpoint. Dropping it gives the place to whoever waits longest.
#[derive(Debug)]
pub(crate) struct Permit {
    endpoint: Arc<EndpointState>,
    component: Arc<ComponentState>,
    quiet: bool,
}

/// A place in the queue. Dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    component: Arc<ComponentState>,
    number: u64,
    turn: oneshot::Receiver<Permit>,
}

/// What came of asking for a place.
#[derive(Debug)]
pub(crate) enum Entry {
    /// There is room.
    Now(Permit),
    /// Wait for your turn.
    Wait(Ticket),
    /// As many wait as may.
    Full,
}

impl ComponentState {
    pub(crate) fn new(id: ComponentId) -> Self {
        Self { id, metrics: ComponentMetrics::new(), waiting: AtomicUsize::new(0), queue: Mutex::default() }
    }

    /// A place at once, if nobody waits and there is room. The way of nearly all requests: no lock.
    pub(crate) fn try_enter(self: &Arc<Self>, set: &EndpointSet) -> Option<Permit> {
        if self.waiting() > 0 {
            return None;
        }
        set.pick().map(|endpoint| Permit::new(endpoint, self))
    }

    /// A place, or a place in the queue of at most `length_max`.
    pub(crate) fn enter(self: &Arc<Self>, revision: RevisionNumber, length_max: u32) -> Entry {
        let mut queue = self.lock();
        // Counted before looking for room: whoever leaves from now on sees that somebody waits.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let room = if queue.waiters.is_empty() { queue.pick(revision) } else { None };
        if let Some(endpoint) = room {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Entry::Now(Permit::new(endpoint, self));
        }
        if queue.waiters.len() >= length_max as usize {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Entry::Full;
        }
        let number = queue.number_next;
        queue.number_next += 1;
        let (sender, turn) = oneshot::channel();
        queue.waiters.push_back(Waiter { number, revision, turn: sender });
        Entry::Wait(Ticket { component: self.clone(), number, turn })
    }

    /// Takes over the endpoints of a new table and lets in whom they have room for.
    pub(crate) fn update(self: &Arc<Self>, sets: Vec<(RevisionNumber, Arc<EndpointSet>)>) {
        let mut queue = self.lock();
        queue.sets = sets;
        self.let_in(&mut queue);
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Hands free places to those who wait, longest first.
    fn let_in(self: &Arc<Self>, queue: &mut Queue) {
        let mut at = 0;
        while let Some(waiter) = queue.waiters.get(at) {
            let Some(endpoint) = queue.pick(waiter.revision) else {
                if queue.sets.len() <= 1 {
                    return;
                }
                at += 1;
                continue;
            };
            let waiter = queue.waiters.remove(at).expect("it was there a moment ago, under this lock");
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            if let Err(unwanted) = waiter.turn.send(Permit::new(endpoint, self)) {
                unwanted.give_back_locked();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// An endpoint for `revision`. While the table has one revision only, whoever waited for another one takes that: a rollout must not strand them.
    fn pick(&self, revision: RevisionNumber) -> Option<Arc<EndpointState>> {
        match self.sets.as_slice() {
            [(_, set)] => set.pick(),
            sets => sets.iter().find(|(of, _)| *of == revision).and_then(|(_, set)| set.pick()),
        }
    }
}

impl Permit {
    fn new(endpoint: Arc<EndpointState>, component: &Arc<ComponentState>) -> Self {
        component.metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { endpoint, component: component.clone(), quiet: false }
    }

    pub(crate) fn endpoint(&self) -> &EndpointState {
        &self.endpoint
    }

    /// Gives the place back without waking anybody: the caller holds the lock and goes on handing out.
    fn give_back_locked(mut self) {
        self.quiet = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.component.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.endpoint.leave();
        if !self.quiet && self.component.waiting() > 0 {
            let mut queue = self.component.lock();
            self.component.let_in(&mut queue);
        }
    }
}

impl Ticket {
    /// The component whose queue it is.
    pub(crate) fn component(&self) -> &Arc<ComponentState> {
        &self.component
    }

    /// Waits for the turn. Cancel safe.
    pub(crate) async fn turn(&mut self) -> Permit {
        (&mut self.turn).await.expect("a waiter leaves the queue only with a permit or by its ticket")
    }

    /// Waits for another revision from now on, in the same place.
    pub(crate) fn retarget(&self, revision: RevisionNumber) {
        let mut queue = self.component.lock();
        if let Ok(at) = queue.waiters.binary_search_by_key(&self.number, |waiter| waiter.number) {
            queue.waiters[at].revision = revision;
            self.component.let_in(&mut queue);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queue = self.component.lock();
        if let Ok(at) = queue.waiters.binary_search_by_key(&self.number, |waiter| waiter.number) {
            queue.waiters.remove(at);
            self.component.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        // A turn that was given but not taken is dropped with the receiver, after the lock: it then wakes the next.
        drop(queue);
    }
}

#[cfg(test)]
mod tests;
