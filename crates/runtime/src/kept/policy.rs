//! How long a program's sandboxes are kept and how many of them there may be. Owns the rules; must never hold a sandbox.

use std::time::Duration;

use model::app::{Reuse, ReuseMode};
use tokio::time::Instant;

use crate::{handler::Handler, program::ProgramConfig};

/// How many requests a sandbox answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One.
    Fresh,
    /// One after the other.
    Serial,
    /// Several at once.
    Concurrent,
}

/// The rules of one program.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) mode: Mode,
    /// Most sandboxes of one instance.
    pub(crate) sandboxes: u32,
    /// Most requests in one sandbox.
    pub(crate) concurrent: u32,
    /// Requests until a sandbox is replaced; 0 is no end.
    requests: u32,
    age: Option<Duration>,
    /// Most requests that wait for a sandbox of one instance.
    pub(crate) waiting: usize,
    /// Longest time they do.
    pub(crate) wait: Duration,
}

impl Policy {
    /// The rules `config` asks for; what a handler of its version cannot do becomes the nearest that it can.
    pub(crate) fn of(config: &ProgramConfig, handler: &Handler) -> Self {
        let Reuse { mode, sandboxes, max_concurrent, max_requests, max_age } = config.reuse.clone().unwrap_or_default();
        let mode = match (handler, mode) {
            (_, Some(ReuseMode::Fresh)) | (Handler::Wasi02(_), None) => Mode::Fresh,
            (_, Some(ReuseMode::Serial)) | (Handler::Wasi02(_), Some(ReuseMode::Concurrent)) => Mode::Serial,
            (Handler::Wasi03(_), Some(ReuseMode::Concurrent) | None) => Mode::Concurrent,
        };
        let in_flight = config.max_in_flight.max(1);
        Self {
            mode,
            sandboxes: sandboxes.unwrap_or(in_flight).clamp(1, in_flight),
            concurrent: max_concurrent.max(1),
            requests: max_requests,
            age: max_age.map(|age| age.duration()),
            waiting: in_flight as usize,
            wait: config.queue_wait,
        }
    }

    /// Whether a sandbox that was made at `born` and was given `requests` is to be replaced.
    pub(crate) fn is_over(&self, requests: u32, born: Instant) -> bool {
        (self.requests > 0 && requests >= self.requests) || self.age.is_some_and(|age| born.elapsed() >= age)
    }
}
