//! Requests that share sandboxes: one task drives each sandbox, and every request in it has the guest's attention when the others wait. Owns the driver; must
//! never let a guest that computes take a second request.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, Stream};
use tokio::{
    sync::oneshot::{self, error::RecvError},
    time::{Instant, Sleep},
};
use wasmtime::{
    AsContextMut,
    component::{Accessor, Func},
};
use wasmtime_wasi_http::{WasiBody, p3::bindings::Service};

use super::{
    Given,
    member::{Fate, Member},
    policy::Policy,
    pool::{Counted, Job, Pool, Warm},
    ticket::{Seat, Ticket},
};
use crate::{
    body::{Remains, SandboxBody},
    capabilities::Host,
    error::SandboxError,
    handler::{Answer, Call03, Instance, bad_request, take_03},
    lane::{Ended, Guest},
    limits,
    logs::SandboxLog,
    program::Program,
    sandbox::Sandbox,
};

pub(super) async fn answer(
    program: Arc<Program>,
    request: http::Request<WasiBody>,
    given: Given,
) -> Result<http::Response<SandboxBody>, SandboxError> {
    let pool = program.kept.pool(given.ordinal);
    let remains = Remains::new(request.method(), Arc::clone(&program), given.log.clone());
    let (sender, mut answered) = oneshot::channel();
    let ticket = Ticket::new();
    let seat = Seat::new(&ticket);
    pool.enqueue(&program, Job { request, scheme: given.scheme, request_id: given.request_id, answer: sender, ticket });
    let waited = match wait_for_a_sandbox(&program, &pool, &seat, given.limit, &mut answered).await? {
        Waited::Answered(answer) => Ok(answer),
        Waited::Taken { left } => tokio::time::timeout(left, answered).await,
    };
    match waited {
        Ok(Ok(Ok(response))) => SandboxBody::shared(response, seat, remains),
        Ok(Ok(answer)) => Err(program.bad_answer(Some(answer), &given.log)),
        Ok(Err(_)) => Err(seat.why().await),
        Err(_) => {
            seat.condemn();
            Err(program.timed_out(given.limit, &given.log))
        }
    }
}

/// How the wait of a request ended that came to its turn.
enum Waited {
    Answered(Result<Answer, RecvError>),
    /// A sandbox took it, and has so long to answer.
    Taken {
        left: Duration,
    },
}

/// Waits until a sandbox takes the request, and has another one started when those there are do not even look for requests: a guest that computes on threads
/// nobody gives time to cannot say so itself.
async fn wait_for_a_sandbox(
    program: &Arc<Program>,
    pool: &Arc<Pool>,
    seat: &Seat,
    limit: Duration,
    answered: &mut oneshot::Receiver<Answer>,
) -> Result<Waited, SandboxError> {
    let wait = pool.policy.wait.min(limit);
    let (mut waited, mut pause) = (Duration::ZERO, limits::KEPT_STUCK_AFTER);
    loop {
        let looks = pool.looks();
        pause = pause.min(wait.saturating_sub(waited));
        if let Ok(answer) = tokio::time::timeout(pause, &mut *answered).await {
            return Ok(Waited::Answered(answer));
        }
        waited += pause;
        if !seat.is_waiting() {
            return Ok(Waited::Taken { left: limit.saturating_sub(waited) });
        }
        if waited >= wait {
            return Err(SandboxError::Busy { sandboxes: pool.policy.sandboxes });
        }
        if pool.looks() == looks {
            pool.go_round(program);
        }
        pause *= 2;
    }
}

/// Starts the task that drives one sandbox: `warm`, or a new one.
pub(super) fn start(program: Arc<Program>, pool: Arc<Pool>, member: Arc<Member>, warm: Option<Warm>) {
    if warm.is_some() {
        // What it used before says nothing about the request that comes.
        member.meter.begin_request();
    }
    let shift = Arc::new(Shift::new(program, pool, member));
    let work = Driven { work: Box::pin(Arc::clone(&shift).live(warm)), shift: Arc::clone(&shift), patience: None, finished: false };
    let guest = Guest::new(work, Arc::clone(&shift.member.meter), shift.program.share());
    let tasks = shift.program.shared.tasks.clone();
    tasks.spawn(async move {
        // What it died of stands in the log, and everybody in it was told.
        let _ = guest.await;
        if !shift.deferred.load(Relaxed) {
            shift.pool.look_after(&shift.program);
        }
    });
}

