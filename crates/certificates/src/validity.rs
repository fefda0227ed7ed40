//! When a certificate begins and ends: the one thing of it that neither rustls nor webpki tells. Owns walking to that field of the DER encoding; pure. Must
//! never decide whether a certificate is good.

/// Two points in time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The validity of an X.509 certificate (RFC 5280, section 4.1); `None` when `der` is none.
pub(crate) fn of(der: &[u8]) -> Option<Validity> {
    let mut certificate = Reader(der).expect(SEQUENCE)?;
    let mut to_be_signed = certificate.expect(SEQUENCE)?;
    if to_be_signed.tag()? == VERSION {
        to_be_signed.expect(VERSION)?;
    }
    to_be_signed.expect(INTEGER)?; // serial number
    to_be_signed.expect(SEQUENCE)?; // signature algorithm
    to_be_signed.expect(SEQUENCE)?; // issuer
    let mut validity = to_be_signed.expect(SEQUENCE)?;
    Some(Validity { not_before: validity.time()?, not_after: validity.time()? })
}

/// What is left of a DER encoding.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<Reader<'a>> {
        (self.tag()? == tag).then(|| self.next())?.map(|(_, content)| Reader(content))
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Up to three bytes of length: 16 MiB are more than any certificate has.
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let number = |range: std::ops::Range<usize>| {
            digits.get(range)?.iter().try_fold(0_i64, |sum, digit| Some(sum * 10 + i64::from(digit - b'0')))
        };
        let (year, rest) = match (tag, digits.len()) {
            // RFC 5280, section 4.1.2.5.1: 50 is 1950, 49 is 2049.
            (UTC_TIME, 12) => (number(0..2).map(|year| if year >= 50 { 1900 + year } else { 2000 + year })?, 2),
            (GENERALIZED_TIME, 14) => (number(0..4)?, 4),
            _ => return None,
        };
        let part = |at: usize| number(rest + at * 2..rest + at * 2 + 2);
        let (month, day, hour, minute, second) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
        let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
        fits.then(|| (days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second)
    }
}

/// Days since 1970-01-01 in the Gregorian calendar (Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_time_are_read() {
        let check = |tag: u8, text: &str, expected: Option<i64>| {
            let mut der = vec![tag, u8::try_from(text.len()).expect("short")];
            der.extend_from_slice(text.as_bytes());
            assert_eq!(Reader(&der).time(), expected, "{text}");
        };
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "261121080000Z", Some(1_795_248_000));
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(UTC_TIME, "500101000000Z", Some(-631_152_000));
        check(GENERALIZED_TIME, "20000229120000Z", Some(951_825_600));
        check(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        check(UTC_TIME, "261321080000Z", None);
        check(UTC_TIME, "2611210800Z", None);
        check(GENERALIZED_TIME, "261121080000Z", None);
        check(UTC_TIME, "26112108000+Z", None);
    }

    #[test]
    fn a_certificate_s_own_dates_are_found_and_nothing_else_is_one() {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2020, 2, 29);
        params.not_after = rcgen::date_time_ymd(2121, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("a certificate").der().to_vec();
        let validity = of(&der).expect("a certificate");
        assert_eq!((validity.not_before, validity.not_after), (1_582_934_400, 4_765_132_800));
        for length in 0..der.len() {
            assert_eq!(of(&der[..length]), None, "cut at {length}");
        }
        assert_eq!(of(b"\x30\x84\xff\xff\xff\xff"), None);
    }
}
