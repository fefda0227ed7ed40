//! `shoal server`: flags and environment into what a node is started with. Owns the defaults of a real server; the node itself is the supervisor's.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use model::quantity::Bytes;

use super::{Globals, age::parse_span, discovery::SYSTEM_DATA_DIRECTORY, failure::Failure, session};
use supervisor::{LogFormat, LogOptions, ServerOptions, Upkeep};

/// Where a real server speaks TLS when it has certificates.
const HTTPS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);

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
    /// Where the gateway speaks TLS; port 0 takes a free one [default: 0.0.0.0:8443 with --cert-dir, else nowhere].
    #[arg(long, env = "SHOAL_HTTPS", value_name = "ADDRESS", requires = "cert_dir")]
    https: Option<SocketAddr>,
    /// Where the certificates are: NAME.crt and NAME.key, or NAME/tls.crt and NAME/tls.key. Changes are taken over by themselves.
    #[arg(long, env = "SHOAL_CERT_DIR", value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Where Prometheus metrics are served, when at all.
    #[arg(long, env = "SHOAL_METRICS", value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// The node's name, unique in the cluster [default: the host's name].
    #[arg(long, env = "SHOAL_NODE_NAME")]
    name: Option<String>,
    /// Networks whose forwarding headers the gateway believes, such as 10.0.0.0/8.
    #[arg(long, env = "SHOAL_TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',')]
    trusted_proxies: Vec<String>,
    /// Unload code that nobody asked for since this long; 0s keeps it loaded.
    #[arg(long, env = "SHOAL_UNLOAD_AFTER", value_name = "TIME", default_value = "60s", value_parser = parse_span)]
    unload_after: Duration,
    /// Compiled code on disk from which on code that is not assigned any more goes [default: 16Gi].
    #[arg(long, env = "SHOAL_CODE_BYTES", value_name = "BYTES")]
    code_bytes: Option<Bytes>,
    /// Artifacts on disk from which on those that no kept revision names go [default: 16Gi].
    #[arg(long, env = "SHOAL_ARTIFACT_BYTES", value_name = "BYTES")]
    artifact_bytes: Option<Bytes>,
    /// Written once as JSON when the node is ready.
    #[arg(long, env = "SHOAL_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    guest_log: GuestLogArgs,
    #[command(flatten)]
    traces: TraceArgs,
    /// The node's own log on stderr: lines for people or JSON.
    #[arg(long, env = "SHOAL_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Which of its own log lines the node writes, such as info,worker=debug [env: SHOAL_LOG] [default: info].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// How fast components may write their logs.
#[derive(Debug, Clone, Copy, Args)]
pub struct GuestLogArgs {
    /// Log lines a second one component may write, on average over 4 s; more are counted instead of kept.
    #[arg(long, env = "SHOAL_GUEST_LOG_LINES", value_name = "NUMBER", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    guest_log_lines: u32,
    /// Bytes a second one component may write to its log.
    #[arg(long, env = "SHOAL_GUEST_LOG_BYTES", value_name = "SIZE", default_value = "256Ki")]
    guest_log_bytes: model::quantity::Bytes,
}

impl GuestLogArgs {
    /// The same as the worker takes it.
    pub fn rate(self) -> worker::LogRate {
        worker::LogRate { lines: self.guest_log_lines, bytes: self.guest_log_bytes.0.max(1) }
    }
}

/// Where spans go.
#[derive(Debug, Clone, Args)]
pub struct TraceArgs {
    /// A collector that takes traces by OTLP over HTTP, such as http://127.0.0.1:4318; without it none are made.
    #[arg(long, env = "SHOAL_OTLP", value_name = "URL")]
    otlp: Option<worker::Collector>,
    /// Which share of traces is recorded, from 0 to 1.
    #[arg(long, env = "SHOAL_OTLP_RATIO", value_name = "SHARE", default_value = "1")]
    otlp_ratio: worker::Ratio,
}

impl TraceArgs {
    /// The same as the worker takes it.
    pub fn settings(self) -> Option<worker::TraceSettings> {
        self.otlp.map(|collector| worker::TraceSettings { collector, ratio: self.otlp_ratio })
    }
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
    let upkeep = Upkeep::default();
    Ok(ServerOptions {
        data_directory: session::data_directory(globals).unwrap_or_else(|| SYSTEM_DATA_DIRECTORY.into()),
        name,
        api: args.api,
        http: args.http,
        https: args.https.or(args.cert_dir.is_some().then_some(HTTPS)),
        certificate_directory: args.cert_dir,
        metrics: args.metrics,
        ready_file: args.ready_file,
        trusted_proxies: args.trusted_proxies,
        guest_log: args.guest_log.rate(),
        traces: args.traces.settings(),
        upkeep: Upkeep {
            unload_after: args.unload_after,
            code_bytes_max: args.code_bytes.map_or(upkeep.code_bytes_max, |bytes| bytes.0),
            artifact_bytes_max: args.artifact_bytes.map_or(upkeep.artifact_bytes_max, |bytes| bytes.0),
        },
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        guest_log: GuestLogArgs,
        #[command(flatten)]
        traces: TraceArgs,
    }

    #[test]
    fn spans_are_made_for_a_collector_only() {
        let traces = |words: &[&str]| Line::try_parse_from([&["shoal"], words].concat()).map(|line| line.traces.settings());
        assert_eq!(traces(&["--otlp-ratio", "0.5"]).ok(), Some(None));
        let set = traces(&["--otlp", "http://127.0.0.1:4318", "--otlp-ratio", "0.5"]).expect("both are right").expect("a collector");
        assert_eq!((set.collector.to_string().as_str(), set.ratio), ("http://127.0.0.1:4318/v1/traces", worker::Ratio(500_000)));
        let refused = traces(&["--otlp", "https://collector"]).expect_err("no TLS").to_string();
        assert!(refused.contains("run a collector on this machine"), "{refused}");
    }

    #[test]
    fn the_rate_of_guest_logs_is_the_workers_unless_it_is_set() {
        let rate = |words: &[&str]| Line::try_parse_from([&["shoal"], words].concat()).map(|line| line.guest_log.rate());
        assert_eq!(rate(&[]).ok(), Some(worker::LogRate::standard()));
        let set = rate(&["--guest-log-lines", "5", "--guest-log-bytes", "1Mi"]);
        assert_eq!(set.ok(), Some(worker::LogRate { lines: 5, bytes: 1 << 20 }));
        assert!(rate(&["--guest-log-lines", "0"]).is_err());
    }
}
