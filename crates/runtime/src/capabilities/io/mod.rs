//! `wasi:io`: the streams and pollables every other ability hands out. Owns the table they live in; must never open anything itself.

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi_io::bindings::wasi::io;

use super::{Capability, Host};
use crate::{limits, logs::SandboxLog, program::ProgramConfig};

pub(super) struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

impl Capability for Io {
    type Grant = ();
    type Part = ResourceTable;

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        io::error::add_to_linker::<_, Self>(linker, Host::table)?;
        io::poll::add_to_linker::<_, Self>(linker, Host::table)?;
        io::streams::add_to_linker::<_, Self>(linker, Host::table)
    }

    /// WASI 0.3 has streams and waiting in the component model itself.
    fn link3(_: &mut Linker<Host>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn grant(_: &ProgramConfig) {}

    fn build((): &(), _: &SandboxLog) -> ResourceTable {
        let mut table = ResourceTable::with_capacity(limits::RESOURCES_PLANNED);
        table.set_max_capacity(limits::RESOURCES_MAX);
        table
    }
}
