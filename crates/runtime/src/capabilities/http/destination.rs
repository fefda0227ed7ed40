//! Where a request goes, and whether it may: the decision before a name is resolved, and the judgement of every address after it. Owns both; must never
//! resolve a name or open a connection.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use http::{Uri, uri};
use model::egress::{Egress, EgressRule, Scheme, Verdict};

use super::cluster::AtPort;

/// Scheme, host and port of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) scheme: Scheme,
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why a request was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    /// No rule means the destination.
    NoRule,
    /// A rule means the name, and nothing it resolved to may be reached.
    Address {
        /// The first of the addresses.
        address: IpAddr,
        /// Completes "which is …".
        why: &'static str,
    },
    /// The cluster is run by it: no rule opens it.
    Closed {
        /// The first of the addresses.
        address: IpAddr,
    },
}

impl Destination {
    /// Nothing when `uri` is no destination: it must have a scheme and a host, and nobody's name and password.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let scheme = match uri.scheme() {
            Some(scheme) if *scheme == uri::Scheme::HTTP => Scheme::Http,
            Some(scheme) if *scheme == uri::Scheme::HTTPS => Scheme::Https,
            _ => return None,
        };
        let authority = uri.authority()?;
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // What looks like a port and is none was left out by the parser.
            None if authority.as_str().ends_with(':') => return None,
            None => scheme.default_port()?,
        };
        let host = authority.host();
        // The parser takes brackets anywhere. Only an address stands in them, and a name is what a name server knows.
        let (host, is_host) = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => (address, address.parse::<Ipv6Addr>().is_ok()),
            None => (host, host.bytes().all(|letter| letter.is_ascii_alphanumeric() || b".-_".contains(&letter))),
        };
        let sane = is_host && !host.is_empty() && port != 0 && !authority.as_str().contains('@');
        sane.then(|| Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// What the rules say before anything is resolved.
    pub(super) fn decide(&self, egress: &Egress) -> Verdict {
        egress.decide(self.scheme, &self.host, self.port)
    }

    /// The address that the host is, if it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Those of `addresses` that may be connected to.
    ///
    /// # Errors
    /// None of them may.
    pub(super) fn judge(
        &self,
        verdict: &Verdict,
        addresses: &[IpAddr],
        cluster: &AtPort,
        is_own: impl Fn(IpAddr) -> bool,
    ) -> Result<Vec<SocketAddr>, Denied> {
        let mut denied = Denied::NoRule;
        let mut admitted = Vec::new();
        for address in addresses {
            let address = address.to_canonical();
            match self.judge_one(verdict, address, cluster, &is_own) {
                Ok(()) => admitted.push(SocketAddr::new(address, self.port)),
                Err(why) if denied == Denied::NoRule => denied = why,
                Err(_) => {}
            }
        }
        if admitted.is_empty() { Err(denied) } else { Ok(admitted) }
    }

    fn judge_one(&self, verdict: &Verdict, address: IpAddr, cluster: &AtPort, is_own: impl Fn(IpAddr) -> bool) -> Result<(), Denied> {
        verdict.admits(address).map_err(|why| Denied::Address { address, why })?;
        if cluster.closes(address, &is_own) {
            return Err(Denied::Closed { address });
        }
        if !names(verdict, address) && cluster.guards(address, is_own) {
            return Err(Denied::Address { address, why: "a port of the cluster itself" });
        }
        Ok(())
    }

    /// The rule that would have allowed it, if one can.
    pub(super) fn rule(&self, denied: &Denied) -> Option<EgressRule> {
        match denied {
            Denied::NoRule => EgressRule::allowing(self.scheme, &self.host, self.port),
            Denied::Address { address, .. } => EgressRule::allowing(self.scheme, &address.to_string(), self.port),
            Denied::Closed { .. } => None,
        }
    }
}

/// Whether a rule names exactly this address.
fn names(verdict: &Verdict, address: IpAddr) -> bool {
    let Verdict::Allowed { explicit_address, networks } = verdict else { return false };
    *explicit_address || networks.iter().any(|network| network.prefix_len() == network.max_prefix_len() && network.contains(&address))
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(out, "{}://{}{}{}:{}", self.scheme, brackets.0, self.host.escape_debug(), brackets.1, self.port)
    }
}
