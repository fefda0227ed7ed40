//! Messages of consensus to other servers, and what the log says when they do not arrive. Owns the exchange and how often it is told; must never know what a
//! message means.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use api::{peer::CONSENSUS_PATH, v1::ErrorBody};
use bytes::Bytes;
use consensus::Network;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use model::{id::NodeId, problem::chain};
use tokio::time::timeout;
use transport::Channel;

use crate::{
    limits::{CONSENSUS_BYTES_MAX, UNREACHED_SAID_EVERY},
    peers::{Lane, Peers},
};

/// Consensus' way to other members.
#[derive(Debug)]
pub(crate) struct PeerNetwork {
    peers: Arc<Peers>,
    troubles: Mutex<BTreeMap<(u64, Lane), Trouble>>,
}

impl PeerNetwork {
    /// Over the connections of `peers`.
    pub(crate) fn new(peers: Arc<Peers>) -> Self {
        Self { peers, troubles: Mutex::default() }
    }

    /// Tells the log when messages to a server begin to fail, now and then that they still do, and that they arrive again: consensus tries many times a second.
    fn note(&self, to: u64, lane: Lane, outcome: Result<(), &io::Error>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match outcome {
            Ok(()) => {
                let over = troubles.get_mut(&(to, lane)).and_then(|trouble| trouble.over(now));
                drop(troubles);
                if let Some(after) = over {
                    tracing::info!(server = %NodeId(to), ?lane, after.ms = after.as_millis(), "messages to a server arrive again");
                }
            }
            Err(error) => {
                // Servers that were removed meanwhile are forgotten; what goes on is said more often than that.
                troubles.retain(|_, trouble| trouble.said.is_none_or(|said| now.duration_since(said) < UNREACHED_SAID_EVERY * 10));
                let said = troubles.entry((to, lane)).or_default().goes_on(now);
                drop(troubles);
                if said {
                    tracing::warn!(server = %NodeId(to), ?lane, error = %chain(error), "messages to a server do not arrive");
                }
            }
        }
    }
}

/// What was said of messages that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Trouble {
    since: Option<Instant>,
    said: Option<Instant>,
}

impl Trouble {
    /// A message failed: whether that is worth a word.
    fn goes_on(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let due = self.said.is_none_or(|said| now.duration_since(said) >= UNREACHED_SAID_EVERY);
        if due {
            self.said = Some(now);
        }
        due
    }

    /// A message arrived: for how long none did, when that was said.
    fn over(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.take()?;
        self.said.filter(|said| *said >= since).map(|_| now.duration_since(since))
    }
}

impl Network for PeerNetwork {
    fn call(&self, to: &consensus::Peer, lane: consensus::Lane, message: Bytes, within: Duration) -> BoxFuture<'_, io::Result<Bytes>> {
        let lane = match lane {
            consensus::Lane::Urgent => Lane::Urgent,
            consensus::Lane::Entries => Lane::Entries,
            consensus::Lane::Snapshots => Lane::Snapshots,
        };
        let (id, channel) = (to.id, self.peers.channel(NodeId(to.id), lane, Some(&to.address)));
        Box::pin(async move {
            let answered = timeout(within, exchange(&channel, message, within)).await;
            let answered = answered.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten();
            self.note(id, lane, answered.as_ref().map(|_| ()));
            answered
        })
    }
}

async fn exchange(channel: &Channel, message: Bytes, within: Duration) -> io::Result<Bytes> {
    let request = Request::post(CONSENSUS_PATH).body(transport::body(message)).map_err(io::Error::other)?;
    let answer = channel.request(request, within).await.map_err(io::Error::other)?;
    let (head, body) = answer.into_parts();
    let bytes = Limited::new(body, CONSENSUS_BYTES_MAX).collect().await.map_err(io::Error::other)?.to_bytes();
    if head.status.is_success() {
        return Ok(bytes);
    }
    let why = serde_json::from_slice::<ErrorBody>(&bytes).map_or_else(|_| String::new(), |body| format!(": {}", body.error.message));
    Err(io::Error::other(format!("status {}{why}", head.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_at_its_begin_now_and_then_and_at_its_end() {
        let begin = Instant::now();
        let at = |part: u32| begin + UNREACHED_SAID_EVERY * part / 10;
        let mut trouble = Trouble::default();
        assert_eq!(trouble.over(at(0)), None, "there was none");
        assert!(trouble.goes_on(at(1)));
        assert!(!trouble.goes_on(at(2)));
        assert!(trouble.goes_on(at(11)), "it still goes on");
        assert_eq!(trouble.over(at(12)), Some(at(12) - at(1)));
        assert!(!trouble.goes_on(at(13)), "what comes and goes is not said each time");
        assert_eq!(trouble.over(at(14)), None, "nor is the end of what was not said");
        assert!(trouble.goes_on(at(21)));
    }
}
