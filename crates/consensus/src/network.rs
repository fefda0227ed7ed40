//! The seam under the group: how a message gets to another member. Owns the contract; must never know what a message says.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::Peer;

/// Which kind of message it is. Each kind wants a connection of its own, so that a snapshot never makes a heartbeat late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Heartbeats, votes, reads: small and urgent.
    Urgent,
    /// Entries of the log.
    Entries,
    /// Pieces of snapshots.
    Snapshots,
}

/// Carries messages to other members. Whoever receives one hands it to [`crate::Consensus::receive`] with the authenticated id of its sender, and the
/// answer goes back. Losing, delaying, repeating and reordering messages is allowed; changing them is not.
pub trait Network: Send + Sync + 'static {
    /// One message to the consensus of `to`, and its answer. An error means that it may or may not have arrived. Gives up after `within`.
    /// At most [`crate::limits::MESSAGE_BYTES_MAX`] bytes either way.
    fn call(&self, to: &Peer, lane: Lane, message: Bytes, within: Duration) -> BoxFuture<'_, io::Result<Bytes>>;
}

/// No way to anybody: for a group of one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Network for Alone {
    fn call(&self, to: &Peer, _: Lane, _: Bytes, _: Duration) -> BoxFuture<'_, io::Result<Bytes>> {
        let message = format!("member {} cannot be reached: this one is alone", to.id);
        Box::pin(async move { Err(io::Error::new(io::ErrorKind::NotConnected, message)) })
    }
}
