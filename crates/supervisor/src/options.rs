//! What a node is started with, and what it says once it is ready. Owns these shapes; must never know how either came about.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::Serialize;

use super::limits::CODE_DIRECTORY_BYTES_MAX;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Control plane, gateway and sandboxes.
    Both,
    /// A control plane that runs no guest.
    ControlPlane,
    /// Gateway and sandboxes for a control plane elsewhere.
    Worker,
}

impl Part {
    /// Whether it has a control plane.
    pub fn serves(self) -> bool {
        self != Self::Worker
    }

    /// Whether it has a gateway and sandboxes.
    pub fn works(self) -> bool {
        self != Self::ControlPlane
    }
}

/// How a node becomes part of a cluster that is there already.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinOptions {
    /// `HOST:PORT` of any server's peer port.
    pub address: String,
    /// The token as it was printed; not needed when the data directory already belongs to the cluster.
    pub token: Option<String>,
    /// The node whose name and place this one takes.
    pub replaces: Option<String>,
}

impl std::fmt::Debug for JoinOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JoinOptions").field("address", &self.address).field("replaces", &self.replaces).finish_non_exhaustive()
    }
}

/// How several machines with empty data directories become one cluster by themselves. Nothing is looked at when the data directory belongs to one already.
#[derive(Clone, PartialEq, Eq)]
pub struct FormOptions {
    /// All of them, this one among them.
    pub peers: formation::Peers,
    /// The formation token as it was printed, the same on all of them.
    pub token: Option<String>,
}

impl std::fmt::Debug for FormOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("FormOptions").field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// Where other nodes live with this one, and what it is called by them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its zone: what fails together.
    pub zone: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Words to select it by.
    pub labels: BTreeMap<String, String>,
    /// `HOST` or `HOST:PORT` under which others reach its peer port [the address it reaches the join target from].
    pub advertise_peer: Option<String>,
    /// The same for its mesh port.
    pub advertise_mesh: Option<String>,
    /// The same for its API.
    pub advertise_api: Option<String>,
}

/// Everything `shoal server`, `shoal worker` and `shoal dev` are told by flags, environment and configuration together.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// What it is.
    pub part: Part,
    /// The cluster it joins; absent: it is a cluster of its own until others join.
    pub join: Option<JoinOptions>,
    /// The machines it forms a cluster with, in place of joining one or being one of its own.
    pub form: Option<FormOptions>,
    /// Where its control plane listens for other nodes; absent: nobody can join (`shoal dev`).
    pub peer: Option<SocketAddr>,
    /// Where its worker listens for other nodes' control planes; absent as above.
    pub mesh: Option<SocketAddr>,
    /// Zone, labels, advertised addresses.
    pub place: Place,
    /// How long members wait for each other.
    pub profile: founding::fitness::Profile,
    /// Where the node keeps everything; made when absent.
    pub data_directory: PathBuf,
    /// The node's name, unique in the cluster.
    pub name: String,
    /// Where the API listens [127.0.0.1:7070]; off loopback it speaks TLS and asks for tokens. Port 0 takes a free one.
    pub api: SocketAddr,
    /// Where the gateway listens [0.0.0.0:8080, `shoal dev` 127.0.0.1:8080]. Port 0 takes a free one.
    pub http: SocketAddr,
    /// Where the gateway speaks TLS, when at all [with a directory of certificates 0.0.0.0:8443, `shoal dev` 127.0.0.1:8443]. Port 0 takes a free one.
    pub https: Option<SocketAddr>,
    /// The port at which clients reach it, when something in front maps another one onto it.
    pub advertise_https: Option<u16>,
    /// Where certificates and their keys are, besides those of Secrets; only the supervisor reads them.
    pub certificate_directory: Option<PathBuf>,
    /// Where Prometheus metrics are served, when at all.
    pub metrics: Option<SocketAddr>,
    /// Written once as JSON (mode 0600) when the node is ready.
    pub ready_file: Option<PathBuf>,
    /// Networks (`10.0.0.0/8`) whose forwarding headers the gateway believes.
    pub trusted_proxies: Vec<String>,
    /// How fast one component may write its log.
    pub guest_log: worker::LogRate,
    /// Where spans go, when anywhere.
    pub traces: Option<worker::TraceSettings>,
    /// What it keeps, and for how long.
    pub upkeep: Upkeep,
    /// How the node's processes write their own log to stderr.
    pub log: LogOptions,
}

/// What a node keeps in memory and on disk although nobody asks for it at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upkeep {
    /// Code nobody asked for since this long is unloaded from memory; zero keeps it loaded.
    pub unload_after: Duration,
    /// Bytes of compiled code on disk from which on code that is not assigned any more goes.
    pub code_bytes_max: u64,
    /// Bytes of artifacts on disk from which on artifacts that no kept revision names go.
    pub artifact_bytes_max: u64,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            unload_after: worker::UNLOAD_AFTER,
            code_bytes_max: CODE_DIRECTORY_BYTES_MAX,
            artifact_bytes_max: server::ARTIFACTS_BYTES_MAX,
        }
    }
}

/// How a process writes its own log to stderr.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogOptions {
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// A `tracing` filter such as `info,worker=debug`; `SHOAL_LOG` and then `info` when absent.
    pub filter: Option<String>,
}

/// Lines for people or for machines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// One readable line per event; colored on a terminal.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// What a node says once it is ready: the content of the ready file. What it does not have is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Base URL of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Base URL of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Base URL of the gateway over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// URL of the metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// `HOST:PORT` where other nodes join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// `HOST:PORT` where control planes reach its worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// The node's name.
    pub node: String,
    /// The API on this machine without a port: what the CLI on the node itself uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_socket: Option<PathBuf>,
    /// Tokens that let others join, on the first start of a new cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinTokens>,
    /// The commands that use them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_command: Option<JoinTokens>,
}

/// One text for each kind of node.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct JoinTokens {
    /// For servers.
    pub server: String,
    /// For workers.
    pub worker: String,
}

impl std::fmt::Debug for JoinTokens {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("JoinTokens")
    }
}

/// The hidden subcommands the supervisor starts itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum InternalCommand {
    /// Raft, API and scheduler of a node.
    ControlPlane,
    /// Gateway and sandboxes of a node.
    Worker,
    /// Makes code of one artifact.
    Compile,
}
