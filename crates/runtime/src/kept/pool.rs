//! The kept sandboxes of one instance and the requests that wait for them. Owns who takes the next request, and when another sandbox is started; must never
//! drive one.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};
use wasmtime_wasi_http::WasiBody;

use super::{Kept, crew, member::Member, policy::Policy, ticket::Ticket};
use crate::{
    error::SandboxError,
    figures::Counters,
    handler::{Answer, Instance},
    limits,
    logs::SandboxLog,
    meter::Meter,
    program::{Program, Scheme},
    sandbox::Sandbox,
};

/// The sandboxes of one instance.
pub(super) struct Pool {
    pub(super) policy: Policy,
    /// The instance, whose memory they take.
    pub(super) ordinal: u32,
    state: Mutex<State>,
    /// How often sandboxes have looked for requests.
    looks: AtomicU64,
    /// Requests in the queue, so that a sandbox at work need not look into it.
    queued: AtomicUsize,
    /// The right to have a sandbox, where each takes one request at a time.
    pub(super) permits: Arc<Semaphore>,
}

/// A sandbox with nothing to do. It holds its slot and its memory.
pub(super) struct Warm {
    pub(super) sandbox: Sandbox,
    pub(super) instance: Instance,
    pub(super) meter: Arc<Meter>,
    pub(super) log: SandboxLog,
    pub(super) born: Instant,
    /// Requests it was given.
    pub(super) requests: u32,
    pub(super) counted: Counted,
}

/// A kept sandbox in the figures.
pub(super) struct Counted(Arc<Counters>);

/// A request that waits for a shared sandbox.
pub(super) struct Job {
    pub(super) request: http::Request<WasiBody>,
    pub(super) scheme: Scheme,
    pub(super) request_id: Arc<str>,
    pub(super) answer: oneshot::Sender<Answer>,
    pub(super) ticket: Arc<Ticket>,
}

#[derive(Default)]
struct State {
    /// The one used last is at the end, and used next: the others may be given up.
    idle: VecDeque<(Instant, Warm)>,
    /// At work or starting, where requests share them.
    members: Vec<Arc<Member>>,
    queue: VecDeque<Job>,
}

impl State {
    fn living(&self) -> usize {
        self.members.len() + self.idle.len()
    }
}

impl Pool {
    pub(super) fn new(policy: &Policy, ordinal: u32) -> Self {
        let permits = Arc::new(Semaphore::new(policy.sandboxes as usize));
        Self { policy: policy.clone(), ordinal, state: Mutex::default(), looks: AtomicU64::new(0), queued: AtomicUsize::new(0), permits }
    }

    /// An idle sandbox that may take another request.
    pub(super) fn pop(&self, program: &Program) -> Option<Warm> {
        loop {
            let (_, warm) = self.state().idle.pop_back()?;
            if !self.policy.is_over(warm.requests, warm.born) {
                return Some(warm);
            }
            program.recycled();
        }
    }

    /// Keeps a sandbox that has nothing to do for the next request, unless its time has come.
    pub(super) fn park(&self, program: &Arc<Program>, warm: Warm) {
        if self.policy.is_over(warm.requests, warm.born) {
            program.recycled();
            return;
        }
        if program.shared.ending.is_cancelled() {
            return;
        }
        self.state().idle.push_back((Instant::now(), warm));
        Kept::watch_idle(program);
    }

