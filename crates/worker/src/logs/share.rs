//! What one component may write. Owns the fairness: every component has its own allowance and its own queue, so that a noisy one loses its own lines and
//! nobody else's. Must never make a producer wait, and never know about files.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use api::v1::{LogLine, LogStream};
use model::id::ComponentId;
use serde::{Deserialize, Serialize};

use crate::limits::{LOG_BURST_SECONDS, LOG_BYTES_PER_SECOND, LOG_LINES_PER_SECOND, LOG_LINES_WAITING_MAX, LOG_WAITING_BYTES_MAX};

/// How fast one component may write, on average over [`LOG_BURST_SECONDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogRate {
    /// Lines a second.
    pub lines: u32,
    /// Bytes of text a second.
    pub bytes: u64,
}

impl LogRate {
    /// What a component may write unless the operator says otherwise.
    pub fn standard() -> Self {
        Self { lines: LOG_LINES_PER_SECOND, bytes: LOG_BYTES_PER_SECOND }
    }
}

/// The shares of all components that write.
#[derive(Debug)]
pub(super) struct Shares {
    rate: LogRate,
    map: RwLock<HashMap<ComponentId, Arc<Share>>>,
    /// Shares the writer must look at: each at most once.
    ready: Mutex<Vec<Arc<Share>>>,
    waiting_bytes: AtomicUsize,
}

/// One component's share.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) component: ComponentId,
    inner: Mutex<Inner>,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    queue: VecDeque<LogLine>,
    guest: Allowance,
    /// What the host says about a guest explains its noise: the noise must not push that out.
    host: Allowance,
    /// Lines dropped and not yet told in the log.
    untold: u64,
    /// The writer knows that it must look here.
    is_ready: bool,
}

/// Two token buckets that fill with time.
#[derive(Debug)]
struct Allowance {
    lines: f64,
    bytes: f64,
    filled_at: Instant,
}

/// What a share held for the writer.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) lines: VecDeque<LogLine>,
    pub(super) has_untold: bool,
}

impl Shares {
    pub(super) fn new(rate: LogRate) -> Self {
        Self { rate, map: RwLock::default(), ready: Mutex::default(), waiting_bytes: AtomicUsize::new(0) }
    }

    /// Keeps `line` for the writer or counts it; says whether it is kept.
    pub(super) fn put(&self, line: LogLine) -> bool {
        let share = self.of(&line.component);
        let (kept, was_ready) = share.put(line, self.rate, &self.waiting_bytes);
        if !was_ready {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(share);
        }
        kept
    }

    /// Counts a line of `component` that was taken and could not be written.
    pub(super) fn lost(&self, component: &ComponentId) {
        let share = self.of(component);
        if !share.count_lost() {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(share);
        }
    }

    /// The shares with something for the writer, which must take from each of them.
    pub(super) fn take_ready(&self) -> Vec<Arc<Share>> {
        std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything that waits in `share`.
    pub(super) fn take(&self, share: &Share) -> Taken {
        let mut inner = share.lock();
        inner.is_ready = false;
        let taken = Taken { lines: std::mem::take(&mut inner.queue), has_untold: inner.untold > 0 };
        drop(inner);
        self.waiting_bytes.fetch_sub(taken.lines.iter().map(|line| line.text.len()).sum(), Relaxed);
        taken
    }

    /// Lines of `component` that were counted instead of kept.
    pub(super) fn dropped(&self, component: &ComponentId) -> u64 {
        self.read().get(component).map_or(0, |share| share.dropped.load(Relaxed))
    }

    /// The same of every component that lost any.
    pub(super) fn all_dropped(&self) -> Vec<(ComponentId, u64)> {
        let lost = |share: &Arc<Share>| (share.component.clone(), share.dropped.load(Relaxed));
        let mut all: Vec<_> = self.read().values().map(lost).filter(|(_, count)| *count > 0).collect();
        all.sort_unstable();
        all
    }

    /// Forgets components that are not `assigned` and have nothing waiting.
    pub(super) fn retain(&self, assigned: &HashSet<&ComponentId>) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        map.retain(|component, share| assigned.contains(component) || share.lock().is_ready);
    }

