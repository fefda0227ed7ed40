//! Who a node is: its cluster, its number and the role it acts in, as one DNS name inside its certificate. Owns that name's form; must never read a certificate.

use std::{fmt, str::FromStr};

use model::id::NodeId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::text::{self, InvalidText};

/// Below it stand the names of nodes and authorities; `internal` is reserved for private use, so no public authority ever signs one.
pub(crate) const DOMAIN: &str = "shoal.internal";

/// A cluster, told apart from all others by 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// A new one.
    pub fn random() -> Self {
        Self(text::random())
    }

    /// One as it was stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// To store it.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&text::encode(&self.0))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ClusterId({self})")
    }
}

impl FromStr for ClusterId {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text::decode("a cluster id", text).map(Self)
    }
}

impl Serialize for ClusterId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClusterId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// What a node acts as. A machine that is both has a certificate and a key for each, because the processes do not trust each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its control plane, which may vote.
    Server,
    /// Its worker, which runs guests.
    Worker,
}

impl Role {
    /// As names and tables say it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

/// One role of one node of one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its number there, never used twice.
    pub node: NodeId,
    /// What it acts as.
    pub role: Role,
}

impl NodeIdentity {
    /// The DNS name in its certificate: `node-7.server.CLUSTER.shoal.internal`.
    pub fn name(&self) -> String {
        format!("node-{}.{}.{}.{DOMAIN}", self.node.0, self.role, self.cluster)
    }

    /// Reads such a name; `None` for every other, and for other ways to write the same.
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("node-")?.strip_suffix(DOMAIN)?.strip_suffix('.')?;
        let mut labels = rest.split('.');
        let (node, role, cluster) = (labels.next()?, labels.next()?, labels.next()?);
        let role = match role {
            "server" => Role::Server,
            "worker" => Role::Worker,
            _ => return None,
        };
        let identity = Self { cluster: cluster.parse().ok()?, node: NodeId(node.parse().ok()?), role };
        (identity.name() == name).then_some(identity)
    }
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.role, self.node)
    }
}

/// The name of a cluster's authority.
pub(crate) fn authority_name(cluster: ClusterId) -> String {
    format!("authority.{cluster}.{DOMAIN}")
}

/// The cluster of an authority's name.
pub(crate) fn parse_authority(name: &str) -> Option<ClusterId> {
    name.strip_prefix("authority.")?.strip_suffix(DOMAIN)?.strip_suffix('.')?.parse().ok()
}

/// What a client asks for that takes any server of the cluster.
pub(crate) fn any_server_name(cluster: ClusterId) -> String {
    format!("server.{cluster}.{DOMAIN}")
}

/// True for names that only identities may have.
pub(crate) fn is_reserved(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == DOMAIN || name.ends_with(&format!(".{DOMAIN}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_one_form_of_a_name_is_an_identity() {
        let cluster = ClusterId::from_bytes([7; 16]);
        let identity = NodeIdentity { cluster, node: NodeId(7), role: Role::Server };
        assert_eq!(identity.name(), "node-7.server.a4dqobyha4dqobyha4dqobyha4.shoal.internal");
        let check = |name: &str, expected: Option<NodeIdentity>| assert_eq!(NodeIdentity::parse(name), expected, "{name}");
        check("node-7.server.a4dqobyha4dqobyha4dqobyha4.shoal.internal", Some(identity));
        check("node-7.worker.a4dqobyha4dqobyha4dqobyha4.shoal.internal", Some(NodeIdentity { role: Role::Worker, ..identity }));
        check("node-07.server.a4dqobyha4dqobyha4dqobyha4.shoal.internal", None);
        check("node-+7.server.a4dqobyha4dqobyha4dqobyha4.shoal.internal", None);
        check("node-7.Server.a4dqobyha4dqobyha4dqobyha4.shoal.internal", None);
        check("node-7.server.A4DQOBYHA4DQOBYHA4DQOBYHA4.shoal.internal", None);
        check("node-7.server.a4dqobyha4dqobyha4dqobyha5.shoal.internal", None);
        check("node-7.server.a4dqobyha4dqobyha4dqobyha.shoal.internal", None);
        check("node-7.server.x.a4dqobyha4dqobyha4dqobyha4.shoal.internal", None);
        check("node-7.server.a4dqobyha4dqobyha4dqobyha4.x.shoal.internal", None);
        check("node-7.server.a4dqobyha4dqobyha4dqobyha4.shoal.internal.", None);
        check("node-7.server.a4dqobyha4dqobyha4dqobyha4shoal.internal", None);
        check("authority.a4dqobyha4dqobyha4dqobyha4.shoal.internal", None);
        check("", None);
    }

    #[test]
    fn reserved_names_are_known_in_every_spelling() {
        for name in ["shoal.internal", "x.shoal.internal", "X.Shoal.Internal.", "node-1.server.y.shoal.internal"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["shoal.internal.example", "myshoal.internal", "internal", "api.example.com"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_identity_is_read_back(cluster: [u8; 16], node: u64, server: bool) {
            let role = if server { Role::Server } else { Role::Worker };
            let identity = NodeIdentity { cluster: ClusterId::from_bytes(cluster), node: NodeId(node), role };
            prop_assert_eq!(NodeIdentity::parse(&identity.name()), Some(identity));
            prop_assert!(identity.name().split('.').all(|label| label.len() <= 63));
        }
    }
}
