//! The control plane as a process: takes what the supervisor lent and runs. Must never do the control plane's work.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::{addresses, child_main, node::Node, options::LogOptions, sockets::Inherited, system_limits};

/// What a control-plane process is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlaneConfig {
    /// The control plane's own settings.
    pub settings: server::Settings,
    /// How to log.
    pub log: LogOptions,
}

impl ControlPlaneConfig {
    /// The configuration of `node`'s control plane.
    pub fn of(node: &Node) -> Self {
        let place = node.place();
        let settings = server::Settings {
            node: node.options.name.clone(),
            node_id: place.node,
            cluster: place.cluster,
            group: place.group(),
            worker_key: place.worker_key,
            introduction: addresses::introduction(node, &addresses::of_member(place)),
            profile: node.options.profile,
            data: Node::directory_of_children().to_owned(),
            gateway_port: node.sockets.gateway_port().unwrap_or(node.options.http.port()),
            https_port: node.sockets.https_port().map(|port| node.options.advertise_https.unwrap_or(port)),
            allowed_hosts: Vec::new(),
            artifact_bytes_max: node.options.upkeep.artifact_bytes_max,
            supervisor_pid: std::process::id(),
        };
        Self { settings, log: node.options.log.clone() }
    }
}

/// Runs the control plane until SIGTERM or the supervisor's end.
pub fn run(config: ControlPlaneConfig, mut inherited: Inherited) -> anyhow::Result<ExitCode> {
    system_limits::hide_memory();
    let _children_lock = inherited.fd("children-lock")?;
    let config_of_server = server::Config {
        api: inherited.tcp_listener("api")?,
        api_socket: inherited.unix_listener("api-socket")?,
        control: inherited.unix_listener("control")?,
        peer: inherited.tcp_listener_if_lent("peer")?,
        metrics: inherited.tcp_listener_if_lent("metrics")?,
        lifeline: inherited.unix_stream("lifeline")?,
        settings: config.settings,
    };
    drop(inherited);
    child_main::die_with(&config_of_server.lifeline)?;
    child_main::run("control-plane", |stop| server::run(config_of_server, stop))?;
    Ok(ExitCode::SUCCESS)
}
