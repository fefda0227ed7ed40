//! The memory limit of one sandbox, over all its memories and tables together. Owns the sum; must never know what the memory is for.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use wasmtime::ResourceLimiter;

use crate::{figures::Counters, limits, logs::SandboxLog};

/// What a sandbox holds and may hold.
pub(crate) struct MemoryLimit {
    limit_bytes: usize,
    held_bytes: usize,
    denied: Option<Denied>,
    log: SandboxLog,
    counters: Arc<Counters>,
}

/// A wish that went over the limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Denied {
    pub(crate) limit_bytes: usize,
    pub(crate) wanted_bytes: usize,
}

impl MemoryLimit {
    pub(crate) fn new(limit_bytes: usize, log: SandboxLog, counters: Arc<Counters>) -> Self {
        Self { limit_bytes, held_bytes: 0, denied: None, log, counters }
    }

    /// The last wish that was denied: a guest that fails afterwards most likely failed of it.
    pub(crate) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    fn grow(&mut self, more_bytes: usize) -> bool {
        let wanted_bytes = self.held_bytes.saturating_add(more_bytes);
        if wanted_bytes <= self.limit_bytes {
            self.held_bytes = wanted_bytes;
            return true;
        }
        self.counters.memory_denials.fetch_add(1, Relaxed);
        if self.denied.is_none() {
            let limit_bytes = self.limit_bytes;
            self.log.host(format!(
                "memory limit reached: the sandbox asked for {wanted_bytes} bytes, its limit is {limit_bytes}; raise `resources.memory` of the component"
            ));
        }
        self.denied = Some(Denied { limit_bytes: self.limit_bytes, wanted_bytes });
        false
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > limits::TABLE_ELEMENTS_MAX {
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(limits::TABLE_ELEMENT_BYTES)))
    }

    fn instances(&self) -> usize {
        limits::CORE_INSTANCES_PER_COMPONENT_MAX as usize
    }

    fn memories(&self) -> usize {
        limits::MEMORIES_PER_COMPONENT_MAX as usize
    }

    fn tables(&self) -> usize {
        limits::TABLES_PER_COMPONENT_MAX as usize
    }
}
