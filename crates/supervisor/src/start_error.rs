//! Why a node does not start: each refusal with its code, the object and the remedy. Must never be printed here.

use std::{io, net::SocketAddr, path::PathBuf};

use founding::standing::Unfit;
use model::problem::Problem;
use rustix::io::Errno;

/// A node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the address.
    #[error("cannot listen on {address} for {flag}: the port is in use{}", owner.as_ref().map(|owner| format!(" by {owner}")).unwrap_or_default())]
    PortInUse {
        /// What was asked for.
        address: SocketAddr,
        /// The flag that says so.
        flag: &'static str,
        /// Whose it is, when that could be seen: `nginx (process 812)`.
        owner: Option<String>,
    },
    /// The address cannot be listened on for another reason.
    #[error("cannot listen on {address} for {flag}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// The flag that says so.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Another server runs on the directory.
    #[error("cannot use the data directory {}: {} uses it", path.display(), holder.map_or("another server".to_owned(), |pid| format!("the server with process id {pid}")))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who has it.
        holder: Option<u32>,
    },
    /// The children of an earlier server have not ended.
    #[error("cannot use the data directory {}: processes of an earlier server have not ended within {waited_seconds} s", path.display())]
    Orphans {
        /// The directory.
        path: PathBuf,
        /// How long they were waited for, in seconds.
        waited_seconds: u64,
    },
    /// The directory has another form.
    #[error("cannot use the data directory {}: its format is `{found}`, this program knows `{known}`", path.display())]
    Format {
        /// The directory.
        path: PathBuf,
        /// The number in it, or what stands in its place.
        found: String,
        /// Ours.
        known: &'static str,
    },
    /// It cannot become part of a cluster.
    #[error("cannot join the cluster{}: {why}", if address.is_empty() { String::new() } else { format!(" at {address}") })]
    Join {
        /// Where it was tried.
        address: String,
        /// Why not.
        why: String,
    },
    /// It cannot form a cluster with others.
    #[error(transparent)]
    Form(#[from] formation::FormError),
    /// It is bound to a cluster that is being formed, and is not told to form it.
    #[error("cannot begin a cluster: this data directory is bound to one that is being formed with others, whose authority is {authority}")]
    Bound {
        /// Which.
        authority: transport::AuthorityDigest,
    },
    /// What says who this node is cannot be made, read or written.
    #[error("cannot use the identity of this node: {why}")]
    Identity {
        /// Why.
        why: String,
    },
    /// It cannot go on where it was in its cluster.
    #[error("cannot start server `{name}`: {unfit}")]
    Unfit {
        /// Its name.
        name: String,
        /// Why not.
        unfit: Unfit,
    },
    /// It has lost its place while it ran, and has stopped.
    #[error("node `{name}` has stopped: {unfit}")]
    Gone {
        /// Its name.
        name: String,
        /// Why.
        unfit: Unfit,
    },
    /// A snapshot is not restored.
    #[error("cannot restore {}: {why}", path.display())]
    Restore {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A group of servers does not begin anew.
    #[error("cannot recover the cluster from {}: {why}", path.display())]
    Recover {
        /// The data directory.
        path: PathBuf,
        /// Why not.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A limit of the system is too low.
    #[error("cannot start the worker: it needs {needs} {what}, the system allows {allows}")]
    SystemLimit {
        /// `memory maps`, `open files`.
        what: &'static str,
        /// What the smallest worker needs.
        needs: u64,
        /// What there is.
        allows: u64,
        /// The line that raises it.
        remedy: &'static str,
    },
    /// Too little space.
    #[error("cannot use the data directory {}: {free_bytes} bytes are free on its file system", path.display())]
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// What is free.
        free_bytes: u64,
    },
    /// A file or directory cannot be made or used.
    #[error("cannot {attempt} {}", path.display())]
    File {
        /// `make`, `read`, …
        attempt: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate directory has nothing a gateway could use.
    #[error(transparent)]
    Certificates(#[from] certificates::Unusable),
    /// A network of `--trusted-proxies` is none.
    #[error("`{text}` of --trusted-proxies is not a network")]
    Network {
        /// What was given.
        text: String,
    },
    /// A child ended again and again before it was ready.
    #[error("the {role} ended {times} times before it was ready, the last time with {status}")]
    ChildFails {
        /// `control plane` or `worker`.
        role: &'static str,
        /// How often.
        times: u32,
        /// How.
        status: String,
    },
    /// Something was not ready in time.
    #[error("the node was not ready within {waited_seconds} s: {what} did not answer")]
    Late {
        /// What was missing.
        what: &'static str,
        /// How long it was waited for, in seconds.
        waited_seconds: u64,
    },
}

impl StartError {
    /// Whether it says that the file system does not let files be given away.
    pub fn is_about_owners(&self) -> bool {
        let Self::File { source, .. } = self else { return false };
        matches!(Errno::from_io_error(source), Some(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS))
    }

    /// Something is wrong with keys or certificates.
    pub fn identity(error: impl std::error::Error) -> Self {
        Self::Identity { why: model::problem::chain(&error) }
    }

    /// The code of the refusal; empty where there is only the machine's own word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PortInUse { .. } => "E0601",
            Self::Locked { .. } | Self::Orphans { .. } => "E0602",
            Self::Format { .. } => "E0603",
            Self::Join { .. } | Self::Identity { .. } => "E0609",
            Self::Form(error) => error.code(),
            Self::Bound { .. } => "E0621",
            Self::SystemLimit { .. } => "E0606",
            Self::DiskFull { .. } => "E0607",
            Self::Certificates(_) => "E0608",
            Self::Unfit { .. } | Self::Gone { .. } => "E0611",
            Self::Restore { .. } => "E0612",
            Self::Recover { .. } => "E0613",
            Self::ChildFails { .. } | Self::Late { .. } => "E0617",
            Self::Bind { .. } | Self::File { .. } | Self::Network { .. } => "",
        }
    }

    /// The refusal as users are told it; none where there is no code.
    pub fn problem(&self) -> Option<Problem> {
        let help = match self {
            Self::PortInUse { address, flag, .. } => {
                format!("stop the other process, or take another port with   {flag} {}:0", address.ip())
            }
            Self::Locked { .. } => "stop that server first, or give this one a directory of its own with   --data-dir DIR".to_owned(),
            Self::Orphans { .. } => "they hold the file `children.lock`;   fuser -v DIR/children.lock   names them".to_owned(),
            Self::Format { .. } => "use the version of shoal that wrote it, or an empty directory".to_owned(),
            Self::Join { .. } => {
                "make a token on a server with   shoal join-token create server|worker   and give it with --token-file".to_owned()
            }
            Self::Form(error) if error.code().is_empty() => return None,
            Self::Form(error) => error.help(),
            Self::Bound { .. } => {
                "start it with --expect, --peers and --token-file as before, or give it an empty directory with   --data-dir DIR".to_owned()
            }
            Self::Identity { .. } => "the files are control/identity and worker/identity in the data directory".to_owned(),
            Self::Unfit { name, unfit } | Self::Gone { name, unfit } => remedy(name, unfit),
            Self::Restore { remedy, .. } | Self::Recover { remedy, .. } => (*remedy).to_owned(),
            Self::SystemLimit { remedy, .. } => (*remedy).to_owned(),
            Self::DiskFull { .. } => "free some space, or give it another directory with   --data-dir DIR".to_owned(),
            Self::ChildFails { .. } | Self::Late { .. } => "the log above says what it complained of".to_owned(),
            Self::Certificates(_) => {
                "put pairs into it that this user may read: NAME.crt and NAME.key, or NAME/tls.crt and NAME/tls.key (PEM)".to_owned()
            }
            _ => return None,
        };
        Some(Problem::new(self.code(), self.to_string()).help(help))
    }
}

/// How a node that has no place any more comes by another.
fn remedy(name: &str, unfit: &Unfit) -> String {
    let again = "join again under a new id: start it with   --join HOST --token-file FILE --replace";
    match unfit {
        Unfit::Removed { .. } => format!(
            "delete its data directory, which has the secrets of the cluster if it was a server; or, to let it come back, {again} {name}"
        ),
        Unfit::Older { .. } | Unfit::LeftBehind { .. } => format!("{again} {name}   (the old log is kept in control/log.before)"),
    }
}
