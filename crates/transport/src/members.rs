//! Who still belongs to the cluster, by key. Owns that list, its file, and the rule for keys that are not on it; must never read a certificate.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use model::id::NodeId;
use serde::{Deserialize, Serialize};

use crate::{
    digest::KeyDigest,
    files::{self, FileError},
    identity::NodeIdentity,
    limits::MEMBERS_FILE_BYTES_MAX,
    tls::Peer,
};

/// The format of the file.
const VERSION: u32 = 1;

/// The keys of all nodes, as the replicated state had them at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Every node whose number is not above this one is listed, or was removed. Numbers are log indices, so this is the index that the list was read at.
    pub complete_to: NodeId,
    /// Whose each key is.
    pub keys: BTreeMap<KeyDigest, NodeIdentity>,
}

/// What a list says of a key and who its certificate says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They are on the list together.
    Member,
    /// The node joined after the list was made: only its certificate speaks for it.
    Newer,
    /// The node was removed before the list was made.
    Removed,
    /// The list knows this node by another key, or this key as another node's.
    OtherKey,
}

impl Members {
    /// What the list says.
    pub fn standing(&self, identity: &NodeIdentity, key: &KeyDigest) -> Standing {
        match self.keys.get(key) {
            Some(known) if known == identity => Standing::Member,
            Some(_) => Standing::OtherKey,
            None if identity.node > self.complete_to => Standing::Newer,
            None if self.keys.values().any(|known| known == identity) => Standing::OtherKey,
            None => Standing::Removed,
        }
    }

    /// Reads the file that [`Members::write`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, or is of another format.
    pub fn read(path: &Path) -> Result<Self, MembersError> {
        let text = files::read_private(path, MEMBERS_FILE_BYTES_MAX)?;
        let wrong = |source| MembersError::Format { path: path.display().to_string(), source };
        let file: File = serde_json::from_slice(&text).map_err(wrong)?;
        if file.version != VERSION {
            return Err(MembersError::Version { path: path.display().to_string(), found: file.version });
        }
        let keys = file.members.into_iter().map(|member| (member.key, member.identity)).collect();
        Ok(Self { complete_to: file.complete_to, keys })
    }

    /// Writes the list aside and renames it: a node that starts knows its peers before it has spoken to any.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), MembersError> {
        let members = self.keys.iter().map(|(key, identity)| Member { key: *key, identity: *identity }).collect();
        let file = File { version: VERSION, complete_to: self.complete_to, members };
        let mut text = serde_json::to_vec_pretty(&file).expect("digests and identities are JSON");
        text.push(b'\n');
        Ok(files::write_private(path, &text)?)
    }
}

/// Why the file of members cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what is written there.
    #[error("{path} is not a list of members")]
    Format {
        /// The file.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Another version wrote it.
    #[error("{path} has format {found}; this version reads format {VERSION}")]
    Version {
        /// The file.
        path: String,
        /// The format it has.
        found: u32,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    version: u32,
    complete_to: NodeId,
    members: Vec<Member>,
}

#[derive(Serialize, Deserialize)]
struct Member {
    key: KeyDigest,
    #[serde(flatten)]
    identity: NodeIdentity,
}

/// The list in use: published by who reads the state, looked at by every handshake. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<ArcSwap<Members>>);

impl Known {
    /// Starts with a list, such as the one in the node's directory.
    pub fn new(members: Members) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(members)))
    }

    /// Holds from the next handshake on. Connections that are open stay: whoever serves requests over them asks [`Known::admits`] again.
    ///
    /// A list that is older than the one in use changes nothing: it would take removed nodes back. A cluster whose log begins anew begins with a new `Known`.
    pub fn publish(&self, members: Members) {
        let new = Arc::new(members);
        self.0.rcu(|current| Arc::clone(if new.complete_to < current.complete_to { current } else { &new }));
    }

    /// The list in use.
    pub fn current(&self) -> Arc<Members> {
        self.0.load_full()
    }

    /// What the list in use says.
    pub fn standing(&self, identity: &NodeIdentity, key: &KeyDigest) -> Standing {
        self.0.load().standing(identity, key)
    }

    /// Whether a peer that was let in once may still stay.
    pub fn admits(&self, peer: &Peer) -> bool {
        matches!(self.standing(&peer.identity, &peer.key), Standing::Member | Standing::Newer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ClusterId, Role};

    fn identity(node: u64, role: Role) -> NodeIdentity {
        NodeIdentity { cluster: ClusterId::from_bytes([1; 16]), node: NodeId(node), role }
    }

    fn key(number: u8) -> KeyDigest {
        KeyDigest::from_bytes([number; 32])
    }

    fn members() -> Members {
        let keys = [(key(1), identity(1, Role::Server)), (key(2), identity(1, Role::Worker)), (key(7), identity(7, Role::Worker))];
        Members { complete_to: NodeId(20), keys: keys.into() }
    }

    #[test]
    fn a_list_knows_until_when_it_is_complete() {
        let check = |node: u64, role: Role, number: u8, expected: Standing| {
            assert_eq!(members().standing(&identity(node, role), &key(number)), expected, "{node} {role} {number}");
        };
        check(1, Role::Server, 1, Standing::Member);
        check(1, Role::Worker, 2, Standing::Member);
        check(7, Role::Worker, 7, Standing::Member);
        check(7, Role::Server, 7, Standing::OtherKey);
        check(1, Role::Server, 2, Standing::OtherKey);
        check(1, Role::Server, 9, Standing::OtherKey);
        check(30, Role::Server, 1, Standing::OtherKey);
        check(5, Role::Server, 9, Standing::Removed);
        check(20, Role::Worker, 9, Standing::Removed);
        check(7, Role::Server, 9, Standing::Removed);
        check(21, Role::Server, 9, Standing::Newer);
        assert_eq!(Members::default().standing(&identity(1, Role::Server), &key(1)), Standing::Newer);
    }

    #[test]
    fn an_older_list_changes_nothing() {
        let known = Known::new(members());
        known.publish(Members { complete_to: NodeId(19), ..Members::default() });
        assert_eq!(*known.current(), members());
        let peer = Peer { identity: identity(7, Role::Worker), key: key(7) };
        assert!(known.admits(&peer));
        known.publish(Members { complete_to: NodeId(20), ..Members::default() });
        assert!(known.current().keys.is_empty() && !known.admits(&peer));
    }

    #[test]
    fn the_list_is_the_same_after_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("members.json");
        members().write(&path).expect("written");
        assert_eq!(Members::read(&path).expect("read"), members());
        expect_test::expect![[r#"
            {
              "version": 1,
              "completeTo": 20,
              "members": [
                {
                  "key": "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq",
                  "cluster": "aeaqcaibaeaqcaibaeaqcaibae",
                  "node": 1,
                  "role": "server"
                },
                {
                  "key": "aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba",
                  "cluster": "aeaqcaibaeaqcaibaeaqcaibae",
                  "node": 1,
                  "role": "worker"
                },
                {
                  "key": "a4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dq",
                  "cluster": "aeaqcaibaeaqcaibaeaqcaibae",
                  "node": 7,
                  "role": "worker"
                }
              ]
            }
        "#]]
        .assert_eq(&std::fs::read_to_string(&path).expect("text"));
        std::fs::write(&path, "{\"version\": 9, \"completeTo\": 1, \"members\": []}").expect("written");
        assert!(Members::read(&path).expect_err("another format").to_string().ends_with("has format 9; this version reads format 1"));
        std::fs::write(&path, "[]").expect("written");
        assert!(matches!(Members::read(&path), Err(MembersError::Format { .. })));
    }
}
