//! Spans of time as people read and write them: `3m12s` in tables, `--since 10m` on the command line. Pure: the time now is a parameter.

use std::time::Duration;

use api::time::Time;
use model::id::Timestamp;

/// How long ago `then` was: the two largest units, `0s` for what lies ahead.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    span(Duration::from_millis(now.millis_since(then)))
}

/// A span in its two largest units: `45s`, `3m12s`, `2h5m`, `9d4h`.
pub fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let Some(first) = units.iter().position(|(size, _)| seconds >= *size) else { return "0s".to_owned() };
    let (size, letter) = units[first];
    let mut text = format!("{}{letter}", seconds / size);
    if let Some((smaller, letter)) = units.get(first + 1)
        && seconds % size / smaller > 0
    {
        text.push_str(&format!("{}{letter}", seconds % size / smaller));
    }
    text
}

/// A short span with one decimal: `0.4s`, `12.0s`.
pub fn brief(length: Duration) -> String {
    format!("{:.1}s", length.as_secs_f64())
}

/// The time now, read once per command at the edge.
pub fn now() -> Timestamp {
    Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}

/// Reads `--since`: a span (`90s`, `10m`, `1h30m`, `7d`) before `now`, or a point in time in RFC 3339.
///
/// # Errors
/// A sentence that says what is accepted.
pub fn parse_since(text: &str, now: Timestamp) -> Result<Time, String> {
    if let Ok(length) = parse_span(text) {
        return Ok(Time(Timestamp(now.0.saturating_sub(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))));
    }
    text.parse().map_err(|_| format!("`{text}` is neither a span like `10m` nor a time like `2026-01-31T12:00:00Z`"))
}

/// Reads a span of time: numbers with `ms`, `s`, `m`, `h` or `d`, several in a row are added.
///
/// # Errors
/// A sentence that says what is accepted.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a span of time; write it like `500ms`, `30s`, `5m`, `1h30m` or `7d`");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let amount: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let millis = match &rest[digits..digits + letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        total = amount.checked_mul(millis).map(Duration::from_millis).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[digits + letters..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_show_their_two_largest_units() {
        for (seconds, text) in [(0, "0s"), (45, "45s"), (60, "1m"), (192, "3m12s"), (7_500, "2h5m"), (7_230, "2h"), (792_000, "9d4h")] {
            assert_eq!(age(Timestamp(5_000), Timestamp(5_000 + seconds * 1_000 + 999)), text);
        }
        assert_eq!(age(Timestamp(9), Timestamp(3)), "0s");
    }

    #[test]
    fn spans_are_read() {
        for (text, millis) in [("500ms", 500), ("30s", 30_000), ("1h30m", 5_400_000), ("7d", 604_800_000)] {
            assert_eq!(parse_span(text).map(|span| span.as_millis()), Ok(millis), "{text}");
        }
        for text in ["", "30", "s", "5x", "-1s", "99999999999999999999d", "1 m"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn since_is_a_span_or_a_time() {
        assert_eq!(parse_since("10s", Timestamp(15_000)), Ok(Time(Timestamp(5_000))));
        assert_eq!(parse_since("1970-01-01T00:00:07Z", Timestamp(15_000)), Ok(Time(Timestamp(7_000))));
        assert!(parse_since("yesterday", Timestamp(0)).is_err());
    }
}
