//! `wasi:filesystem`: linked because every language runtime imports it, and empty: there is no directory to start from, so there is nothing to open.
//! Owns that emptiness; must never hand out a directory of the host.

use wasmtime::component::Linker;
use wasmtime_wasi::{
    filesystem::{WasiFilesystem, WasiFilesystemCtx, WasiFilesystemCtxView},
    p2::bindings::filesystem::{preopens, types},
    p3::bindings::filesystem as wasi03,
};

use super::{Capability, Host};
use crate::{logs::SandboxLog, program::ProgramConfig};

pub(super) struct Filesystem;

impl Capability for Filesystem {
    type Grant = ();
    type Part = WasiFilesystemCtx;

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        preopens::add_to_linker::<_, WasiFilesystem>(linker, view)?;
        types::add_to_linker::<_, WasiFilesystem>(linker, view)
    }

    fn link3(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        wasi03::types::add_to_linker::<_, WasiFilesystem>(linker, view)?;
        wasi03::preopens::add_to_linker::<_, WasiFilesystem>(linker, view)
    }

    fn grant(_: &ProgramConfig) {}

    fn build((): &(), _: &SandboxLog) -> WasiFilesystemCtx {
        WasiFilesystemCtx::default()
    }
}

fn view(host: &mut Host) -> WasiFilesystemCtxView<'_> {
    WasiFilesystemCtxView { ctx: &mut host.filesystem, table: &mut host.table }
}
