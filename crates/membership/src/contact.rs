//! Whether a server still speaks for its cluster. Owns when it stops to. Must never touch what runs.
//!
//! Who led stays known on a server that is cut off, and what it knew stays true of the past. Neither is what a worker of another machine should go by.

use std::time::Duration;

use consensus::{Health, Profile};

use crate::limits::{CONTACT_ELECTIONS, CONTACT_LOST_MIN};

/// What a server sees of itself at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The state lists it. One that is not there was removed, or has not come so far that it knows of itself.
    pub is_listed: bool,
    /// It leads.
    pub leads: bool,
    /// Whether its log takes anything new.
    pub health: &'a Health,
    /// How long it has heard of nobody that leads or, when it leads itself, of no majority.
    pub silence: Duration,
}

/// How much longer a server with `patience` speaks for the cluster, unless it hears of it again; nothing when it does not any more.
pub fn left(seen: &Seen<'_>, patience: Duration) -> Option<Duration> {
    // One that refuses hears of the others, and takes nothing new from them. A leader that takes nothing is known for it, and nobody is better placed.
    let is_stuck = !seen.leads && matches!(seen.health, Health::Refusing { .. });
    if !seen.is_listed || is_stuck { None } else { patience.checked_sub(seen.silence) }
}

/// How long a server of `profile` may hear of no leader: longer than the group takes to find another one.
pub fn patience(profile: Profile) -> Duration {
    let election = Duration::from_millis(profile.timing().election_max_ms);
    (election * CONTACT_ELECTIONS).max(CONTACT_LOST_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_is_replaced_in_time_is_waited_for() {
        for (profile, expected_ms) in [(Profile::Lan, 3_000), (Profile::Cloud, 3_000), (Profile::Wan, 9_000)] {
            assert_eq!(patience(profile), Duration::from_millis(expected_ms), "{profile:?}");
        }
    }

    #[test]
    fn a_server_speaks_for_a_cluster_that_knows_it_and_that_it_follows() {
        let (working, refusing) = (Health::Working, Health::Refusing { message: "the disk is full".to_owned() });
        let ms = Duration::from_millis;
        let check = |is_listed, leads, health: &Health, silence, expected: Option<u64>| {
            let seen = Seen { is_listed, leads, health, silence: ms(silence) };
            assert_eq!(left(&seen, ms(3_000)), expected.map(ms), "{seen:?}");
        };
        check(true, false, &working, 0, Some(3_000));
        check(true, false, &working, 2_999, Some(1));
        check(true, false, &working, 3_000, Some(0));
        check(true, false, &working, 3_001, None);
        check(true, true, &working, 3_001, None);
        check(false, false, &working, 0, None);
        check(true, false, &refusing, 0, None);
        check(true, true, &refusing, 0, Some(3_000));
    }
}
