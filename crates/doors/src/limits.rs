//! What the doors allow, each limit with its reason.

use std::time::Duration;

/// Until the head of a request is there. Also closes connections that idle between requests.
pub const HEADER_READ_MAX: Duration = Duration::from_secs(30);

/// Connections per listener: a hundred tools with streams, and an accident.
pub const CONNECTIONS_MAX: usize = 1_024;

/// Handshakes at once, at each door: honest ones are over in milliseconds, and at a thousand new connections a second the oldest still has a quarter of one.
pub const HANDSHAKES_MAX: usize = 256;

/// Connections to the API over TLS of which no request was let in yet; the rest of the room is for those who have shown a token.
pub const API_STRANGERS_MAX: usize = 256;

/// Until a request of a connection to the API must have been let in: whoever connects has something to ask. Health checks of balancers connect anew.
pub const API_STRANGER_MAX: Duration = Duration::from_secs(30);

/// Connections without a certificate on the peer port: machines that join at the same moment, each for a second.
pub const PEER_STRANGERS_MAX: usize = 64;

/// How long such a connection lasts: twice what joining may take.
pub const PEER_STRANGER_MAX: Duration = Duration::from_secs(60);

/// What such a connection may ask at once: joining asks one thing.
pub const STRANGER_STREAMS_MAX: u32 = 4;

/// Bytes it may send ahead: the largest body it may send.
pub const STRANGER_WINDOW_BYTES: u32 = STRANGER_BODY_BYTES_MAX as u32;

/// Bytes of a body on the peer port without a certificate: names, labels and two certificate requests take some kilobytes.
pub const STRANGER_BODY_BYTES_MAX: usize = 64 << 10;

/// Connections of nodes: one of each of 5,000 workers that all turn to the same server, a connection of each lane of other servers, and those that are
/// being replaced by newer ones.
pub const MEMBER_CONNECTIONS_MAX: usize = 8_192;

/// After a connection could not be accepted: mostly for want of descriptors, which come back by themselves.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How often a quiet connection between nodes is tried.
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);

/// A connection between nodes that does not answer for this long is gone.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(10);

/// Bytes another node may send ahead: an artifact across an ocean at 30 MiB/s.
pub const WINDOW_BYTES: u32 = 4 << 20;
