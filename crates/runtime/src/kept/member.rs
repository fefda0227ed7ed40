//! A sandbox that several requests share, seen from outside: whether it takes another, who waits for it, and what it died of. Owns those marks; must never
//! touch the sandbox itself.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
};

use futures_util::task::AtomicWaker;
use tokio::sync::SetOnce;
use wasmtime::component::GuestTaskId;

use super::{policy::Policy, ticket::Ticket};
use crate::{error::SandboxError, meter::Meter};

/// One sandbox at work or about to be.
pub(super) struct Member {
    pub(super) meter: Arc<Meter>,
    /// What it died of.
    pub(super) fate: SetOnce<Fate>,
    pub(super) waker: AtomicWaker,
    /// Requests the guest is at work on, whether anybody waits for them or not.
    in_flight: AtomicU32,
    /// Requests somebody waits for, until their response was read.
    watched: AtomicU32,
    /// It takes no more requests.
    retiring: AtomicBool,
    /// A request found no answer in time: it ends with the last one somebody waits for.
    condemned: AtomicBool,
    /// The guest has not let the driver look for new requests for a whole turn.
    computing: AtomicBool,
    /// It was started and its driver has looked for requests.
    began: AtomicBool,
    /// Which of the guest's tasks belongs to which request.
    tasks: Mutex<Vec<(GuestTaskId, Arc<Ticket>)>>,
}

/// What a sandbox died of, and which request is to blame.
pub(super) struct Fate {
    pub(super) culprit: Option<Arc<Ticket>>,
    /// For the culprit.
    pub(super) error: SandboxError,
    /// For everybody else.
    pub(super) reason: &'static str,
}

impl Fate {
    pub(super) fn of(&self, ticket: &Arc<Ticket>) -> SandboxError {
        match &self.culprit {
            Some(culprit) if Arc::ptr_eq(culprit, ticket) => self.error.clone(),
            _ => SandboxError::Ended { reason: self.reason },
        }
    }
}

impl Member {
    pub(super) fn new(meter: Arc<Meter>) -> Arc<Self> {
        Arc::new(Self {
            meter,
            fate: SetOnce::new(),
            waker: AtomicWaker::new(),
            in_flight: AtomicU32::new(0),
            watched: AtomicU32::new(0),
            retiring: AtomicBool::new(false),
            condemned: AtomicBool::new(false),
            computing: AtomicBool::new(false),
            began: AtomicBool::new(false),
            tasks: Mutex::default(),
        })
    }

    /// Whether it would take a request soon.
    pub(super) fn is_open(&self, policy: &Policy) -> bool {
        !self.is_retiring() && !self.computing.load(SeqCst) && self.places(policy) > 0
    }

    pub(super) fn places(&self, policy: &Policy) -> usize {
        policy.concurrent.saturating_sub(self.in_flight()) as usize
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(SeqCst)
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// The guest begins to work on a request.
    pub(super) fn begin(&self, task: GuestTaskId, ticket: &Arc<Ticket>) {
        self.in_flight.fetch_add(1, SeqCst);
        self.tasks().push((task, Arc::clone(ticket)));
    }

    /// The guest has answered it and the answer was read or given up.
    pub(super) fn end(&self, task: GuestTaskId) {
        self.in_flight.fetch_sub(1, SeqCst);
        self.tasks().retain(|(other, _)| *other != task);
    }

    /// The request whose task is among `tasks`; the only one there is, when none is.
    pub(super) fn culprit(&self, tasks: impl Iterator<Item = GuestTaskId>) -> Option<Arc<Ticket>> {
        let known = self.tasks();
        let found = tasks.into_iter().find_map(|task| known.iter().find(|(other, _)| *other == task));
        found.or_else(|| if known.len() == 1 { known.first() } else { None }).map(|(_, ticket)| Arc::clone(ticket))
    }

    /// The one request it is at work on, for its log lines.
    pub(super) fn is_alone(&self) -> bool {
        self.in_flight() <= 1
    }

    pub(super) fn watch(&self) {
        self.watched.fetch_add(1, SeqCst);
    }

    pub(super) fn unwatch(&self) {
        if self.watched.fetch_sub(1, SeqCst) == 1 {
            self.wake();
        }
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(SeqCst) > 0
    }

    pub(super) fn condemn(&self) {
        self.retire();
        self.condemned.store(true, SeqCst);
        self.wake();
    }

    pub(super) fn is_condemned(&self) -> bool {
        self.condemned.load(SeqCst)
    }

    pub(super) fn retire(&self) {
        self.retiring.store(true, SeqCst);
    }

    pub(super) fn is_retiring(&self) -> bool {
        self.retiring.load(SeqCst)
    }

    /// Its driver looks for requests.
    pub(super) fn look(&self) {
        self.began.store(true, SeqCst);
        self.set_computing(false);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.began.load(SeqCst)
    }

    pub(super) fn set_computing(&self, computing: bool) {
        self.computing.store(computing, SeqCst);
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<(GuestTaskId, Arc<Ticket>)>> {
        // Every change of it is one step, so one that panicked left it whole.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
