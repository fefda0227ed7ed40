//! What a guest may ask of the host: one folder per ability, each linked once per engine, granted once per program, built once per sandbox.
//! Owns the list of abilities and the data of a sandbox; must never know how a sandbox is driven. An ability is added or removed here and with its folder.

mod cli;
mod clocks;
mod config;
mod filesystem;
mod http;
mod io;
mod logging;
mod random;
mod sockets;

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use ::http::HeaderValue;
use tokio_util::task::TaskTracker;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi_http::WasiHttpCtxView;

pub(crate) use self::http::ClusterSockets;
use crate::{error::OpenError, logs::SandboxLog, memory::MemoryLimit, program::ProgramConfig};

/// An ability of the host. Everything is denied unless a grant says otherwise.
trait Capability {
    /// What a program was granted, ready to be built from.
    type Grant;
    /// What one sandbox holds of it. It costs nothing until the guest uses it, wherever that can be.
    type Part;

    /// Offers the ability's interfaces of WASI 0.2 to every program of the engine.
    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()>;

    /// Offers those of WASI 0.3, to an engine that has concurrency.
    fn link3(linker: &mut Linker<Host>) -> wasmtime::Result<()>;

    /// Reads the grant out of what the program was given.
    ///
    /// # Errors
    /// What was given cannot be used.
    fn grant(config: &ProgramConfig, surroundings: &Surroundings) -> Result<Self::Grant, OpenError>;

    /// Makes a sandbox's part. On the path of a request: it must not block.
    fn build(grant: &Self::Grant, log: &SandboxLog) -> Self::Part;
}

/// What the abilities of all programs share: made once, with the engine.
pub(crate) struct Surroundings {
    pub(crate) http: Arc<http::HttpSurroundings>,
}

/// The grants of a program.
pub(crate) struct Grants {
    cli: Grant<cli::Cli>,
    clocks: Grant<clocks::Clocks>,
    config: Grant<config::Config>,
    filesystem: Grant<filesystem::Filesystem>,
    http: Grant<http::Http>,
    io: Grant<io::Io>,
    random: Grant<random::Random>,
    sockets: Grant<sockets::Sockets>,
}

/// The data of a sandbox: what its host calls work on.
pub(crate) struct Host {
    pub(crate) memory: MemoryLimit,
    log: SandboxLog,
    table: Part<io::Io>,
    cli: Part<cli::Cli>,
    clocks: Part<clocks::Clocks>,
    config: Part<config::Config>,
    filesystem: Part<filesystem::Filesystem>,
    http: Part<http::Http>,
    random: Part<random::Random>,
    sockets: Part<sockets::Sockets>,
}

type Grant<C> = <C as Capability>::Grant;
type Part<C> = <C as Capability>::Part;

/// Offers every ability in WASI 0.2. A component that imports anything else does not link.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    io::Io::link(linker)?;
    cli::Cli::link(linker)?;
    clocks::Clocks::link(linker)?;
    config::Config::link(linker)?;
    filesystem::Filesystem::link(linker)?;
    http::Http::link(linker)?;
    logging::Logging::link(linker)?;
    random::Random::link(linker)?;
    sockets::Sockets::link(linker)
}

/// Offers every ability in WASI 0.3, and in 0.2 too: language runtimes lag behind the handler that a component exports.
pub(crate) fn link3(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    link(linker)?;
    io::Io::link3(linker)?;
    cli::Cli::link3(linker)?;
    clocks::Clocks::link3(linker)?;
    config::Config::link3(linker)?;
    filesystem::Filesystem::link3(linker)?;
    http::Http::link3(linker)?;
    logging::Logging::link3(linker)?;
    random::Random::link3(linker)?;
    sockets::Sockets::link3(linker)
}

impl Surroundings {
    /// `cluster` are the sockets of the cluster itself; `tasks` has what outlives a request.
    pub(crate) fn new(cluster: Arc<ClusterSockets>, tasks: TaskTracker) -> Self {
        Self { http: Arc::new(http::HttpSurroundings::new(cluster, tasks)) }
    }
}

impl Grants {
    pub(crate) fn of(config: &ProgramConfig, surroundings: &Surroundings) -> Result<Self, OpenError> {
        Ok(Self {
            cli: cli::Cli::grant(config, surroundings)?,
            clocks: clocks::Clocks::grant(config, surroundings)?,
            config: config::Config::grant(config, surroundings)?,
            filesystem: filesystem::Filesystem::grant(config, surroundings)?,
            http: http::Http::grant(config, surroundings)?,
            io: io::Io::grant(config, surroundings)?,
            random: random::Random::grant(config, surroundings)?,
            sockets: sockets::Sockets::grant(config, surroundings)?,
        })
    }
}

impl Host {
    pub(crate) fn build(grants: &Grants, memory: MemoryLimit, log: SandboxLog) -> Self {
        Self {
            table: io::Io::build(&grants.io, &log),
            cli: cli::Cli::build(&grants.cli, &log),
            clocks: clocks::Clocks::build(&grants.clocks, &log),
            config: config::Config::build(&grants.config, &log),
            filesystem: filesystem::Filesystem::build(&grants.filesystem, &log),
            http: http::Http::build(&grants.http, &log),
            random: random::Random::build(&grants.random, &log),
            sockets: sockets::Sockets::build(&grants.sockets, &log),
            memory,
            log,
        }
    }

    /// Where requests are handed in.
    pub(crate) fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http.view(&mut self.table)
    }

    /// One request alone comes in: outgoing ones belong to its trace, and what one request may cause is counted anew.
    pub(crate) fn begin_request(&mut self, traceparent: Option<HeaderValue>) {
        self.http.begin_request(traceparent);
    }

    pub(crate) fn log(&self) -> &SandboxLog {
        &self.log
    }

    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

/// Counts down the lines about refused calls that one sandbox may still cause.
struct Denials(AtomicU8);

impl Denials {
    fn log(&self, log: &SandboxLog, text: impl FnOnce() -> String) {
        if self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            log.host(text());
        }
    }
}

impl Default for Denials {
    fn default() -> Self {
        Self(AtomicU8::new(crate::limits::DENIALS_LOGGED_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_releases_of_wasi_link_side_by_side() {
        let engine = wasmtime::Engine::new(wasmtime::Config::new().wasm_component_model_async(true)).unwrap();
        link3(&mut Linker::new(&engine)).unwrap();
    }
}
