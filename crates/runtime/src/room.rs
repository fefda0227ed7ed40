//! The memory of a program's instances: which one a request takes from, and the wait for it. Owns the list of instances; must never know how many of them
//! there should be.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::{
    component_figures::ComponentFigures,
    error::SandboxError,
    figures::Counters,
    instance::{InstanceMemory, Portion},
    logs::SandboxLog,
    program::ProgramConfig,
};

/// The memory of the instances of one program.
pub(crate) struct Room {
    /// By ordinal. An instance is added with its first request and stays: it is a few bytes, and ordinals are few.
    instances: ArcSwap<BTreeMap<u32, Arc<InstanceMemory>>>,
    bytes: u64,
    wait_max: Duration,
    waiters_max: u32,
}

impl Room {
    pub(crate) fn of(config: &ProgramConfig) -> Self {
        let ProgramConfig { instance_memory_bytes: bytes, queue_wait: wait_max, max_in_flight: waiters_max, .. } = *config;
        Self { instances: ArcSwap::default(), bytes, wait_max, waiters_max }
    }

    /// Room for one more sandbox of an instance, if there is any right now.
    pub(crate) fn try_take(&self, ordinal: u32, figures: &ComponentFigures) -> Option<Portion> {
        if let Some(instance) = self.instances.load().get(&ordinal) {
            return instance.try_take(figures.estimate_bytes());
        }
        self.instance(ordinal).try_take(figures.estimate_bytes())
    }

    /// Waits for it behind those who wait already, and says how much of `limit` is left then.
    pub(crate) async fn take(
        &self,
        ordinal: u32,
        limit: Duration,
        figures: &ComponentFigures,
        counters: &Counters,
        log: &SandboxLog,
    ) -> Result<(Portion, Duration), SandboxError> {
        let begin = Instant::now();
        let instance = self.instance(ordinal);
        let wait_max = self.wait_max.min(limit);
        let taken = tokio::time::timeout(wait_max, instance.take(figures.estimate_bytes(), self.waiters_max)).await;
        if let Ok(Some(portion)) = taken {
            return Ok((portion, limit.saturating_sub(begin.elapsed())));
        }
        counters.count(&counters.instance_memory_refusals);
        figures.count(&figures.memory_denials);
        let (held_bytes, limit_bytes) = (instance.held_bytes(), instance.total_bytes());
        let what = match taken {
            Err(_) => format!("a request found no room within {} ms", wait_max.as_millis()),
            Ok(_) => format!("a request found {} waiting for room already, as many as may", self.waiters_max),
        };
        log.failure(
            &format!(
                "instance memory is full: {what}, the sandboxes of the instance hold {held_bytes} bytes of {limit_bytes}; raise `resources.instanceMemory` of the component or lower `resources.maxInFlight`"
            ),
            "",
        );
        Err(SandboxError::InstanceMemory { limit_bytes, held_bytes })
    }

    /// What the sandboxes of an instance hold now, in bytes.
    pub(crate) fn held_bytes(&self, ordinal: u32) -> u64 {
        self.instances.load().get(&ordinal).map_or(0, |instance| instance.held_bytes())
    }

    fn instance(&self, ordinal: u32) -> Arc<InstanceMemory> {
        self.instances.rcu(|instances| {
            let mut instances = BTreeMap::clone(instances);
            instances.entry(ordinal).or_insert_with(|| InstanceMemory::new(self.bytes));
            instances
        });
        Arc::clone(self.instances.load().get(&ordinal).expect("it was just added, and none is ever removed"))
    }
}
