//! What this worker has counted, put together from the gateway, the engine and the logs. Owns the joining; must never compute a rate or change a count.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use api::{
    mesh::{FiguresQuery, WorkerFigures},
    time::Time,
    v1::{ComponentCounts, ComponentUsage, InstanceUsage, LatencyBucket, WorkerUsage},
};
use model::id::{ComponentId, InstanceId, Timestamp};

use crate::{engine::Engine, logs::LogStore, programs::Programs, roster::Roster};

/// Where the counts are.
pub struct Sources<E: Engine> {
    /// The node's name.
    pub node: String,
    /// When counting began.
    pub since: Time,
    /// The gateway's counts.
    pub traffic: gateway::Metrics,
    /// The gateway's instances.
    pub gateway: gateway::Handle,
    /// The engine's counts.
    pub engine: Arc<E>,
    /// The programs in memory.
    pub programs: Arc<Programs<E>>,
    /// The logs' counts.
    pub logs: Arc<LogStore>,
}

/// Reads what is asked for, of what `roster` holds.
pub type Read = Arc<dyn Fn(&FiguresQuery, &Roster) -> WorkerFigures + Send + Sync>;

impl<E: Engine> Sources<E> {
    /// Counting begins now.
    pub fn new(
        node: &str,
        (traffic, gateway): (gateway::Metrics, gateway::Handle),
        engine: Arc<E>,
        programs: Arc<Programs<E>>,
        logs: Arc<LogStore>,
    ) -> Self {
        Self { node: node.to_owned(), since: now(), traffic, gateway, engine, programs, logs }
    }

    /// A reader of these sources.
    pub fn reader(self) -> Read {
        Arc::new(move |query, roster| self.read(query, roster))
    }

    fn read(&self, query: &FiguresQuery, roster: &Roster) -> WorkerFigures {
        let traffic = self.traffic.read();
        let worker = self.worker(&traffic);
        let components = if query.components { self.components(query, roster, traffic) } else { Vec::new() };
        let instances = if query.instances { self.instances(query, roster) } else { Vec::new() };
        WorkerFigures { at: now(), worker, components, instances }
    }

    fn worker(&self, traffic: &gateway::GatewayReading) -> WorkerUsage {
        let sum = |field: fn(&gateway::ComponentReading) -> u64| traffic.components.iter().map(field).sum();
        let (sandboxes, sandbox_slots) = self.engine.sandboxes();
        WorkerUsage {
            since: self.since,
            sandboxes,
            sandbox_slots,
            programs_loaded: self.programs.loaded() as u64,
            connections: traffic.connections_open,
            requests: sum(|component| component.requests),
            in_flight: sum(|component| component.in_flight),
            waiting: sum(|component| component.waiting),
            log_lines_dropped: self.logs.dropped(),
            access_lines_dropped: self.logs.access_dropped(),
        }
    }

    /// Every component that is assigned, whether it has done anything or not.
    fn components(&self, query: &FiguresQuery, roster: &Roster, traffic: gateway::GatewayReading) -> Vec<ComponentUsage> {
        let assigned = roster.apps().values().flat_map(|part| &part.programs).map(|program| &program.component);
        let mut found: BTreeMap<ComponentId, (ComponentCounts, Vec<LatencyBucket>)> =
            assigned.filter(|id| is_wanted(query, id)).map(|id| (id.clone(), Default::default())).collect();
        for reading in traffic.components {
            if let Some((counts, latency)) = found.get_mut(&reading.component) {
                add_traffic(counts, &reading);
                *latency = buckets(&reading.durations);
            }
        }
        for (component, reading) in self.engine.counters() {
            if let Some((counts, _)) = found.get_mut(&component) {
                add_guests(counts, &reading);
            }
        }
        for (component, (counts, _)) in &mut found {
            counts.log_lines_dropped = self.logs.dropped_of(component);
        }
        let usage =
            |(component, (counts, latency))| ComponentUsage { component, node: self.node.clone(), since: self.since, counts, latency };
        found.into_iter().map(usage).collect()
    }

    fn instances(&self, query: &FiguresQuery, roster: &Roster) -> Vec<InstanceUsage> {
        let held = roster.placements().values().filter(|held| is_wanted(query, &held.key.component));
        let mut instances: Vec<_> = held
            .filter_map(|held| {
                let reading = self.gateway.read(&held.target())?;
                Some(InstanceUsage {
                    instance: InstanceId { component: held.key.component.clone(), ordinal: held.ordinal },
                    revision: held.key.revision,
                    node: self.node.clone(),
                    since: self.since,
                    requests: reading.requests,
                    in_flight: reading.in_flight,
                    capacity: reading.capacity,
                    memory_bytes: self.programs.held_bytes(&held.key, held.ordinal),
                })
            })
            .collect();
        instances.sort_by(|one, other| (&one.instance, one.revision).cmp(&(&other.instance, other.revision)));
        instances
    }
}

fn is_wanted(query: &FiguresQuery, component: &ComponentId) -> bool {
    query.namespace.as_ref().is_none_or(|namespace| component.app.namespace == *namespace)
}

fn add_traffic(counts: &mut ComponentCounts, reading: &gateway::ComponentReading) {
    counts.requests = reading.requests;
    counts.errors = reading.errors;
    counts.duration_micros = u64::try_from(reading.duration_sum.as_micros()).unwrap_or(u64::MAX);
    counts.in_flight = reading.in_flight;
    counts.waiting = reading.waiting;
}

fn add_guests(counts: &mut ComponentCounts, reading: &runtime::ComponentReading) {
    counts.cpu_micros = reading.cpu_nanos / 1_000;
    counts.memory_peak_bytes = reading.memory_peak_bytes;
    counts.memory_held_bytes = reading.memory_held_bytes;
    counts.instantiations = reading.instantiations;
    counts.traps = reading.traps;
    counts.timeouts = reading.timeouts;
    counts.cpu_exhausted = reading.cpu_exhausted;
    counts.memory_denials = reading.memory_denials;
    counts.slow_lane = reading.slow_lane;
    counts.recycled = reading.recycled;
    counts.egress_calls = reading.egress_calls;
    counts.egress_denials = reading.egress_denials;
}

fn buckets(durations: &[(f64, u64)]) -> Vec<LatencyBucket> {
    // Bounds are between 50 µs and 30 s.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let micros = |seconds: f64| seconds.is_finite().then_some((seconds * 1e6).round() as u64);
    let lower = std::iter::once(0).chain(durations.iter().filter_map(|(bound, _)| micros(*bound)));
    let buckets = lower.zip(durations).filter(|(_, (_, count))| *count > 0);
    buckets.map(|(above_micros, (bound, count))| LatencyBucket { above_micros, up_to_micros: micros(*bound), count: *count }).collect()
}

/// The moment, by the system's clock.
pub fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_say_both_bounds_and_empty_ones_are_left_out() {
        let bucket = |above_micros, up_to_micros, count| LatencyBucket { above_micros, up_to_micros, count };
        let told = buckets(&[(0.000_05, 0), (0.000_1, 3), (0.002_5, 0), (f64::INFINITY, 1)]);
        assert_eq!(told, [bucket(50, Some(100), 3), bucket(2_500, None, 1)]);
    }
}
