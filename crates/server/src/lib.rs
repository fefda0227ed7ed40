//! The control plane of a node: the public API, the node protocol, the one writer, the leader loop, artifacts.
//!
//! Owns the process around the replicated state: everything that is decided is decided by pure functions in `state`, `scheduler` and `wishes`, what is shown
//! comes from `views`, and how a group begins from `founding`.
//! Must never run a guest, compile, or stand in the way of traffic. Start with [`run`], then `routes.rs` (what is answered), `writer.rs`
//! (how a wish is written) and `leader.rs` (what is done about it).

mod admit;
mod agreement;
mod api_error;
mod audit;
mod authority;
mod clock;
mod contact;
mod core;
mod extract;
mod forward;
mod handlers;
mod leader;
mod limits;
mod listen;
mod live;
mod log_lines;
mod measured;
mod members;
mod mesh;
mod messages;
mod metrics;
mod peers;
mod process;
mod reached;
mod relay;
mod renewal;
mod retention;
mod routes;
mod settings;
mod spread;
mod streams;
mod watch;
mod writer;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

use ::state::command::NodeKeys;
use artifacts::Artifacts;
use doors::hosts::Hosts;
use founding::{
    cluster::Founding,
    first_entry::{self, First, FirstEntryError},
    invitation,
    machine::Machine,
};
use membership::joining::{Reign, TurnedAway};
use model::problem::chain;
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    sync::{Semaphore, mpsc},
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use transport::{Acceptor, AcceptorConfig, Asks, ClusterKey, Credentials, Dialer, HANDSHAKE_MAX, Identity, Known, Members, SystemClock};

use crate::{
    core::Core,
    limits::{CONNECT_MAX, FINISH_WAIT_MAX, KNOWN_FILE, RELAYS_MAX, TASKS_WAIT_MAX, TRANSFER_MAX, WRITES_WAITING_MAX},
    live::Live,
    peers::Peers,
};
pub use crate::{
    limits::ARTIFACTS_BYTES_MAX,
    settings::{Config, Settings},
};

/// The id of the node that begins a cluster.
pub const FOUNDER: model::id::NodeId = state::FOUNDER;

/// The control plane does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log cannot be opened.
    #[error("cannot open the log of the control plane")]
    Log(#[from] consensus::OpenError),
    /// The log has failed while running; a restart reads what it kept.
    #[error("the log of the control plane has failed: {message}")]
    LogFailed {
        /// Why.
        message: String,
    },
    /// This member has another state than most members.
    #[error("{message}")]
    Diverged {
        /// Where, and what to do.
        message: String,
    },
    /// A part has ended that never should; a restart begins all of them anew.
    #[error("a part of the control plane has ended: {message}")]
    Part {
        /// Which, as far as is known.
        message: String,
    },
    /// A file or socket cannot be used.
    #[error("cannot {attempt}")]
    Io {
        /// What was tried.
        attempt: String,
        /// Why.
        source: io::Error,
    },
    /// What says who this server is cannot be used.
    #[error("cannot use the identity of this server: {message}")]
    Identity {
        /// Why.
        message: String,
    },
    /// The node cannot be written into the state.
    #[error("cannot join node `{node}`: {message}")]
    Join {
        /// The node's name.
        node: String,
        /// Why not.
        message: String,
    },
}

impl From<FirstEntryError> for RunError {
    fn from(error: FirstEntryError) -> Self {
        match error {
            FirstEntryError::Join { node, message } => Self::Join { node, message },
            FirstEntryError::Io { attempt, source } => Self::Io { attempt: attempt.to_owned(), source },
        }
    }
}

impl RunError {
    fn part(ended: Result<(), JoinError>) -> Self {
        Self::Part { message: ended.map_or_else(|error| error.to_string(), |()| "it came to its end".to_owned()) }
    }

    /// `E0406` and the like.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Log(consensus::OpenError::Log { source, .. }) if artifacts::is_full(source) => "E0607",
            Self::Log(consensus::OpenError::Entry { .. } | consensus::OpenError::Gap { .. }) => "E0603",
            Self::Io { source, .. } if artifacts::is_full(source) => "E0607",
            Self::Identity { .. } => "E0609",
            Self::Diverged { .. } => "E0618",
            Self::Log(_) | Self::LogFailed { .. } | Self::Part { .. } | Self::Io { .. } | Self::Join { .. } => "E0406",
        }
    }
}

