//! `wasi:filesystem`: the read-only files of a manifest under `/`, or nothing at all. Owns what a guest can open; must never let it write, or leave the
//! directory.

use std::io;

use wasmtime::component::Linker;
use wasmtime_wasi::{
    FsPerms, WasiCtx,
    filesystem::{WasiFilesystem, WasiFilesystemCtx, WasiFilesystemCtxView},
    p2::bindings::filesystem::{preopens, types},
    p3::bindings::filesystem as wasi03,
};

use super::{Capability, Host, Surroundings};
use crate::{error::OpenError, logs::SandboxLog, program::ProgramConfig};

pub(super) struct Filesystem;

impl Capability for Filesystem {
    /// The directory, opened once per program.
    type Grant = WasiFilesystemCtx;
    type Part = WasiFilesystemCtx;

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        preopens::add_to_linker::<_, WasiFilesystem>(linker, view)?;
        types::add_to_linker::<_, WasiFilesystem>(linker, view)
    }

    fn link3(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        wasi03::types::add_to_linker::<_, WasiFilesystem>(linker, view)?;
        wasi03::preopens::add_to_linker::<_, WasiFilesystem>(linker, view)
    }

    fn grant(config: &ProgramConfig, _: &Surroundings) -> Result<WasiFilesystemCtx, OpenError> {
        let Some(path) = &config.files else { return Ok(WasiFilesystemCtx::default()) };
        let mut builder = WasiCtx::builder();
        let opened = builder.preopened_dir(path, "/", FsPerms::ReadOnly).map(|builder| builder.build());
        let mut context =
            opened.map_err(|error| OpenError::Files { path: path.clone(), source: io::Error::other(format!("{error:#}")) })?;
        Ok(context.filesystem().clone())
    }

    fn build(grant: &WasiFilesystemCtx, _: &SandboxLog) -> WasiFilesystemCtx {
        grant.clone()
    }
}

fn view(host: &mut Host) -> WasiFilesystemCtxView<'_> {
    WasiFilesystemCtxView { ctx: &mut host.filesystem, table: &mut host.table }
}
