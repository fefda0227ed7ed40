//! One child of the supervisor: started, watched, started again, stopped. Owns its process and when the next one starts; must never know what it does.

use std::{
    fmt, io,
    os::unix::{net::UnixStream, process::CommandExt},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use command_fds::CommandFdExt;
use rustix::process::{Pid, Signal};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use super::{
    limits::{RESTART_LIFE_MIN, RESTART_WAIT_MAX, RESTART_WAIT_MIN, STOP_WAIT_MAX},
    node::Node,
    sandbox_process::TRUST_VARIABLES,
    sockets::Lent,
    telemetry::FILTER_VARIABLE,
};

/// The environment variable with a child's configuration as JSON.
pub const CHILD_CONFIG: &str = "SHOAL_CHILD_CONFIG";

/// What a child inherits of the environment: how it logs, nothing else.
const ENVIRONMENT_KEPT: [&str; 7] = [FILTER_VARIABLE, "NO_COLOR", "RUST_BACKTRACE", "TZ", "LANG", TRUST_VARIABLES[0], TRUST_VARIABLES[1]];

/// Which child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Raft, API and scheduler.
    ControlPlane,
    /// Gateway and sandboxes.
    Worker,
}

/// A child that runs.
pub struct Started {
    /// The process.
    pub process: Child,
    /// Our end of its lifeline.
    pub lifeline: tokio::net::UnixStream,
    /// Where a worker leaves what the next one must know.
    pub handover: tokio::net::UnixDatagram,
}

/// How a child's life went on.
#[derive(Debug)]
pub enum Ended {
    /// By itself.
    Itself(io::Result<ExitStatus>),
    /// Because it was told to.
    Told,
}

/// When a child that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    next: Duration,
}

impl Role {
    /// The hidden subcommand.
    pub fn command(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
        }
    }

    /// The word in sentences.
    pub fn noun(self) -> &'static str {
        match self {
            Self::ControlPlane => "control plane",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.noun())
    }
}

impl Default for Restarts {
    fn default() -> Self {
        Self { next: RESTART_WAIT_MIN }
    }
}

impl Restarts {
    /// How long to wait before the next start of a child that lived for `life`.
    pub fn wait_after(&mut self, life: Duration) -> Duration {
        if life >= RESTART_LIFE_MIN {
            *self = Self::default();
            return Duration::ZERO;
        }
        let wait = self.next;
        self.next = (wait * 2).min(RESTART_WAIT_MAX);
        wait
    }
}

/// Starts a child with its sockets, a lifeline, a share of the children's lock and a process group of its own.
pub fn start(node: &Node, role: Role) -> io::Result<Started> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut lent = Lent::default();
    node.lend(role, &mut lent)?;
    lent.lend("lifeline", &theirs)?;
    let (handover, left) = std::os::unix::net::UnixDatagram::pair()?;
    if role == Role::Worker {
        lent.lend("handover", &left)?;
    }
    let process = tokio::process::Command::from(command_of(node, role.command(), &node.config_of(role), lent)?).spawn()?;
    ours.set_nonblocking(true)?;
    handover.set_nonblocking(true)?;
    let handover = tokio::net::UnixDatagram::from_std(handover)?;
    Ok(Started { process, lifeline: tokio::net::UnixStream::from_std(ours)?, handover })
}

/// The command line, environment and descriptors of a child: `shoal internal COMMAND` in the data directory, because a child that gives up its user id
/// may have no other way to reach it. The descriptors lent are closed here with the command.
pub fn command_of(node: &Node, command: &str, config: &str, mut lent: Lent) -> io::Result<Command> {
    lent.lend("children-lock", node.directory.children_lock()?)?;
    let (mappings, count, names) = lent.into_mappings();
    // The running program even when its file was replaced meanwhile: children must speak the supervisor's language.
    let mut process = Command::new("/proc/self/exe");
    process.arg0("shoal").args(["internal", command]).current_dir(&node.directory.path).process_group(0);
    // Whoever started the node may have secrets in the environment; what runs guests gets none of them.
    process.env_clear().envs(ENVIRONMENT_KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    process.env(CHILD_CONFIG, config).env("LISTEN_FDS", count).env("LISTEN_FDNAMES", names);
    process.stdin(Stdio::null()).stdout(Stdio::null());
    process.fd_mappings(mappings).map_err(io::Error::other)?;
    Ok(process)
}

/// Waits until the child ends by itself, or tells it to end with SIGTERM, and after 35 s with SIGKILL.
pub async fn wait(process: &mut Child, role: Role, stop: &CancellationToken) -> Ended {
    tokio::select! {
        status = process.wait() => return Ended::Itself(status),
        () = stop.cancelled() => {}
    }
    let start = Instant::now();
    signal(process, Signal::TERM);
    if tokio::time::timeout(STOP_WAIT_MAX, process.wait()).await.is_err() {
        tracing::warn!(child = %role, waited.seconds = STOP_WAIT_MAX.as_secs(), "a child does not end; it is killed");
        signal(process, Signal::KILL);
        if let Err(error) = process.wait().await {
            tracing::error!(child = %role, error = %error, "a killed child cannot be waited for");
        }
    }
    tracing::info!(child = %role, took.ms = start.elapsed().as_millis(), "a child has ended");
    Ended::Told
}

fn signal(process: &Child, signal: Signal) {
    // Without an id it has ended and was waited for.
    let Some(pid) = process.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
    if let Err(error) = rustix::process::kill_process(pid, signal) {
        tracing::warn!(error = %error, "a child cannot be told to end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_lived_starts_at_once_and_one_that_dies_young_waits_longer_and_longer() {
        let mut restarts = Restarts::default();
        let young = Duration::from_millis(5);
        assert_eq!(restarts.wait_after(Duration::from_secs(60)), Duration::ZERO);
        let waits: Vec<u128> = (0..8).map(|_| restarts.wait_after(young).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(restarts.wait_after(RESTART_LIFE_MIN), Duration::ZERO);
        assert_eq!(restarts.wait_after(young), RESTART_WAIT_MIN);
    }
}