/// Serves until `stop`, or until the supervisor is gone (the lifeline ends); then finishes what it has, 30 s at most.
///
/// # Errors
/// It cannot start, or its log fails.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), RunError> {
    let started = clock::Started::now();
    let Config { settings, api, api_socket, control, peer, metrics, lifeline } = config;
    let io = |attempt: &str| {
        let attempt = attempt.to_owned();
        move |source| RunError::Io { attempt, source }
    };
    let mut tasks = JoinSet::new();
    let lifeline = UnixStream::from_std(lifeline).map_err(io("use the lifeline"))?;
    tasks.spawn(watch_lifeline(lifeline, stop.clone()));

    let hosts = Hosts::of(&api, &settings.allowed_hosts).map_err(io("read the address of the API"))?;
    let identity = Standing::read(&settings)?;
    let acceptor = Acceptor::new(AcceptorConfig {
        identity: identity.identity.clone(),
        known: identity.known.clone(),
        clock: Arc::new(SystemClock),
        asks: Asks::Optionally,
        handshake_max: HANDSHAKE_MAX,
    });
    let gates = listen::Gates::default();
    let mut servers = JoinSet::new();
    let sockets = listen::Sockets { api, api_socket, control, peer, metrics };
    let gone = CancellationToken::new();
    let _gone = gone.clone().drop_guard();
    gates.serve(&mut servers, sockets, (&hosts, &acceptor), (&stop, &gone)).map_err(io("listen"))?;

    let started = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        started = start(settings, identity, &gates, started, stop.clone()) => started,
    };
    let outcome = match started {
        Ok((core, writes)) => {
            work(&core, writes, &mut tasks);
            gates.open(&core);
            tracing::info!(node.name = core.settings.node, log.index = core.state().index().0, "the control plane serves");
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => Ok(()),
                error = log_failed(&core) => Err(error),
                // Without its writer or its leader loop it would hold on to its place, and do nothing. A log that has failed ends them too, but says so first.
                Some(ended) = tasks.join_next() => Err(RunError::part(ended)),
                Some(ended) = servers.join_next() => Err(RunError::part(ended)),
            };
            hand_over(&core).await;
            stop.cancel();
            gone.cancel();
            finish(servers).await;
            core.consensus.shutdown().await;
            outcome
        }
        Err(error) => {
            stop.cancel();
            Err(error)
        }
    };
    if timeout(TASKS_WAIT_MAX, tasks.shutdown()).await.is_err() {
        tracing::warn!(waited.ms = TASKS_WAIT_MAX.as_millis(), "a part of the control plane does not end; it is left behind");
    }
    outcome
}

/// Returns once nothing more can be written, or must be.
async fn log_failed(core: &Core) -> RunError {
    let message = core.consensus.failed().await;
    match core.agreement.halted() {
        Some(_) => RunError::Diverged { message },
        None => RunError::LogFailed { message },
    }
}

/// Starts every part of the control plane; none of them ends by itself.
fn work(core: &Arc<Core>, writes: mpsc::Receiver<writer::Write>, tasks: &mut JoinSet<()>) {
    tasks.spawn(writer::run(core.clone(), writes));
    tasks.spawn(leader::run(core.clone()));
    tasks.spawn(members::run(core.clone()));
    tasks.spawn(audit::keep(core.clone()));
    tasks.spawn(retention::run(core.clone()));
    tasks.spawn(spread::keep(core.clone()));
    tasks.spawn(renewal::run(core.clone()));
    tasks.spawn(authority::run(core.clone()));
    tasks.spawn(agreement::run(core.clone()));
    tasks.spawn(reached::keep(core.clone()));
    let looked = core.clone();
    tasks.spawn(async move {
        measured::look(looked).await;
        // It looks once; the others never end by themselves.
        std::future::pending::<()>().await;
    });
}

/// Who this server is: its certificate, whom it knows, what opens the secrets.
struct Standing {
    identity: Identity,
    known: Known,
    key: ClusterKey,
}

impl Standing {
    fn read(settings: &Settings) -> Result<Self, RunError> {
        let directory = settings.data.join("control/identity");
        let unusable = |error: &dyn std::error::Error| RunError::Identity { message: chain(error) };
        let credentials = Credentials::read(&directory).map_err(|error| unusable(&error))?;
        let key = ClusterKey::read(&settings.data.join("control/cluster.key")).map_err(|error| unusable(&error))?;
        // Without the list every key with a valid certificate passes, which is so until the log is read.
        let known = Members::read(&directory.join(KNOWN_FILE)).unwrap_or_default();
        Ok(Self { identity: Identity::new(credentials), known: Known::new(known), key })
    }
}

