//! What the worker counts beside the gateway: sandboxes, instantiation, compilation, lost log lines, its own memory. Owns names and buckets; must never
//! know what a request is.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::{MetricType, counter::Counter, histogram::Histogram},
    registry::{Registry, Unit},
};
use runtime::Runtime;

use crate::{chronicle::Chronicle, engine::Engine, logs::LogStore, programs::Programs, spans::SpanCounts};

/// Upper bounds of the compile time buckets in seconds: a small component takes 0.3 s, the limit is 300 s.
const COMPILE_SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0, 300.0];

/// Upper bounds of the buckets for opening code again in seconds: half a millisecond with a warm page cache, and the goal is 5 ms.
const REOPEN_SECONDS: [f64; 8] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.5, 5.0];

/// What the agent counts.
#[derive(Debug)]
pub struct Metrics {
    compile: Histogram,
    reopen: Histogram,
    unloaded: Counter,
    /// What is compiled right now, and what happened.
    pub chronicle: Arc<Chronicle>,
}

impl Metrics {
    /// Makes them and has `registry` show them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            compile: Histogram::new(COMPILE_SECONDS),
            reopen: Histogram::new(REOPEN_SECONDS),
            unloaded: Counter::default(),
            chronicle: Arc::default(),
        };
        registry.register_with_unit("worker_compile", "Time to make code of an artifact", Unit::Seconds, metrics.compile.clone());
        registry.register_with_unit("worker_reopen", "Time to open unloaded code again", Unit::Seconds, metrics.reopen.clone());
        registry.register("worker_unloaded", "Programs unloaded because nobody asked for them", metrics.unloaded.clone());
        metrics
    }

    /// Counts one program whose code was opened again.
    pub fn reopened(&self, took: Duration) {
        self.reopen.observe(took.as_secs_f64());
    }

    /// Counts programs that were unloaded.
    pub fn unloaded(&self, programs: usize) {
        self.unloaded.inc_by(programs as u64);
    }

    /// Counts one compilation.
    pub fn compiled(&self, took: Duration) {
        self.compile.observe(took.as_secs_f64());
    }
}

/// Shows what the log store and the process say about themselves.
#[derive(Debug)]
pub struct ProcessFigures {
    /// The logs.
    pub logs: Arc<LogStore>,
}

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        counter(&mut encoder, "worker_log_lines_dropped", "Log lines of guests counted instead of kept", self.logs.dropped())?;
        counter(&mut encoder, "worker_access_lines_dropped", "Access lines counted instead of kept", self.logs.access_dropped())?;
        gauge(&mut encoder, "worker_resident_memory", "Resident memory of the worker", Some(&Unit::Bytes), resident_bytes())
    }
}

/// Shows what became of spans.
#[derive(Debug)]
pub struct SpanFigures {
    /// The counts.
    pub counts: Arc<SpanCounts>,
}

impl Collector for SpanFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        counter(&mut encoder, "worker_spans_sent", "Spans the collector took", self.counts.sent())?;
        counter(&mut encoder, "worker_spans_dropped", "Spans that found the queue full or were not taken", self.counts.dropped())
    }
}

/// Shows how many programs are in memory.
pub struct ProgramFigures<E: Engine> {
    /// The programs.
    pub programs: Arc<Programs<E>>,
}

impl<E: Engine> fmt::Debug for ProgramFigures<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.programs.fmt(out)
    }
}

impl<E: Engine> Collector for ProgramFigures<E> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        gauge(&mut encoder, "worker_programs_loaded", "Programs whose code is in memory", None, self.programs.loaded() as u64)
    }
}

/// Shows what the runtime says about itself.
pub struct SandboxFigures {
    /// The runtime.
    pub runtime: Arc<Runtime>,
}

impl fmt::Debug for SandboxFigures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SandboxFigures").finish_non_exhaustive()
    }
}

impl Collector for SandboxFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.runtime.figures();
        let out = &mut encoder;
        gauge(out, "worker_sandbox_slots", "Sandboxes that may live at once", None, figures.slots.into())?;
        gauge(out, "worker_sandboxes", "Sandboxes that live now", None, figures.sandboxes_live.into())?;
        gauge(
            out,
            "worker_sandboxes_kept",
            "Sandboxes that live now and are kept for further requests",
            None,
            figures.sandboxes_kept.into(),
        )?;
        counter(out, "worker_sandboxes_recycled", "Kept sandboxes replaced though they could have gone on", figures.recycled)?;
        counter(out, "worker_sandboxes_started", "Sandboxes started", figures.instantiations)?;
        counter(out, "worker_traps", "Guests that trapped or ended themselves", figures.traps)?;
        counter(out, "worker_timeouts", "Requests without a response in time", figures.timeouts)?;
        counter(out, "worker_memory_denials", "Times a guest asked for more memory than its limit", figures.memory_denials)?;
        counter(
            out,
            "worker_instance_memory_refusals",
            "Requests that found no room in the memory of their instance",
            figures.instance_memory_refusals,
        )?;
        counter(out, "worker_cpu_exhausted", "Guests that used up their processor time", figures.cpu_exhausted)?;
        counter(out, "worker_host_limits", "Guests that reached a limit of the host", figures.host_limits)?;
        counter(out, "worker_slow_lane", "Guests that were moved to the slow lane or began there", figures.slow_lane)?;
        counter(out, "worker_slots_exhausted", "Requests that found every slot in use", figures.exhaustions)?;
        counter(out, "worker_bad_responses", "Guests that sent no response or one that is not valid", figures.bad_responses)?;
        counter(out, "worker_sandbox_start_failures", "Sandboxes that could not be started", figures.start_failures)?;
        counter(out, "worker_overruns", "Guests still at work after their response when their time was over", figures.overruns)?;
        if let Some(pool) = figures.pool {
            let warm = u64::try_from(pool.warm_bytes).unwrap_or(u64::MAX);
            gauge(out, "worker_pool_memories", "Memories of the pool in use", None, pool.memories as u64)?;
            gauge(out, "worker_pool_warm", "Memory kept for the next sandbox", Some(&Unit::Bytes), warm)?;
        }
        let buckets: Vec<(f64, u64)> = figures.instantiation.buckets.to_vec();
        let count = buckets.iter().map(|(_, count)| count).sum();
        out.encode_descriptor("worker_instantiation", "Time to start a sandbox", Some(&Unit::Seconds), MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(figures.instantiation.sum_seconds, count, &buckets, None)
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
}

/// Bytes of this process in memory; zero where the system does not say.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let config = crate::logs::LogConfig::new(directory.path().to_owned(), "one".into(), crate::LogRate::standard());
        let mut registry = Registry::default();
        Metrics::register(&mut registry).compiled(Duration::from_millis(300));
        registry.register_collector(Box::new(ProcessFigures { logs: Arc::new(LogStore::start(config).unwrap()) }));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in ["worker_compile_seconds_bucket{le=\"0.5\"} 1", "worker_log_lines_dropped_total 0", "worker_resident_memory_bytes "] {
            assert!(text.contains(line), "`{line}` is not in\n{text}");
        }
        assert!(!text.contains("worker_resident_memory_bytes 0\n"));
    }
}
