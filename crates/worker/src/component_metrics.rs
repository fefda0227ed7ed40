//! What is counted per component, for scrapers. Owns names and labels of these series; a component has series from its first request or line on, and none
//! once it is no longer assigned. Must never count anything itself.

use std::{fmt, sync::Arc};

use model::id::ComponentId;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};
use runtime::ComponentReading;

use crate::{engine::Engine, logs::LogStore};

/// Shows the counts of every component.
pub struct ComponentSeries<E> {
    /// Has the counts of guests.
    pub engine: Arc<E>,
    /// The logs.
    pub logs: Arc<LogStore>,
}

impl<E> fmt::Debug for ComponentSeries<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ComponentSeries").finish_non_exhaustive()
    }
}

/// One count of guests: its name, what it says, and where it is.
type Count = (&'static str, &'static str, fn(&ComponentReading) -> u64);

const COUNTERS: [Count; 10] = [
    ("component_requests", "Requests that were given to a sandbox", |reading| reading.requests),
    ("component_sandboxes_started", "Sandboxes started", |reading| reading.instantiations),
    ("component_traps", "Guests that trapped or ended themselves", |reading| reading.traps),
    ("component_timeouts", "Requests without a response in time", |reading| reading.timeouts),
    ("component_cpu_exhausted", "Guests ended because their CPU time was used up", |reading| reading.cpu_exhausted),
    ("component_memory_denials", "Times a guest was denied memory", |reading| reading.memory_denials),
    ("component_slow_lane", "Guests that were moved to the slow lane", |reading| reading.slow_lane),
    ("component_recycled", "Kept sandboxes that were replaced", |reading| reading.recycled),
    ("component_egress_calls", "Requests of guests to the outside", |reading| reading.egress_calls),
    ("component_egress_denials", "Requests of guests to the outside that were denied", |reading| reading.egress_denials),
];

const GAUGES: [Count; 2] = [
    ("component_memory_held", "Memory its sandboxes hold", |reading| reading.memory_held_bytes),
    ("component_memory_peak", "Most memory one sandbox has held", |reading| reading.memory_peak_bytes),
];

impl<E: Engine> Collector for ComponentSeries<E> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut all = self.engine.counters();
        all.retain(|(_, reading)| *reading != ComponentReading::default());
        let help = "CPU time of guests";
        let mut metric = encoder.encode_descriptor("component_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?;
        for (component, reading) in &all {
            let seconds = std::time::Duration::from_nanos(reading.cpu_nanos).as_secs_f64();
            metric.encode_family(&labels_of(component))?.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
        }
        for (name, help, value) in COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (component, reading) in &all {
                metric.encode_family(&labels_of(component))?.encode_counter::<NoLabelSet, _, f64>(&value(reading), None)?;
            }
        }
        for (name, help, value) in GAUGES {
            let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
            for (component, reading) in &all {
                let value = i64::try_from(value(reading)).unwrap_or(i64::MAX);
                metric.encode_family(&labels_of(component))?.encode_gauge(&value)?;
            }
        }
        let help = "Log lines of guests that were counted instead of kept";
        let mut metric = encoder.encode_descriptor("component_log_lines_dropped", help, None, MetricType::Counter)?;
        for (component, count) in self.logs.dropped_by_component() {
            metric.encode_family(&labels_of(&component))?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        Ok(())
    }
}

/// Who a series is of: the same three labels wherever something is counted per component.
fn labels_of(id: &ComponentId) -> [(&'static str, &str); 3] {
    [("namespace", id.app.namespace.as_str()), ("app", id.app.name.as_str()), ("component", id.component.as_str())]
}