/// Replays the log, and founds the cluster when this is its first start.
async fn start(
    settings: Settings,
    standing: Standing,
    gates: &listen::Gates,
    started: clock::Started,
    stop: CancellationToken,
) -> Result<(Arc<Core>, mpsc::Receiver<writer::Write>), RunError> {
    let directory = settings.data.join("control");
    let io = |attempt: String| move |source| RunError::Io { attempt, source };
    let artifacts = Artifacts::open(&directory.join("artifacts"), artifacts::Bounds::of(settings.artifact_bytes_max))
        .map_err(io(format!("use {}", directory.join("artifacts").display())))?;
    let Standing { identity, known, key } = standing;
    let dialer = Dialer { identity: identity.clone(), known, clock: Arc::new(SystemClock), connect_max: CONNECT_MAX };
    let peers = Arc::new(Peers::new(dialer));
    let config = consensus::Config {
        dir: directory.join("log"),
        identity: consensus::Identity { group: consensus::GroupId(settings.group.to_bytes()), node_id: settings.node_id.0 },
        profile: settings.profile.into(),
    };
    let network = Arc::new(messages::PeerNetwork::new(peers.clone()));
    let opened = tokio::task::spawn_blocking(move || consensus::Consensus::open(config, Machine::default(), network)).await;
    let consensus = opened.expect("opening the log does not panic")?;
    peers.learn(&consensus.state().0);
    let (writes, waiting) = mpsc::channel(WRITES_WAITING_MAX);
    let mesh = mesh::Mesh::new(settings.data.join("worker").join("mesh.sock"), settings.node_id, peers.clone());
    let founding = Founding::read(&directory.join("founding.json")).map_err(io("read control/founding.json".into()))?;
    let keys = node_keys(&settings, &identity)?;
    let core = Arc::new(Core {
        node: settings.node_id,
        consensus,
        artifacts,
        live: Live::new(started.at),
        apps: Arc::default(),
        writer: writer::Writer(writes),
        metrics: metrics::Metrics::default(),
        mesh,
        peers,
        spread: spread::Spread::default(),
        relays: Arc::new(Semaphore::new(RELAYS_MAX)),
        reign: Reign::default(),
        turned_away: TurnedAway::default(),
        refused: TurnedAway::default(),
        agreement: agreement::Agreement::default(),
        identity,
        cluster_key: key,
        started,
        stop,
        settings,
    });
    // Others may be waiting for this member to elect a leader.
    gates.open_to_peers(&core);
    if let Err(error) = begin(&core, founding, keys).await {
        core.consensus.shutdown().await;
        return Err(error);
    }
    Ok((core, waiting))
}

/// Writes the first entry of the group, when this server begins one.
async fn begin(core: &Core, founding: Option<Founding>, keys: NodeKeys) -> Result<(), RunError> {
    let first = First {
        name: &core.settings.node,
        node: core.node,
        cluster: core.settings.cluster,
        introduction: &core.settings.introduction,
        keys,
        group: core.settings.group,
        data: &core.settings.data,
    };
    first_entry::recover(&core.consensus, &first).await?;
    let Some(founding) = founding else { return Ok(()) };
    if core.node == FOUNDER {
        first_entry::found(&core.consensus, &first, &founding).await?;
        invitation::give_out(&core.consensus, &first).await?;
    } else {
        tracing::warn!("a cluster was to begin here before this node joined another one: that is forgotten");
    }
    let file = core.settings.data.join("control/founding.json");
    std::fs::remove_file(file).map_err(|source| RunError::Io { attempt: "remove control/founding.json".to_owned(), source })
}

/// The keys of this node, by role.
fn node_keys(settings: &Settings, server: &Identity) -> Result<NodeKeys, RunError> {
    let worker = settings.worker_key.map(|key| key.0);
    Ok(NodeKeys { server: Some(server.current().key_digest().to_bytes()), worker })
}

/// Lets another member lead before this one goes: then nobody waits for an election.
async fn hand_over(core: &Core) {
    if !core.consensus.leadership().borrow().is_leading() {
        return;
    }
    match core.consensus.transfer_leadership(None, TRANSFER_MAX).await {
        Ok(()) => tracing::info!("leadership is handed over"),
        Err(consensus::TransferError::NobodyElse) => {}
        Err(error) => tracing::warn!(error = %chain(&error), "leadership cannot be handed over; the others will elect"),
    }
}

/// Waits for the requests under way.
async fn finish(mut servers: JoinSet<()>) {
    let all = async { while servers.join_next().await.is_some() {} };
    if timeout(FINISH_WAIT_MAX, all).await.is_err() {
        tracing::warn!(waited.ms = FINISH_WAIT_MAX.as_millis(), "requests that did not finish are cut");
    }
}

/// The lifeline never says anything to a control plane; its end means that the supervisor is gone.
async fn watch_lifeline(mut lifeline: UnixStream, stop: CancellationToken) {
    let mut byte = [0];
    while lifeline.read(&mut byte).await.is_ok_and(|count| count > 0) {}
    if !stop.is_cancelled() {
        tracing::warn!("the supervisor is gone; finishing");
    }
    stop.cancel();
}
