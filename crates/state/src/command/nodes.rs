//! How a cluster begins and who belongs to it. Owns these encoded shapes; must never hold a private key that is not sealed.

use std::{collections::BTreeMap, fmt};

use model::id::{NodeId, Timestamp, TokenId};
use serde::{Deserialize, Serialize};

/// A cluster begins: the first entry that means anything, and refused ever after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// When.
    pub at: Timestamp,
    /// The cluster's random number, of which every certificate carries the text.
    pub cluster: [u8; 16],
    /// The certificate of the cluster's authority: DER, public.
    pub ca_certificate: Vec<u8>,
    /// The authority's key.
    pub ca_key: Sealed,
    /// The first node. It is a server, and its id is [`crate::FOUNDER`].
    pub node: NodeFacts,
}

/// A node joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// When.
    pub at: Timestamp,
    /// What lets it in. A node that comes back with its keys needs none, and uses none up.
    pub admission: Option<Admission>,
    /// What it says of itself.
    pub node: NodeFacts,
}

/// What of a join token was shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Which token.
    pub token: TokenId,
    /// The sha256 of the secret that was shown.
    pub secret_hash: [u8; 32],
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Its name, unique in the cluster.
    pub name: String,
    /// By what the others know it; a node has the roles it has keys for.
    pub keys: NodeKeys,
    /// Where it is reached.
    pub addresses: Addresses,
    /// Where it stands.
    pub place: Place,
    /// Words to select by.
    pub labels: BTreeMap<String, String>,
    /// Bytes the scheduler may book on it.
    pub memory_bytes: u64,
    /// Thousandths of a core the scheduler may book on it.
    pub cpu_millis: u32,
    /// The version of its program, as people read it.
    pub release: String,
    /// The newest vocabulary of commands its program reads.
    pub schema: u32,
}

/// The sha256 of the public keys of a node: one certificate and so one key for each of its roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeKeys {
    /// Of the key it has as a server.
    pub server: Option<[u8; 32]>,
    /// Of the key it has as a worker.
    pub worker: Option<[u8; 32]>,
}

impl NodeKeys {
    /// The key of each role it has.
    pub fn roles(&self) -> impl Iterator<Item = (NodeRole, [u8; 32])> + use<> {
        let server = self.server.map(|key| (NodeRole::Server, key));
        server.into_iter().chain(self.worker.map(|key| (NodeRole::Worker, key)))
    }
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeRole {
    /// It has a control plane, and may vote.
    Server,
    /// It runs instances and takes traffic.
    Worker,
}

impl fmt::Display for NodeRole {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Server => "server",
            Self::Worker => "worker",
        })
    }
}

/// Where a node is reached, each as `host:port`; empty when it is not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Addresses {
    /// Its control plane, by other nodes.
    pub peer: String,
    /// Its worker, by other nodes.
    pub mesh: String,
    /// Its API, by people.
    pub api: String,
}

/// Where a node stands; empty when nobody said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// What fails together: a rack, a data center.
    pub zone: String,
    /// What is near together.
    pub region: String,
}

/// A group begins anew with one server, from a snapshot or from what that server kept of a group that is lost: the first entry after either. The other
/// servers are none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recover {
    /// When.
    pub at: Timestamp,
    /// The server's id: the one it had, or one that nobody had.
    pub node: NodeId,
    /// What it says of itself.
    pub facts: NodeFacts,
}

/// A node says what is new about itself. Its name and its keys stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateNode {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub node: NodeId,
    /// All of what it says; name and keys must be those it has.
    pub facts: NodeFacts,
}

/// A node is forgotten, and its placements with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNode {
    /// Which.
    pub node: NodeId,
    /// Whether it is lost rather than taken away: nobody can tell it any more.
    pub lost: bool,
}

/// Bytes that only a holder of the cluster's key can read. Nothing here looks inside.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Sealed({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Admission").field("token", &self.token).finish_non_exhaustive()
    }
}
