//! Config, Secret and Namespace, as read and written one by one. Owns these shapes; must never show a secret's value.

use std::collections::BTreeMap;

use model::id::{Index, Name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Time;

/// Values that components read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigView {
    /// Where it lives.
    #[schema(value_type = String)]
    pub namespace: Name,
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// Its values.
    pub data: BTreeMap<String, String>,
    /// Its version: what compare-and-set compares with.
    #[schema(value_type = u64)]
    pub version: Index,
    /// When it was first written.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Time,
}

/// `PUT /v1/namespaces/{namespace}/configs/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigRequest {
    /// All of its values.
    pub data: BTreeMap<String, String>,
    /// Refuse unless it still has this version (0: must not exist).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub expect: Option<Index>,
}

/// What a secret is, without what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretView {
    /// Where it lives.
    #[schema(value_type = String)]
    pub namespace: Name,
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// `opaque`, `tls`, `registry` or `apiKeys`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Names of its values.
    pub keys: Vec<String>,
    /// Its version: what compare-and-set compares with.
    #[schema(value_type = u64)]
    pub version: Index,
    /// Its kept values, the newest first.
    pub versions: Vec<SecretVersionView>,
}

/// One kept set of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVersionView {
    /// Counts from 1.
    pub number: u64,
    /// When it was set.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Who set it.
    pub by: String,
}

/// `PUT /v1/namespaces/{namespace}/secrets/{name}`: a new version.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRequest {
    /// `opaque`, `tls`, `registry` or `apiKeys`; `opaque` when absent.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Every value, in base64.
    pub data: BTreeMap<String, String>,
    /// Refuse unless it still has this version (0: must not exist).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub expect: Option<Index>,
}

impl std::fmt::Debug for SecretRequest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SecretRequest").field("kind", &self.kind).field("keys", &self.data.keys()).finish_non_exhaustive()
    }
}

/// What became of an object of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WriteAnswer {
    /// The log index after the write.
    #[schema(value_type = u64)]
    pub index: Index,
    /// Its version now; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub version: Option<Index>,
}
