//! Sandboxes that answer more than one request: one after the other, or several at once. Owns how long they live and which requests they get; must never
//! know what a guest remembers, and never keep a request waiting for one that computes.

mod crew;
mod idle;
mod member;
mod policy;
mod pool;
mod serial;
mod ticket;

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;
use wasmtime_wasi_http::WasiBody;

use self::pool::Pool;
pub(crate) use self::{
    idle::IdleSandboxes,
    policy::{Mode, Policy},
    ticket::Seat,
};
use crate::{
    body::SandboxBody,
    error::SandboxError,
    logs::SandboxLog,
    program::{Program, Scheme},
};

/// What comes with a request for a kept sandbox.
pub(crate) struct Given {
    pub(crate) request_id: Arc<str>,
    pub(crate) scheme: Scheme,
    pub(crate) ordinal: u32,
    /// Time until the response begins.
    pub(crate) limit: Duration,
    /// The log of the request, not of the sandbox it comes into.
    pub(crate) log: SandboxLog,
}

/// The kept sandboxes of one program.
pub(crate) struct Kept {
    pub(crate) policy: Policy,
    /// By ordinal: instances share no sandbox. They are few, and one that is gone keeps an empty pool.
    pools: Mutex<BTreeMap<u32, Arc<Pool>>>,
    /// A task looks after the idle ones.
    watched: AtomicBool,
}

impl Kept {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, pools: Mutex::default(), watched: AtomicBool::new(false) }
    }

    /// Answers one request in a sandbox that may have answered others.
    pub(crate) async fn answer<B>(
        program: Arc<Program>,
        request: http::Request<B>,
        given: Given,
    ) -> Result<http::Response<SandboxBody>, SandboxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        match program.kept.policy.mode {
            Mode::Concurrent => crew::answer(program, boxed(request), given).await,
            Mode::Fresh | Mode::Serial => serial::answer(program, request, given).await,
        }
    }

    fn pool(&self, ordinal: u32) -> Arc<Pool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pools.entry(ordinal).or_insert_with(|| Arc::new(Pool::new(&self.policy, ordinal))))
    }

    fn pools(&self) -> Vec<Arc<Pool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Since when its longest idle sandbox is.
    fn idle_since(&self) -> Option<Instant> {
        self.pools().iter().filter_map(|pool| pool.idle_since()).min()
    }

    /// Ends that sandbox.
    fn give_up_one(&self, program: &Program) -> bool {
        let oldest = self.pools().into_iter().filter_map(|pool| Some((pool.idle_since()?, pool))).min_by_key(|(since, _)| *since);
        oldest.is_some_and(|(_, pool)| pool.give_up_one(program))
    }

    /// Ends sandboxes that have been idle for long, until there are none or the runtime ends.
    fn watch_idle(program: &Arc<Program>) {
        if program.kept.watched.swap(true, SeqCst) {
            return;
        }
        let Ok(executor) = tokio::runtime::Handle::try_current() else { return };
        let (ending, program, shared) = (program.shared.ending.clone(), Arc::downgrade(program), program.shared.clone());
        let rest = async move {
            while let Some(next) = Self::end_idle(&program) {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = ending.cancelled() => break,
                }
            }
        };
        shared.tasks.spawn_on(rest, &executor);
    }

    /// One look at the idle sandboxes; when the next is due.
    fn end_idle(program: &Weak<Program>) -> Option<Instant> {
        let program = program.upgrade()?;
        let now = Instant::now();
        let kept = &program.kept;
        let due = || kept.pools().into_iter().filter_map(|pool| pool.end_idle(now, program.shared.kept_idle)).min();
        due().or_else(|| {
            kept.watched.store(false, SeqCst);
            // One that became idle meanwhile relied on this watch.
            due().filter(|_| !kept.watched.swap(true, SeqCst))
        })
    }
}

/// The log a kept sandbox writes to while nobody's request is in it, or more than one.
fn anonymous(program: &Program) -> SandboxLog {
    SandboxLog::new(program.source(), None)
}

/// Makes every body one type.
fn boxed<B>(request: http::Request<B>) -> http::Request<WasiBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    request.map(|body| body.map_err(|error| wasmtime_wasi_http::Error::InternalError(Some(error.into().to_string()))).boxed_unsync())
}
