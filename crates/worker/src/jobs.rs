//! What takes time: bringing an artifact here, having it compiled. Owns how many of each run at once; must never decide whether or when.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Instant};

use api::node::AssignedFile;
use http::StatusCode;
use model::id::Digest;
use tokio::sync::Semaphore;

use crate::{
    agent::chain,
    control::{Backoff, Control, ControlError},
    directories::Directories,
    engine::{Again, Engine, Failure},
    files::{Files, FilesError},
    lifeline::{CompileRefused, Lifeline},
    limits::{COMPILES_ASKED_MAX, FETCHES_MAX, RENEW_WAIT_MAX, STARTS_MAX},
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
    /// The same with other values, in the place of what answers.
    Renew(ProgramKey),
}

/// How a job ended well.
pub enum Done<S> {
    /// The artifact is here.
    Fetched,
    /// The code is here.
    Compiled,
    /// A sandbox of it has started.
    Started(S),
    /// The wait before another try is over.
    Waited,
}

/// Does jobs.
#[derive(Debug)]
pub struct Jobs<E> {
    /// Opens code.
    pub engine: Arc<E>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    control: Control,
    lifeline: Lifeline,
    directories: Directories,
    /// What guests may read.
    pub files: Files,
    /// A thousand placements may want something at once: they take turns.
    fetches: Semaphore,
    compiles: Semaphore,
    starts: Semaphore,
}

impl<E: Engine> Jobs<E> {
    /// Fetches through `control`, has code made through `lifeline`.
    pub fn new(engine: Arc<E>, control: Control, lifeline: Lifeline, directories: Directories, metrics: Arc<Metrics>) -> Self {
        let turns = Semaphore::new;
        let files = Files::new(directories.files());
        let (fetches, compiles, starts) = (turns(FETCHES_MAX), turns(COMPILES_ASKED_MAX), turns(STARTS_MAX));
        Self { engine, metrics, control, lifeline, directories, files, fetches, compiles, starts }
    }

    /// Whether code of `digest` is here already.
    pub fn has_code(&self, digest: Digest) -> bool {
        self.engine.has_code(digest)
    }

    /// Whether the artifact `digest` is here, on its way to the compiler.
    pub fn has_artifact(&self, digest: Digest) -> bool {
        self.directories.artifact(digest).is_file()
    }

    /// Brings the artifact here.
    pub async fn fetch(&self, digest: Digest) -> Result<(), Failure> {
        let _turn = self.fetches.acquire().await.map_err(|_| ending())?;
        self.fetch_now(digest).await
    }

    /// Has code made of the artifact.
    pub async fn compile(&self, digest: Digest) -> Result<(), Failure> {
        let _turn = self.compiles.acquire().await.map_err(|_| ending())?;
        self.compile_now(digest).await
    }

    /// A turn for a program that is being started.
    pub async fn turn_to_start(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Failure> {
        self.starts.acquire().await.map_err(|_| ending())
    }

    /// Makes code of `digest` anew for requests that wait for it: before everybody who merely prepares, and as long as requests may wait at all.
    pub async fn renew(&self, digest: Digest) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let made = match self.fetch_now(digest).await {
                Ok(()) => self.compile_now(digest).await,
                Err(failure) => Err(failure),
            };
            match made {
                Err(failure) if failure.again != Again::Never && begin.elapsed() < RENEW_WAIT_MAX => {
                    tracing::warn!(artifact = %digest.short(), error = %failure.message, "making code anew is tried again");
                    tokio::time::sleep(backoff.wait()).await;
                }
                made => return made,
            }
        }
    }

    /// Brings the files of a guest here, unless they are.
    pub async fn lay_out(&self, list: &[AssignedFile]) -> Result<(), Failure> {
        if self.files.has(list) {
            return Ok(());
        }
        let artifacts: BTreeMap<_, _> = list.iter().map(|file| (file.digest, self.directories.incoming_file(file.digest))).collect();
        for (digest, path) in &artifacts {
            self.bring(*digest, path).await?;
        }
        let (files, own, from) = (self.files.clone(), list.to_vec(), artifacts.clone());
        let laid_out = tokio::task::spawn_blocking(move || files.lay_out(&own, &from)).await;
        for path in artifacts.values() {
            forget(path).await;
        }
        match laid_out {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ FilesError::Place { .. })) => Err(Failure::new(Again::Never, "E0212", error)),
            Ok(Err(error @ FilesError::Write { .. })) => Err(Failure::new(Again::Always, "E0406", chain(&error))),
            Err(error) => Err(Failure::new(Again::Sometimes, "E0406", error)),
        }
    }

    async fn fetch_now(&self, digest: Digest) -> Result<(), Failure> {
        self.bring(digest, &self.directories.artifact(digest)).await
    }

    async fn bring(&self, digest: Digest, path: &Path) -> Result<(), Failure> {
        match self.control.fetch(digest, path).await {
            Ok(()) => Ok(()),
            Err(ControlError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
                Err(Failure::new(Again::Never, "E0206", format!("artifact {digest} is not in the cluster")))
            }
            // Both a full disk and an absent control plane may pass, and the wait between tries grows.
            Err(error @ ControlError::Write { .. }) => Err(Failure::new(Again::Always, "E0406", chain(&error))),
            Err(error) => Err(Failure::new(Again::Always, "E0407", chain(&error))),
        }
    }

    async fn compile_now(&self, digest: Digest) -> Result<(), Failure> {
        let bytes = tokio::fs::metadata(self.directories.artifact(digest)).await.ok().map(|metadata| metadata.len());
        let compilation = self.metrics.chronicle.compile(digest, bytes);
        let result = self.lifeline.compile(digest).await;
        let path = self.directories.artifact(digest);
        match result {
            Ok(took) => {
                self.metrics.compiled(took);
                compilation.done(took);
                forget(&path).await;
                Ok(())
            }
            Err(CompileRefused::Failed { code, message, passing }) => {
                // Other bytes than the name says are no use for another try either.
                if !passing || code == "E0209" {
                    forget(&path).await;
                }
                Err(Failure::new(if passing { Again::Sometimes } else { Again::Never }, code, message))
            }
            Err(error @ CompileRefused::Gone) => Err(Failure::new(Again::Always, "E0407", error)),
        }
    }
}

fn ending() -> Failure {
    Failure::new(Again::Sometimes, "E0302", "the worker is ending")
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
            Self::Renew(key) => write!(out, "renew {} {}", key.component, key.revision),
        }
    }
}
