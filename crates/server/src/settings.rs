//! What a control plane is given at start. Owns the text half (settings) and the sockets; must never open anything itself.

use std::{
    net::TcpListener,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
};

use api::peer::Introduction;
use founding::fitness::Profile;
use model::id::NodeId;
use serde::{Deserialize, Serialize};
use transport::ClusterId;

/// What a control plane is told as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The node's name.
    pub node: String,
    /// Its id.
    pub node_id: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The group of servers that holds its state: the cluster's own id until that group began anew.
    pub group: ClusterId,
    /// The digest of the key its worker has, when it has a worker.
    #[serde(default)]
    pub worker_key: Option<model::id::Digest>,
    /// What it says of itself to others.
    pub introduction: Introduction,
    /// How long members wait for each other.
    pub profile: Profile,
    /// The data directory, as this process reaches it.
    pub data: PathBuf,
    /// The gateway's port, for the URLs shown to users.
    pub gateway_port: u16,
    /// The same for `https://`, when the gateway speaks TLS.
    #[serde(default)]
    pub https_port: Option<u16>,
    /// Names the API may be called by, besides the loopback ones and the address it is bound to.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// Bytes of artifacts from which on those that no kept revision names go.
    pub artifact_bytes_max: u64,
    /// The supervisor's process, for process metrics.
    pub supervisor_pid: u32,
}

impl Settings {
    /// What this machine offers: nine tenths of its memory (the rest is for the processes themselves) in bytes, and its cores in thousandths.
    pub fn resources_of_this_machine() -> (u64, u32) {
        let memory = crate::process::memory_of_this_machine() / 10 * 9;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (memory, u32::try_from(cores.saturating_mul(1_000)).unwrap_or(u32::MAX))
    }
}

/// Everything a control plane is made of.
#[derive(Debug)]
pub struct Config {
    /// What it is told.
    pub settings: Settings,
    /// Where users' tools connect over TCP.
    pub api: TcpListener,
    /// Where the tools of this machine's owner connect.
    pub api_socket: UnixListener,
    /// Where this node's worker connects.
    pub control: UnixListener,
    /// Where other nodes connect.
    pub peer: Option<TcpListener>,
    /// Where Prometheus connects.
    pub metrics: Option<TcpListener>,
    /// The other end is the supervisor's; its end means that the supervisor is gone.
    pub lifeline: UnixStream,
}
