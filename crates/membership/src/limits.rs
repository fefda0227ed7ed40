//! What a server goes by where it is about its group, each limit with its reason.

use std::time::Duration;

/// Votes that are given by themselves.
pub const VOTERS_WANTED: usize = 3;

/// Entries a learner may lack and count as caught up: what one batch brings.
pub const CAUGHT_UP_WITHIN: u64 = 100;

/// A server that was heard within this time lives: ten elections of the standard profile.
pub const REPLACE_SILENCE_MIN: Duration = Duration::from_secs(3);

/// Between two lines about those who were turned away: whoever tries without end fills no disk.
pub const TURNED_AWAY_TELL_EVERY: Duration = Duration::from_secs(10);

/// Elections that may pass without a leader before a server counts itself as cut off: one may fail, and two in a row nearly never do.
pub const CONTACT_ELECTIONS: u32 = 3;

/// The shortest such time: a leader that is lost is replaced in less than half of it, and not every worker should look for another server meanwhile.
pub const CONTACT_LOST_MIN: Duration = Duration::from_secs(3);
