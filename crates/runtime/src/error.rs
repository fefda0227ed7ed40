//! What can go wrong between a code file and a response, each with its code. Owns the words; must never hold a type of the engine.

use std::{io, path::PathBuf, time::Duration};

/// The engine of a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings do not fit this machine.
    #[error("starting the engine with {slots} slots: {reason}")]
    Engine {
        /// Slots that were asked for.
        slots: u32,
        /// The engine's words.
        reason: String,
    },
    /// The host abilities could not be linked: a bug of this build.
    #[error("linking the host abilities: {reason}")]
    Link {
        /// The engine's words.
        reason: String,
    },
    /// The thread that lets guests take turns could not be started.
    #[error("starting the ticker thread")]
    Ticker(#[source] io::Error),
}

/// A code file could not become a program.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be read.
    #[error("reading the code file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody who is not the compiler may write the file, so it must not be run.
    #[error("the code file {} is not protected: {reason}", path.display())]
    Unprotected {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file is cut short or changed since it was written.
    #[error("the code file {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file was made by another version, by other settings or for another processor.
    #[error("the code file {} was not made for this engine: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The engine's words.
        reason: String,
    },
    /// The component imports something the host does not offer.
    #[error("linking the component: {reason}")]
    Import {
        /// The engine's words; they name the import.
        reason: String,
    },
    /// The directory of its files cannot be opened.
    #[error("opening the files of the component in {}", path.display())]
    Files {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The component does not answer HTTP.
    #[error("the component exports no HTTP handler: {reason}")]
    Handler {
        /// The engine's words.
        reason: String,
    },
    /// The engine for components of its kind could not be started.
    #[error("starting the engine for the component: {reason}")]
    Engine {
        /// What stood in the way.
        reason: String,
    },
    /// The component needs more than a slot holds.
    #[error("the component does not fit into a sandbox: {reason}")]
    TooLarge {
        /// What it needs and what there is.
        reason: String,
    },
}

impl OpenError {
    /// The error's code, see docs/reference/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Unprotected { .. } | Self::Damaged { .. } | Self::Foreign { .. } => "E0302",
            Self::Import { .. } => "E0204",
            Self::Files { .. } => "E0212",
            Self::Handler { .. } => "E0205",
            Self::TooLarge { .. } | Self::Engine { .. } => "E0303",
        }
    }
}

/// A request got no response, or a response broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// The guest trapped.
    #[error("the component trapped: {message}")]
    Trap {
        /// What happened, in one line.
        message: String,
        /// The guest's functions, innermost first; for the log, never for a client.
        backtrace: String,
    },
    /// The guest ended its own process.
    #[error("the component ended itself with exit code {code}")]
    Exit {
        /// The exit code.
        code: i32,
    },
    /// The guest failed after it was denied memory.
    #[error("the component reached its memory limit of {limit_bytes} bytes, it asked for {wanted_bytes}")]
    Memory {
        /// The limit of the sandbox, in bytes.
        limit_bytes: u64,
        /// What it would have held, in bytes.
        wanted_bytes: u64,
    },
    /// The sandboxes of its instance hold all they may hold together: this one could not begin, or failed when it was denied more.
    #[error("the instance has no memory left: its sandboxes hold {held_bytes} bytes of {limit_bytes}")]
    InstanceMemory {
        /// Most all sandboxes of the instance may hold, in bytes.
        limit_bytes: u64,
        /// What they held then, in bytes.
        held_bytes: u64,
    },
    /// The guest used up its processor time.
    #[error("the component used up its processor time of {} ms", limit.as_millis())]
    CpuTime {
        /// The limit of one request.
        limit: Duration,
    },
    /// The guest asked more of the host than any guest may.
    #[error("the component reached a limit of the host: {reason}")]
    HostLimit {
        /// Which, in one line.
        reason: String,
    },
    /// The sandbox was ended under the request, not because of it.
    #[error("the sandbox was ended: {reason}")]
    Ended {
        /// By whom or by what.
        reason: &'static str,
    },
    /// No response began in time.
    #[error("the component sent no response within {} ms", after.as_millis())]
    Timeout {
        /// The limit that passed.
        after: Duration,
    },
    /// The guest returned without a response.
    #[error("the component returned without sending a response")]
    NoResponse,
    /// The guest answered with an error instead of a response.
    #[error("the component answered with an error: {reason}")]
    Refused {
        /// The error's name.
        reason: String,
    },
    /// The response cannot be sent on as it is.
    #[error("the component's response is not valid: {reason}")]
    BadResponse {
        /// What is wrong with it.
        reason: String,
    },
    /// The request cannot be handed to a guest.
    #[error("the request cannot be handed to a component: {reason}")]
    BadRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// Every slot is in use.
    #[error("all {slots} sandboxes of this node are in use")]
    Exhausted {
        /// Slots of the node.
        slots: u32,
    },
    /// Every sandbox the component may have is taken, for longer than a request may wait.
    #[error("all {sandboxes} sandboxes of the instance are taken")]
    Busy {
        /// Most sandboxes of the instance.
        sandboxes: u32,
    },
    /// The sandbox could not be started.
    #[error("starting a sandbox: {reason}")]
    Start {
        /// The engine's words.
        reason: String,
    },
}

impl SandboxError {
    /// Whether the same request may find room a little later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Exhausted { .. } | Self::Busy { .. } | Self::InstanceMemory { .. })
    }

    /// The error's code, see docs/reference/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Start { .. } => "E0303",
            Self::Trap { .. } | Self::Exit { .. } => "E0304",
            Self::Memory { .. } => "E0305",
            Self::Timeout { .. } => "E0306",
            Self::NoResponse | Self::Refused { .. } | Self::BadResponse { .. } => "E0307",
            Self::Exhausted { .. } | Self::Busy { .. } => "E0308",
            Self::CpuTime { .. } => "E0310",
            Self::InstanceMemory { .. } => "E0311",
            Self::HostLimit { .. } => "E0312",
            Self::Ended { .. } => "E0314",
            Self::BadRequest { .. } => "E0507",
        }
    }
}
