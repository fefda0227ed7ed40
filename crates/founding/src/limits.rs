//! How long a server waits before it has a place, each limit with its reason.

use std::time::Duration;

/// Until another server has said where this one stands: whoever starts waits for it, and those that are gone say nothing.
pub const STANDING_WAIT_MAX: Duration = Duration::from_secs(2);

/// Until the only member of a group leads: nobody else has to be asked.
pub const LEAD_MAX: Duration = Duration::from_secs(30);

/// Until a server has given the key of its cluster: as long as it takes to answer anything.
pub const KEY_WAIT_MAX: Duration = Duration::from_secs(25);

/// How often it is written down how far the log has come: what a server may lose of that is what nobody notices when its log is put back.
pub const REACHED_EVERY: Duration = Duration::from_secs(2);
