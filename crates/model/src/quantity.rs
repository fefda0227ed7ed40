//! Amounts as users write them: `64Mi`, `250m`, `30s`. Owns their grammar; must never know what they limit.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A span of time in milliseconds. Written `500ms`, `30s`, `5m`, `2h`, `7d`; canonical JSON holds the number of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The span as the standard library's type.
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// An amount of memory or data in bytes. Written `64Mi`, `1Gi`, `16Ki`, `10M`, or a plain number; canonical JSON holds the number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// Thousandths of a core. Written `250m`, `1`, `0.5`; canonical JSON holds the number of thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuMillis(pub u32);

/// What was wrong with the text of an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {rule}")]
pub struct InvalidQuantity {
    /// The text as given, shortened.
    pub text: String,
    /// What was expected.
    pub what: &'static str,
    /// How to write it.
    pub rule: &'static str,
}

/// Suffix and milliseconds, largest first.
const TIME_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Suffix and bytes, largest first. The powers of ten come after the powers of two so that printing prefers `Mi`.
const SIZE_UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl FromStr for Millis {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let wrong = || InvalidQuantity::new(text, "a duration", "write a whole number and ms, s, m, h or d: 30s");
        let (number, unit) = split(text);
        let factor = TIME_UNITS.iter().find(|(suffix, _)| *suffix == unit).map(|(_, millis)| *millis).ok_or_else(wrong)?;
        whole(number, factor).map(Self).ok_or_else(wrong)
    }
}

impl FromStr for Bytes {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let wrong = || InvalidQuantity::new(text, "a size", "write a whole number and Ki, Mi, Gi (or k, M, G): 64Mi");
        let (number, unit) = split(text);
        let factor = match unit {
            "" => 1,
            _ => SIZE_UNITS.iter().find(|(suffix, _)| *suffix == unit).map(|(_, bytes)| *bytes).ok_or_else(wrong)?,
        };
        whole(number, factor).map(Self).ok_or_else(wrong)
    }
}

impl FromStr for CpuMillis {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let wrong = || InvalidQuantity::new(text, "an amount of processor", "write thousandths of a core, or cores: 250m, 1, 0.5");
        let millis = match text.strip_suffix('m') {
            Some(number) => whole(number, 1),
            None => cores(text),
        };
        millis.and_then(|millis| u32::try_from(millis).ok()).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TIME_UNITS.iter().find(|(_, millis)| self.0 != 0 && self.0.is_multiple_of(*millis)) {
            Some((suffix, millis)) => out.pad(&format!("{}{suffix}", self.0 / millis)),
            None => out.pad("0s"),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZE_UNITS.iter().find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes)) {
            Some((suffix, bytes)) => out.pad(&format!("{}{suffix}", self.0 / bytes)),
            None => out.pad(&self.0.to_string()),
        }
    }
}

impl fmt::Display for CpuMillis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1_000) { out.pad(&(self.0 / 1_000).to_string()) } else { out.pad(&format!("{}m", self.0)) }
    }
}

impl InvalidQuantity {
    fn new(text: &str, what: &'static str, rule: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), what, rule }
    }
}

/// The digits in front, and what follows.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// `number` times `factor`, when `number` is nothing but digits and the product fits.
fn whole(number: &str, factor: u64) -> Option<u64> {
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Thousandths of `1`, `0.5` or `2.125`.
fn cores(text: &str) -> Option<u64> {
    let (cores, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 3 {
        return None;
    }
    let fraction = whole(fraction, 1_000)? / 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    whole(cores, 1_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<Q: FromStr<Err = InvalidQuantity> + fmt::Display>(text: &str, printed: Option<&str>) {
        assert_eq!(text.parse::<Q>().ok().map(|quantity| quantity.to_string()).as_deref(), printed, "{text}");
    }

    #[test]
    fn durations_are_read_and_printed_in_their_largest_unit() {
        for (text, printed) in [("500ms", "500ms"), ("1000ms", "1s"), ("90s", "90s"), ("60m", "1h"), ("7d", "7d"), ("0s", "0s")] {
            check::<Millis>(text, Some(printed));
        }
        for text in ["", "30", "s", "-1s", "1.5s", "1 s", "30S", "99999999999999999999d", "30sec", "+1s"] {
            check::<Millis>(text, None);
        }
    }

    #[test]
    fn sizes_are_read_and_printed_in_their_largest_unit() {
        for (text, printed) in
            [("64Mi", "64Mi"), ("1024Mi", "1Gi"), ("10M", "10M"), ("1k", "1k"), ("17", "17"), ("0", "0"), ("65536", "64Ki")]
        {
            check::<Bytes>(text, Some(printed));
        }
        for text in ["", "Mi", "64MB", "64mi", "1.5Gi", "-1", "64 Mi", "18446744073709551615Ti"] {
            check::<Bytes>(text, None);
        }
    }

    #[test]
    fn processors_are_thousandths_or_cores() {
        for (text, printed) in [("250m", "250m"), ("1", "1"), ("0.5", "500m"), ("2.125", "2125m"), ("1000m", "1"), ("0", "0")] {
            check::<CpuMillis>(text, Some(printed));
        }
        for text in ["", "m", ".5", "1.", "0.0001", "-1", "1 core", "99999999999"] {
            check::<CpuMillis>(text, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(number in any::<u64>(), millis in any::<u32>()) {
            prop_assert_eq!(Millis(number).to_string().parse(), Ok(Millis(number)));
            prop_assert_eq!(Bytes(number).to_string().parse(), Ok(Bytes(number)));
            prop_assert_eq!(CpuMillis(millis).to_string().parse(), Ok(CpuMillis(millis)));
        }
    }
}
