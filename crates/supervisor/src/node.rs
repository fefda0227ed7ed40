//! Everything the supervisor of one node holds: directory, sockets, options. Owns what each child is given; must never change after start.

use std::{
    io,
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use certificates::Keeper;
use runtime::code_store::CodeStore;
use tokio::sync::Semaphore;

use super::{
    child::Role,
    code_directory::{Bounds, CodeDirectory},
    compile::CompileConfig,
    control_plane::ControlPlaneConfig,
    data_directory::{self, DataDirectory},
    enroll::Enrolled,
    kept_secrets::KeptSecrets,
    options::{Ready, ServerOptions},
    ready_file,
    sandbox_process::{self, User},
    sockets::{Lent, Sockets},
    start_error::StartError,
    system_limits,
    worker_process::WorkerConfig,
};

/// A node before its first child.
#[derive(Debug)]
pub struct Node {
    /// What it was started with.
    pub options: ServerOptions,
    /// Its data directory.
    pub directory: DataDirectory,
    /// Its sockets.
    pub sockets: Sockets,
    /// Who its worker is, when that is not us.
    pub worker_user: Option<User>,
    /// The certificates of its directory, when it has one; those of routes come with what the worker is assigned.
    pub certificates: Option<Arc<Keeper>>,
    /// One permit per compile child that may run at once: one per core.
    pub compiles: Semaphore,
    /// Its place in its cluster, once it has one.
    pub enrolled: OnceLock<Enrolled>,
    /// The secret values of the last worker.
    pub secrets: KeptSecrets,
    /// What of the code stays.
    code: Mutex<CodeDirectory>,
}

impl Node {
    /// Takes the directory and binds the sockets: everything that can be refused.
    pub fn prepare(options: ServerOptions) -> Result<Self, StartError> {
        system_limits::forbid_cores();
        system_limits::hide_memory();
        for text in &options.trusted_proxies {
            text.parse::<gateway::Cidr>().map_err(|_| StartError::Network { text: text.clone() })?;
        }
        let certificates = options.certificate_directory.clone().map(Keeper::open).transpose()?.map(Arc::new);
        let directory = DataDirectory::open(&options.data_directory)?;
        if options.part.serves() {
            // Only a log must be able to grow; a worker goes on with what it has.
            data_directory::check_space(&directory.path)?;
        }
        if let Some(path) = &options.ready_file {
            // What the last run said is over, and who waits for the file waits for this one.
            ready_file::remove(path).map_err(|source| StartError::File { attempt: "remove", path: path.clone(), source })?;
        }
        system_limits::prepare()?;
        let mut worker_user = sandbox_process::worker_user();
        if let Err(error) = directory.lay_out(worker_user) {
            // Only what a file system cannot do: whatever else stands in the way may have been put there so that the next worker is root.
            let Some(user) = worker_user.take().filter(|_| error.is_about_owners()) else { return Err(error) };
            tracing::warn!(error = %error, user.id = user.0, "the worker cannot have its own user id on this file system");
            directory.lay_out(None)?;
        }
        let sockets = Sockets::bind(&options, &directory.path, worker_user)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let store = CodeStore::new(directory.path.join("code"));
        let code = CodeDirectory::new(store, Bounds::of(options.upkeep.code_bytes_max), Instant::now());
        Ok(Self {
            options,
            directory,
            sockets,
            worker_user,
            certificates,
            compiles: Semaphore::new(cores),
            enrolled: OnceLock::new(),
            secrets: KeptSecrets::default(),
            code: Mutex::new(code),
        })
    }

    /// Its place in its cluster.
    ///
    /// # Panics
    /// Before it has one: no child starts earlier.
    pub fn place(&self) -> &Enrolled {
        self.enrolled.get().expect("a node has its place before its first child")
    }

    /// What of the code stays; held for a look into the directory at most.
    pub fn code(&self) -> MutexGuard<'_, CodeDirectory> {
        self.code.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said once the node is ready, but for tokens.
    pub fn ready(&self) -> io::Result<Ready> {
        let at = |scheme: &str, listener: &TcpListener| Ok::<_, io::Error>(format!("{scheme}{}", listener.local_addr()?));
        let url = |scheme: &str, listener: Option<&TcpListener>| listener.map(|listener| at(scheme, listener)).transpose();
        let (control_plane, worker) = (self.sockets.control_plane.as_ref(), self.sockets.worker.as_ref());
        let scheme = if self.options.api.ip().is_loopback() { "http://" } else { "https://" };
        let metrics = url("http://", self.sockets.metrics.as_ref())?;
        Ok(Ready {
            api: url(scheme, control_plane.map(|sockets| &sockets.api))?,
            http: url("http://", worker.map(|sockets| &sockets.http))?,
            https: url("https://", worker.and_then(|sockets| sockets.https.as_ref()))?,
            metrics: metrics.map(|url| format!("{url}/metrics")),
            peer: url("", control_plane.and_then(|sockets| sockets.peer.as_ref()))?,
            mesh: url("", worker.and_then(|sockets| sockets.mesh.as_ref()))?,
            node: self.options.name.clone(),
            api_socket: control_plane.map(|_| self.directory.path.join("api.sock")),
            join: None,
            join_command: None,
        })
    }

    /// Lends a child the sockets it serves.
    pub fn lend(&self, role: Role, lent: &mut Lent) -> io::Result<()> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "this node has no such part");
        match role {
            Role::ControlPlane => {
                let sockets = self.sockets.control_plane.as_ref().ok_or_else(missing)?;
                lent.lend("api", &sockets.api)?;
                lent.lend("api-socket", &sockets.api_socket)?;
                lent.lend("control", &sockets.control)?;
                lend_some("peer", sockets.peer.as_ref(), lent)?;
                lend_some("metrics", self.sockets.metrics.as_ref(), lent)
            }
            Role::Worker => {
                let sockets = self.sockets.worker.as_ref().ok_or_else(missing)?;
                lent.lend("http", &sockets.http)?;
                lend_some("https", sockets.https.as_ref(), lent)?;
                lent.lend("mesh-socket", &sockets.mesh_socket)?;
                if let Some(secrets) = self.secrets.lend()? {
                    lent.lend("secrets", &secrets)?;
                }
                lend_some("mesh", sockets.mesh.as_ref(), lent)?;
                let metrics = self.sockets.metrics.as_ref().filter(|_| self.sockets.control_plane.is_none());
                lend_some("metrics", metrics, lent)
            }
        }
    }

    /// The configuration of a child, as JSON.
    pub fn config_of(&self, role: Role) -> String {
        match role {
            Role::ControlPlane => json(&ControlPlaneConfig::of(self)),
            Role::Worker => json(&WorkerConfig::of(self)),
        }
    }

    /// The configuration of a compile child, as JSON.
    pub fn compile_config(&self, digest: model::id::Digest) -> String {
        json(&CompileConfig {
            digest,
            // While nothing else is compiled somebody waits for this one.
            every_core: self.compiles.available_permits() + 1 == std::thread::available_parallelism().map_or(1, usize::from),
            lend: self.worker_user.is_some(),
            parent: std::process::id(),
            log: self.options.log.clone(),
        })
    }

    /// The data directory as children see it: their current directory.
    pub fn directory_of_children() -> &'static Path {
        Path::new(".")
    }
}

fn lend_some(name: &'static str, listener: Option<&TcpListener>, lent: &mut Lent) -> io::Result<()> {
    listener.map_or(Ok(()), |listener| lent.lend(name, listener))
}

fn json(config: &impl serde::Serialize) -> String {
    serde_json::to_string(config).expect("a configuration holds text and numbers only")
}
