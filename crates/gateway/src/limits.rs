//! Every limit of the gateway, with its reason. Owns the numbers; must never enforce one.

use std::time::Duration;

/// Request line and header fields of one request together, in bytes. Envoy's edge guide says 60 KiB; cookies and tokens of real users fit in it.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Header fields of one request; what hyper parses without touching the heap.
pub const HEADERS_MAX: usize = 100;

/// Bytes of a request target. Browsers and proxies agree on about 8 KiB.
pub const URI_BYTES_MAX: usize = 8 * 1024;

/// Bytes of chunk extensions of one body. Nobody uses them; hyper itself gives up at 16 KiB.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 4 * 1024;

/// Bytes of the trailer section of one request body.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// Bytes hyper may buffer per HTTP/1 connection. Twice the head, because a head must fit; more only costs memory per connection.
pub const CONNECTION_BUFFER_BYTES_MAX: usize = 128 * 1024;

/// Concurrent streams of one HTTP/2 connection (Envoy's edge guide).
pub const H2_STREAMS_MAX: u32 = 100;

/// Receive window of one HTTP/2 stream in bytes: what one stream may make us hold.
pub const H2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// Receive window of one HTTP/2 connection in bytes: what all its streams together may make us hold.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes of one HTTP/2 stream's response that may wait for the peer.
pub const H2_SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Streams reset by the peer before we accepted them (rapid reset, CVE-2023-44487); h2's own number.
pub const H2_PENDING_RESETS_MAX: usize = 20;

/// Streams we had to reset because of the peer's errors (MadeYouReset, CVE-2025-8671); h2's default of 1024 is generous.
pub const H2_LOCAL_RESETS_MAX: usize = 128;

/// How often a quiet HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
pub const H2_PING_EVERY: Duration = Duration::from_secs(20);

/// Bytes read and thrown away after our last word to a client that is still sending, so that it sees the answer and not a reset.
pub const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long that may take.
pub const LINGER: Duration = Duration::from_secs(2);

/// Pause after `accept` fails for want of file descriptors: it would fail again at once.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes of an `X-Request-Id` accepted from a trusted proxy.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Bytes of a path shown in an access record: the rest says nothing to a reader and fills the disk.
pub const ACCESS_PATH_BYTES_MAX: usize = 1024;

/// Elements of `X-Forwarded-For` kept from trusted proxies; longer chains are loops.
pub const FORWARDED_HOPS_MAX: usize = 32;

/// What a user of the gateway may set. No `Default`: [`Limits::standard`] is a choice, and the caller makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; more wait in the accept queue of the kernel.
    pub connections_max: usize,
    /// From `accept` to the end of a TLS handshake; the wait for a place among those under way is part of it.
    pub handshake_timeout: Duration,
    /// TLS handshakes under way at once, counted from the client's whole greeting on: at 1 ms of processor time each (RSA), more would only wait longer.
    pub handshakes_max: usize,
    /// From the first byte of a request head (or from `accept`) to its last.
    pub head_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub keep_alive: Duration,
    /// How long a client may take no byte of an answer that is ready.
    pub write_stall: Duration,
    /// After shutdown is asked for, keep accepting at least this long: zero when another worker takes over the socket.
    pub drain_min: Duration,
    /// Idle connections are closed this long after drain began, busy ones with their next answer.
    pub drain_idle: Duration,
    /// After this long what is still running is cut.
    pub drain_max: Duration,
}

impl Limits {
    /// The numbers of docs/reference: 10,000 connections, heads in 10 s, keep-alive 75 s, stalled clients 60 s, drain 30 s.
    pub fn standard() -> Self {
        Self {
            connections_max: 10_000,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1_024,
            head_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            write_stall: Duration::from_secs(60),
            drain_min: Duration::ZERO,
            drain_idle: Duration::from_millis(500),
            drain_max: Duration::from_secs(30),
        }
    }
}
