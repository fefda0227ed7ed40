//! Config, Secret and Namespace, as read and written one by one. Owns these shapes; must never show a secret's value.

use std::collections::BTreeMap;

use model::{
    id::{Index, Name},
    object::NamespaceSpec,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Change, Outcome};
use crate::time::Time;

/// What every object says beside what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Words to select by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Words for tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// It is not deleted until this is taken back.
    #[serde(default)]
    pub protected: bool,
}

/// A namespace with ceilings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceView {
    /// Its name.
    #[schema(value_type = String)]
    pub name: Name,
    /// What it says beside.
    #[serde(flatten)]
    pub about: About,
    /// What holds in it, in canonical form.
    #[schema(value_type = Object)]
    pub spec: NamespaceSpec,
    /// Its version: what compare-and-set compares with.
    #[schema(value_type = u64)]
    pub version: Index,
    /// When it was first written.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
}

/// What an apply did with a Config, a Secret or a Namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueAnswer {
    /// `Config`, `Secret` or `Namespace`.
    pub kind: String,
    /// `NAMESPACE/NAME`, without the namespace where that is the default one.
    pub name: String,
    /// What happened to it.
    pub outcome: Outcome,
    /// Its version now.
    #[schema(value_type = u64)]
    pub version: Index,
}

/// What an apply would do with a Config, a Secret or a Namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedValue {
    /// `Config`, `Secret` or `Namespace`.
    pub kind: String,
    /// `NAMESPACE/NAME`, without the namespace where that is the default one.
    pub name: String,
    /// What would happen to it.
    pub outcome: Outcome,
    /// Its version now, 0 when it does not exist.
    #[schema(value_type = u64)]
    pub version: Index,
    /// Field by field; of the values of a secret only that they change.
    pub changes: Vec<Change>,
}

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
    /// What it says beside.
    #[serde(flatten)]
    pub about: About,
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
    /// What it says beside.
    #[serde(flatten)]
    pub about: About,
    /// `opaque`, `tls`, `registry` or `apiKeys`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Names of its values.
    pub keys: Vec<String>,
    /// What the certificate of its newest values says, when it is of type `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateView>,
    /// Its version: what compare-and-set compares with.
    #[schema(value_type = u64)]
    pub version: Index,
    /// Its kept values, the newest first.
    pub versions: Vec<SecretVersionView>,
}

/// What everybody who connects is shown of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    /// The host names it is for; `*.` stands for one label.
    pub hosts: Vec<String>,
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub begins_at: Time,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Time,
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
