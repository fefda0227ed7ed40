//! What takes time: bringing an artifact here, having it compiled, starting a program. Owns doing each once; must never decide whether or when.

use std::{fmt, sync::Arc};

use api::node::AssignedProgram;
use http::StatusCode;
use model::id::Digest;

use crate::{
    agent::chain,
    control::{Control, ControlError},
    directories::Directories,
    engine::{Again, Engine, Failure},
    lifeline::{CompileRefused, Lifeline},
    metrics::Metrics,
    roster::ProgramKey,
};

/// One thing that takes time. Placements that need the same thing share the job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// Bring the artifact here.
    Fetch(Digest),
    /// Have code made of it.
    Compile(Digest),
    /// Open the code and start a probe sandbox.
    Start(ProgramKey),
}

/// How a job ended well.
#[derive(Debug)]
pub enum Done<P> {
    /// The artifact is here.
    Fetched,
    /// The code is here.
    Compiled,
    /// A sandbox of it has started.
    Started(Arc<P>),
    /// The wait before another try is over.
    Waited,
}

/// Does jobs.
#[derive(Debug)]
pub struct Jobs<E> {
    /// Starts programs.
    pub engine: Arc<E>,
    /// Has the artifacts.
    pub control: Control,
    /// Has code made.
    pub lifeline: Lifeline,
    /// Where things lie.
    pub directories: Directories,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl<E: Engine> Jobs<E> {
    /// Whether code of `digest` is here already.
    pub fn has_code(&self, digest: Digest) -> bool {
        self.engine.has_code(digest)
    }

    /// Does `job`; `program` is what [`Job::Start`] starts.
    pub async fn run(&self, job: &Job, program: Option<AssignedProgram>) -> Result<Done<E::Program>, Failure> {
        match (job, program) {
            (Job::Fetch(digest), _) => self.fetch(*digest).await,
            (Job::Compile(digest), _) => self.compile(*digest).await,
            (Job::Start(_), Some(program)) => self.engine.start(&program).await.map(Done::Started),
            (Job::Start(key), None) => {
                Err(Failure::new(Again::Sometimes, "E0302", format!("{} {} is not assigned any more", key.component, key.revision)))
            }
        }
    }

    async fn fetch(&self, digest: Digest) -> Result<Done<E::Program>, Failure> {
        let path = self.directories.artifact(digest);
        match self.control.fetch(digest, &path).await {
            Ok(()) => Ok(Done::Fetched),
            Err(ControlError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
                Err(Failure::new(Again::Never, "E0206", format!("artifact {digest} is not in the cluster")))
            }
            // Both a full disk and an absent control plane may pass, and the wait between tries grows.
            Err(error @ ControlError::Write { .. }) => Err(Failure::new(Again::Always, "E0406", chain(&error))),
            Err(error) => Err(Failure::new(Again::Always, "E0407", chain(&error))),
        }
    }

    async fn compile(&self, digest: Digest) -> Result<Done<E::Program>, Failure> {
        let result = self.lifeline.compile(digest).await;
        let path = self.directories.artifact(digest);
        match result {
            Ok(took) => {
                self.metrics.compiled(took);
                forget(&path).await;
                Ok(Done::Compiled)
            }
            Err(CompileRefused::Failed { code, message, passing }) => {
                if !passing {
                    forget(&path).await;
                }
                Err(Failure::new(if passing { Again::Sometimes } else { Again::Never }, code, message))
            }
            Err(error @ CompileRefused::Gone) => Err(Failure::new(Again::Always, "E0407", error)),
        }
    }
}

async fn forget(path: &std::path::Path) {
    if let Err(error) = tokio::fs::remove_file(path).await {
        tracing::debug!(path = %path.display(), error = %error, "an artifact stays behind");
    }
}

impl fmt::Display for Job {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(digest) => write!(out, "fetch {}", digest.short()),
            Self::Compile(digest) => write!(out, "compile {}", digest.short()),
            Self::Start(key) => write!(out, "start {} {}", key.component, key.revision),
        }
    }
}
