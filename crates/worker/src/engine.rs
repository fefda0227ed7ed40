//! What the worker needs of whatever runs programs: the seam between the agent, which decides, and the sandboxes. Must never know what is wanted.

use std::{borrow::Cow, sync::Arc};

use api::node::AssignedProgram;
use model::id::{ComponentId, Digest};
use runtime::ComponentReading;

use crate::secrets::SecretValues;

/// Opens code and makes programs of it. The real one is [`crate::sandboxes::Sandboxes`]; tests have one that answers by itself.
pub trait Engine: Send + Sync + 'static {
    /// Opened code of one artifact; programs that share the artifact share it.
    type Code: Send + Sync + 'static;
    /// A program that can answer requests.
    type Program: Send + Sync + 'static;

    /// Codes that may be open at once.
    fn codes_max(&self) -> usize;

    /// Whether code of `digest` for this engine is in the store.
    fn has_code(&self, digest: Digest) -> bool;

    /// Sandboxes that live, and how many may.
    fn sandboxes(&self) -> (u32, u32);

    /// Opens the code of `digest`; `again` when this process has opened the same before, which is cheaper.
    fn open(&self, digest: Digest, again: bool) -> impl Future<Output = Result<Self::Code, Failure>> + Send;

    /// Makes a program of opened code, with the secret values its guest gets. Takes microseconds.
    fn program(&self, code: &Self::Code, assigned: &AssignedProgram, secrets: &SecretValues) -> Result<Arc<Self::Program>, Failure>;

    /// Starts a probe sandbox of `program`.
    fn probe(&self, program: &Arc<Self::Program>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Keeps every guest from these sockets, each `HOST:PORT`, and from no others that were named before.
    fn close_to_guests(&self, places: &[String]);

    /// Lets go of what was kept for `component`, of which no program is left on this node.
    fn forget(&self, component: &ComponentId);

    /// Bytes that the sandboxes of one instance of `program` hold.
    fn held_bytes(&self, program: &Self::Program, ordinal: u32) -> u64;

    /// Whether `program` has requests, or guests that work on after one.
    fn is_busy(&self, program: &Arc<Self::Program>) -> bool {
        Arc::strong_count(program) > 1
    }

    /// What every component has counted that was not forgotten.
    fn counters(&self) -> Vec<(ComponentId, ComponentReading)>;
}

/// A step did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// `E0301` and the like.
    pub code: Cow<'static, str>,
    /// One sentence.
    pub message: String,
    /// Whether another try may end otherwise.
    pub again: Again,
}

/// Whether another try may end otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The input is at fault: another try ends the same way.
    Never,
    /// The machine is at fault, which may pass: some more tries.
    Sometimes,
    /// The code file is at fault: some more tries, each with code made anew.
    WithNewCode,
    /// Somebody is away, and will be back: for ever.
    Always,
}

impl Failure {
    /// The step failed for a reason of `code`.
    pub fn new(again: Again, code: impl Into<Cow<'static, str>>, message: impl ToString) -> Self {
        Self { code: code.into(), message: message.to_string(), again }
    }
}
