//! What nodes, components and instances use. Owns the readings; must never hold a rate: whoever reads twice knows the time between.
//!
//! Every count is since `since`, when the process that counts began. A reading with another `since` than the one before starts from zero.

use model::id::{ComponentId, InstanceId, Name, RevisionNumber};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::NodeState;
use crate::time::Time;

/// What `GET /v1/top` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopQuery {
    /// What of.
    pub kind: TopKind,
    /// Only components and instances of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub namespace: Option<Name>,
}

/// What usage is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TopKind {
    /// Machines.
    Nodes,
    /// Components of apps.
    Apps,
    /// Instances of components.
    Instances,
}

/// One reading. Only the list that was asked for is filled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopView {
    /// When it was read.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeUsage>,
    /// Components of apps, in order of id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ComponentUsage>,
    /// Instances, in order of id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceUsage>,
}

/// What a node uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeUsage {
    /// The node's name.
    pub node: String,
    /// Whether its worker speaks.
    pub state: NodeState,
    /// The process that answers the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ProcessUsage>,
    /// The process that serves; absent while it is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<ProcessUsage>,
    /// What the worker holds; absent while it is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<WorkerUsage>,
}

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessUsage {
    /// Its id: another one counts anew.
    pub pid: u32,
    /// CPU time of user and system since it started, in microseconds.
    pub cpu_micros: u64,
    /// Bytes in memory.
    pub resident_bytes: u64,
    /// Of these, bytes that are in no file.
    pub anonymous_bytes: u64,
}

/// What a worker holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerUsage {
    /// When it started to count.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// Sandboxes that live.
    pub sandboxes: u32,
    /// Sandboxes that may live at once.
    pub sandbox_slots: u32,
    /// Programs whose code is mapped.
    pub programs_loaded: u64,
    /// Client connections open now.
    pub connections: u64,
    /// Requests that are over.
    pub requests: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests waiting for a place.
    pub waiting: u64,
    /// Log lines of guests that were counted instead of kept.
    pub log_lines_dropped: u64,
    /// Access lines that were counted instead of kept.
    pub access_lines_dropped: u64,
}

/// What a component uses on one node, all its revisions and instances together. A count that is absent is zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentUsage {
    /// The component.
    #[schema(value_type = String)]
    pub component: ComponentId,
    /// The node's name.
    pub node: String,
    /// When counting began.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// What was counted.
    #[serde(flatten)]
    pub counts: ComponentCounts,
    /// How long requests took, from the end of the head to the end of the response; buckets without a request are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<LatencyBucket>,
}

/// Requests that took no longer than a bound, and longer than the bound before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyBucket {
    /// The bound before, in microseconds.
    pub above_micros: u64,
    /// The bound, in microseconds; absent in the last bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to_micros: Option<u64>,
    /// How many.
    pub count: u64,
}

/// What an instance uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceUsage {
    /// The instance.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Under which revision.
    #[schema(value_type = u64)]
    pub revision: RevisionNumber,
    /// The node's name.
    pub node: String,
    /// When counting began.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// Requests that were given a place at it.
    pub requests: u64,
    /// Requests at it now.
    pub in_flight: u32,
    /// Requests it may have at once.
    pub capacity: u32,
    /// Bytes its sandboxes hold now.
    #[serde(default)]
    pub memory_bytes: u64,
}

/// Makes the struct of counts, so that no count can be forgotten where all of them are meant.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What was counted of a component, and what it holds now.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct ComponentCounts {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "is_zero")] pub $name: u64,)*
        }
    };
}

counts! {
    /// Requests that are over.
    requests,
    /// Of these, those answered with 5xx.
    errors,
    /// How long they took together, in microseconds.
    duration_micros,
    /// Requests at instances now.
    in_flight,
    /// Requests waiting for a place now.
    waiting,
    /// CPU time of guests, in microseconds.
    cpu_micros,
    /// Most bytes one sandbox has held.
    memory_peak_bytes,
    /// Bytes all sandboxes hold now.
    memory_held_bytes,
    /// Sandboxes started.
    instantiations,
    /// Guests that trapped or ended themselves.
    traps,
    /// Requests without a response in time.
    timeouts,
    /// Guests ended because their CPU time was used up.
    cpu_exhausted,
    /// Times a guest was denied memory.
    memory_denials,
    /// Requests that were moved to the slow lane.
    slow_lane,
    /// Sandboxes that answered more than one request and were replaced.
    recycled,
    /// Requests to the outside.
    egress_calls,
    /// Of these, those that were denied.
    egress_denials,
    /// Log lines that were counted instead of kept.
    log_lines_dropped,
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_component_is_a_short_line() {
        let usage = ComponentUsage {
            component: "hello/web".parse().expect("an id"),
            node: "one".into(),
            since: "2026-11-21T05:10:21.042Z".parse().expect("a time"),
            counts: ComponentCounts { traps: 1, ..ComponentCounts::default() },
            latency: Vec::new(),
        };
        let text = serde_json::to_string(&usage).expect("plain data");
        expect_test::expect![[r#"{"component":"hello/web","node":"one","since":"2026-11-21T05:10:21.042Z","traps":1}"#]].assert_eq(&text);
        assert_eq!(serde_json::from_str::<ComponentUsage>(&text).expect("its own text"), usage);
    }
}
