//! What is held of the cluster and its nodes. Owns these shapes; must never know how they change.

use std::collections::BTreeMap;

use model::id::{Index, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    changes::ObjectKey,
    command::{Addresses, NodeFacts, NodeKeys, Place, Sealed},
    table::Row,
};

/// The cluster itself. There is one, from its first entry on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Its random number.
    pub id: [u8; 16],
    /// When it began.
    pub created_at: Timestamp,
    /// The certificate of its authority: DER, public.
    pub ca_certificate: Vec<u8>,
    /// The authority's key.
    pub ca_key: Sealed,
    /// The newest vocabulary that every server reads: nothing newer may be written. It never falls, because what is in the log must be read again.
    pub schema: u32,
    /// Index of the last change of anything here.
    pub version: Index,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The log index at which it first joined; [`crate::FOUNDER`] for the node that began the cluster. Never used again.
    pub id: NodeId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// By what the others know it; it has the roles it has keys for.
    pub keys: NodeKeys,
    /// Where it is reached.
    pub addresses: Addresses,
    /// Where it stands.
    pub place: Place,
    /// Words to select by.
    pub labels: BTreeMap<String, String>,
    /// Bytes the scheduler may book on it.
    pub memory_bytes: u64,
    /// Thousandths of a core it offers.
    pub cpu_millis: u32,
    /// The version of its program.
    pub release: String,
    /// The newest vocabulary its program reads.
    pub schema: u32,
    /// The number of its instances: the lowest that no other worker has when it joins. 0 when it is no worker.
    pub ordinal: u32,
    /// When it first joined.
    pub joined_at: Timestamp,
    /// The lost node whose name it took over.
    pub replaces: Option<NodeId>,
    /// Index of the last change of anything here.
    pub version: Index,
}

impl NodeRecord {
    /// What it says of itself, as the log has it.
    pub fn facts(&self) -> NodeFacts {
        NodeFacts {
            name: self.name.clone(),
            keys: self.keys,
            addresses: self.addresses.clone(),
            place: self.place.clone(),
            labels: self.labels.clone(),
            memory_bytes: self.memory_bytes,
            cpu_millis: self.cpu_millis,
            release: self.release.clone(),
            schema: self.schema,
        }
    }

    /// Whether it has a control plane.
    pub fn is_server(&self) -> bool {
        self.keys.server.is_some()
    }

    /// Whether it runs instances.
    pub fn is_worker(&self) -> bool {
        self.keys.worker.is_some()
    }
}

impl Row for ClusterRecord {
    type Key = ();

    fn key(&self) {}

    fn object(&self) -> ObjectKey {
        ObjectKey::Cluster
    }
}

impl Row for NodeRecord {
    type Key = NodeId;

    fn key(&self) -> NodeId {
        self.id
    }

    fn object(&self) -> ObjectKey {
        ObjectKey::Node(self.id, self.name.clone())
    }
}
