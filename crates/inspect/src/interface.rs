//! Names of interfaces and their versions, as components spell them. Must never know which of them exist.

use std::fmt;

/// `wasi:http/types@0.2.12` in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface<'a> {
    /// `wasi:http`.
    pub package: &'a str,
    /// `types`.
    pub name: &'a str,
    /// `0.2.12`, when the name has one.
    pub version: Option<Version>,
}

impl<'a> Interface<'a> {
    /// The parts of `text`; none when it is not the name of an interface.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(Version::parse(version)?)),
            None => (text, None),
        };
        let (package, name) = path.split_once('/')?;
        let named = package.split_once(':').is_some_and(|(namespace, rest)| !namespace.is_empty() && !rest.is_empty());
        (named && !name.is_empty()).then_some(Self { package, name, version })
    }
}

/// A semantic version. Build metadata is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Changes with what breaks everybody.
    pub major: u64,
    /// Changes with what is new; while `major` is 0, with what breaks.
    pub minor: u64,
    /// Changes with what was mended.
    pub patch: u64,
    /// `rc.1` in `0.2.0-rc.1`; empty for a release.
    pub candidate: String,
}

impl Version {
    /// The release `major.minor.patch`.
    pub const fn release(major: u64, minor: u64, patch: u64) -> Self {
        Self { major, minor, patch, candidate: String::new() }
    }

    /// Reads a version; parts that are left out (`0.2`) are 0.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split('+').next()?;
        let (numbers, candidate) = text.split_once('-').unwrap_or((text, ""));
        let mut parts = numbers.split('.').map(|part| part.parse::<u64>().ok());
        let major = parts.next()??;
        let minor = parts.next().unwrap_or(Some(0))?;
        let patch = parts.next().unwrap_or(Some(0))?;
        parts.next().is_none().then(|| Self { major, minor, patch, candidate: candidate.to_owned() })
    }

    /// True when something made for one of the two works with the other: the same major version, while that is 0 the same minor version too.
    /// A candidate works only with itself.
    pub fn is_compatible_with(&self, other: &Self) -> bool {
        if !self.candidate.is_empty() || !other.candidate.is_empty() {
            return self == other;
        }
        self.major == other.major && (self.major > 0 || self.minor == other.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if self.candidate.is_empty() { Ok(()) } else { write!(out, "-{}", self.candidate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart() {
        let parts = |text| {
            Interface::parse(text).map(|one| format!("{} {} {}", one.package, one.name, one.version.map_or("-".into(), |v| v.to_string())))
        };
        assert_eq!(parts("wasi:http/types@0.2.12").as_deref(), Some("wasi:http types 0.2.12"));
        assert_eq!(parts("wasi:config/store@0.2.0-rc.1+b").as_deref(), Some("wasi:config store 0.2.0-rc.1"));
        assert_eq!(parts("acme:a/b@1").as_deref(), Some("acme:a b 1.0.0"));
        assert_eq!(parts("acme:a/b").as_deref(), Some("acme:a b -"));
        for plain in ["run", "a/b", ":/", "a:/b", "a:b/", "a:b/c@x", "a:b/c@1.2.3.4", ""] {
            assert_eq!(parts(plain), None, "{plain}");
        }
    }

    #[test]
    fn versions_are_compared_by_what_breaks() {
        let compatible = |one, other| Version::parse(one).unwrap().is_compatible_with(&Version::parse(other).unwrap());
        for (one, other, expected) in [
            ("0.2.0", "0.2.12", true),
            ("0.2.13", "0.2.12", true),
            ("0.3.0", "0.2.12", false),
            ("1.0.0", "1.7.2", true),
            ("2.0.0", "1.0.0", false),
            ("0.2.0-rc.1", "0.2.0-rc.1", true),
            ("0.2.0-rc.2", "0.2.0-rc.1", false),
            ("0.2.0-rc-2023-11-10", "0.2.0", false),
        ] {
            assert_eq!(compatible(one, other), expected, "{one} with {other}");
            assert_eq!(compatible(other, one), expected, "{other} with {one}");
        }
    }
}
