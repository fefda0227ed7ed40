//! What a node is started with, and what it says once it is ready. Owns these shapes; must never know how either came about.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Serialize;

use super::limits::CODE_DIRECTORY_BYTES_MAX;

/// Everything `shoal server` and `shoal dev` are told by flags, environment and configuration together.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where the node keeps everything; made when absent.
    pub data_directory: PathBuf,
    /// The node's name, unique in the cluster.
    pub name: String,
    /// Where the API listens [127.0.0.1:7070]; refused off loopback (E0604). Port 0 takes a free one.
    pub api: SocketAddr,
    /// Where the gateway listens [0.0.0.0:8080, `shoal dev` 127.0.0.1:8080]. Port 0 takes a free one.
    pub http: SocketAddr,
    /// Where the gateway speaks TLS, when at all [with certificates 0.0.0.0:8443, `shoal dev` 127.0.0.1:8443]. Port 0 takes a free one.
    pub https: Option<SocketAddr>,
    /// Where the certificates and their keys are; only the supervisor reads them.
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

/// What a node says once it is ready: the content of the ready file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Base URL of the API.
    pub api: String,
    /// Base URL of the gateway.
    pub http: String,
    /// Base URL of the gateway over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// URL of the metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// The node's name.
    pub node: String,
    /// The API on this machine without a port: what the CLI on the node itself uses.
    pub api_socket: PathBuf,
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
