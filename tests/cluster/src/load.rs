//! Steady traffic while something else happens. Owns counting what clients saw, sorted by what it means; must never retry: a lost request is a fact.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use crate::{eventually, raw};

/// What clients saw so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Answered 200.
    pub good: AtomicU64,
    /// Answered with another status.
    pub bad_status: AtomicU64,
    /// The connection itself was refused: nobody listened.
    pub refused: AtomicU64,
    /// The connection broke before the answer was whole.
    pub broken: AtomicU64,
}

/// Running clients, each sending one request after another on connections of their own.
pub struct Load {
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Seen {
    /// Requests that were not answered with 200.
    pub fn failed(&self) -> u64 {
        [&self.bad_status, &self.refused, &self.broken].into_iter().map(|count| count.load(Relaxed)).sum()
    }
}

impl Load {
    /// Starts `clients` clients that GET `/` at `address` under `host`.
    pub fn start(address: &str, host: &str, clients: usize) -> Self {
        Self::paced(address, host, clients, Duration::ZERO)
    }

    /// The same, each client resting for `rest` after an answer: as much load as a measurement of something else bears.
    pub fn paced(address: &str, host: &str, clients: usize, rest: Duration) -> Self {
        let seen = Arc::new(Seen::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut set = JoinSet::new();
        for _ in 0..clients {
            let (address, host, seen, stop) = (address.to_owned(), host.to_owned(), seen.clone(), stop.clone());
            set.spawn(async move {
                while !stop.load(Relaxed) {
                    let count = match raw::get(&address, &host, "/").await {
                        Ok(answer) if answer.status == 200 => &seen.good,
                        Ok(_) => &seen.bad_status,
                        Err(error) if is_refusal(&error) => &seen.refused,
                        Err(_) => &seen.broken,
                    };
                    count.fetch_add(1, Relaxed);
                    if !rest.is_zero() {
                        tokio::time::sleep(rest).await;
                    }
                }
            });
        }
        Self { seen, stop, clients: set }
    }

    /// Waits until `more` further requests were answered well.
    pub async fn answered(&self, more: u64) {
        let goal = self.seen.good.load(Relaxed) + more;
        eventually("more good answers under load", || async { (self.seen.good.load(Relaxed) >= goal).then_some(()) }).await;
    }

    /// Stops the clients and returns what they saw.
    pub async fn finish(mut self) -> Arc<Seen> {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client never panics");
        }
        self.seen.clone()
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}
