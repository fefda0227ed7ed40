//! Nodes, events, version and health, as read. Owns the views; must never say that a node is gone because it is silent.

use model::{
    id::{AppId, Index, NodeId},
    quantity::{Bytes, CpuMillis, Millis},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Time;

/// A list and the log index it was read at: a watch from there misses nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    /// The log index it was read at.
    pub resource_version: Index,
    /// In order of name.
    pub items: Vec<T>,
    /// There is more: ask again for what comes after this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<AppId>,
}

/// A machine running `shoal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Its id.
    #[schema(value_type = u64)]
    pub id: NodeId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Whether its worker speaks.
    pub state: NodeState,
    /// When its worker last spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_report_at: Option<Time>,
    /// Its worker's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_pid: Option<u32>,
    /// Memory that may be booked, in bytes.
    #[schema(value_type = u64)]
    pub memory: Bytes,
    /// Memory that is booked, in bytes.
    #[schema(value_type = u64)]
    pub memory_booked: Bytes,
    /// Thousandths of a core that may be booked.
    #[schema(value_type = u32)]
    pub cpu: CpuMillis,
    /// Thousandths of a core that are booked.
    #[schema(value_type = u32)]
    pub cpu_booked: CpuMillis,
    /// Instances on it.
    pub instances: usize,
}

/// Whether a node's worker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum NodeState {
    /// It reported within the last 10 s.
    Ready,
    /// It did not. Its instances may well still serve.
    Silent,
    /// It has not reported to this server yet, which may have started a moment ago.
    Unknown,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Orders events; only grows.
    pub sequence: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// One word: `Deployed`, `Placed`, `Ready`.
    pub kind: String,
    /// What it happened to: `hello`, `hello/web.1`, a node's name.
    pub object: String,
    /// One sentence.
    pub message: String,
}

/// What `GET /v1/events` takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventQuery {
    /// Only events with a greater sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only events of this app and its parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Stream them, one JSON object a line, as they happen.
    #[serde(default)]
    pub watch: bool,
}

/// `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionView {
    /// The program's version.
    pub version: String,
    /// Versions of the API it speaks.
    pub api: Vec<String>,
    /// The node that answered.
    pub node: String,
    /// Largest artifact it takes, in bytes.
    pub artifact_bytes_max: u64,
}

/// `GET /readyz`: 200 when ready, 503 when not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadyView {
    /// Reads and writes are answered.
    pub ready: bool,
    /// What is missing for that.
    pub waits_for: Vec<String>,
    /// What is wrong though it does not keep this server from answering.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<String>,
    /// Whether this node's worker speaks; says nothing about `ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<NodeState>,
    /// How long this process has been running, in milliseconds.
    #[schema(value_type = u64)]
    pub uptime: Millis,
}
