//! `shoal server`: flags and environment into what a node is started with. Owns the defaults of a real server; the node itself is `process`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use super::{Globals, discovery::SYSTEM_DATA_DIRECTORY, failure::Failure, session};
use crate::process::{LogFormat, LogOptions, ServerOptions};

/// What `shoal server` takes.
#[derive(Debug, Args)]
#[command(after_help = "The data directory is --data-dir or SHOAL_DATA_DIR [default: /var/lib/shoal].")]
pub struct ServerArgs {
    /// Where the API listens; port 0 takes a free one.
    #[arg(long, env = "SHOAL_API", value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    api: SocketAddr,
    /// Where the gateway listens; port 0 takes a free one.
    #[arg(long, env = "SHOAL_HTTP", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    http: SocketAddr,
    /// Where Prometheus metrics are served, when at all.
    #[arg(long, env = "SHOAL_METRICS", value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// The node's name, unique in the cluster [default: the host's name].
    #[arg(long, env = "SHOAL_NODE_NAME")]
    name: Option<String>,
    /// Networks whose forwarding headers the gateway believes, such as 10.0.0.0/8.
    #[arg(long, env = "SHOAL_TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',')]
    trusted_proxies: Vec<String>,
    /// Written once as JSON when the node is ready.
    #[arg(long, env = "SHOAL_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// The node's own log on stderr: lines for people or JSON.
    #[arg(long, env = "SHOAL_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Which of its own log lines the node writes, such as info,worker=debug [env: SHOAL_LOG] [default: info].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// Everything a node is started with.
///
/// # Errors
/// When the host has no name and none was given.
pub fn options(args: ServerArgs, globals: &Globals) -> Result<ServerOptions, Failure> {
    let name = match args.name {
        Some(name) => name,
        None => node_name(),
    };
    Ok(ServerOptions {
        data_directory: session::data_directory(globals).unwrap_or_else(|| SYSTEM_DATA_DIRECTORY.into()),
        name,
        api: args.api,
        http: args.http,
        metrics: args.metrics,
        ready_file: args.ready_file,
        trusted_proxies: args.trusted_proxies,
        log: LogOptions { format: args.log_format, filter: args.log },
    })
}

/// The host's name up to the first dot, or `local` when it has none.
pub fn node_name() -> String {
    let host = rustix::system::uname();
    let name = host.nodename().to_string_lossy();
    let first = name.split('.').next().unwrap_or_default().to_lowercase();
    if first.is_empty() || first == "(none)" { "local".to_owned() } else { first }
}
