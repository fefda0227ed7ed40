//! The two engines, one for each kind of component: one set of settings that decide what code looks like, shared by the server of requests and by the
//! compiler, and what only the server needs. Owns the configuration of wasmtime; must never know programs or requests.

use std::{
    hash::{Hash, Hasher},
    num::NonZeroUsize,
    sync::OnceLock,
};

use sha2::{Digest, Sha256};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::{
    compile::Threads,
    error::StartError,
    limits,
    settings::{Allocator, DirtyPages, Settings},
};

/// Which engine a component runs on. The two refuse each other's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// WASI 0.2 and nothing that waits inside the component: the engine without concurrency, on which a request costs a third less.
    Wasi02,
    /// Anything of WASI 0.3, or any type that is asynchronous.
    Wasi03,
}

impl Kind {
    /// Both, the usual one first.
    pub(crate) const ALL: [Self; 2] = [Self::Wasi02, Self::Wasi03];
}

/// Everything that shapes code. Two engines whose settings differ here refuse each other's code, so there is no other place for such a setting.
fn code_settings(kind: Kind) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Lets a computing guest yield; costs nothing measurable in code that calls the host.
        .epoch_interruption(true)
        // WASI 0.2 needs no concurrency inside a sandbox: without it a request costs a third less.
        .concurrency_support(kind == Kind::Wasi03)
        // No guest of WASI needs it, and it costs bounds checks. Threads are not compiled in at all.
        .wasm_memory64(false)
        // Function names come from the name section. File and line would mean parsing a hostile guest's debug information in this process.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(limits::BACKTRACE_FRAMES_MAX))
        .max_wasm_stack(limits::GUEST_STACK_BYTES)
        .async_stack_size(limits::STACK_BYTES);
    config
}

/// The engine that runs requests of one kind.
pub(crate) fn serving(kind: Kind, settings: &Settings) -> Result<Engine, StartError> {
    let mut config = code_settings(kind);
    if settings.allocator == Allocator::Pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(kind, settings)));
    }
    let failed = |error: wasmtime::Error| StartError::Engine { slots: settings.slots, reason: format!("{error:#}") };
    Engine::new(&config).map_err(failed)
}

/// The engine that only compiles: it reserves nothing, so it fits into a small address space.
pub(crate) fn compiling(kind: Kind, threads: Threads) -> Result<Engine, wasmtime::Error> {
    let mut config = code_settings(kind);
    config.parallel_compilation(threads == Threads::EveryCore);
    Engine::new(&config)
}

/// 16 hex digits that are equal only where code made here can be run: version, settings, target and processor features.
pub(crate) fn compatibility(kind: Kind) -> &'static str {
    static KEYS: [OnceLock<String>; 2] = [OnceLock::new(), OnceLock::new()];
    KEYS[kind as usize].get_or_init(|| {
        let engine = compiling(kind, Threads::One).expect("the settings for code are valid on every supported machine, a test says so");
        compatibility_of(&engine)
    })
}

pub(crate) fn compatibility_of(engine: &Engine) -> String {
    let mut hasher = StableHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Each pool alone has a place for every slot, because one kind may have all of them; the slots themselves are counted over both.
fn pool(kind: Kind, settings: &Settings) -> PoolingAllocationConfig {
    let slots = settings.slots;
    let stacks = match kind {
        Kind::Wasi02 => slots,
        Kind::Wasi03 => slots.saturating_mul(limits::STACKS_PER_CONCURRENT_SLOT),
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        // Only a count: core instances live on the heap.
        .total_core_instances(slots.saturating_mul(limits::CORE_INSTANCES_PER_COMPONENT_MAX))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(2))
        .total_stacks(stacks)
        .total_gc_heaps(slots)
        .max_memory_size(settings.slot_memory_bytes_max)
        .table_elements(limits::TABLE_ELEMENTS_MAX)
        .max_core_instances_per_component(limits::CORE_INSTANCES_PER_COMPONENT_MAX)
        .max_memories_per_component(limits::MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_component(limits::TABLES_PER_COMPONENT_MAX)
        .max_memories_per_module(limits::MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_module(limits::TABLES_PER_COMPONENT_MAX)
        .max_core_instance_size(limits::INSTANCE_METADATA_BYTES_MAX)
        .max_component_instance_size(limits::INSTANCE_METADATA_BYTES_MAX)
        .max_unused_warm_slots(limits::WARM_SLOTS_MAX.min(slots))
        .linear_memory_keep_resident(limits::KEEP_RESIDENT_BYTES)
        .table_keep_resident(limits::TABLE_KEEP_RESIDENT_BYTES)
        .pagemap_scan(match settings.dirty_pages {
            DirtyPages::Listed => Enabled::Auto,
            DirtyPages::Dropped => Enabled::No,
        });
    pool
}

/// The standard hasher may change between releases; file names must not.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        u64::from_le_bytes(digest[..8].try_into().expect("a sha256 has more than 8 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what the compile child makes, the server of requests can run, and neither kind takes the other's code. Method: both allocators and both
    /// thread counts give one key for each kind.
    #[test]
    fn every_engine_of_a_kind_has_one_compatibility() {
        let settings = Settings { slots: 16, ..Settings::for_this_machine() };
        for kind in Kind::ALL {
            let pooled = serving(kind, &Settings { allocator: Allocator::Pool, ..settings.clone() }).unwrap();
            let on_demand = serving(kind, &Settings { allocator: Allocator::OnDemand, ..settings.clone() }).unwrap();
            let expected = compatibility(kind);
            assert_eq!(expected.len(), 16);
            for engine in [pooled, on_demand, compiling(kind, Threads::EveryCore).unwrap(), compiling(kind, Threads::One).unwrap()] {
                assert_eq!(compatibility_of(&engine), expected, "{kind:?}");
            }
        }
        assert_ne!(compatibility(Kind::Wasi02), compatibility(Kind::Wasi03));
    }
}
