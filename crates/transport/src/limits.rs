//! Every limit of the transport, with its reason. Owns the numbers; must never enforce one.

use std::time::Duration;

/// A node's certificate. Short, so that a lost key is worth little for long; long enough that a day without a leader renews nothing and breaks nothing.
pub const NODE_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The authority's certificate. Replacing it touches every node, so it outlives the machines.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Authorities that a cluster remembers after they were replaced: who was away for more rotations than this joins anew. Each makes every handshake 1 KB longer.
pub const RETIRED_MAX: usize = 3;

/// Certificates behind a peer's own that are looked at: the authority, and a certificate and a link for each that is remembered.
pub const CHAIN_MAX: usize = 2 * (RETIRED_MAX + 2);

/// Certificates begin this long before they are made: a new node's clock may be an hour and more behind the one that signs.
pub const BACKDATE: Duration = Duration::from_secs(2 * 3600);

/// From the first byte to the end of a handshake: three round trips across the world and a slow machine take less than half of it.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Names besides its own that one certificate carries: what the API of one server is called. A certificate stays below one TLS record.
pub const NAMES_MAX: usize = 32;

/// A signing request: ours have 230 bytes, those of other tools with a subject and extensions below 1 KiB.
pub const REQUEST_BYTES_MAX: usize = 4 << 10;

/// A key, chain or cluster key file: ours have below 2 KiB.
pub const FILE_BYTES_MAX: u64 = 64 << 10;

/// The file of known members: two keys of 5,000 nodes at 200 bytes each, ten times over.
pub const MEMBERS_FILE_BYTES_MAX: u64 = 20 << 20;

/// Requests that wait for one connection at a time: each is a task of its own, and beyond it they wait in line within their deadlines.
pub const ASKS_MAX: usize = 1_024;

/// Between the first two attempts to connect to a peer that does not answer: a restarted process listens again within about this time.
pub const RECONNECT_MIN: Duration = Duration::from_millis(20);

/// Between later ones: a peer that comes back is found within half a second, which an election takes too.
pub const RECONNECT_MAX: Duration = Duration::from_millis(500);

/// Between signs of life on a connection. After a cut cable TCP would say nothing for a quarter of an hour, and would go on slowly when it is mended.
pub const PING_EVERY: Duration = Duration::from_secs(2);

/// A sign of life takes a round trip; whoever needs longer is as good as gone for what runs over these connections.
pub const PING_MAX: Duration = Duration::from_secs(2);

/// How long somebody who was refused may take to hear why, and how many bytes they may say meanwhile: without it the system would cut the alert off.
pub const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// See [`FAREWELL_MAX`]: a client has sent a request or two by then.
pub const FAREWELL_BYTES_MAX: usize = 64 << 10;
