//! What is held of configs, secrets and namespaces. Owns these shapes; must never hold the plain value of a secret.

use std::collections::{BTreeMap, BTreeSet};

use model::id::{Index, Name, ObjectId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    changes::ObjectKey,
    command::{Ceilings, Described, Sealed, SecretKind},
    table::Row,
};

/// Values several apps share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRecord {
    /// Which.
    pub id: ObjectId,
    /// What it says beside.
    pub described: Described,
    /// The values by key.
    pub data: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// Index of the last change: what compare-and-set compares with.
    pub version: Index,
}

/// Values that are sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRecord {
    /// Which.
    pub id: ObjectId,
    /// What it says beside.
    pub described: Described,
    /// What its values are; it stays so.
    pub kind: SecretKind,
    /// The kept versions, oldest first; never empty.
    pub versions: Vec<SecretVersion>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Index of the last change: what compare-and-set compares with.
    pub version: Index,
}

/// One version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVersion {
    /// Its number, from 1.
    pub number: u64,
    /// When it was put.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// The keys of its values.
    pub keys: BTreeSet<String>,
    /// The values.
    pub sealed: Sealed,
}

/// A namespace with ceilings. A namespace without a record is one without ceilings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRecord {
    /// Its name.
    pub name: Name,
    /// What it says beside.
    pub described: Described,
    /// What whoever deploys into it is held against.
    pub ceilings: Ceilings,
    /// When it was made.
    pub created_at: Timestamp,
    /// Index of the last change: what compare-and-set compares with.
    pub version: Index,
}

impl ConfigRecord {
    /// Bytes of its keys and values.
    pub(crate) fn bytes(&self) -> u64 {
        self.data.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}

impl SecretRecord {
    /// The version `number`, or the newest.
    pub fn version_of(&self, number: Option<u64>) -> Option<&SecretVersion> {
        match number {
            Some(number) => self.versions.iter().find(|version| version.number == number),
            None => self.versions.last(),
        }
    }

    /// Bytes of all its versions: their values, and the names of those.
    pub(crate) fn bytes(&self) -> u64 {
        let names = |version: &SecretVersion| version.keys.iter().map(String::len).sum::<usize>();
        self.versions.iter().map(|version| (version.sealed.0.len() + names(version)) as u64).sum()
    }
}

impl Row for ConfigRecord {
    type Key = ObjectId;

    fn key(&self) -> ObjectId {
        self.id.clone()
    }

    fn object(&self) -> ObjectKey {
        ObjectKey::Config(self.id.clone())
    }
}

impl Row for SecretRecord {
    type Key = ObjectId;

    fn key(&self) -> ObjectId {
        self.id.clone()
    }

    fn object(&self) -> ObjectKey {
        ObjectKey::Secret(self.id.clone())
    }
}

impl Row for NamespaceRecord {
    type Key = Name;

    fn key(&self) -> Name {
        self.name.clone()
    }

    fn object(&self) -> ObjectKey {
        ObjectKey::Namespace(self.name.clone())
    }
}
