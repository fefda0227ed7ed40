//! Where a guest runs: beside everybody else while it is light, on threads of idle priority once it computes. Owns the move from one to the other; must
//! never know what a guest is for.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    task::AbortHandle,
};
use tokio_util::{sync::PollSemaphore, task::TaskTracker};

use crate::{error::SandboxError, figures::Counters, meter::Meter, sandbox::Sandbox, slow_lane::SlowLane, ticker::Ticker};

/// The two lanes of a runtime.
pub(crate) struct Lanes {
    pub(crate) ticker: Ticker,
    counters: Arc<Counters>,
    tasks: TaskTracker,
    /// Started when the first guest needs it; none when the machine has no threads left.
    slow: OnceLock<Option<SlowLane>>,
}

/// What one program may take of the slow lane.
pub(crate) struct Share {
    lanes: Arc<Lanes>,
    /// Turns at once. A guest that waits for its turn is not in the lane's queue, so a thousand guests of one program hold others up no longer than a few.
    turns: Arc<Semaphore>,
}

/// A guest at work. It owns what it runs in: dropping it ends both, at once where it runs here, at its next turn in the slow lane.
pub(crate) struct Guest {
    place: Place,
    meter: Arc<Meter>,
    share: Arc<Share>,
}

/// What a guest is made of.
pub(crate) type Work = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// How a guest ended, and the sandbox it may have left. Others hear how before the sandbox is taken down.
pub(crate) struct Ended {
    pub(crate) result: Result<(), SandboxError>,
    pub(crate) sandbox: Option<Sandbox>,
}

enum Place {
    /// In the task that polls it.
    Here(Work),
    /// In a task of the slow lane.
    Away { back: oneshot::Receiver<Back>, task: AbortHandle },
    /// Nowhere any more.
    Gone,
}

/// What comes back from the slow lane.
enum Back {
    Ended(Result<(), SandboxError>),
    /// It has another request, and may be light again.
    Light(Work),
}

impl Lanes {
    pub(crate) fn new(ticker: Ticker, counters: Arc<Counters>, tasks: TaskTracker) -> Self {
        Self { ticker, counters, tasks, slow: OnceLock::new() }
    }

    fn slow(&self) -> Option<&Handle> {
        self.slow.get_or_init(SlowLane::start).as_ref().map(SlowLane::handle)
    }
}

impl Share {
    pub(crate) fn new(lanes: &Arc<Lanes>) -> Arc<Self> {
        Arc::new(Self { lanes: Arc::clone(lanes), turns: Arc::new(Semaphore::new(SlowLane::threads())) })
    }

    /// One turn of a guest: measured, seen by the ticker, and the last one when its time is used up. What is done with its end is on its account too.
    fn turn<T>(&self, meter: &Meter, work: &mut Work, context: &mut Context<'_>, at_end: impl FnOnce(Ended) -> T) -> Poll<T> {
        let inside = self.lanes.ticker.enter();
        let turn = meter.measure(|| match work.as_mut().poll(context) {
            Poll::Ready(ended) => Ok(at_end(ended)),
            Poll::Pending => Err(at_end),
        });
        drop(inside);
        match turn {
            Ok(ended) => Poll::Ready(ended),
            Err(at_end) if meter.is_exhausted() => Poll::Ready(at_end(Err(self.exhausted(meter)).into())),
            Err(_) => Poll::Pending,
        }
    }

    fn exhausted(&self, meter: &Meter) -> SandboxError {
        let (counters, figures) = (&self.lanes.counters, meter.figures());
        counters.count(&counters.cpu_exhausted);
        figures.count(&figures.cpu_exhausted);
        let limit = meter.limit();
        meter.log().host(format!(
            "processor time used up: the component computed for {} ms on one request; the sandbox was ended; raise `resources.cpuTime` of the component",
            limit.as_millis()
        ));
        SandboxError::CpuTime { limit }
    }
}

impl Guest {
    /// A guest that has not begun. `meter` measures it, `share` is its program's.
    pub(crate) fn new(work: impl Future<Output = Ended> + Send + 'static, meter: Arc<Meter>, share: &Arc<Share>) -> Self {
        Self { place: Place::Here(Box::pin(work)), meter, share: Arc::clone(share) }
    }

