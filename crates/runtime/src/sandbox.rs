//! One sandbox: a store with its limits and its slot, from its start to what it died of. Owns the isolation of a request; must never know HTTP.

use std::time::Instant;

use wasmtime::{PoolConcurrencyLimitError, Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::{
    capabilities::Host, error::SandboxError, figures::Slot, handler::Instance, host_limit, instance::Portion, limits, logs::SandboxLog,
    memory::MemoryLimit, program::Program,
};

/// A sandbox that lives. It is gone, with all its memory, when this is dropped.
pub(crate) struct Sandbox {
    // The store goes before the slot: a slot that is free has room in the pool.
    pub(crate) store: Store<Host>,
    slot: Slot,
}

impl Sandbox {
    /// An empty sandbox of `program` that takes its memory from `portion`.
    pub(crate) fn new(program: &Program, portion: Option<Portion>, log: SandboxLog) -> Result<Self, SandboxError> {
        let counters = &program.shared.counters;
        let slot = Self::take_slot(program)?;
        let memory = MemoryLimit::new(program.memory_bytes, portion, log.clone(), counters.clone(), program.figures.clone());
        let mut store = Store::new(program.handler.engine(), Host::build(&program.grants, memory, log));
        store.limiter(|host| &mut host.memory);
        store.set_hostcall_fuel(limits::HOST_CALL_BYTES_MAX);
        store.set_max_component_handles(limits::HANDLES_MAX);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        Ok(Self { store, slot })
    }

    /// A slot; when all are in use, that of an idle sandbox, whoever's it is.
    fn take_slot(program: &Program) -> Result<Slot, SandboxError> {
        let counters = &program.shared.counters;
        loop {
            if let Some(slot) = counters.take_slot() {
                return Ok(slot);
            }
            if !program.shared.idle.give_up_one() {
                counters.count_exhaustion();
                return Err(SandboxError::Exhausted { slots: counters.slots });
            }
        }
    }

    /// Starts the component in it.
    pub(crate) async fn instantiate(&mut self, program: &Program) -> Result<Instance, SandboxError> {
        let begin = Instant::now();
        match program.handler.instantiate(&mut self.store).await {
            Ok(instance) => {
                self.slot.counters().count_instantiation(begin.elapsed());
                program.figures.count(&program.figures.instantiations);
                Ok(instance)
            }
            Err(error) => Err(self.start_failure(&error)),
        }
    }

    /// What a call into the guest died of, counted and told to the component's log.
    pub(crate) fn failure(&self, error: &wasmtime::Error) -> SandboxError {
        let counters = self.slot.counters();
        let host = self.store.data();
        let (log, figures) = (host.log(), host.memory.figures());
        counters.count(&counters.traps);
        figures.count(&figures.traps);
        if let Some(I32Exit(code)) = error.downcast_ref() {
            log.failure(&format!("the component ended itself with exit code {code}"), "");
            return SandboxError::Exit { code: *code };
        }
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string).unwrap_or_default();
        if let Some(reason) = host_limit::reached(error) {
            counters.count(&counters.host_limits);
            log.failure(&format!("the component reached a limit of the host that no setting raises: {reason}"), &backtrace);
            return SandboxError::HostLimit { reason };
        }
        let message = match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        };
        if let Some(denied) = host.memory.denied() {
            log.failure(&format!("the component failed after it was denied memory: {message}"), &backtrace);
            return denied.into();
        }
        log.failure(&format!("the component trapped: {message}"), &backtrace);
        SandboxError::Trap { message, backtrace }
    }

    /// A component whose start code runs, and fails, fails like any call; everything else is about the slot.
    fn start_failure(&self, error: &wasmtime::Error) -> SandboxError {
        let counters = self.slot.counters();
        if error.is::<PoolConcurrencyLimitError>() {
            counters.count_exhaustion();
            return SandboxError::Exhausted { slots: counters.slots };
        }
        counters.count(&counters.start_failures);
        if error.is::<WasmBacktrace>() || self.store.data().memory.denied().is_some() || host_limit::reached(error).is_some() {
            return self.failure(error);
        }
        let reason = format!("{error:#}");
        self.store.data().log().host(format!("a sandbox did not start: {reason}"));
        SandboxError::Start { reason }
    }
}