    fn of(&self, component: &ComponentId) -> Arc<Share> {
        if let Some(share) = self.read().get(component) {
            return share.clone();
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        map.entry(component.clone()).or_insert_with(|| Arc::new(Share::new(component.clone(), self.rate))).clone()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<ComponentId, Arc<Share>>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    fn new(component: ComponentId, rate: LogRate) -> Self {
        let now = Instant::now();
        let inner = Inner {
            queue: VecDeque::new(),
            guest: Allowance::full(rate, now),
            host: Allowance::full(rate, now),
            untold: 0,
            is_ready: false,
        };
        Self { component, inner: Mutex::new(inner), dropped: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `line` is kept, and whether the writer knew before that it must look here.
    fn put(&self, line: LogLine, rate: LogRate, waiting_bytes: &AtomicUsize) -> (bool, bool) {
        let bytes = line.text.len();
        let mut inner = self.lock();
        let inner = &mut *inner;
        let allowance = if line.stream == LogStream::Host { &mut inner.host } else { &mut inner.guest };
        let has_room = inner.queue.len() < LOG_LINES_WAITING_MAX && waiting_bytes.load(Relaxed) + bytes <= LOG_WAITING_BYTES_MAX;
        let kept = has_room && allowance.take(bytes, rate, Instant::now());
        if kept {
            waiting_bytes.fetch_add(bytes, Relaxed);
            inner.queue.push_back(line);
        } else {
            inner.untold += 1;
            self.dropped.fetch_add(1, Relaxed);
        }
        (kept, std::mem::replace(&mut inner.is_ready, true))
    }

    fn count_lost(&self) -> bool {
        self.dropped.fetch_add(1, Relaxed);
        let mut inner = self.lock();
        inner.untold += 1;
        std::mem::replace(&mut inner.is_ready, true)
    }

    /// The lines dropped since this was last asked.
    pub(super) fn take_untold(&self) -> u64 {
        std::mem::take(&mut self.lock().untold)
    }
}

impl Allowance {
    fn full(rate: LogRate, now: Instant) -> Self {
        let (lines, bytes) = burst(rate);
        Self { lines, bytes, filled_at: now }
    }

    /// Takes what one line of `bytes` costs; says whether there was enough.
    fn take(&mut self, bytes: usize, rate: LogRate, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.filled_at).as_secs_f64();
        let (lines_max, bytes_max) = burst(rate);
        self.filled_at = now;
        self.lines = (self.lines + seconds * f64::from(rate.lines)).min(lines_max);
        self.bytes = (self.bytes + seconds * as_float(rate.bytes)).min(bytes_max);
        // A line longer than everything that may be saved up is kept when nothing else was said for a while.
        let cost = as_float(bytes as u64).min(bytes_max);
        let is_enough = self.lines >= 1.0 && self.bytes >= cost;
        if is_enough {
            self.lines -= 1.0;
            self.bytes -= cost;
        }
        is_enough
    }
}

fn burst(rate: LogRate) -> (f64, f64) {
    (f64::from(rate.lines) * LOG_BURST_SECONDS, as_float(rate.bytes) * LOG_BURST_SECONDS)
}

// Rates are far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::logs::tests::line;

    const RATE: LogRate = LogRate { lines: 10, bytes: 1_000 };

    #[test]
    fn an_allowance_is_a_burst_and_then_a_rate() {
        let start = Instant::now();
        let mut allowance = Allowance::full(RATE, start);
        let mut taken_at = |after: u64, bytes: usize| {
            let now = start + Duration::from_millis(after);
            std::iter::repeat_with(|| allowance.take(bytes, RATE, now)).take(1_000).filter(|taken| *taken).count()
        };
        assert_eq!(taken_at(0, 1), 40, "four seconds' worth of lines at once");
        assert_eq!(taken_at(1_000, 1), 10);
        assert_eq!(taken_at(60_000, 500), 8, "four seconds' worth of bytes at once");
        assert_eq!(taken_at(61_000, 500), 2);
        assert_eq!(taken_at(120_000, 1 << 20), 1, "a line longer than any allowance");
    }

    #[test]
    fn a_noisy_component_loses_its_own_lines_only() {
        let shares = Shares::new(RATE);
        let kept = (0..1_000).filter(|number| shares.put(line("noisy/web", *number, None, "x"))).count() as u64;
        assert!((40..200).contains(&kept), "{kept}");
        assert!(shares.put(line("quiet/web", 1, None, "hello")));
        let mut trap = line("noisy/web", 2, None, "the component trapped");
        trap.stream = LogStream::Host;
        assert!(shares.put(trap), "what the host says has an allowance of its own");
        let ready = shares.take_ready();
        let told: Vec<_> = ready.iter().map(|share| (share.component.to_string(), shares.take(share).lines.len() as u64)).collect();
        assert_eq!(told, [("noisy/web".to_owned(), kept + 1), ("quiet/web".to_owned(), 1)]);
        assert_eq!(ready[0].take_untold(), 1_000 - kept);
        assert_eq!(shares.all_dropped(), [("noisy/web".parse().unwrap(), 1_000 - kept)]);
        assert_eq!(shares.waiting_bytes.load(Relaxed), 0);
    }

    #[test]
    fn what_waits_is_bounded_for_one_and_for_all() {
        let shares = Shares::new(LogRate { lines: u32::MAX, bytes: u64::MAX >> 12 });
        let kept = (0..LOG_LINES_WAITING_MAX as u64 + 10).filter(|number| shares.put(line("many/web", *number, None, ""))).count();
        assert_eq!(kept, LOG_LINES_WAITING_MAX);
        let text = "x".repeat(16 << 10);
        let mut kept_bytes = 0;
        for number in 0..LOG_LINES_WAITING_MAX * 3 {
            let component = format!("large/web-{}", number % 3);
            kept_bytes += if shares.put(line(&component, 1, None, &text)) { text.len() } else { 0 };
        }
        assert_eq!(kept_bytes, LOG_WAITING_BYTES_MAX);
    }

    #[test]
    fn whoever_is_gone_is_forgotten_once_its_lines_are_written() {
        let shares = Shares::new(RATE);
        for component in ["stays/web", "goes/web"] {
            shares.put(line(component, 1, None, "x"));
        }
        let stays: ComponentId = "stays/web".parse().unwrap();
        let assigned = HashSet::from([&stays]);
        shares.retain(&assigned);
        assert_eq!(shares.read().len(), 2, "a line waits");
        shares.take_ready().iter().for_each(|share| drop(shares.take(share)));
        shares.retain(&assigned);
        assert_eq!(shares.read().keys().collect::<Vec<_>>(), [&stays]);
    }
}
