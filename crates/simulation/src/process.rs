//! One process of the simulation: it can be made to stand still and to go on, as by SIGSTOP and SIGCONT, and its clock runs a little fast or slow.
//! Owns the runtime that consensus is given here; must never stop what is no part of a process: networks, flushes, clients.

use std::{
    cell::RefCell,
    future::Future,
    io,
    ops::{Add, AddAssign, Sub, SubAssign},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use consensus::{AsyncRuntime, Instant};
use openraft_rt_sim::{SimInstant, SimRuntime};

/// Every clock says this at least, so that a time can be taken off it.
const EPOCH: Duration = Duration::from_secs(86_400);

/// How fast a clock runs: thousandths of the true speed.
const TRUE_PERMILLE: u32 = 1_000;

thread_local! {
    /// The process whose task is being polled.
    static HERE: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// A process. Clones are the same.
#[derive(Clone)]
pub(crate) struct Process {
    /// Thousandths of the true speed at which its clock runs.
    permille: u32,
    standing: Arc<Mutex<Standing>>,
}

#[derive(Default)]
struct Standing {
    still: bool,
    /// Tasks that would have run.
    parked: Vec<Waker>,
}

impl Process {
    /// One whose clock gains `drift_permille` thousandths, or loses them.
    pub(crate) fn new(drift_permille: i32) -> Self {
        Self { permille: TRUE_PERMILLE.saturating_add_signed(drift_permille).max(1), standing: Arc::default() }
    }

    /// None of its tasks does anything from here on; time passes, and what is sent to it waits.
    pub(crate) fn stand_still(&self) {
        self.standing().still = true;
    }

    /// It goes on where it stood, and sees how late it is.
    pub(crate) fn go_on(&self) {
        let parked = {
            let mut standing = self.standing();
            standing.still = false;
            std::mem::take(&mut standing.parked)
        };
        parked.into_iter().for_each(Waker::wake);
    }

    /// `future` as a part of this process; so is everything it spawns.
    pub(crate) fn run<F: Future>(&self, future: F) -> Within<F> {
        Within { process: self.clone(), future: Box::pin(future) }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn here() -> Option<Self> {
        HERE.with_borrow(Clone::clone)
    }

    fn speed_here() -> u32 {
        HERE.with_borrow(|here| here.as_ref().map_or(TRUE_PERMILLE, |process| process.permille))
    }
}

/// A future that runs in a process.
pub(crate) struct Within<F> {
    process: Process,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut standing = self.process.standing();
            if standing.still {
                standing.parked.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        let _entered = Entered::new(self.process.clone());
        self.future.as_mut().poll(context)
    }
}

/// Says who is polled until it is dropped.
struct Entered(Option<Process>);

impl Entered {
    fn new(process: Process) -> Self {
        Self(HERE.replace(Some(process)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.set(self.0.take());
    }
}

/// What a process's clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OwnInstant(Duration);

impl Add<Duration> for OwnInstant {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0 + later)
    }
}

impl AddAssign<Duration> for OwnInstant {
    fn add_assign(&mut self, later: Duration) {
        self.0 += later;
    }
}

impl Sub<Duration> for OwnInstant {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0 - earlier)
    }
}

impl SubAssign<Duration> for OwnInstant {
    fn sub_assign(&mut self, earlier: Duration) {
        self.0 -= earlier;
    }
}

impl Sub for OwnInstant {
    type Output = Duration;

    fn sub(self, other: Self) -> Duration {
        self.0.saturating_sub(other.0)
    }
}

impl Instant for OwnInstant {
    fn now() -> Self {
        let passed = <SimInstant as Instant>::now().elapsed_since_start();
        Self(EPOCH + passed * Process::speed_here() / TRUE_PERMILLE)
    }
}

/// The simulated runtime as a process sees it.
#[derive(Debug)]
pub(crate) struct OwnRuntime(SimRuntime);

/// How long `own` takes truly, by the clock of the process that asks.
fn truly(own: Duration) -> Duration {
    // Rounded up: a timer must not fire before its time.
    own * TRUE_PERMILLE / Process::speed_here() + Duration::from_nanos(1)
}

impl AsyncRuntime for OwnRuntime {
    type JoinError = <SimRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: Send + 'static> = <SimRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <SimRuntime as AsyncRuntime>::Sleep;
    type Instant = OwnInstant;
    type TimeoutError = <SimRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + Send> = <SimRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <SimRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <SimRuntime as AsyncRuntime>::Mpsc;
    type Watch = <SimRuntime as AsyncRuntime>::Watch;
    type Oneshot = <SimRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: Send + 'static> = <SimRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        match Process::here() {
            Some(process) => SimRuntime::spawn(process.run(future)),
            None => SimRuntime::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        SimRuntime::sleep(truly(duration))
    }

    fn sleep_until(deadline: OwnInstant) -> Self::Sleep {
        Self::sleep(deadline - <OwnInstant as Instant>::now())
    }

    fn timeout<R, F: Future<Output = R> + Send>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        SimRuntime::timeout(truly(duration), future)
    }

    fn timeout_at<R, F: Future<Output = R> + Send>(deadline: OwnInstant, future: F) -> Self::Timeout<R, F> {
        Self::timeout(deadline - <OwnInstant as Instant>::now(), future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        SimRuntime::is_panic(error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        SimRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(SimRuntime::new(threads))
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        SimRuntime::spawn_blocking(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_stands_still_does_nothing_and_then_sees_how_late_it_is() {
        SimRuntime::with_seed(1).block_on(async {
            let process = Process::new(0);
            let waits = SimRuntime::spawn(process.run(async {
                let began = OwnInstant::now();
                OwnRuntime::sleep(Duration::from_secs(1)).await;
                OwnRuntime::spawn(async { OwnInstant::now() }).await.map(|ended| ended - began)
            }));
            SimRuntime::sleep(Duration::from_millis(500)).await;
            process.stand_still();
            SimRuntime::sleep(Duration::from_secs(5)).await;
            process.go_on();
            let took = waits.await.expect("it ends").expect("its task ends");
            assert_eq!(took.as_millis(), 5_500);
        });
    }

    #[test]
    fn clocks_drift_apart_and_timers_with_them() {
        SimRuntime::with_seed(1).block_on(async {
            for (drift, truly_ms) in [(0, 1_000), (50, 952), (-50, 1_052)] {
                let began = <SimInstant as Instant>::now();
                Process::new(drift)
                    .run(async {
                        let before = OwnInstant::now();
                        OwnRuntime::sleep(Duration::from_secs(1)).await;
                        assert!(OwnInstant::now() - before >= Duration::from_millis(999), "a timer fired before its time");
                    })
                    .await;
                assert_eq!((<SimInstant as Instant>::now() - began).as_millis(), truly_ms);
            }
        });
    }
}
