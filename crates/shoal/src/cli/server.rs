//! `shoal server` and `shoal worker`: flags and environment into what a node is started with. Owns the defaults of a real server; the node itself is the supervisor's.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use model::quantity::Bytes;

use super::{Globals, age::parse_span, discovery::SYSTEM_DATA_DIRECTORY, failure::Failure, session};
use supervisor::{FormOptions, JoinOptions, LogFormat, LogOptions, Part, Peers, Place, Profile, ServerOptions, Upkeep};

/// Where a real server speaks TLS when it has certificates.
const HTTPS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);

/// What `shoal server` takes.
#[derive(Debug, Args)]
#[command(after_help = "The data directory is --data-dir or SHOAL_DATA_DIR [default: /var/lib/shoal].")]
pub struct ServerArgs {
    /// Where the API listens; off loopback it speaks TLS and asks for a token. Port 0 takes a free one.
    #[arg(long, env = "SHOAL_API", value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    api: SocketAddr,
    /// Where other nodes join and talk to this one, always over TLS; port 0 takes a free one.
    #[arg(long, env = "SHOAL_PEER", value_name = "ADDRESS", default_value = "0.0.0.0:7071")]
    peer: SocketAddr,
    /// Join the cluster of this server instead of beginning one.
    #[arg(long, env = "SHOAL_JOIN", value_name = "HOST[:PORT]")]
    join: Option<String>,
    /// How many servers form a cluster by themselves, this one among them; each is started with the same --expect, --peers and --token-file.
    #[arg(long, env = "SHOAL_EXPECT", value_name = "N", requires = "peers", conflicts_with = "join")]
    expect: Option<usize>,
    /// Where these servers listen for each other, this one among them: the first in the order of the alphabet begins the cluster, the others join it.
    #[arg(long, env = "SHOAL_PEERS", value_name = "HOST[:PORT],…", value_delimiter = ',', requires = "expect")]
    peers: Vec<String>,
    /// Only the control plane: no gateway, no instances.
    #[arg(long)]
    no_worker: bool,
    /// How long members wait for each other: `lan` 100 ms heartbeats, `cloud` for several zones or network disks, `wan` further apart.
    #[arg(long, env = "SHOAL_PROFILE", value_enum, default_value = "lan")]
    profile: ProfileArg,
    /// Take the name and place of this lost server, with a new id.
    #[arg(long, value_name = "NODE", requires = "join", conflicts_with = "expect")]
    replace: Option<String>,
    /// How others reach the API [default: the address it listens on].
    #[arg(long, env = "SHOAL_ADVERTISE_API", value_name = "HOST[:PORT]")]
    advertise_api: Option<String>,
    /// How others reach the peer port [default: the address this machine reaches others from].
    #[arg(long, env = "SHOAL_ADVERTISE_PEER", value_name = "HOST[:PORT]")]
    advertise_peer: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

/// What `shoal worker` takes.
#[derive(Debug, Args)]
#[command(after_help = "The data directory is --data-dir or SHOAL_DATA_DIR [default: /var/lib/shoal].")]
pub struct WorkerArgs {
    /// A server of the cluster it works for.
    #[arg(long, env = "SHOAL_JOIN", value_name = "HOST[:PORT]")]
    join: String,
    /// Take the name and place of this lost worker, with a new id.
    #[arg(long, value_name = "NODE")]
    replace: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

/// The profiles as users write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ProfileArg {
    /// One network, own disks.
    Lan,
    /// Several zones, or disks over the network.
    Cloud,
    /// Several regions.
    Wan,
}

/// What every node takes.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// A file with the join token, or with --peers the formation token; not needed once the data directory belongs to the cluster [env:
    /// SHOAL_JOIN_TOKEN, the token itself].
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Where control planes of other nodes reach this node's worker, always over TLS; port 0 takes a free one.
    #[arg(long, env = "SHOAL_MESH", value_name = "ADDRESS", default_value = "0.0.0.0:7072")]
    mesh: SocketAddr,
    /// How others reach this node, for every port that is not told apart [default: the address this machine reaches others from].
    #[arg(long, env = "SHOAL_ADVERTISE", value_name = "HOST")]
    advertise: Option<String>,
    /// How others reach the mesh port.
    #[arg(long, env = "SHOAL_ADVERTISE_MESH", value_name = "HOST[:PORT]")]
    advertise_mesh: Option<String>,
    /// What fails together with this node: a rack, a data center.
    #[arg(long, env = "SHOAL_ZONE", value_name = "ZONE")]
    zone: Option<String>,
    /// Where the node is in the world.
    #[arg(long, env = "SHOAL_REGION", value_name = "REGION")]
    region: Option<String>,
    /// A word to select the node by; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Where the gateway listens; port 0 takes a free one.
    #[arg(long, env = "SHOAL_HTTP", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    http: SocketAddr,
    /// Where the gateway speaks TLS; port 0 takes a free one [default: 0.0.0.0:8443 with --cert-dir, else nowhere].
    #[arg(long, env = "SHOAL_HTTPS", value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// The port at which clients reach --https, when something in front maps it: plain HTTP is sent there.
    #[arg(long, env = "SHOAL_ADVERTISE_HTTPS", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    advertise_https: Option<u16>,
    /// Where certificates are, beside those of Secrets: NAME.crt and NAME.key, or NAME/tls.crt and NAME/tls.key. Changes are taken over by themselves.
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

/// Everything a server is started with.
///
/// # Errors
/// The token's file cannot be read, or flags do not go together.
pub fn options(args: ServerArgs, globals: &Globals) -> Result<ServerOptions, Failure> {
    let part = if args.no_worker { Part::ControlPlane } else { Part::Both };
    let told = args.node.name.clone();
    if args.node.token_file.is_some() && args.join.is_none() && args.expect.is_none() {
        let help = "name a server of the cluster with --join HOST, or the machines that form one with --expect N --peers A,B,C";
        return Err(Failure::usage("--token-file lets this server into a cluster, and no cluster is named", help));
    }
    let form = form(args.expect, &args.peers, args.node.token_file.as_deref())?;
    let mut options = args.node.options(part, args.join, globals)?;
    options.form = form;
    replacing(&mut options, args.replace, told)?;
    options.api = args.api;
    options.peer = Some(args.peer);
    options.place.advertise_api = args.advertise_api.or(options.place.advertise_api);
    options.place.advertise_peer = args.advertise_peer.or(options.place.advertise_peer);
    options.profile = match args.profile {
        ProfileArg::Lan => Profile::Lan,
        ProfileArg::Cloud => Profile::Cloud,
        ProfileArg::Wan => Profile::Wan,
    };
    Ok(options)
}

/// The machines that form a cluster, when they are told.
fn form(expect: Option<usize>, peers: &[String], token_file: Option<&Path>) -> Result<Option<FormOptions>, Failure> {
    let Some(expect) = expect else { return Ok(None) };
    let peers = Peers::new(expect, peers).map_err(|error| {
        Failure::usage(error.to_string(), "for instance   --expect 3 --peers a.example,b.example,c.example   the same on all three")
    })?;
    Ok(Some(FormOptions { peers, token: token(token_file)? }))
}

/// Everything a worker is started with.
///
/// # Errors
/// The token's file cannot be read.
pub fn worker_options(args: WorkerArgs, globals: &Globals) -> Result<ServerOptions, Failure> {
    let told = args.node.name.clone();
    let mut options = args.node.options(Part::Worker, Some(args.join), globals)?;
    replacing(&mut options, args.replace, told)?;
    Ok(options)
}

/// Has a node take the place of `replaced`, whose name it then has: `told` is the one it was given.
fn replacing(options: &mut ServerOptions, replaced: Option<String>, told: Option<String>) -> Result<(), Failure> {
    if let Some(replaced) = &replaced {
        if told.is_some_and(|told| told != *replaced) {
            let message = format!("--replace {replaced} takes over the name `{replaced}`, and --name gives another");
            return Err(Failure::usage(message, "leave --name out"));
        }
        options.name.clone_from(replaced);
    }
    if let Some(join) = &mut options.join {
        join.replaces = replaced;
    }
    Ok(())
}

impl NodeArgs {
    fn options(self, part: Part, join: Option<String>, globals: &Globals) -> Result<ServerOptions, Failure> {
        let token = token(self.token_file.as_deref())?;
        let upkeep = Upkeep::default();
        Ok(ServerOptions {
            part,
            join: join.map(|address| JoinOptions { address, token, replaces: None }),
            form: None,
            peer: None,
            mesh: part.works().then_some(self.mesh),
            place: Place {
                zone: self.zone,
                region: self.region,
                labels: self.labels.into_iter().collect(),
                advertise_peer: self.advertise.clone(),
                advertise_mesh: self.advertise_mesh.or_else(|| self.advertise.clone()),
                advertise_api: self.advertise,
            },
            profile: Profile::default(),
            data_directory: session::data_directory(globals).unwrap_or_else(|| SYSTEM_DATA_DIRECTORY.into()),
            name: self.name.unwrap_or_else(node_name),
            api: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            http: self.http,
            https: self.https.or(self.cert_dir.is_some().then_some(HTTPS)),
            advertise_https: self.advertise_https,
            certificate_directory: self.cert_dir,
            metrics: self.metrics,
            ready_file: self.ready_file,
            trusted_proxies: self.trusted_proxies,
            guest_log: self.guest_log.rate(),
            traces: self.traces.settings(),
            upkeep: Upkeep {
                unload_after: self.unload_after,
                code_bytes_max: self.code_bytes.map_or(upkeep.code_bytes_max, |bytes| bytes.0),
                artifact_bytes_max: self.artifact_bytes.map_or(upkeep.artifact_bytes_max, |bytes| bytes.0),
            },
            log: LogOptions { format: self.log_format, filter: self.log },
        })
    }
}

/// The join token in `file`, or else in the environment: never in the arguments, which everybody on the machine can read.
fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(file) = file else {
        return Ok(std::env::var("SHOAL_JOIN_TOKEN").ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()));
    };
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| {
        Failure::usage(format!("cannot read the token in {}: {error}", file.display()), "name a file that you may read")
    })?;
    Ok(Some(text.trim().to_owned()))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    if key.is_empty() { Err(format!("`{text}` names nothing")) } else { Ok((key.to_owned(), value.to_owned())) }
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
    fn machines_that_form_a_cluster_are_told_apart_from_mistakes() {
        let told = |expect: usize, peers: &[&str]| {
            let peers: Vec<String> = peers.iter().map(|&peer| peer.to_owned()).collect();
            form(Some(expect), &peers, None)
                .map(|form| form.expect("they are told").peers.all().to_vec())
                .map_err(|failure| failure.render(false))
        };
        assert_eq!(told(2, &["b", "a:1"]).ok(), Some(vec!["a:1".to_owned(), "b:7071".to_owned()]));
        let refused = told(3, &["a", "b"]).expect_err("two are not three");
        assert!(refused.contains("--expect 3 and --peers with 2 addresses") && refused.contains("help: for instance"), "{refused}");
        assert!(form(None, &[], None).is_ok_and(|form| form.is_none()));
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
