//! `wasi:io`: the streams and pollables every other ability hands out. Owns the table they live in; must never open anything itself.

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi_io::bindings::wasi::io;

use super::{Capability, Host, Surroundings};
use crate::{error::OpenError, limits, logs::SandboxLog, program::ProgramConfig};

pub(super) struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

impl Capability for Io {
    /// Most resources a sandbox may hold.
    type Grant = usize;
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

    fn grant(config: &ProgramConfig, _: &Surroundings) -> Result<usize, OpenError> {
        // Where there are files, a resource may be an open one.
        Ok(if config.files.is_some() { limits::RESOURCES_WITH_FILES_MAX } else { limits::RESOURCES_MAX })
    }

    fn build(most: &usize, _: &SandboxLog) -> ResourceTable {
        let mut table = ResourceTable::with_capacity(limits::RESOURCES_PLANNED);
        table.set_max_capacity(*most);
        table
    }
}
