//! The worker as a process: takes what the supervisor lent, gives up what it must not have, and runs. Must never do the worker's work.

use std::process::ExitCode;

use api::peer::Introduction;
use serde::{Deserialize, Serialize};

use super::{
    addresses, child_main,
    node::Node,
    options::LogOptions,
    sandbox_process::{self, Hardening, User},
    sockets::Inherited,
};

/// What a worker process is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerConfig {
    /// The worker's own settings.
    pub settings: worker::Settings,
    /// Who it becomes.
    pub user: Option<User>,
    /// How to log.
    pub log: LogOptions,
}

impl WorkerConfig {
    /// The configuration of `node`'s worker.
    pub fn of(node: &Node) -> Self {
        let settings = worker::Settings {
            node: node.options.name.clone(),
            servers: if node.options.part.serves() { Vec::new() } else { node.place().addresses(&node.options) },
            data: Node::directory_of_children().to_owned(),
            trusted_proxies: node.options.trusted_proxies.clone(),
            cluster_sockets: node.sockets.gateway_addresses(),
            closed_ports: node.sockets.closed_ports(),
            closed: closed(node),
            advertise_https: node.options.advertise_https,
            guest_log: node.options.guest_log,
            traces: node.options.traces.clone(),
            unload_after: node.options.upkeep.unload_after,
        };
        Self { settings, user: node.worker_user, log: node.options.log.clone() }
    }
}

/// Where the cluster is run besides this machine's own sockets: under which addresses others reach this node, and where servers were when it joined.
fn closed(node: &Node) -> Vec<String> {
    let Introduction { peer, mesh, api, .. } = addresses::introduction(node, &addresses::of_member(node.place()));
    [peer, mesh, api].into_iter().flatten().chain(node.place().addresses(&node.options)).collect()
}

/// Runs the worker until SIGTERM or the supervisor's end. Must be called before the process has a second thread.
pub fn run(config: WorkerConfig, mut inherited: Inherited) -> anyhow::Result<ExitCode> {
    let _children_lock = inherited.fd("children-lock")?;
    let config_of_worker = worker::Config {
        http: inherited.tcp_listener("http")?,
        https: inherited.tcp_listener_if_lent("https")?,
        mesh_socket: inherited.unix_listener("mesh-socket")?,
        mesh: inherited.tcp_listener_if_lent("mesh")?,
        metrics: inherited.tcp_listener_if_lent("metrics")?,
        lifeline: inherited.unix_stream("lifeline")?,
        handover: Some(worker::handover::Handover { to: inherited.fd("handover")?.into(), last: inherited.fd("secrets").ok() }),
        settings: config.settings,
    };
    drop(inherited);
    let mut rules = sandbox_process::worker_rules(Node::directory_of_children());
    rules.extend(sandbox_process::trust_rules(|name| std::env::var_os(name)));
    let missing = Hardening { user: config.user, rules }.apply();
    match missing.0.as_slice() {
        [] => tracing::info!(user.id = config.user.map(|user| user.0), "the worker is separated from the control plane's data"),
        missing => {
            tracing::warn!(missing = missing.join("; "), user.id = config.user.map(|user| user.0), "the worker is separated only in part")
        }
    }
    // After what must happen before there is a second thread.
    child_main::die_with(&config_of_worker.lifeline)?;
    child_main::run("worker", |stop| worker::run(config_of_worker, stop))?;
    Ok(ExitCode::SUCCESS)
}
