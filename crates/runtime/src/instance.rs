//! The memory of one instance, shared by its sandboxes: a hard sum, taken first come, first served. Owns what is free of it and who waits for it; must never
//! know what a sandbox does with its part.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use tokio::sync::oneshot;

use crate::limits::MEMORY_UNIT_BYTES;

/// The memory of one instance, in units.
#[derive(Debug)]
pub(crate) struct InstanceMemory {
    total: u64,
    free: AtomicU64,
    /// Sandboxes that wait for room. While it is zero nobody touches the queue.
    waiting: AtomicU64,
    queue: Mutex<Queue>,
}

/// A sandbox's part. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Portion {
    instance: Arc<InstanceMemory>,
    units: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiters: VecDeque<Waiter>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    units: u64,
    granted: oneshot::Sender<()>,
}

/// A place in the queue. Dropping it leaves the queue, or gives back what was granted meanwhile.
struct Place<'a> {
    instance: &'a Arc<InstanceMemory>,
    ticket: u64,
    units: u64,
    granted: oneshot::Receiver<()>,
}

impl InstanceMemory {
    /// The memory of an instance that may hold `bytes`.
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        let total = bytes / MEMORY_UNIT_BYTES;
        Arc::new(Self { total, free: AtomicU64::new(total), waiting: AtomicU64::new(0), queue: Mutex::default() })
    }

    /// Room for a sandbox that most likely needs `bytes`, if nobody waits and there is that much. Never asks for more than there is at all.
    pub(crate) fn try_take(self: &Arc<Self>, bytes: u64) -> Option<Portion> {
        let units = units_of(bytes).min(self.total);
        (self.waiting.load(SeqCst) == 0 && self.subtract(units)).then(|| Portion { instance: Arc::clone(self), units })
    }

    /// The same, after everybody who waits already. None when `waiters_max` do.
    pub(crate) async fn take(self: &Arc<Self>, bytes: u64, waiters_max: u32) -> Option<Portion> {
        let units = units_of(bytes).min(self.total);
        let mut place = self.stand_in_line(units, waiters_max)?;
        let granted = (&mut place.granted).await;
        granted.expect("a place leaves the queue only by a grant or by being dropped");
        // From here on the portion gives it back.
        place.units = 0;
        Some(Portion { instance: Arc::clone(self), units })
    }

    /// Most the sandboxes may hold together, in bytes.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total * MEMORY_UNIT_BYTES
    }

    /// What they hold now, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        (self.total - self.free.load(Relaxed)) * MEMORY_UNIT_BYTES
    }

    fn stand_in_line(self: &Arc<Self>, units: u64, waiters_max: u32) -> Option<Place<'_>> {
        let (sender, granted) = oneshot::channel();
        let mut queue = self.queue();
        if queue.waiters.len() >= waiters_max as usize {
            return None;
        }
        let ticket = queue.tickets;
        queue.tickets += 1;
        queue.waiters.push_back(Waiter { ticket, units, granted: sender });
        // Whoever gives memory back from here on looks into the queue; what was given back before is seen now.
        self.waiting.fetch_add(1, SeqCst);
        self.serve(&mut queue);
        Some(Place { instance: self, ticket, units, granted })
    }

    /// Gives what is free to those who wait, in their order: a large one in front is not overtaken.
    fn serve(&self, queue: &mut Queue) {
        while let Some(first) = queue.waiters.front() {
            if !self.subtract(first.units) {
                return;
            }
            let first = queue.waiters.pop_front().expect("it was just looked at");
            self.waiting.fetch_sub(1, SeqCst);
            // Nobody takes a place down but under this lock, so the receiver is there.
            let _ = first.granted.send(());
        }
    }

    fn subtract(&self, units: u64) -> bool {
        self.free.fetch_update(SeqCst, Relaxed, |free| free.checked_sub(units)).is_ok()
    }

    fn give_back(&self, units: u64) {
        let before = self.free.fetch_add(units, SeqCst);
        assert!(before + units <= self.total, "what was taken is given back once");
        if self.waiting.load(SeqCst) > 0 {
            self.serve(&mut self.queue());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is one step, so one that panicked left it whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Portion {
    /// Makes room for `bytes` in all. A sandbox that lives goes before those that wait: it is what gives memory back.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> bool {
        let more = units_of(bytes).saturating_sub(self.units);
        let granted = more == 0 || self.instance.subtract(more);
        if granted {
            self.units += more;
        }
        granted
    }

    pub(crate) fn instance(&self) -> &InstanceMemory {
        &self.instance
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.instance.give_back(self.units);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = self.instance.queue();
        match queue.waiters.iter().position(|waiter| waiter.ticket == self.ticket) {
            Some(index) => {
                queue.waiters.remove(index);
                self.instance.waiting.fetch_sub(1, SeqCst);
                // It may have stood before smaller ones.
                self.instance.serve(&mut queue);
            }
            None => {
                drop(queue);
                self.instance.give_back(self.units);
            }
        }
    }
}

fn units_of(bytes: u64) -> u64 {
    bytes.div_ceil(MEMORY_UNIT_BYTES)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    const UNIT: u64 = MEMORY_UNIT_BYTES;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_sum_is_hard() {
        let instance = InstanceMemory::new(10 * UNIT + 1);
        let mut first = instance.try_take(4 * UNIT).unwrap();
        let second = instance.try_take(4 * UNIT - 1).unwrap();
        assert!(instance.try_take(2 * UNIT + 1).is_none());
        assert!(first.grow_to(6 * UNIT) && !first.grow_to(6 * UNIT + 1), "the sum is reached");
        assert_eq!((instance.held_bytes(), instance.total_bytes()), (10 * UNIT, 10 * UNIT));
        drop(second);
        assert!(first.grow_to(10 * UNIT) && first.grow_to(1), "what it has is enough for less");
        drop(first);
        assert_eq!(instance.held_bytes(), 0);
    }

    #[test]
    fn nobody_waits_for_more_than_there_is() {
        let instance = InstanceMemory::new(10 * UNIT);
        assert!(instance.try_take(11 * UNIT).is_some(), "an estimate above the sum is the sum");
    }

    /// Goal: first come, first served, whatever the sizes; those who leave let others through; those who live go first.
    #[test]
    fn they_wait_in_line() {
        let instance = InstanceMemory::new(10 * UNIT);
        let mut held = instance.try_take(6 * UNIT).unwrap();
        let mut large = Box::pin(instance.take(8 * UNIT, 3));
        let mut small = Box::pin(instance.take(2 * UNIT, 3));
        assert!(poll(large.as_mut()).is_pending() && poll(small.as_mut()).is_pending());
        assert!(instance.try_take(UNIT).is_none(), "there is room, but others were first");
        assert!(held.grow_to(7 * UNIT), "the sandbox that lives is not held up");
        drop(held);
        let Poll::Ready(Some(large)) = poll(large.as_mut()) else { panic!("its turn") };
        let Poll::Ready(Some(small)) = poll(small.as_mut()) else { panic!("there was room for both") };
        let mut next = Box::pin(instance.take(9 * UNIT, 3));
        let mut last = Box::pin(instance.take(2 * UNIT, 3));
        assert!(poll(next.as_mut()).is_pending() && poll(last.as_mut()).is_pending());
        drop(small);
        assert!(poll(last.as_mut()).is_pending(), "not before the one in front");
        drop(next);
        assert!(matches!(poll(last.as_mut()), Poll::Ready(Some(_))), "the one in front left");
        drop((large, last));
        assert_eq!((instance.held_bytes(), instance.waiting.load(Relaxed)), (0, 0));
    }

    #[test]
    fn the_line_is_bounded_and_a_lost_grant_is_given_back() {
        let instance = InstanceMemory::new(2 * UNIT);
        let held = instance.try_take(2 * UNIT).unwrap();
        let mut waiting = Box::pin(instance.take(UNIT, 1));
        assert!(poll(waiting.as_mut()).is_pending());
        assert!(matches!(poll(pin!(instance.take(UNIT, 1))), Poll::Ready(None)));
        drop(held);
        assert_eq!(instance.held_bytes(), UNIT, "it is granted before it is looked at");
        drop(waiting);
        assert_eq!(instance.held_bytes(), 0);
    }
}