    /// Since when the longest idle sandbox is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.state().idle.front().map(|(since, _)| *since)
    }

    /// Ends it.
    pub(super) fn give_up_one(&self, program: &Program) -> bool {
        // The sandbox ends after the lock.
        let given_up = self.state().idle.pop_front();
        given_up.inspect(|_| program.recycled()).is_some()
    }

    /// Ends sandboxes that have been idle for long. When the next is due.
    pub(super) fn end_idle(&self, now: Instant, idle_max: Duration) -> Option<Instant> {
        loop {
            let ended = {
                let mut state = self.state();
                let (since, _) = state.idle.front()?;
                let due = *since + idle_max;
                if due > now {
                    return Some(due);
                }
                state.idle.pop_front()
            };
            drop(ended);
        }
    }

    /// Puts a request where a sandbox takes it.
    pub(super) fn enqueue(self: &Arc<Self>, program: &Arc<Program>, job: Job) {
        let mut state = self.state();
        if state.queue.len() >= self.policy.waiting {
            drop(state);
            job.ticket.fail(SandboxError::Busy { sandboxes: self.policy.sandboxes });
            return;
        }
        state.queue.push_back(job);
        self.queued.store(state.queue.len(), SeqCst);
        self.rally(state, program);
    }

    /// A sandbox looks for requests.
    pub(super) fn look(&self) {
        self.looks.fetch_add(1, Relaxed);
    }

    /// How often that happened.
    pub(super) fn looks(&self) -> u64 {
        self.looks.load(Relaxed)
    }

    /// What waits goes round the sandboxes that are at work: none of them has looked for it.
    pub(super) fn go_round(self: &Arc<Self>, program: &Arc<Program>) {
        let state = self.state();
        state.members.iter().filter(|member| member.has_begun()).for_each(|member| member.set_computing(true));
        self.rally(state, program);
    }

    /// Whether a request waits.
    pub(super) fn is_waited_for(&self) -> bool {
        self.queued.load(SeqCst) > 0
    }

    /// Sees to it that somebody takes what waits.
    pub(super) fn look_after(self: &Arc<Self>, program: &Arc<Program>) {
        if self.queued.load(SeqCst) > 0 {
            self.rally(self.state(), program);
        }
    }

    /// Wakes the fullest sandbox that has a place, or has another one started: when none has, or when so many wait that those there are do not keep up.
    fn rally(self: &Arc<Self>, mut state: MutexGuard<'_, State>, program: &Arc<Program>) {
        let waiting = state.queue.len();
        if waiting == 0 {
            return;
        }
        let open = || state.members.iter().filter(|member| member.is_open(&self.policy));
        let (count, places) = open().fold((0, 0), |(count, places), member| (count + 1, places + member.places(&self.policy)));
        let fullest = open().max_by_key(|member| member.in_flight()).cloned();
        let is_behind = waiting > places || waiting > limits::KEPT_BACKLOG * count;
        if is_behind && (!state.idle.is_empty() || state.living() < self.policy.sandboxes as usize) {
            let warm = state.idle.pop_back().map(|(_, warm)| warm);
            let meter = warm.as_ref().map(|warm| Arc::clone(&warm.meter));
            let member = Member::new(meter.unwrap_or_else(|| program.meter(&super::anonymous(program))));
            state.members.push(Arc::clone(&member));
            drop(state);
            crew::start(Arc::clone(program), Arc::clone(self), member, warm);
            return;
        }
        drop(state);
        if let Some(member) = fullest {
            member.wake();
        }
    }

    /// The next request somebody still waits for.
    pub(super) fn take(&self, member: &Arc<Member>) -> Option<Job> {
        if self.queued.load(SeqCst) == 0 {
            return None;
        }
        let mut state = self.state();
        let taken = loop {
            match state.queue.pop_front() {
                Some(job) if job.ticket.take(member) => break Some(job),
                Some(_) => {}
                None => break None,
            }
        };
        self.queued.store(state.queue.len(), SeqCst);
        taken
    }

    /// A sandbox that has nothing left to do wants to rest, and takes nothing from here on. False when a request came that it may take.
    pub(super) fn rest(&self, member: &Arc<Member>) -> bool {
        let state = self.state();
        let rests = state.queue.is_empty();
        if rests {
            member.retire();
        }
        rests
    }

    /// Keeps a sandbox that was shared and rests, unless its time has come.
    pub(super) fn park_shared(self: &Arc<Self>, program: &Arc<Program>, member: &Arc<Member>, warm: Warm) {
        let is_over = self.policy.is_over(warm.requests, warm.born);
        let ends = is_over || member.is_condemned() || program.shared.ending.is_cancelled();
        let mut state = self.state();
        state.members.retain(|other| !Arc::ptr_eq(other, member));
        let ended = if ends {
            Some(warm)
        } else {
            state.idle.push_back((Instant::now(), warm));
            None
        };
        self.rally(state, program);
        if ended.is_none() {
            Kept::watch_idle(program);
        } else if is_over {
            program.recycled();
        }
    }

    /// A sandbox ended.
    pub(super) fn lost(&self, member: &Arc<Member>) {
        self.state().members.retain(|other| !Arc::ptr_eq(other, member));
    }

    /// A sandbox could not be started. True when there are others: then what waits is theirs, and theirs alone, because another try would find no room either.
    /// Otherwise the request that has waited longest fails of it.
    pub(super) fn not_started(&self, member: &Arc<Member>, error: &SandboxError) -> bool {
        let mut state = self.state();
        state.members.retain(|other| !Arc::ptr_eq(other, member));
        if error.is_passing() && state.living() > 0 {
            return true;
        }
        let job = state.queue.pop_front();
        self.queued.store(state.queue.len(), SeqCst);
        drop(state);
        if let Some(job) = job {
            job.ticket.fail(error.clone());
        }
        false
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of it is one step, so one that panicked left it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        counters.kept.fetch_add(1, SeqCst);
        Self(Arc::clone(counters))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, SeqCst);
    }
}
