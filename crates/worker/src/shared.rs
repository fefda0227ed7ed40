//! One run for everybody who asks for the same thing at the same time. Owns the runs, which go on when those who asked have gone; must never run the same
//! thing twice at once. A `std` mutex, never held across an await.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::{sync::watch, task::JoinSet};

/// Runs under way by what they are for. They end with this.
#[derive(Debug)]
pub struct Shared<K, V> {
    runs: Arc<Mutex<Runs<K, V>>>,
}

#[derive(Debug)]
struct Runs<K, V> {
    told: HashMap<K, watch::Receiver<Option<V>>>,
    tasks: JoinSet<()>,
}

/// Takes a run off the list when it ends, however it ends.
struct Ended<K: Eq + Hash, V>(Weak<Mutex<Runs<K, V>>>, K);

impl<K: Eq + Hash, V> Drop for Ended<K, V> {
    fn drop(&mut self) {
        if let Some(runs) = self.0.upgrade() {
            runs.lock().unwrap_or_else(PoisonError::into_inner).told.remove(&self.1);
        }
    }
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self { runs: Arc::new(Mutex::new(Runs { told: HashMap::new(), tasks: JoinSet::new() })) }
    }
}

impl<K: Clone + Eq + Hash + Send + 'static, V: Clone + Send + Sync + 'static> Shared<K, V> {
    /// What `work` gives, or what the run for `key` that is under way gives; none when that run panicked.
    pub async fn run<W>(&self, key: K, work: impl FnOnce() -> W) -> Option<V>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let mut told = self.told(key, work);
        told.wait_for(Option::is_some).await.ok()?.clone()
    }

    fn told<W>(&self, key: K, work: impl FnOnce() -> W) -> watch::Receiver<Option<V>>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let mut runs = self.runs();
        // Those that have ended are let go of here, so that no more are kept than ever ran at once.
        while runs.tasks.try_join_next().is_some() {}
        if let Some(told) = runs.told.get(&key) {
            return told.clone();
        }
        let (tell, told) = watch::channel(None);
        runs.told.insert(key.clone(), told.clone());
        let (ended, work) = (Ended(Arc::downgrade(&self.runs), key), work());
        runs.tasks.spawn(async move {
            let result = work.await;
            drop(ended);
            tell.send_replace(Some(result));
        });
        told
    }

    /// Runs under way.
    pub fn len(&self) -> usize {
        self.runs().told.len()
    }

    fn runs(&self) -> MutexGuard<'_, Runs<K, V>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_asks_meanwhile_shares_the_run_and_who_leaves_does_not_end_it() {
        let shared: Shared<u8, u32> = Shared::default();
        let runs = Arc::new(AtomicU32::new(0));
        let (go, gone) = oneshot::channel::<()>();
        let count = |runs: &Arc<AtomicU32>, wait: Option<oneshot::Receiver<()>>| {
            let runs = runs.clone();
            move || async move {
                if let Some(wait) = wait {
                    wait.await.unwrap();
                }
                runs.fetch_add(1, Ordering::Relaxed) + 1
            }
        };
        let mut first = Box::pin(shared.run(1, count(&runs, Some(gone))));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(shared.run(1, count(&runs, None)));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        go.send(()).unwrap();
        assert_eq!(second.await, Some(1));
        assert_eq!(shared.len(), 0);
        assert_eq!(shared.run(1, count(&runs, None)).await, Some(2), "what has ended is run anew");
    }

    #[tokio::test]
    async fn a_run_that_panics_is_told_and_forgotten() {
        let shared: Shared<u8, u32> = Shared::default();
        assert_eq!(shared.run(1, || async { panic!("on purpose") }).await, None);
        assert_eq!(shared.run(1, || async { 7 }).await, Some(7));
    }
}
