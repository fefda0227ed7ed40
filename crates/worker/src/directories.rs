//! Where the worker finds what on disk. Owns the names inside the data directory that concern a worker; must never create or change anything.

use std::path::{Path, PathBuf};

use model::id::Digest;

/// The parts of a data directory a worker knows. Paths may be relative: a worker that gave up its user id reaches its directory only as the
/// current directory it was started in, because the directories above may not let it through.
#[derive(Debug, Clone)]
pub struct Directories {
    root: PathBuf,
}

impl Directories {
    /// The parts of the data directory `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The worker's own directory: all it may write to.
    pub fn worker(&self) -> PathBuf {
        self.root.join("worker")
    }

    /// The last assignment.
    pub fn assignment(&self) -> PathBuf {
        self.root.join("worker/assignment.json")
    }

    /// This worker's key and certificate, and the servers it knows.
    pub fn identity(&self) -> PathBuf {
        self.root.join("worker/identity")
    }

    /// Logs of guests and requests.
    pub fn logs(&self) -> PathBuf {
        self.root.join("worker/logs")
    }

    /// Artifacts on their way to the compiler.
    pub fn incoming(&self) -> PathBuf {
        self.root.join("worker/incoming")
    }

    /// Read-only files of guests.
    pub fn files(&self) -> PathBuf {
        self.root.join("worker/files")
    }

    /// A file of a guest on its way to where it will lie.
    pub fn incoming_file(&self, digest: Digest) -> PathBuf {
        self.incoming().join(format!("{}.file", digest.hex()))
    }

    /// The artifact `digest` on its way to the compiler.
    pub fn artifact(&self, digest: Digest) -> PathBuf {
        self.incoming().join(format!("{}.wasm", digest.hex()))
    }

    /// Code, written by compile children only.
    pub fn code(&self) -> PathBuf {
        self.root.join("code")
    }

    /// Where the control plane of this node listens.
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// Where other processes reach this worker.
    pub fn mesh_socket(&self) -> PathBuf {
        self.root.join("worker/mesh.sock")
    }
}
