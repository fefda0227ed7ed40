//! The processor time of a guest, measured around each of its turns. Owns the budget of one request, or of one sandbox that answers many; must never count
//! ticks, nor charge a guest for a time its thread did not run.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use crate::{component_figures::ComponentFigures, limits, logs::SandboxLog};

/// Measures a guest and knows when it has had enough.
pub(crate) struct Meter {
    limit: Duration,
    /// Used since the meter was made, in nanoseconds. Only the guest's turns write it, and they never overlap.
    used_nanos: AtomicU64,
    /// Used when the guest must end.
    allowed_nanos: AtomicU64,
    /// Used when the current request began.
    begun_nanos: AtomicU64,
    /// Used and told to the figures.
    told_nanos: AtomicU64,
    /// The current request's time is in the component's average already.
    noted: AtomicU64,
    figures: Arc<ComponentFigures>,
    log: SandboxLog,
}

impl Meter {
    /// A meter of a guest that may use `limit` for a request. Lines about it go to `log`.
    pub(crate) fn new(limit: Duration, figures: Arc<ComponentFigures>, log: SandboxLog) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self {
            limit,
            used_nanos: zero(),
            allowed_nanos: AtomicU64::new(nanos(limit)),
            begun_nanos: zero(),
            told_nanos: zero(),
            noted: zero(),
            figures,
            log,
        })
    }

    /// Does something on the guest's account: one turn of it, with all that comes of it.
    pub(crate) fn measure<T>(&self, work: impl FnOnce() -> T) -> T {
        let turn = Turn::begin();
        let done = work();
        let used = self.used_nanos.load(Relaxed) + turn.end();
        self.used_nanos.store(used, Relaxed);
        if used - self.told_nanos.load(Relaxed) >= limits::CPU_TOLD_AFTER_NANOS {
            self.tell(used);
        }
        done
    }

    /// The guest gave something for what it used: a piece of a response, or the answer before. It may use the limit again.
    pub(crate) fn re_arm(&self) {
        let used = self.used_nanos.load(Relaxed);
        self.allowed_nanos.store(used.saturating_add(nanos(self.limit)), Relaxed);
    }

    /// A sandbox that answers more than one request was given the next one.
    #[allow(dead_code, reason = "for sandboxes that answer more than one request")]
    pub(crate) fn begin_request(&self) {
        self.note_request();
        self.re_arm();
        self.begun_nanos.store(self.used_nanos.load(Relaxed), Relaxed);
        self.noted.store(0, Relaxed);
    }

    /// Whether the budget is used up.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.used_nanos.load(Relaxed) > self.allowed_nanos.load(Relaxed)
    }

    /// The limit of a request.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Used for the current request, in nanoseconds.
    pub(crate) fn request_nanos(&self) -> u64 {
        self.used_nanos.load(Relaxed) - self.begun_nanos.load(Relaxed)
    }

    /// Whether the current request used more than a guest may use beside others.
    pub(crate) fn is_heavy(&self) -> bool {
        self.request_nanos() > limits::SLOW_AFTER_NANOS
    }

    /// Tells the component's average of the current request, once.
    pub(crate) fn note_request(&self) {
        if self.noted.swap(1, Relaxed) == 0 {
            // Who turns heavy is told at once: then it counts as heavy, not as just above.
            self.figures.note_request(if self.is_heavy() { u64::MAX } else { self.request_nanos() });
        }
    }

    /// The request is over: tells the average, and whoever asked what it used.
    pub(crate) fn end_request(&self) {
        self.note_request();
        if let Some(usage) = self.log.usage() {
            usage.cpu_nanos.store(self.request_nanos(), Relaxed);
        }
    }

    pub(crate) fn figures(&self) -> &ComponentFigures {
        &self.figures
    }

    pub(crate) fn log(&self) -> &SandboxLog {
        &self.log
    }

    fn tell(&self, used: u64) {
        let told = self.told_nanos.swap(used, Relaxed);
        self.figures.cpu_nanos.fetch_add(used - told, Relaxed);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.tell(self.used_nanos.load(Relaxed));
    }
}

