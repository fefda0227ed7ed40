//! What a guest may ask of the host: one folder per ability, each linked once per engine, granted once per program, built once per sandbox.
//! Owns the list of abilities and the data of a sandbox; must never know how a sandbox is driven. An ability is added or removed here and with its folder.

mod cli;
mod clocks;
mod config;
mod filesystem;
mod http;
mod io;
mod random;
mod sockets;

use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi_http::WasiHttpCtxView;

use crate::{logs::SandboxLog, memory::MemoryLimit, program::ProgramConfig};

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
    fn grant(config: &ProgramConfig) -> Self::Grant;

    /// Makes a sandbox's part. On the path of a request: it must not block.
    fn build(grant: &Self::Grant, log: &SandboxLog) -> Self::Part;
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
    random::Random::link3(linker)?;
    sockets::Sockets::link3(linker)
}

impl Grants {
    pub(crate) fn of(config: &ProgramConfig) -> Self {
        Self {
            cli: cli::Cli::grant(config),
            clocks: clocks::Clocks::grant(config),
            config: config::Config::grant(config),
            filesystem: filesystem::Filesystem::grant(config),
            http: http::Http::grant(config),
            io: io::Io::grant(config),
            random: random::Random::grant(config),
            sockets: sockets::Sockets::grant(config),
        }
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

    pub(crate) fn log(&self) -> &SandboxLog {
        &self.log
    }

    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

/// Counts down the lines about refused calls that one sandbox may still cause.
struct Denials(u8);

impl Denials {
    fn log(&mut self, log: &SandboxLog, text: impl FnOnce() -> String) {
        if let Some(left) = self.0.checked_sub(1) {
            self.0 = left;
            log.host(text());
        }
    }
}

impl Default for Denials {
    fn default() -> Self {
        Self(crate::limits::DENIALS_LOGGED_MAX)
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
