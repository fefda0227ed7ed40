//! The memory limit of one sandbox, over all its memories and tables together, and its part of the memory of its instance. Owns the sums; must never know
//! what the memory is for.

use std::{
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use wasmtime::ResourceLimiter;

use crate::{component_figures::ComponentFigures, error::SandboxError, figures::Counters, instance::Portion, limits, logs::SandboxLog};

/// What a sandbox holds and may hold.
pub(crate) struct MemoryLimit {
    limit_bytes: usize,
    held_bytes: usize,
    /// Its part of the instance; a probe belongs to none.
    portion: Option<Portion>,
    denied: Option<Denied>,
    log: SandboxLog,
    counters: Arc<Counters>,
    figures: Arc<ComponentFigures>,
}

/// A wish that went over a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Denied {
    pub(crate) by: DeniedBy,
    pub(crate) limit_bytes: u64,
    pub(crate) wanted_bytes: u64,
}

/// Whose limit it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeniedBy {
    Sandbox,
    Instance {
        /// What all its sandboxes held then.
        held_bytes: u64,
    },
}

impl MemoryLimit {
    pub(crate) fn new(
        limit_bytes: usize,
        portion: Option<Portion>,
        log: SandboxLog,
        counters: Arc<Counters>,
        figures: Arc<ComponentFigures>,
    ) -> Self {
        Self { limit_bytes, held_bytes: 0, portion, denied: None, log, counters, figures }
    }

    /// The last wish that was denied: a guest that fails afterwards most likely failed of it.
    pub(crate) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    /// The next request did not ask for what an earlier one was denied.
    pub(crate) fn forget_denial(&mut self) {
        self.denied = None;
    }

    /// The component's counters.
    pub(crate) fn figures(&self) -> &ComponentFigures {
        &self.figures
    }

    fn grow(&mut self, more_bytes: usize) -> bool {
        let wanted_bytes = self.held_bytes.saturating_add(more_bytes);
        if wanted_bytes > self.limit_bytes {
            return self.deny(DeniedBy::Sandbox, self.limit_bytes as u64, wanted_bytes as u64);
        }
        if let Some(portion) = &mut self.portion
            && !portion.grow_to(wanted_bytes as u64)
        {
            let (held_bytes, total_bytes) = (portion.instance().held_bytes(), portion.instance().total_bytes());
            return self.deny(DeniedBy::Instance { held_bytes }, total_bytes, wanted_bytes as u64);
        }
        self.figures.memory_held_bytes.fetch_add(more_bytes as u64, Relaxed);
        self.held_bytes = wanted_bytes;
        true
    }

    fn deny(&mut self, by: DeniedBy, limit_bytes: u64, wanted_bytes: u64) -> bool {
        self.counters.count(&self.counters.memory_denials);
        self.figures.count(&self.figures.memory_denials);
        if self.denied.is_none_or(|denied| mem::discriminant(&denied.by) != mem::discriminant(&by)) {
            self.log.host(match by {
                DeniedBy::Sandbox => format!(
                    "memory limit reached: the sandbox asked for {wanted_bytes} bytes, its limit is {limit_bytes}; raise `resources.memory` of the component"
                ),
                DeniedBy::Instance { held_bytes } => format!(
                    "instance memory is full: the sandbox asked for {wanted_bytes} bytes, the sandboxes of the instance hold {held_bytes} of {limit_bytes}; raise `resources.instanceMemory` of the component or lower `resources.maxInFlight`"
                ),
            });
        }
        self.denied = Some(Denied { by, limit_bytes, wanted_bytes });
        false
    }
}

impl From<Denied> for SandboxError {
    fn from(denied: Denied) -> Self {
        let Denied { by, limit_bytes, wanted_bytes } = denied;
        match by {
            DeniedBy::Sandbox => Self::Memory { limit_bytes, wanted_bytes },
            DeniedBy::Instance { held_bytes } => Self::InstanceMemory { limit_bytes, held_bytes },
        }
    }
}

impl Drop for MemoryLimit {
    /// Guests never give memory back before they end, so what it holds now is also the most it held.
    fn drop(&mut self) {
        let held_bytes = self.held_bytes as u64;
        self.figures.memory_held_bytes.fetch_sub(held_bytes, Relaxed);
        self.figures.note_peak(held_bytes);
        if let Some(usage) = self.log.usage() {
            usage.memory_bytes.store(held_bytes, Relaxed);
        }
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // What its own module forbids will not be held, and must not be counted.
        Ok(maximum.is_none_or(|maximum| desired <= maximum) && self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > limits::TABLE_ELEMENTS_MAX || maximum.is_some_and(|maximum| desired > maximum) {
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