    /// What measures it.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Whether it is in the slow lane.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self.place, Place::Away { .. })
    }

    /// Whether it computes too much to run here: it did for this request, or others of its component do before they begin.
    fn belongs_away(&self) -> bool {
        self.meter.is_heavy() || (self.meter.request_nanos() == 0 && self.meter.figures().is_heavy())
    }

    /// Puts it into the slow lane. Without one, or outside an executor, it stays.
    fn move_away(&mut self) -> bool {
        let lanes = &self.share.lanes;
        let (Some(slow), Ok(home)) = (lanes.slow(), Handle::try_current()) else { return false };
        let Place::Here(work) = std::mem::replace(&mut self.place, Place::Gone) else { panic!("only a guest that is here is moved") };
        self.meter.note_request();
        let figures = self.meter.figures();
        figures.count(&figures.slow_lane);
        lanes.counters.count(&lanes.counters.slow_lane);
        let (sender, back) = oneshot::channel();
        let visitor = Visitor { work: Some(work), home, meter: Arc::clone(&self.meter), share: Arc::clone(&self.share) };
        let task = lanes.tasks.spawn_on(visitor.stay(sender), slow).abort_handle();
        self.place = Place::Away { back, task };
        true
    }

    /// One turn here.
    fn poll_here(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SandboxError>> {
        let Place::Here(work) = &mut self.place else { panic!("only a guest that is here has a turn here") };
        // The sandbox goes within the turn, and the work that is left of it with the place.
        let result = ready!(self.share.turn(&self.meter, work, context, |ended| ended.result));
        self.end();
        Poll::Ready(result)
    }

    /// What comes from the slow lane: its end, or itself.
    fn poll_away(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<(), SandboxError>>> {
        let Place::Away { back, .. } = &mut self.place else { panic!("only a guest that was moved comes back") };
        let result = match ready!(Pin::new(back).poll(context)) {
            Ok(Back::Light(work)) => {
                self.place = Place::Here(work);
                return Poll::Ready(None);
            }
            Ok(Back::Ended(result)) => result,
            // The process is ending, or a host call panicked.
            Err(_) => Err(SandboxError::Ended { reason: "the node gave it up" }),
        };
        self.end();
        Poll::Ready(Some(result))
    }

    fn end(&mut self) {
        self.meter.end_request();
        self.place = Place::Gone;
    }
}

impl Future for Guest {
    type Output = Result<(), SandboxError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match this.place {
                Place::Away { .. } => {
                    if let Some(result) = ready!(this.poll_away(context)) {
                        return Poll::Ready(result);
                    }
                }
                Place::Here(_) => {
                    if this.belongs_away() && this.move_away() {
                        continue;
                    }
                    let turn = this.poll_here(context);
                    if turn.is_ready() || !this.belongs_away() || !this.move_away() {
                        return turn;
                    }
                }
                Place::Gone => panic!("a guest that ended is not polled again"),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.meter.end_request();
        if let Place::Away { task, .. } = &self.place {
            task.abort();
        }
    }
}

/// A guest in the slow lane.
struct Visitor {
    work: Option<Work>,
    /// The executor it came from. Its timers, its connections and whatever it starts stay there: only its own computing is slow.
    home: Handle,
    meter: Arc<Meter>,
    share: Arc<Share>,
}

impl Visitor {
    async fn stay(mut self, sender: oneshot::Sender<Back>) {
        let mut turns = PollSemaphore::new(Arc::clone(&self.share.turns));
        let back = std::future::poll_fn(|context| self.turn(&mut turns, context)).await;
        match back {
            Ok(work) => drop(sender.send(Back::Light(work))),
            Err(Ended { result, sandbox }) => {
                // Whoever reads the response hears why it broke before the sandbox takes the other end of the body down.
                let _ = sender.send(Back::Ended(result));
                let _home = self.home.enter();
                self.meter.measure(|| drop(sandbox));
            }
        }
    }

    fn turn(&mut self, turns: &mut PollSemaphore, context: &mut Context<'_>) -> Poll<Result<Work, Ended>> {
        let _turn = ready!(turns.poll_acquire(context));
        let _home = self.home.enter();
        let is_light = !self.meter.is_heavy() && !self.meter.figures().is_heavy();
        match &mut self.work {
            Some(_) if is_light => Poll::Ready(Ok(self.work.take().expect("it was just there"))),
            Some(work) => self.share.turn(&self.meter, work, context, Err),
            None => panic!("a guest that ended or went back has no more turns"),
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        // What a sandbox leaves behind may need the executor it knows.
        let _home = self.home.enter();
        self.work = None;
    }
}

impl From<Result<(), SandboxError>> for Ended {
    fn from(result: Result<(), SandboxError>) -> Self {
        Self { result, sandbox: None }
    }
}
