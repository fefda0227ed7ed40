//! One rule: `scheme://target:port`. Owns its grammar and its text; must never decide about a destination as a whole.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize, de};

use crate::limits::HOST_BYTES_MAX;

/// One destination, or several of a kind. Written `https://api.example:443`; the port may be left out for `http` and `https`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EgressRule {
    /// What is spoken.
    pub scheme: Scheme,
    /// With whom.
    pub target: Target,
    /// At which port, never 0.
    pub port: u16,
}

/// What is spoken with a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
    /// Anything over TCP.
    Tcp,
}

/// Which hosts a rule means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// `api.example`: the host of exactly this name. Lower case, without a dot at its end.
    Name(String),
    /// `*.example`: every host below `example`, but not `example` itself. Holds `example`.
    Suffix(String),
    /// `10.0.0.1` or `[2001:db8::1]`; an IPv4 address is never held in its IPv6 form.
    Address(IpAddr),
    /// `10.0.0.0/8` or `[2001:db8::/32]`, with no bit set behind its prefix; never a single address.
    Network(IpNet),
}

/// What was wrong with the text of a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a destination: {rule}")]
pub struct InvalidRule {
    /// The text as given, shortened.
    pub text: String,
    /// How to write it.
    pub rule: String,
}

const HOSTS: &str = "write a host like api.example, *.example for every host below it, or 0.0.0.0/0 for every IPv4 address";
const DESTINATIONS: &str =
    "write a host like https://api.example, https://*.example for every host below it, or https://0.0.0.0/0 for every IPv4 address";
const NO_PATH: &str = "write the host and the port alone, without a path";

impl Scheme {
    /// `http`, `https` or `tcp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
        }
    }

    /// The port that is meant when none is written.
    pub fn default_port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp => None,
        }
    }
}

impl Target {
    /// The addresses it means, when it means addresses.
    pub(super) fn network(&self) -> Option<IpNet> {
        match self {
            Self::Address(address) => Some(IpNet::from(*address)),
            Self::Network(network) => Some(*network),
            Self::Name(_) | Self::Suffix(_) => None,
        }
    }

    /// Whether it means the host called `name`, which is in lower case and has no dot at its end.
    pub(super) fn is_name_of(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Suffix(suffix) => {
                name.strip_suffix(suffix.as_str()).and_then(|rest| rest.strip_suffix('.')).is_some_and(|below| !below.is_empty())
            }
            Self::Address(_) | Self::Network(_) => false,
        }
    }
}

impl EgressRule {
    /// True when everything this rule allows, `wider` allows too.
    pub fn is_covered_by(&self, wider: &Self) -> bool {
        let covers = match (&wider.target, &self.target) {
            (Target::Suffix(_), Target::Name(name)) => wider.target.is_name_of(name),
            (Target::Suffix(wide), Target::Suffix(suffix)) => wide == suffix || wider.target.is_name_of(suffix),
            // A single address reaches what is protected, a network does not.
            (Target::Network(network), Target::Address(address)) => network.contains(address) && super::is_protected(*address).is_none(),
            (Target::Network(wide), Target::Network(network)) => wide.contains(network),
            (wide, target) => wide == target,
        };
        covers && self.scheme == wider.scheme && self.port == wider.port
    }

    /// The rule that allows exactly this destination, to show where one was denied; nothing when `host` is no host.
    pub fn allowing(scheme: Scheme, host: &str, port: u16) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let target = match address(&host) {
            Some(address) => Target::Address(address),
            None => Target::Name(name(&host).ok()?),
        };
        (port != 0).then_some(Self { scheme, target, port })
    }
}

/// The address that `host` is, if it is one.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    let bare = match host.strip_prefix('[') {
        Some(rest) => return rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical()),
        None => host.strip_suffix('.').unwrap_or(host),
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

impl FromStr for EgressRule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let wrong = |rule: String| InvalidRule { text: text.chars().take(80).collect(), rule };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            wrong(if text.starts_with('*') && !text.starts_with("*.") {
                DESTINATIONS.into()
            } else {
                format!("write https://{}", clip(text))
            })
        })?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "tcp" => Scheme::Tcp,
            _ => return Err(wrong("it starts with https://, http:// or tcp://".into())),
        };
        if rest.contains('@') {
            return Err(wrong("write it without a user name".into()));
        }
        if !rest.contains('[') && rest.split('/').next().is_some_and(|host| host.matches(':').count() > 1) {
            return Err(wrong("an IPv6 address or network stands in brackets: https://[2001:db8::1]:443".into()));
        }
        let (host, port) = split(rest);
        if port.is_some_and(|port| port.contains('/')) {
            return Err(wrong(NO_PATH.into()));
        }
        let port = match (port, scheme.default_port()) {
            (Some(port), _) => port_of(port).ok_or_else(|| wrong("a port is 1 to 65535".into()))?,
            (None, Some(port)) => port,
            (None, None) => return Err(wrong(format!("write the port: {}:5432", clip(text)))),
        };
        Ok(Self { scheme, target: target(host).map_err(wrong)?, port })
    }
}

/// Host and port; a `:` inside brackets is part of an address.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn port_of(text: &str) -> Option<u16> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|port| *port != 0)
}

fn target(host: &str) -> Result<Target, String> {
    if let Some(address) = address(host) {
        return Ok(Target::Address(address));
    }
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(network) = inside.unwrap_or(host).parse::<IpNet>() {
        return self::network(network, inside.is_some());
    }
    if host.contains(['/', '?', '#']) {
        return Err(NO_PATH.into());
    }
    match host.strip_prefix("*.") {
        Some(suffix) => name(suffix).map(Target::Suffix),
        None => name(host).map(Target::Name),
    }
}

fn network(network: IpNet, brackets: bool) -> Result<Target, String> {
    let is_six = matches!(network, IpNet::V6(_));
    if is_six != brackets {
        return Err(if is_six {
            format!("put the network into brackets: [{network}]")
        } else {
            format!("write it without brackets: {network}")
        });
    }
    if network.trunc() != network {
        return Err(format!("a bit is set behind the prefix; the network is {}", network.trunc()));
    }
    if is_six && network.addr().to_canonical().is_ipv4() {
        return Err("write the IPv4 network itself: 10.0.0.0/8".into());
    }
    Ok(if super::is_single(&network) { Target::Address(network.addr()) } else { Target::Network(network) })
}

/// `text` as a host name in lower case.
fn name(text: &str) -> Result<String, String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.contains('*') || text.is_empty() {
        return Err(HOSTS.into());
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > HOST_BYTES_MAX || !text.split('.').all(label) {
        return Err("a host has letters, digits, `-` and dots; international names as xn--…".into());
    }
    // Resolvers take 127.1 and 0x7f000001 for addresses; a rule that reads like a name and means an address would surprise.
    let last = text.rsplit('.').next().unwrap_or(text);
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X") {
        return Err("write the address in full: 127.0.0.1".into());
    }
    Ok(text.to_ascii_lowercase())
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => out.write_str(name),
            Self::Suffix(suffix) => write!(out, "*.{suffix}"),
            Self::Address(IpAddr::V6(address)) => write!(out, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => write!(out, "{address}"),
            Self::Network(IpNet::V6(network)) => write!(out, "[{network}]"),
            Self::Network(IpNet::V4(network)) => write!(out, "{network}"),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Display for EgressRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}:{}", self.scheme, self.target, self.port)
    }
}

impl Serialize for EgressRule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EgressRule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
