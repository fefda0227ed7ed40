//! The engines of a node and what is opened on them. Owns the engines' life; must never know which programs a node should have.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{
    capabilities::{self, ClusterSockets, Host, Surroundings},
    code_store::{self, Identity},
    engine::{self, Kind},
    error::{OpenError, StartError},
    figures::{Counters, Figures, PoolFigures},
    kept::{IdleSandboxes, Mode},
    lane::Lanes,
    limits,
    logs::LogSink,
    program::{Program, ProgramConfig},
    settings::Settings,
    ticker::Ticker,
};

/// The engines of a node. Programs keep what they need of them alive.
pub struct Runtime {
    settings: Settings,
    wasi_02: Linked,
    /// Made when the first component needs it; why it could not be made stays.
    wasi_03: OnceLock<Result<Linked, String>>,
    /// The code files this process has checked.
    verified: Mutex<HashMap<PathBuf, Identity>>,
    logs: Arc<dyn LogSink>,
    cluster: Arc<ClusterSockets>,
    shared: Shared,
}

/// An engine with every ability it offers.
struct Linked {
    engine: Engine,
    linker: Linker<Host>,
}

/// What programs share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) counters: Arc<Counters>,
    pub(crate) lanes: Arc<Lanes>,
    /// Who has idle sandboxes.
    pub(crate) idle: Arc<IdleSandboxes>,
    /// The runtime ends: nothing is kept any more.
    pub(crate) ending: CancellationToken,
    pub(crate) surroundings: Arc<Surroundings>,
    /// Work that goes on after a response.
    pub(crate) tasks: TaskTracker,
    /// For how long.
    pub(crate) after_response: Duration,
    /// How long a sandbox that is kept may be idle.
    pub(crate) kept_idle: Duration,
}

/// An opened code file. Cheap to clone; programs of any configuration can be made of it.
#[derive(Clone)]
pub struct Code {
    component: Component,
    kind: Kind,
}

impl Code {
    /// Which engine it runs on.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Linked {
    fn start(kind: Kind, settings: &Settings, lanes: &Lanes) -> Result<Self, StartError> {
        let engine = engine::serving(kind, settings)?;
        lanes.ticker.watch(&engine);
        let mut linker = Linker::new(&engine);
        let link = match kind {
            Kind::Wasi02 => capabilities::link,
            Kind::Wasi03 => capabilities::link3,
        };
        link(&mut linker).map_err(|error| StartError::Link { reason: format!("{error:#}") })?;
        Ok(Self { engine, linker })
    }
}

impl Runtime {
    /// Starts the engine most components need and its ticker thread. Lines of every sandbox go to `logs`.
    pub fn start(settings: &Settings, logs: Arc<dyn LogSink>) -> Result<Self, StartError> {
        let counters = Arc::new(Counters::new(settings.slots));
        let ticker = Ticker::start(settings.tick).map_err(StartError::Ticker)?;
        let tasks = TaskTracker::new();
        let lanes = Arc::new(Lanes::new(ticker, counters.clone(), tasks.clone()));
        let wasi_02 = Linked::start(Kind::Wasi02, settings, &lanes)?;
        let cluster = Arc::new(ClusterSockets::new(settings));
        let surroundings = Arc::new(Surroundings::new(Arc::clone(&cluster), tasks.clone()));
        let (idle, ending) = (Arc::default(), CancellationToken::new());
        let (after_response, kept_idle) = (settings.after_response, settings.kept_idle);
        let shared = Shared { counters, lanes, surroundings, idle, ending, tasks, after_response, kept_idle };
        Ok(Self { settings: settings.clone(), wasi_02, wasi_03: OnceLock::new(), verified: Mutex::default(), logs, cluster, shared })
    }

    /// Closes the sockets by which other nodes are run, each as `HOST:PORT`, to every guest, whatever its rules say; what was closed before and is not named
    /// is open again. Connections that guests have stay.
    pub fn close_to_guests(&self, places: &[String]) {
        self.cluster.close(places);
    }

