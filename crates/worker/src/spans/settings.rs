//! Where spans go and how many of them. Pure. Owns what operators may write; must never connect.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where spans go, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceSettings {
    /// The collector.
    pub collector: Collector,
    /// Which share of traces is recorded.
    pub ratio: Ratio,
}

/// A collector that takes OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Collector {
    /// `host:port`, as it is dialed and sent in `Host`.
    pub authority: String,
    /// `/v1/traces`, unless the URL says more.
    pub path: String,
}

/// A share of traces, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ratio(pub u32);

/// The URL of a collector, or a share, is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCollector {
    /// TLS.
    #[error("`{0}`: spans are sent in the clear; run a collector on this machine and let it send them on over TLS")]
    Tls(String),
    /// Something else.
    #[error("`{0}` is no URL of a collector: write it as http://HOST:4318")]
    Url(String),
    /// No share.
    #[error("`{0}` is no share: write a number from 0 to 1")]
    Ratio(String),
}

impl FromStr for Collector {
    type Err = InvalidCollector;

    fn from_str(text: &str) -> Result<Self, InvalidCollector> {
        let wrong = || InvalidCollector::Url(text.to_owned());
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(InvalidCollector::Tls(text.to_owned())),
            _ => return Err(wrong()),
        }
        let authority = uri.authority().filter(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(wrong)?;
        let authority = if authority.port().is_some() { authority.to_string() } else { format!("{authority}:4318") };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { authority, path: if path == "/" { "/v1/traces".to_owned() } else { path.to_owned() } })
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}{}", self.authority, self.path)
    }
}

impl TryFrom<String> for Collector {
    type Error = InvalidCollector;

    fn try_from(text: String) -> Result<Self, InvalidCollector> {
        text.parse()
    }
}

impl From<Collector> for String {
    fn from(collector: Collector) -> Self {
        collector.to_string()
    }
}

impl FromStr for Ratio {
    type Err = InvalidCollector;

    fn from_str(text: &str) -> Result<Self, InvalidCollector> {
        let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
        // From 0 to a million.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        share.map(|share| Self((share * 1e6).round() as u32)).ok_or_else(|| InvalidCollector::Ratio(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_an_http_url_and_a_ratio_a_share() {
        let url = |text: &str| text.parse::<Collector>().map(|collector| collector.to_string());
        assert_eq!(url("http://localhost").as_deref(), Ok("http://localhost:4318/v1/traces"));
        assert_eq!(url("http://[::1]:9/otlp/v1/traces").as_deref(), Ok("http://[::1]:9/otlp/v1/traces"));
        assert!(matches!(url("https://collector"), Err(InvalidCollector::Tls(_))));
        for wrong in ["collector:4318", "grpc://collector", "http://", "", "http://user@host"] {
            assert_eq!(url(wrong), Err(InvalidCollector::Url(wrong.to_owned())), "{wrong}");
        }
        assert_eq!(["0", "0.25", "1"].map(|text| text.parse::<Ratio>()), [Ok(Ratio(0)), Ok(Ratio(250_000)), Ok(Ratio(1_000_000))]);
        for wrong in ["-1", "1.1", "x", "NaN"] {
            assert!(wrong.parse::<Ratio>().is_err(), "{wrong}");
        }
    }
}
