//! Moments on the wire: RFC 3339 text with milliseconds. Owns the conversion to and from the model's number; must never read a clock.

use std::{fmt, str::FromStr};

use model::id::Timestamp;
use serde::{Deserialize, Serialize, de};

/// A moment. Prints, parses and serialises as `2026-11-21T05:10:21.042Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Timestamp);

/// The text is not a moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time: write it like 2026-11-21T05:10:21Z")]
pub struct InvalidTime(String);

impl Time {
    /// The moment of a `Date` header (RFC 9110), in whole seconds.
    pub fn of_http_date(text: &str) -> Option<Self> {
        let moment = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        u64::try_from(moment.as_millisecond()).ok().map(|millis| Self(Timestamp(millis)))
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> u64 {
        self.0.0
    }
}

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = i64::try_from(self.0.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        write!(out, "{:.3}", moment.unwrap_or(jiff::Timestamp::MAX))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Time {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let wrong = || InvalidTime(text.chars().take(80).collect());
        let moment: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        u64::try_from(moment.as_millisecond()).map(|millis| Self(Timestamp(millis))).map_err(|_| wrong())
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_wire() {
        for millis in [0, 1, 1_763_701_821_042, 4_102_444_800_000] {
            let time = Time(Timestamp(millis));
            let text = serde_json::to_string(&time).expect("text");
            assert_eq!(serde_json::from_str::<Time>(&text).expect("its own text"), time, "{text}");
        }
        assert_eq!(Time(Timestamp(1_763_701_821_042)).to_string(), "2025-11-21T05:10:21.042Z");
        assert_eq!(Time::of_http_date("Fri, 21 Nov 2025 05:10:21 GMT"), Some(Time(Timestamp(1_763_701_821_000))));
        assert_eq!(Time::of_http_date("soon"), None);
        assert!("yesterday".parse::<Time>().is_err());
        assert!("1900-01-01T00:00:00Z".parse::<Time>().is_err(), "before the epoch");
    }
}
