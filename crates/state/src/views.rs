//! What is read of the cluster, its nodes and its tokens, and what changed. Owns nothing; must never change anything.

use model::id::{Index, Name, NodeId, ObjectId, TokenId};

use crate::{
    ApiTokenRecord, AuditEntry, ClusterRecord, Compacted, ConfigRecord, JoinTokenRecord, NamespaceRecord, NodeRecord, ObjectChange,
    SecretRecord, State, command::NodeRole,
};

impl State {
    /// The cluster, once it was founded.
    pub fn cluster(&self) -> Option<&ClusterRecord> {
        self.cluster.get(&())
    }

    /// The nodes that have a control plane, in order of id.
    pub fn servers(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values().filter(|node| node.is_server())
    }

    /// The keys by which nodes know each other, in order of key: whose each is, and in which role.
    pub fn known_keys(&self) -> impl Iterator<Item = ([u8; 32], NodeId, NodeRole)> {
        self.derived.node_keys.iter().map(|(key, (node, role))| (*key, *node, *role))
    }

    /// Whose key has the sha256 `key`, and in which role.
    pub fn node_with_key(&self, key: &[u8; 32]) -> Option<(NodeId, NodeRole)> {
        self.derived.node_keys.get(key).copied()
    }

    /// The tokens to join with, in order of id; those that expired are among them until the next one is made.
    pub fn join_tokens(&self) -> impl Iterator<Item = &JoinTokenRecord> {
        self.join_tokens.values()
    }

    /// The token `id` to join with.
    pub fn join_token(&self, id: &TokenId) -> Option<&JoinTokenRecord> {
        self.join_tokens.get(id)
    }

    /// The tokens for the API, in order of id; those that expired are among them until the next one is made.
    pub fn api_tokens(&self) -> impl Iterator<Item = &ApiTokenRecord> {
        self.api_tokens.values()
    }

    /// The token `id` for the API.
    pub fn api_token(&self, id: &TokenId) -> Option<&ApiTokenRecord> {
        self.api_tokens.get(id)
    }

    /// Every Config, in order of namespace and name.
    pub fn configs(&self) -> impl Iterator<Item = &ConfigRecord> {
        self.configs.values()
    }

    /// The Config `id`.
    pub fn config(&self, id: &ObjectId) -> Option<&ConfigRecord> {
        self.configs.get(id)
    }

    /// Every Secret, in order of namespace and name.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRecord> {
        self.secrets.values()
    }

    /// The Secret `id`.
    pub fn secret(&self, id: &ObjectId) -> Option<&SecretRecord> {
        self.secrets.get(id)
    }

    /// Every Namespace that has ceilings, in order of name.
    pub fn namespaces(&self) -> impl Iterator<Item = &NamespaceRecord> {
        self.namespaces.values()
    }

    /// The Namespace `name`, if it has ceilings.
    pub fn namespace(&self, name: &Name) -> Option<&NamespaceRecord> {
        self.namespaces.get(name)
    }

    /// What people did after `sequence`, as far as it is kept, oldest first. When the first is not `sequence + 1`, those between are forgotten.
    pub fn audit_after(&self, sequence: u64) -> impl Iterator<Item = &AuditEntry> {
        self.audit.after(sequence)
    }

    /// The sequence of the newest entry of the audit log; 0 before the first.
    pub fn newest_audit(&self) -> u64 {
        self.audit.newest()
    }

    /// What changed after the entry `index`: one entry per object and log entry, in order of index. With a listing made at `index` it tells everything.
    ///
    /// # Errors
    /// Some of it is forgotten.
    pub fn changes_after(&self, index: Index) -> Result<impl Iterator<Item = &ObjectChange>, Compacted> {
        self.changes.after(index)
    }
}