/// The time a sandbox is at work, from one rest to the next.
struct Shift {
    program: Arc<Program>,
    pool: Arc<Pool>,
    member: Arc<Member>,
    /// There was no room to start it, and others will take what waits.
    deferred: AtomicBool,
    /// The first request of the shift was given to it: the meter began with the shift.
    metered: AtomicBool,
    /// The sandbox was started and has been driven.
    began: AtomicBool,
    /// The driver has looked for requests in this turn.
    looked: AtomicBool,
    /// The guest has waited since it was given its last request.
    settled: AtomicBool,
}

impl Shift {
    fn new(program: Arc<Program>, pool: Arc<Pool>, member: Arc<Member>) -> Self {
        let mark = AtomicBool::new;
        Self {
            program,
            pool,
            member,
            deferred: mark(false),
            metered: mark(false),
            began: mark(false),
            looked: mark(false),
            settled: mark(true),
        }
    }

    async fn live(self: Arc<Self>, warm: Option<Warm>) -> Ended {
        let (program, pool, member) = (&self.program, &self.pool, &self.member);
        let mut warm = match warm {
            Some(warm) => warm,
            None => match self.start().await {
                Ok(warm) => warm,
                Err(error) => {
                    self.deferred.store(pool.not_started(member, &error), Relaxed);
                    return Ended { result: Err(error), sandbox: None };
                }
            },
        };
        let Instance::Wasi03(service) = &warm.instance else { unreachable!("handlers of WASI 0.2 never share a sandbox") };
        warm.sandbox.store.data_mut().memory.forget_denial();
        let requests = AtomicU32::new(warm.requests);
        let given = Given03 { requests: &requests, born: warm.born, log: &warm.log };
        let run = async |accessor: &Accessor<Host>| self.drive(service, accessor, given).await;
        let ran = warm.sandbox.store.run_concurrent(run).await.and_then(|ran| ran);
        warm.requests = requests.into_inner();
        let Err(error) = ran else {
            warm.log.hand_to(None);
            pool.park_shared(program, member, warm);
            return Ended { result: Ok(()), sandbox: None };
        };
        let culprit = match warm.sandbox.store.as_context_mut().async_call_stack() {
            Ok(tasks) => member.culprit(tasks),
            Err(_) => member.culprit(std::iter::empty()),
        };
        let error = warm.sandbox.failure(&error);
        let _ = member.fate.set(Fate { culprit, error: error.clone(), reason: "another request in it failed" });
        pool.lost(member);
        Ended { result: Err(error), sandbox: Some(warm.sandbox) }
    }

    /// A new sandbox, with room in the memory of its instance.
    async fn start(&self) -> Result<Warm, SandboxError> {
        let program = &self.program;
        let log = self.member.meter.log().clone();
        let (portion, _) = program.portion(self.pool.ordinal, self.pool.policy.wait, &log).await?;
        let mut sandbox = Sandbox::new(program, Some(portion), log.clone())?;
        let instance = sandbox.instantiate(program).await?;
        let counted = Counted::new(&program.shared.counters);
        Ok(Warm { sandbox, instance, meter: Arc::clone(&self.member.meter), log, born: Instant::now(), requests: 0, counted })
    }

