//! How long a rotation waits, with the reason.

use std::time::Duration;

/// A node that was not heard of for this long is not waited for: a process that starts anew takes a few seconds, and who comes later finds the way by itself.
pub const AWAY_AFTER: Duration = Duration::from_secs(30);