/// One turn that is being measured. Asking for a thread's processor time costs half a microsecond, for the time of day a twentieth of that. So a short turn is
/// charged by the time of day, which is never less, and the thread's clock is read where it matters: around long turns.
struct Turn {
    begin_nanos: u64,
    anchor: Anchor,
}

/// One reading of both clocks.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    day_nanos: u64,
    thread_nanos: u64,
}

thread_local! {
    /// This thread's last reading: a turn needs one that is at most as old as a short turn is long.
    static ANCHOR: Cell<Option<Anchor>> = const { Cell::new(None) };
}

impl Turn {
    fn begin() -> Self {
        let begin_nanos = read(ClockId::Monotonic);
        let last = ANCHOR.get().filter(|anchor| begin_nanos - anchor.day_nanos <= limits::SHORT_TURN_NANOS);
        Self { begin_nanos, anchor: last.unwrap_or_else(|| Anchor::read(begin_nanos)) }
    }

    /// What it used, in nanoseconds: for a long one what the thread used since the reading before it, which is at most a short turn too much.
    fn end(self) -> u64 {
        let end_nanos = read(ClockId::Monotonic);
        let took_nanos = end_nanos - self.begin_nanos;
        if took_nanos <= limits::SHORT_TURN_NANOS {
            return took_nanos;
        }
        took_nanos.min(Anchor::read(end_nanos).thread_nanos - self.anchor.thread_nanos)
    }
}

impl Anchor {
    fn read(day_nanos: u64) -> Self {
        let anchor = Self { day_nanos, thread_nanos: read(ClockId::ThreadCPUTime) };
        ANCHOR.set(Some(anchor));
        anchor
    }
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).expect("both clocks begin at zero and only move on"));
    seconds * 1_000_000_000 + nanos
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use model::id::RevisionNumber;

    use super::*;
    use crate::{
        failure_log::FailureLog,
        logs::{Line, LogSink, Source},
    };

    struct Silent;

    impl LogSink for Silent {
        fn line(&self, _: Line) {}
    }

    fn meter(limit: Duration) -> (Arc<Meter>, Arc<ComponentFigures>) {
        let component = "hello/web".parse().unwrap();
        let source = Source { component, revision: RevisionNumber(1), sink: Arc::new(Silent), failures: FailureLog::default() };
        let figures = Arc::new(ComponentFigures::default());
        (Meter::new(limit, Arc::clone(&figures), SandboxLog::new(&Arc::new(source), None)), figures)
    }

    fn use_up(meter: &Meter) {
        while !meter.is_exhausted() {
            meter.measure(|| std::hint::black_box((0..1_000).sum::<u64>()));
        }
    }

    #[test]
    fn the_budget_is_used_up_and_armed_again() {
        let limit = Duration::from_micros(50);
        let (meter, figures) = meter(limit);
        assert!(!meter.is_exhausted());
        use_up(&meter);
        let first = meter.request_nanos();
        assert!(first > 50_000, "{first}");
        meter.re_arm();
        assert!(!meter.is_exhausted());
        use_up(&meter);
        assert!(meter.request_nanos() > first + 50_000, "the same request went on");
        meter.begin_request();
        assert_eq!((meter.request_nanos(), meter.is_exhausted()), (0, false), "the next request of the same sandbox");
        use_up(&meter);
        let total = meter.used_nanos.load(Relaxed);
        drop(meter);
        assert_eq!(figures.read().cpu_nanos, total, "every request of it");
    }

    #[test]
    fn what_is_not_measured_does_not_count() {
        let (meter, _) = meter(Duration::from_micros(50));
        let other = Meter::new(meter.limit, Arc::default(), meter.log().clone());
        use_up(&other);
        assert_eq!(meter.request_nanos(), 0);
    }
}