    /// Drives the guest, and gives it requests, until it has nothing left to do.
    async fn drive(&self, service: &Service, accessor: &Accessor<Host>, warm: Given03<'_>) -> wasmtime::Result<()> {
        let handle: Func = *service.wasi_http_handler().func_handle().func();
        let (pool, member) = (&self.pool, &self.member);
        let mut running = FuturesUnordered::new();
        self.began.store(true, Relaxed);
        poll_fn(|context| {
            self.looked.store(true, Relaxed);
            member.look();
            pool.look();
            loop {
                match Pin::new(&mut running).poll_next(context) {
                    Poll::Ready(Some(Ok(()))) => continue,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) | Poll::Pending => {}
                }
                let may_take = accessor.poll_ready_for_concurrent_call(handle, context).is_ready()
                    && !member.is_retiring()
                    && member.places(&pool.policy) > 0
                    && (running.is_empty() || self.settled.load(Relaxed));
                if may_take && let Some(job) = pool.take(member) {
                    if let Some(request) = self.begin(service, accessor, job, &warm)? {
                        running.push(request);
                    }
                    continue;
                }
                if !running.is_empty() || accessor.poll_no_interesting_tasks(context).is_pending() {
                    return Poll::Pending;
                }
                if member.is_retiring() || (may_take && pool.rest(member)) {
                    return Poll::Ready(Ok(()));
                }
                if !may_take {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Puts a request into the sandbox. None when it cannot be handed to a guest, and was told so.
    fn begin<'a>(
        &'a self,
        service: &'a Service,
        accessor: &'a Accessor<Host>,
        job: Job,
        warm: &Given03<'_>,
    ) -> wasmtime::Result<Option<impl Future<Output = wasmtime::Result<()>> + use<'a>>> {
        let Job { request, scheme, request_id, answer, ticket } = job;
        let member = &self.member;
        let taken = accessor.with(|mut access| take_03(access.data_mut(), request, scheme));
        let request = match taken {
            Ok(request) => request,
            Err(error) => {
                ticket.fail(bad_request(&error));
                return Ok(None);
            }
        };
        warm.count(&self.pool.policy, member);
        if self.metered.swap(true, Relaxed) {
            member.meter.begin_request();
        }
        let call = Call03::begin(service, accessor, request, answer)?;
        let task = call.task();
        member.begin(task, &ticket);
        warm.log.hand_to(member.is_alone().then_some(request_id));
        // Until the guest waits for something it may be about to compute.
        self.settled.store(false, Relaxed);
        Ok(Some(async move {
            call.finish(service, accessor).await?.await;
            self.member.end(task);
            Ok(())
        }))
    }
}

/// What the driver knows of the sandbox it drives.
struct Given03<'a> {
    requests: &'a AtomicU32,
    born: Instant,
    log: &'a SandboxLog,
}

impl Given03<'_> {
    /// One more request; the last one when it is.
    fn count(&self, policy: &Policy, member: &Member) {
        let requests = self.requests.fetch_add(1, Relaxed).saturating_add(1);
        if policy.is_over(requests, self.born) {
            member.retire();
        }
    }
}

/// The sandbox as its task sees it: a turn of the driver, and then whether it computes, and whether anybody still waits for it.
struct Driven {
    work: Pin<Box<dyn Future<Output = Ended> + Send>>,
    shift: Arc<Shift>,
    /// How long it may go on while nobody waits.
    patience: Option<Pin<Box<Sleep>>>,
    /// It came to rest, or said itself what it died of.
    finished: bool,
}

impl Future for Driven {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        let this = &mut *self;
        let Shift { program, pool, member, began, looked, settled, .. } = &*this.shift;
        member.waker.register(context.waker());
        for turn in 1.. {
            looked.store(false, Relaxed);
            if let Poll::Ready(ended) = this.work.as_mut().poll(context) {
                this.finished = true;
                return Poll::Ready(ended);
            }
            if !began.load(Relaxed) {
                return Poll::Pending;
            }
            let computes = !looked.load(Relaxed);
            member.set_computing(computes);
            if computes || member.is_retiring() || member.places(&pool.policy) == 0 {
                // What waits is not for this one.
                pool.look_after(program);
                break;
            }
            if settled.swap(true, Relaxed) || !pool.is_waited_for() {
                break;
            }
            if turn == limits::KEPT_TURNS_MAX {
                context.waker().wake_by_ref();
                break;
            }
        }
        this.poll_patience(context)
    }
}

impl Driven {
    /// Ends a sandbox that works on though nobody waits for it any more.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        let Shift { program, member, .. } = &*self.shift;
        if member.is_watched() {
            self.patience = None;
            return Poll::Pending;
        }
        if !member.is_condemned() {
            let limit = program.shared.after_response;
            let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            if patience.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            program.overrun(limit, member.meter.log());
        }
        Poll::Ready(Ended { result: Err(SandboxError::Ended { reason: ABANDONED }), sandbox: None })
    }
}

const ABANDONED: &str = "nobody waited for it any more";

impl Drop for Driven {
    /// Everybody in it is told before the sandbox takes their responses down.
    fn drop(&mut self) {
        let Shift { pool, member, .. } = &*self.shift;
        if !self.finished {
            let culprit = member.culprit(std::iter::empty());
            let (error, reason) = if member.meter.is_exhausted() {
                (SandboxError::CpuTime { limit: member.meter.limit() }, "another request in it used up its processor time")
            } else {
                (SandboxError::Ended { reason: GIVEN_UP }, GIVEN_UP)
            };
            let _ = member.fate.set(Fate { culprit, error, reason });
        }
        member.retire();
        pool.lost(member);
    }
}

const GIVEN_UP: &str = "the node gave it up";
