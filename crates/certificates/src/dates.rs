//! What is said of certificates' dates: that one has ended, will soon, or has not begun, once each. Owns the words of these warnings; must never decide
//! whether a certificate is used.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{certificate::Facts, limits::EXPIRY_WARNING};

/// Remembers what was said of which certificate.
#[derive(Debug, Default)]
pub struct Dates {
    told: BTreeMap<String, (Facts, Standing)>,
}

/// How a certificate stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is valid, and will be for a while.
    Valid,
    /// It is not valid yet.
    NotYet,
    /// It ends within 14 days.
    EndsSoon,
    /// It is not valid any more.
    Ended,
}

impl Standing {
    /// That of a certificate at `now`.
    pub fn of(facts: &Facts, now: SystemTime) -> Self {
        let now = seconds(now);
        let soon = now.saturating_add(i64::try_from(EXPIRY_WARNING.as_secs()).unwrap_or(i64::MAX));
        match () {
            () if facts.expires <= now => Self::Ended,
            () if facts.expires <= soon => Self::EndsSoon,
            () if facts.begins > now => Self::NotYet,
            () => Self::Valid,
        }
    }
}

impl Dates {
    /// Says of each of `certificates`, which are all there are, what was not said of it before.
    pub fn tell<'a>(&mut self, certificates: impl IntoIterator<Item = (&'a str, &'a Facts)>, now: SystemTime) {
        let mut told = BTreeMap::new();
        for (name, facts) in certificates {
            let standing = Standing::of(facts, now);
            let before = self.told.get(name).filter(|(known, _)| known == facts).map_or(Standing::Valid, |(_, before)| *before);
            if standing > before {
                say(name, facts, standing);
            }
            told.insert(name.to_owned(), (facts.clone(), standing));
        }
        self.told = told;
    }
}

fn say(name: &str, facts: &Facts, standing: Standing) {
    let (begins, expires) = (date(facts.begins), date(facts.expires));
    match standing {
        Standing::Ended => {
            tracing::warn!(error.code = "E0513", certificate.name = name, certificate.expires = %expires, "a certificate in use has expired; clients refuse it");
        }
        Standing::EndsSoon => {
            tracing::warn!(certificate.name = name, certificate.expires = %expires, "a certificate in use expires soon");
        }
        Standing::NotYet => {
            tracing::warn!(error.code = "E0513", certificate.name = name, certificate.begins = %begins, "a certificate in use is not valid yet; check the clock");
        }
        Standing::Valid => {}
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A point in time as people read it.
pub(crate) fn date(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_thing_is_said_once_and_again_of_another_certificate() {
        let facts = |begins, expires| Facts { hosts: vec!["a.example".to_owned()], begins, expires };
        let day = 24 * 3600;
        let at = |days: u64| UNIX_EPOCH + Duration::from_secs(days * 24 * 3600);
        let one = facts(10 * day, 100 * day);
        let check = |days, expected| assert_eq!(Standing::of(&one, at(days)), expected, "day {days}");
        check(9, Standing::NotYet);
        check(10, Standing::Valid);
        check(85, Standing::Valid);
        check(86, Standing::EndsSoon);
        check(99, Standing::EndsSoon);
        check(100, Standing::Ended);
        let mut dates = Dates::default();
        let standing = |dates: &Dates| dates.told.values().map(|(_, standing)| *standing).collect::<Vec<_>>();
        dates.tell([("one", &one)], at(90));
        assert_eq!(standing(&dates), [Standing::EndsSoon]);
        let renewed = facts(80 * day, 200 * day);
        dates.tell([("one", &renewed)], at(90));
        assert_eq!(standing(&dates), [Standing::Valid]);
        dates.tell([], at(300));
        assert!(dates.told.is_empty(), "what is not in use is not remembered");
    }
}
