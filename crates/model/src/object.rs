//! Objects beside apps, after parsing: Config, Secret and Namespace. Owns their canonical form; must never show the value of a secret in `Debug`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    app::Metadata,
    egress::EgressRule,
    id::ObjectId,
    quantity::{Bytes, CpuMillis},
};

/// Values several apps share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Name, namespace, labels and the like.
    pub metadata: Metadata,
    /// The values.
    pub spec: ConfigSpec,
}

/// The values of a Config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigSpec {
    /// By key.
    pub data: BTreeMap<String, Given>,
}

/// A value, or where the command line reads it. A server only ever sees `Text`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Given {
    /// The value.
    Text(String),
    /// In a file beside the manifest.
    File {
        /// The file.
        #[serde(rename = "fromFile")]
        from_file: String,
    },
    /// In an environment variable.
    Env {
        /// The variable.
        #[serde(rename = "fromEnv")]
        from_env: String,
    },
    /// Nowhere: an empty map, which is told as a problem.
    Nothing {},
}

impl Given {
    /// The value, once it was read.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::File { .. } | Self::Env { .. } | Self::Nothing {} => None,
        }
    }
}

/// Says where a value comes from, and how long it is.
impl fmt::Debug for Given {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(out, "Text({} bytes)", text.len()),
            Self::File { from_file } => write!(out, "File({from_file})"),
            Self::Env { from_env } => write!(out, "Env({from_env})"),
            Self::Nothing {} => write!(out, "Nothing"),
        }
    }
}

/// Values that are sealed at rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    /// Name, namespace, labels and the like.
    pub metadata: Metadata,
    /// The values.
    pub spec: SecretSpec,
}

/// The values of a Secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    /// What the values are.
    #[serde(rename = "type")]
    pub kind: SecretType,
    /// By key.
    pub data: BTreeMap<String, Given>,
}

/// What the values of a Secret are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretType {
    /// Anything.
    #[default]
    Opaque,
    /// A certificate chain under [`TLS_CERTIFICATE`] and its key under [`TLS_KEY`], both PEM.
    Tls,
    /// Credentials of a registry.
    Registry,
    /// Keys whose holders may call a route.
    ApiKeys,
}

/// The key of the chain in a Secret of type `tls`.
pub const TLS_CERTIFICATE: &str = "tls.crt";

/// The key of the private key in a Secret of type `tls`.
pub const TLS_KEY: &str = "tls.key";

impl SecretType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Opaque, Self::Tls, Self::Registry, Self::ApiKeys];

    /// As a manifest writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::Tls => "tls",
            Self::Registry => "registry",
            Self::ApiKeys => "apiKeys",
        }
    }
}

/// Quota and ceilings for whoever deploys into a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Namespace {
    /// Its name; a namespace lies in none, so the field of that name holds the default.
    pub metadata: Metadata,
    /// What holds there.
    pub spec: NamespaceSpec,
}

/// What holds in a namespace. What is absent is no ceiling; an empty list allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceSpec {
    /// The most all its apps use together.
    #[serde(default)]
    pub quota: Quota,
    /// Hosts its routes may use, in lower case: exact ones, and `*.suffix` for every name below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<BTreeSet<String>>,
    /// What egress rules may allow, sorted and once each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Vec<EgressRule>>,
    /// Interfaces its components may import, with or without the version: `wasi:keyvalue/store`, or `wasi:keyvalue` for the whole package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<BTreeSet<String>>,
}

/// The most all apps of a namespace use together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// Booked memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Booked processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuMillis>,
    /// Instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    /// Apps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apps: Option<u64>,
}

impl Config {
    /// The Config's id.
    pub fn id(&self) -> ObjectId {
        ObjectId { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }
}

impl Secret {
    /// The Secret's id.
    pub fn id(&self) -> ObjectId {
        ObjectId { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }
}
