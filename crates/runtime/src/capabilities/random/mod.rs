//! `wasi:random`: unpredictable bytes. Owns how many a guest may ask for at once; must never be predictable.

use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::{
    p2::bindings::random::{insecure, insecure_seed, random},
    p3::bindings::random as wasi03,
    random::WasiRandomCtx,
};

use super::{Capability, Host, Surroundings};
use crate::{error::OpenError, host_limit::HostLimit, limits, logs::SandboxLog, program::ProgramConfig};

pub(super) struct Random;

pub(super) struct View<'a>(&'a mut WasiRandomCtx);

impl HasData for Random {
    type Data<'a> = View<'a>;
}

impl Capability for Random {
    type Grant = ();
    /// Seeded when the guest first asks.
    type Part = Option<WasiRandomCtx>;

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        random::add_to_linker::<_, Self>(linker, view)?;
        insecure::add_to_linker::<_, Self>(linker, view)?;
        insecure_seed::add_to_linker::<_, Self>(linker, view)
    }

    fn link3(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        wasi03::random::add_to_linker::<_, Self>(linker, view)?;
        wasi03::insecure::add_to_linker::<_, Self>(linker, view)?;
        wasi03::insecure_seed::add_to_linker::<_, Self>(linker, view)
    }

    fn grant(_: &ProgramConfig, _: &Surroundings) -> Result<(), OpenError> {
        Ok(())
    }

    fn build((): &(), _: &SandboxLog) -> Option<WasiRandomCtx> {
        None
    }
}

fn view(host: &mut Host) -> View<'_> {
    View(host.random.get_or_insert_default())
}

fn check_length(length: u64) -> wasmtime::Result<()> {
    if length > limits::RANDOM_BYTES_MAX { Err(HostLimit::RandomBytes { asked: length }.into()) } else { Ok(()) }
}

impl random::Host for View<'_> {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        check_length(length)?;
        random::Host::get_random_bytes(self.0, length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        random::Host::get_random_u64(self.0)
    }
}

impl insecure::Host for View<'_> {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        check_length(length)?;
        insecure::Host::get_insecure_random_bytes(self.0, length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        insecure::Host::get_insecure_random_u64(self.0)
    }
}

impl insecure_seed::Host for View<'_> {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        insecure_seed::Host::insecure_seed(self.0)
    }
}

// WASI 0.3 lets the host give less than was asked for, so nobody is ended for asking.
impl wasi03::random::Host for View<'_> {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        wasi03::random::Host::get_random_bytes(self.0, length.min(limits::RANDOM_BYTES_MAX))
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        wasi03::random::Host::get_random_u64(self.0)
    }
}

impl wasi03::insecure::Host for View<'_> {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        wasi03::insecure::Host::get_insecure_random_bytes(self.0, length.min(limits::RANDOM_BYTES_MAX))
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        wasi03::insecure::Host::get_insecure_random_u64(self.0)
    }
}

impl wasi03::insecure_seed::Host for View<'_> {
    fn get_insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        wasi03::insecure_seed::Host::get_insecure_seed(self.0)
    }
}
