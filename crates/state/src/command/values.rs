//! Configs, secrets and namespaces as people put them. Owns these encoded shapes; must never carry the plain value of a secret.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    app::Metadata,
    egress::EgressRule,
    id::{Index, Name, ObjectId},
    object::{Config, Namespace, NamespaceSpec, Quota, SecretType},
    quantity::{Bytes, CpuMillis},
};
use serde::{Deserialize, Serialize};

use super::Sealed;

/// What every object says beside what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Described {
    /// Words to select by.
    pub labels: BTreeMap<String, String>,
    /// Words for tools.
    pub annotations: BTreeMap<String, String>,
    /// A protected object is not deleted.
    pub protected: bool,
}

impl Described {
    /// What `metadata` says.
    pub fn of(metadata: &Metadata) -> Self {
        Self { labels: metadata.labels.clone(), annotations: metadata.annotations.clone(), protected: metadata.protected }
    }
}

/// A Config is to hold these values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutConfig {
    /// Which.
    pub id: ObjectId,
    /// What it says beside; what it said before when nothing is given.
    pub described: Option<Described>,
    /// The values by key.
    pub data: BTreeMap<String, String>,
    /// Refuse unless it still has this version; 0 means it must not exist.
    pub expect: Option<Index>,
}

impl PutConfig {
    /// The wish for `config`, expecting the version its metadata names. `None` when a value was not read yet.
    pub fn of(config: &Config) -> Option<Self> {
        let data = config.spec.data.iter().map(|(key, value)| Some((key.clone(), value.text()?.to_owned())));
        let (id, described) = (config.id(), Described::of(&config.metadata));
        Some(Self { id, described: Some(described), data: data.collect::<Option<_>>()?, expect: config.metadata.resource_version })
    }
}

/// A Secret is to have another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutSecret {
    /// Which.
    pub id: ObjectId,
    /// What it says beside; what it said before when nothing is given.
    pub described: Option<Described>,
    /// What its values are.
    pub kind: SecretKind,
    /// The keys of its values, which are no secret.
    pub keys: BTreeSet<String>,
    /// The values.
    pub sealed: Sealed,
    /// Refuse unless it still has this version; 0 means it must not exist.
    pub expect: Option<Index>,
}

/// What the values of a Secret are. Variants are only ever appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SecretKind {
    /// Anything.
    Opaque,
    /// A certificate and its key.
    Tls,
    /// Credentials of a registry.
    Registry,
    /// Keys whose holders may call a route.
    ApiKeys,
}

impl From<SecretType> for SecretKind {
    fn from(kind: SecretType) -> Self {
        match kind {
            SecretType::Opaque => Self::Opaque,
            SecretType::Tls => Self::Tls,
            SecretType::Registry => Self::Registry,
            SecretType::ApiKeys => Self::ApiKeys,
        }
    }
}

impl SecretKind {
    /// As users write it.
    pub fn as_str(self) -> &'static str {
        SecretType::ALL.into_iter().find(|known| Self::from(*known) == self).map_or("opaque", SecretType::as_str)
    }
}

/// An object of a namespace is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteObject {
    /// Which.
    pub id: ObjectId,
    /// Refuse unless it still has this version.
    pub expect: Option<Index>,
}

/// A Namespace is to have these ceilings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutNamespace {
    /// Which.
    pub name: Name,
    /// What it says beside.
    pub described: Described,
    /// What whoever deploys into it is held against.
    pub ceilings: Ceilings,
    /// Refuse unless it still has this version; 0 means it must not exist.
    pub expect: Option<Index>,
}

impl PutNamespace {
    /// The wish for `namespace`, expecting the version its metadata names.
    pub fn of(namespace: &Namespace) -> Self {
        let spec = &namespace.spec;
        let list = |texts: &Option<BTreeSet<String>>| texts.as_ref().map(|texts| texts.iter().cloned().collect());
        Self {
            name: namespace.metadata.name.clone(),
            described: Described::of(&namespace.metadata),
            ceilings: Ceilings {
                memory_bytes: spec.quota.memory.map(|memory| memory.0),
                cpu_millis: spec.quota.cpu.map(|cpu| u64::from(cpu.0)),
                instances: spec.quota.instances,
                apps: spec.quota.apps,
                hosts: list(&spec.hosts),
                egress: spec.egress.clone(),
                interfaces: list(&spec.interfaces),
            },
            expect: namespace.metadata.resource_version,
        }
    }
}

/// What whoever deploys into a namespace is held against. What is absent is no ceiling; an empty list allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ceilings {
    /// Bytes all its instances may book together.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a core all its instances may book together.
    pub cpu_millis: Option<u64>,
    /// Instances.
    pub instances: Option<u64>,
    /// Apps.
    pub apps: Option<u64>,
    /// Hosts its routes may use, exact or `*.suffix`.
    pub hosts: Option<Vec<String>>,
    /// What its egress rules may allow.
    pub egress: Option<Vec<EgressRule>>,
    /// Interfaces its components may import.
    pub interfaces: Option<Vec<String>>,
}

impl Ceilings {
    /// The same as a manifest has it.
    pub fn spec(&self) -> NamespaceSpec {
        NamespaceSpec {
            quota: Quota {
                memory: self.memory_bytes.map(Bytes),
                cpu: self.cpu_millis.map(|millis| CpuMillis(u32::try_from(millis).unwrap_or(u32::MAX))),
                instances: self.instances,
                apps: self.apps,
            },
            hosts: self.hosts.as_ref().map(|hosts| hosts.iter().cloned().collect()),
            egress: self.egress.clone(),
            interfaces: self.interfaces.as_ref().map(|names| names.iter().cloned().collect()),
        }
    }
}

/// A Namespace is to have no ceilings any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteNamespace {
    /// Which.
    pub name: Name,
    /// Refuse unless it still has this version.
    pub expect: Option<Index>,
}
