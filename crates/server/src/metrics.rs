//! What the control plane counts, and the page Prometheus reads. Owns the names; must never count by a text that requests choose.

use std::fmt::Write as _;

use axum::http::{Method, StatusCode};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::{core::Core, process};

/// Counters of this process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Commands given to the log.
    pub(crate) proposals: Counter,
    /// Checkpoints at which members had different states and nobody could say which was right.
    pub(crate) divergences: Counter,
    /// Nodes that asked to join and were turned away before anything was written.
    pub(crate) joins_refused: Counter,
    /// Changes that the state refused, and that were not written.
    pub(crate) writes_refused: Counter,
    requests: Family<Request, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    route: String,
    code: u32,
}

impl Metrics {
    /// Counts an answered request. `route` is the pattern, never the path.
    pub(crate) fn answered(&self, method: &Method, route: Option<&str>, status: StatusCode) {
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE].contains(method);
        let method = if known { method.to_string() } else { "other".to_owned() };
        let label = Request { method, route: route.unwrap_or("none").to_owned(), code: status.as_u16().into() };
        self.requests.get_or_create(&label).inc();
    }

    /// Counters in OpenMetrics text, without its end mark.
    fn counters(&self) -> String {
        let mut registry = Registry::with_prefix("shoal");
        registry.register("api_requests", "Requests to the API by route pattern and status", self.requests.clone());
        registry.register("log_proposals", "Commands given to the log", self.proposals.clone());
        let help = "Checkpoints of the log at which members had different states, none of them that of most";
        registry.register("state_divergences", help, self.divergences.clone());
        let help = "Nodes that asked to join and were turned away";
        registry.register("joins_refused", help, self.joins_refused.clone());
        registry.register("writes_refused", "Changes that were refused and not written", self.writes_refused.clone());
        let mut page = String::new();
        text::encode_registry(&mut page, &registry).expect("a String takes any text");
        page
    }
}

/// The whole page: this process, the node's processes, and behind them what the worker says (nothing while it is away).
pub(crate) async fn page(core: &Core) -> String {
    let mut page = core.metrics.counters();
    gauges(core, &mut page);
    processes(core, &mut page);
    let own = core.mesh.workers(&core.state()).into_iter().find(|worker| worker.id == core.node);
    let told = match own {
        Some(own) => core.mesh.read(&own, api::mesh::METRICS_PATH, "").await.ok(),
        None => Some(Default::default()),
    };
    match told {
        Some(text) => page.push_str(String::from_utf8_lossy(&text).trim_end().trim_end_matches("# EOF")),
        None => tracing::debug!("the worker's metrics are missing from this page"),
    }
    page.push_str("# EOF\n");
    page
}

fn gauges(core: &Core, page: &mut String) {
    let state = core.state();
    let now = crate::clock::now();
    let connected = core.live.state_of(core.node, now) == api::v1::NodeState::Ready;
    gauge(page, "log_index", "Index of the last applied entry", state.index().0);
    let unsaved = u64::from(core.consensus.snapshot_error().is_some());
    gauge(page, "log_snapshot_failing", "Whether the last snapshot of the log could not be written", unsaved);
    gauge(page, "apps", "Apps, those being deleted too", state.apps().count() as u64);
    gauge(page, "placements", "Placements that are not forgotten", state.placements().count() as u64);
    gauge(page, "artifact_bytes", "Bytes of stored artifacts", core.artifacts.bytes());
    gauge(page, "worker_connected", "Whether the worker of this node has reported within 10 s", u64::from(connected));
}

fn gauge(page: &mut String, name: &str, help: &str, value: u64) {
    let _ = write!(page, "# HELP shoal_{name} {help}.\n# TYPE shoal_{name} gauge\nshoal_{name} {value}\n");
}

/// Every process of the node by its role.
fn processes(core: &Core, page: &mut String) {
    let worker = core.live.reports().seen.get(&core.node).map(|seen| seen.pid);
    let roles = [("supervisor", Some(core.settings.supervisor_pid)), ("control-plane", Some(std::process::id())), ("worker", worker)];
    let usages: Vec<_> = roles.iter().filter_map(|(role, pid)| Some((*role, process::usage((*pid)?)?))).collect();
    let mut family = |name: &str, kind: &str, suffix: &str, help: &str, value: &dyn Fn(&process::Usage) -> String| {
        let _ = write!(page, "# HELP shoal_process_{name} {help}.\n# TYPE shoal_process_{name} {kind}\n");
        for (role, usage) in &usages {
            let _ = writeln!(page, "shoal_process_{name}{suffix}{{process=\"{role}\"}} {}", value(usage));
        }
    };
    family("resident_bytes", "gauge", "", "Bytes in memory", &|usage| usage.resident_bytes.to_string());
    family("anonymous_bytes", "gauge", "", "Bytes in memory that are in no file", &|usage| usage.anonymous_bytes.to_string());
    family("cpu_seconds", "counter", "_total", "Seconds of CPU, user and system", &|usage| usage.cpu_seconds.to_string());
    family("open_files", "gauge", "", "Open files", &|usage| usage.files.to_string());
}
