//! What a guest may reach outside: the grammar of a rule, and the pure decision over a destination before and after its name is resolved.
//! Owns both and the list of addresses no rule reaches by accident; must never resolve a name or open a connection.

pub mod limits;

mod protected;
mod rule;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

pub use protected::is_protected;
pub use rule::{EgressRule, InvalidRule, Scheme, Target};

/// Everything a component may reach outside. Without a rule, nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Egress {
    /// The rules, sorted and once each; one that fits is enough.
    #[serde(default)]
    pub allow: Vec<EgressRule>,
}

/// What the rules say about a destination before its name is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No rule can fit, whatever the name resolves to.
    Denied,
    /// A rule fits, or fits for some addresses. [`Verdict::admits`] judges the address a connection would go to.
    Allowed {
        /// The host is an address, and a rule names exactly this one: it is reached even if it is protected.
        explicit_address: bool,
        /// The address must lie in one of these; when there are none, in no protected range. Only a network of a single address reaches a protected one.
        networks: Vec<IpNet>,
    },
}

impl Egress {
    /// Whether nothing may be reached.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty()
    }

    /// What the rules say about `host`, a name or an address (an IPv6 one with or without brackets), before anything is resolved.
    pub fn decide(&self, scheme: Scheme, host: &str, port: u16) -> Verdict {
        let rules = || self.allow.iter().filter(move |rule| rule.scheme == scheme && rule.port == port).map(|rule| &rule.target);
        let networks = || rules().filter_map(Target::network);
        if let Some(address) = rule::address(host) {
            let networks: Vec<IpNet> = networks().filter(|network| network.contains(&address)).collect();
            let explicit_address = networks.iter().any(is_single);
            return if networks.is_empty() { Verdict::Denied } else { Verdict::Allowed { explicit_address, networks } };
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let mut networks: Vec<IpNet> = networks().collect();
        if rules().any(|target| target.is_name_of(&name)) {
            if !networks.is_empty() {
                networks.extend([IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]);
            }
        } else if networks.is_empty() || name.is_empty() {
            return Verdict::Denied;
        }
        Verdict::Allowed { explicit_address: false, networks }
    }
}

impl Verdict {
    /// Whether a connection may go to `address`, which the host of the decision is or resolved to.
    ///
    /// # Errors
    /// Why not, in a few words that complete "the address is …".
    pub fn admits(&self, address: IpAddr) -> Result<(), &'static str> {
        let Self::Allowed { explicit_address, networks } = self else { return Err("allowed by no rule") };
        let address = address.to_canonical();
        let mut fitting = networks.iter().filter(|network| network.contains(&address)).peekable();
        if !networks.is_empty() && fitting.peek().is_none() {
            return Err("in none of the allowed networks");
        }
        match is_protected(address) {
            Some(word) if !explicit_address && !fitting.any(is_single) => Err(word),
            _ => Ok(()),
        }
    }
}

/// Whether `network` is one address.
fn is_single(network: &IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}