    /// Opens a file of the code store, after a check that it is protected and whole. Blocks for about a millisecond per MiB of code.
    pub fn open(&self, path: &Path) -> Result<Code, OpenError> {
        let identity = code_store::verify(path)?;
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= limits::VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(path.to_owned(), identity);
        drop(verified);
        self.load(path)
    }

    /// Opens a file of the code store, without reading it whole when this process has checked it and nothing touched it since. Blocks for 0.2 ms then,
    /// otherwise like [`Self::open`].
    pub fn open_again(&self, path: &Path) -> Result<Code, OpenError> {
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
        match Identity::of(path) {
            Ok(identity) if Some(identity) == known => self.load(path),
            _ => self.open(path),
        }
    }

    /// Maps a file that was checked.
    fn load(&self, path: &Path) -> Result<Code, OpenError> {
        // Code of an engine nobody here has is refused by the engine itself.
        let kind = code_store::kind_of_file(path).unwrap_or(Kind::Wasi02);
        let engine = &self.linked(kind)?.engine;
        // SAFETY: the file is what the compiler wrote: its checksum was verified by this process, and nobody but the compile child, which never writes
        // into a file that has its final name, may write it. The engine refuses code of another version or of other settings by itself.
        let component = unsafe { Component::deserialize_file(engine, path) };
        component.map(|component| Code { component, kind }).map_err(|error| refusal(path, &error))
    }

    fn linked(&self, kind: Kind) -> Result<&Linked, OpenError> {
        match kind {
            Kind::Wasi02 => Ok(&self.wasi_02),
            Kind::Wasi03 => {
                let linked =
                    self.wasi_03.get_or_init(|| Linked::start(kind, &self.settings, &self.shared.lanes).map_err(|error| error.to_string()));
                linked.as_ref().map_err(|reason| OpenError::Engine { reason: reason.clone() })
            }
        }
    }

    /// Makes a program of opened code: every import is linked, so a request finds nothing left to fail.
    pub fn program(&self, code: &Code, config: ProgramConfig) -> Result<Arc<Program>, OpenError> {
        let memory_bytes = usize::try_from(config.memory_bytes).unwrap_or(usize::MAX);
        let most = self.settings.slot_memory_bytes_max;
        if memory_bytes > most {
            let wanted = config.memory_bytes;
            return Err(OpenError::TooLarge { reason: format!("its memory limit of {wanted} bytes is above the {most} bytes of a slot") });
        }
        let linker = &self.linked(code.kind)?.linker;
        let linked = linker.instantiate_pre(&code.component).map_err(|error| OpenError::Import { reason: format!("{error:#}") })?;
        let program = Program::new(linked, config, memory_bytes, Arc::clone(&self.logs), self.shared.clone()).map(Arc::new)?;
        if program.kept.policy.mode != Mode::Fresh {
            self.shared.idle.add(Arc::downgrade(&program));
        }
        Ok(program)
    }

    /// What the runtime has done since its start.
    pub fn figures(&self) -> Figures {
        let engines = [Some(&self.wasi_02), self.wasi_03.get().and_then(|linked| linked.as_ref().ok())];
        let pools = engines.into_iter().flatten().filter_map(|linked| linked.engine.pooling_allocator_metrics());
        let pool = pools.map(|pool| PoolFigures {
            memories: pool.memories(),
            tables: pool.tables(),
            stacks: pool.stacks(),
            memories_warm: pool.unused_warm_memories(),
            warm_bytes: pool.unused_memory_bytes_resident(),
        });
        let pool = pool.reduce(PoolFigures::plus);
        self.shared.counters.figures(pool)
    }

    /// Waits until no guest works on after its response. Each does so for a bounded time. No sandbox is kept any more.
    pub async fn finish(&self) {
        self.shared.ending.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

/// The engine measures a component against the pool before anything runs; its errors are text.
fn refusal(path: &Path, error: &wasmtime::Error) -> OpenError {
    let reason = format!("{error:#}");
    if reason.contains("pooling allocator") { OpenError::TooLarge { reason } } else { OpenError::Foreign { path: path.to_owned(), reason } }
}
