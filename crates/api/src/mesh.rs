//! What a worker answers on its mesh listener. Owns these shapes and paths; must never carry what only a control plane may know.
//!
//! Logs are [`crate::v1::LogEntry`] lines selected by [`crate::v1::LogQuery`], `why` answers a [`crate::v1::WhyQuery`] with a
//! [`crate::v1::WhyAnswer`], metrics are Prometheus text; so the control plane passes them on unread.

use model::{
    id::{ComponentId, Generation, Name, PlacementId, RevisionNumber},
    quantity::Millis,
};
use serde::{Deserialize, Serialize};

use crate::{
    node::Phase,
    time::Time,
    v1::{ComponentUsage, InstanceUsage, WorkerUsage},
};

/// `GET`, NDJSON of log entries.
pub const LOGS_PATH: &str = "/mesh/v1/logs";
/// `GET`, Prometheus text.
pub const METRICS_PATH: &str = "/mesh/v1/metrics";
/// `GET`, JSON.
pub const WHY_PATH: &str = "/mesh/v1/why";
/// `GET`, JSON.
pub const STATUS_PATH: &str = "/mesh/v1/status";

/// `GET`, JSON of [`WorkerFigures`].
pub const FIGURES_PATH: &str = "/mesh/v1/figures";

/// What is asked of [`FIGURES_PATH`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FiguresQuery {
    /// Components and instances of this namespace; absent: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Fill `components`.
    #[serde(default)]
    pub components: bool,
    /// Fill `instances`.
    #[serde(default)]
    pub instances: bool,
}

/// What a worker has counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerFigures {
    /// When it was read, by the worker's clock.
    pub at: Time,
    /// The whole worker.
    pub worker: WorkerUsage,
    /// In order of id.
    pub components: Vec<ComponentUsage>,
    /// In order of id.
    pub instances: Vec<InstanceUsage>,
}

/// How a worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// The program's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// How long it has been running.
    pub uptime: Millis,
    /// The assignment it acts on; absent before the first.
    pub generation: Option<Generation>,
    /// Whether the control plane answers it.
    pub connected: bool,
    /// Every instance it knows.
    pub instances: Vec<InstanceLoad>,
}

/// One instance and its load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceLoad {
    /// The decision's id.
    pub placement: PlacementId,
    /// Of which component.
    pub component: ComponentId,
    /// Under which revision.
    pub revision: RevisionNumber,
    /// Its number.
    pub ordinal: u32,
    /// How far it is.
    #[serde(flatten)]
    pub phase: Phase,
    /// Requests it answers right now.
    pub in_flight: u32,
}
