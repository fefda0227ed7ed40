//! What the wire allows, each limit with its reason. Owns numbers both ends must agree on; must never hold a limit only one end knows.

use std::time::Duration;

/// Largest artifact in bytes: the biggest component seen (a Python interpreter with its libraries) has 60 MiB; a 1 GiB upload is a mistake.
pub const ARTIFACT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Largest JSON body in bytes, either way: 500 apps of 8 KiB fit.
pub const JSON_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest line of a stream in bytes: the status of an app with a thousand instances, or a part of an assignment, stays far below it.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long dialing may take: on one machine it is instant, across an ocean a third of a second.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long a call that is not a stream may take: longer than any fsync a healthy disk needs, shorter than patience.
pub const CALL_MAX: Duration = Duration::from_secs(30);

/// Slowest upload that is waited for, in bytes per second; added to [`CALL_MAX`].
pub const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 256 * 1024;

/// How often a stream with nothing to say sends an empty line, so that a silent end is told from a dead one.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A stream without a byte for this long is dead: three keep-alives were missed.
pub const STREAM_SILENCE_MAX: Duration = Duration::from_secs(35);

/// How long joining may take: a write to the log of every server, with an election in between.
pub const JOIN_MAX: Duration = Duration::from_secs(20);

/// Between two tries to go on with a watch whose server went away: an election takes longer.
pub const WATCH_PAUSE: Duration = Duration::from_millis(250);

/// Such tries after which a watch gives up: 30 s, several elections.
pub const WATCH_PAUSES_MAX: u32 = 120;

/// How long a server may take to say what it knows of another one: it answers from memory, and whoever asks waits with its start.
pub const STANDING_MAX: Duration = Duration::from_secs(3);

/// How long a machine that is to form a cluster may take to say how it stands: it answers from memory, and to bind itself it writes one small file.
pub const FORM_MAX: Duration = Duration::from_secs(5);
