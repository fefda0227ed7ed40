//! `wasi:clocks`: the time of day and a clock to wait by. Owns when the clocks are made; must never let a guest set one.

use wasmtime::component::Linker;
use wasmtime_wasi::{
    clocks::{WasiClocks, WasiClocksCtx, WasiClocksCtxView},
    p2::bindings::clocks::{monotonic_clock, wall_clock},
    p3::bindings::clocks as wasi03,
};

use super::{Capability, Host, Surroundings};
use crate::{error::OpenError, logs::SandboxLog, program::ProgramConfig};

pub(super) struct Clocks;

impl Capability for Clocks {
    type Grant = ();
    /// Made when the guest first reads a clock.
    type Part = Option<WasiClocksCtx>;

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        wall_clock::add_to_linker::<_, WasiClocks>(linker, view)?;
        monotonic_clock::add_to_linker::<_, WasiClocks>(linker, view)
    }

    fn link3(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        wasi03::types::add_to_linker::<_, WasiClocks>(linker, view)?;
        wasi03::system_clock::add_to_linker::<_, WasiClocks>(linker, view)?;
        wasi03::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, view)
    }

    fn grant(_: &ProgramConfig, _: &Surroundings) -> Result<(), OpenError> {
        Ok(())
    }

    fn build((): &(), _: &SandboxLog) -> Option<WasiClocksCtx> {
        None
    }
}

fn view(host: &mut Host) -> WasiClocksCtxView<'_> {
    WasiClocksCtxView { ctx: host.clocks.get_or_insert_default(), table: &mut host.table }
}
