//! The engine of a node and what is opened on it. Owns the life of the engine; must never know which programs a node should have.

use std::{path::Path, sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{
    capabilities::{self, Host},
    code_store, engine,
    error::{OpenError, StartError},
    figures::{Counters, Figures, PoolFigures},
    logs::LogSink,
    program::{Program, ProgramConfig},
    settings::Settings,
};

/// The engine of a node. Programs keep what they need of it alive.
pub struct Runtime {
    engine: Engine,
    linker: Linker<Host>,
    logs: Arc<dyn LogSink>,
    slot_memory_bytes_max: usize,
    shared: Shared,
}

/// What programs share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) counters: Arc<Counters>,
    /// Work that goes on after a response.
    pub(crate) tasks: TaskTracker,
    /// For how long.
    pub(crate) after_response: Duration,
}

/// An opened code file. Cheap to clone; programs of any configuration can be made of it.
#[derive(Clone)]
pub struct Code {
    component: Component,
}

impl Runtime {
    /// Starts the engine and its ticker thread. Lines of every sandbox go to `logs`.
    pub fn start(settings: &Settings, logs: Arc<dyn LogSink>) -> Result<Self, StartError> {
        let engine = engine::serving(settings)?;
        let mut linker = Linker::new(&engine);
        capabilities::link(&mut linker).map_err(|error| StartError::Link { reason: format!("{error:#}") })?;
        let counters = Arc::new(Counters::new(settings.slots));
        let shared = Shared { counters, tasks: TaskTracker::new(), after_response: settings.after_response };
        Ok(Self { engine, linker, logs, slot_memory_bytes_max: settings.slot_memory_bytes_max, shared })
    }

    /// Opens a file of the code store, after a check that it is protected and whole. Blocks for about a millisecond per MiB of code.
    pub fn open(&self, path: &Path) -> Result<Code, OpenError> {
        code_store::verify(path)?;
        // SAFETY: the file is what the compiler wrote: its checksum was just verified, and nobody but the compile child, which never writes into
        // a file that has its final name, may write it. The engine refuses code of another version or of other settings by itself.
        let component = unsafe { Component::deserialize_file(&self.engine, path) };
        component.map(|component| Code { component }).map_err(|error| refusal(path, &error))
    }

    /// Makes a program of opened code: every import is linked, so a request finds nothing left to fail.
    pub fn program(&self, code: &Code, config: ProgramConfig) -> Result<Arc<Program>, OpenError> {
        let memory_bytes = usize::try_from(config.memory_bytes).unwrap_or(usize::MAX);
        if memory_bytes > self.slot_memory_bytes_max {
            let (wanted, most) = (config.memory_bytes, self.slot_memory_bytes_max);
            return Err(OpenError::TooLarge { reason: format!("its memory limit of {wanted} bytes is above the {most} bytes of a slot") });
        }
        let linked = self.linker.instantiate_pre(&code.component).map_err(|error| OpenError::Import { reason: format!("{error:#}") })?;
        Program::new(linked, config, memory_bytes, Arc::clone(&self.logs), self.shared.clone()).map(Arc::new)
    }

    /// What the runtime has done since its start.
    pub fn figures(&self) -> Figures {
        let pool = self.engine.pooling_allocator_metrics().map(|pool| PoolFigures {
            memories: pool.memories(),
            tables: pool.tables(),
            stacks: pool.stacks(),
            memories_warm: pool.unused_warm_memories(),
            warm_bytes: pool.unused_memory_bytes_resident(),
        });
        self.shared.counters.figures(pool)
    }

    /// Waits until no guest works on after its response. Each does so for a bounded time.
    pub async fn finish(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

/// The engine measures a component against the pool before anything runs; its errors are text.
fn refusal(path: &Path, error: &wasmtime::Error) -> OpenError {
    let reason = format!("{error:#}");
    if reason.contains("pooling allocator") { OpenError::TooLarge { reason } } else { OpenError::Foreign { path: path.to_owned(), reason } }
}
