//! Every limit of forming a cluster, with its reason. Must never hold a limit of joining one.

use std::time::Duration;

/// Machines that may form one cluster: nobody gains from more than seven votes, and each asks every other.
pub const PEERS_MAX: usize = 9;

/// Between two rounds of asking: people watch, and a round costs a handshake with each.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long connecting to one of them may take: they stand near each other, and one that is switched off holds up the round.
pub const CONNECT_MAX: Duration = Duration::from_secs(2);

/// After this long what is waited for is a warning: machines that are switched on together are up by then.
pub const WARN_AFTER: Duration = Duration::from_secs(60);

/// Between later warnings: often enough to be found in a log, not so often as to fill it.
pub const WARN_EVERY: Duration = Duration::from_secs(600);

/// How long the founder lets the others in with the token: those that are there join within seconds, and one that breaks down in that moment has a day to be mended.
pub const JOIN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Bytes of one question or answer: nine names and addresses of 255 characters fit.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// Connections that are served at once: the others' and a few of whoever looks.
pub const CONNECTIONS_MAX: usize = 64;

/// Longest life of a connection: one question and its answer.
pub const CONNECTION_MAX: Duration = Duration::from_secs(15);

/// After a connection that the system could not give: it may have more descriptors then.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);
