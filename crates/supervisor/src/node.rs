//! Everything the supervisor of one node holds: directory, sockets, options. Owns what each child is given; must never change after start.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    data_directory::DataDirectory,
    options::{Ready, ServerOptions},
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
    /// Its certificates, when it has a directory of them.
    pub certificates: Option<Arc<Keeper>>,
    /// One permit per compile child that may run at once: one per core.
    pub compiles: Semaphore,
    /// What of the code stays.
    code: Mutex<CodeDirectory>,
}

impl Node {
    /// Takes the directory and binds the sockets: everything that can be refused.
    pub fn prepare(options: ServerOptions) -> Result<Self, StartError> {
        if !options.api.ip().is_loopback() {
            return Err(StartError::ApiOffLoopback { address: options.api });
        }
        for text in &options.trusted_proxies {
            text.parse::<gateway::Cidr>().map_err(|_| StartError::Network { text: text.clone() })?;
        }
        let certificates = options.certificate_directory.clone().map(Keeper::open).transpose()?.map(Arc::new);
        if options.https.is_some() && certificates.is_none() {
            tracing::warn!(
                help = "name their directory with   --cert-dir DIR",
                "there are no certificates: every TLS handshake is refused"
            );
        }
        let directory = DataDirectory::open(&options.data_directory)?;
        system_limits::prepare()?;
        let mut worker_user = sandbox_process::worker_user();
        if let Err(error) = directory.lay_out(worker_user) {
            let Some(user) = worker_user.take() else { return Err(error) };
            tracing::warn!(error = %error, user.id = user.0, "the worker cannot have its own user id on this file system");
            directory.lay_out(None)?;
        }
        let sockets = Sockets::bind(&options, &directory.path, worker_user)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let store = CodeStore::new(directory.path.join("code"));
        let code = CodeDirectory::new(store, Bounds::of(options.upkeep.code_bytes_max), Instant::now());
        Ok(Self { options, directory, sockets, worker_user, certificates, compiles: Semaphore::new(cores), code: Mutex::new(code) })
    }

    /// What of the code stays; held for a look into the directory at most.
    pub fn code(&self) -> MutexGuard<'_, CodeDirectory> {
        self.code.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said once the node is ready.
    pub fn ready(&self) -> io::Result<Ready> {
        let at = |scheme: &str, listener: &std::net::TcpListener| Ok::<_, io::Error>(format!("{scheme}://{}", listener.local_addr()?));
        let url = |listener| at("http", listener);
        Ok(Ready {
            api: url(&self.sockets.api)?,
            http: url(&self.sockets.http)?,
            https: self.sockets.https.as_ref().map(|listener| at("https", listener)).transpose()?,
            metrics: self.sockets.metrics.as_ref().map(|listener| Ok::<_, io::Error>(format!("{}/metrics", url(listener)?))).transpose()?,
            node: self.options.name.clone(),
            api_socket: self.directory.path.join("api.sock"),
        })
    }

    /// Lends a child the sockets it serves.
    pub fn lend(&self, role: Role, lent: &mut Lent) -> io::Result<()> {
        match role {
            Role::ControlPlane => {
                lent.lend("api", &self.sockets.api)?;
                lent.lend("api-socket", &self.sockets.api_socket)?;
                lent.lend("control", &self.sockets.control)?;
                if let Some(metrics) = &self.sockets.metrics {
                    lent.lend("metrics", metrics)?;
                }
                Ok(())
            }
            Role::Worker => {
                lent.lend("http", &self.sockets.http)?;
                if let Some(https) = &self.sockets.https {
                    lent.lend("https", https)?;
                }
                lent.lend("mesh", &self.sockets.mesh)
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

fn json(config: &impl serde::Serialize) -> String {
    serde_json::to_string(config).expect("a configuration holds text and numbers only")
}
