//! What views allow, each limit with its reason.

use std::time::Duration;

/// A worker that has not reported for this long shows as silent: three reports are missing.
pub const SILENT_AFTER: Duration = Duration::from_secs(10);

/// Bytes of JSON from which on a part of an assignment ends: with the largest app on top it is far below the longest line of a stream.
pub const ASSIGNMENT_PART_BYTES: usize = 256 * 1024;

/// Changes of objects that are shown at once to a watcher: what a slow one has not taken yet is not made.
pub const WATCH_EVENTS_MAX: usize = 100;

/// Parsed apps that are kept; beyond this they are read again, which takes 15 µs. At 3 KB each a thousand of them were a tenth of what an idle app may cost.
pub const APPS_CACHED_MAX: usize = 128;

/// Longest request id that is looked for, in bytes: longer ones are never kept.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
