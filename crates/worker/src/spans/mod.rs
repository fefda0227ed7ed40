//! Spans of requests on their way to a collector. Owns which are kept, the bounded queue and the count of those that were not. A request hands its span over
//! and goes on: nothing here waits, and without a collector nothing here exists. Must never know how a span travels (`otlp.rs`, `export.rs`).

mod export;
mod otlp;
mod settings;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use gateway::RequestTrace;
use model::id::{ComponentId, RevisionNumber};
use runtime::RequestUsage;
use tokio::sync::mpsc;

pub use export::Exporter;
pub use settings::{Collector, InvalidCollector, Ratio, TraceSettings};

use crate::limits::SPANS_WAITING_MAX;

/// Takes spans. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    counts: Arc<SpanCounts>,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct SpanCounts {
    sent: AtomicU64,
    dropped: AtomicU64,
}

/// Something that took time while a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    trace_id: [u8; 16],
    id: [u8; 8],
    parent_id: Option<[u8; 8]>,
    name: &'static str,
    is_server: bool,
    started_at: SystemTime,
    took: Duration,
    attributes: Vec<(&'static str, Value)>,
    /// The code of what went wrong.
    error: Option<&'static str>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(u64),
}

/// A sandbox at work on one request; its span is handed over when this is dropped, at the end of the response.
#[derive(Debug)]
pub struct SandboxSpan {
    spans: Spans,
    span: Option<Span>,
    begun: Instant,
    usage: Arc<RequestUsage>,
}

impl Spans {
    /// A way to the collector, and the task that must run for it.
    pub fn new(settings: &TraceSettings, node: &str) -> (Self, Exporter) {
        let (queue, waiting) = mpsc::channel(SPANS_WAITING_MAX);
        let counts = Arc::new(SpanCounts::default());
        let exporter = Exporter::new(settings.collector.clone(), node.to_owned(), waiting, counts.clone());
        (Self { queue, counts }, exporter)
    }

    /// What became of spans so far.
    pub fn counts(&self) -> &Arc<SpanCounts> {
        &self.counts
    }

    /// Hands over the gateway's span of a finished request, if its trace is recorded.
    pub fn request(&self, record: &gateway::AccessRecord<'_>) {
        let context = record.trace.context;
        if !context.sampled {
            return;
        }
        let mut attributes = vec![
            ("http.request.method", Value::Text(record.method.as_str().to_owned())),
            ("http.response.status_code", Value::Number(record.status.as_u16().into())),
            ("url.path", Value::Text(record.path.to_owned())),
            ("server.address", Value::Text(record.host.to_owned())),
            ("client.address", Value::Text(record.peer.to_string())),
            ("shoal.request_id", Value::Text(record.request_id.to_owned())),
            ("http.request.body.size", Value::Number(record.bytes_in)),
            ("http.response.body.size", Value::Number(record.bytes_out)),
        ];
        if let (Some(component), Some(revision), Some(ordinal)) = (record.component, record.revision, record.instance) {
            attributes.extend(whose(component, revision, ordinal));
        }
        let is_failed = record.status.is_server_error() || record.error.is_some();
        self.hand_over(Span {
            trace_id: context.trace_id,
            id: context.parent_id,
            parent_id: record.trace.client_span,
            name: "gateway.request",
            is_server: true,
            started_at: record.time,
            took: Duration::from_micros(record.duration_us),
            attributes,
            error: is_failed.then_some(record.error.unwrap_or("")),
        });
    }

    /// Begins the span of a sandbox that answers for `target`; none when its trace is not recorded.
    pub fn sandbox(&self, trace: RequestTrace, target: &gateway::Target) -> Option<SandboxSpan> {
        let context = trace.context;
        let span = Span {
            trace_id: context.trace_id,
            id: gateway::TraceContext::new_span(),
            parent_id: Some(context.parent_id),
            name: "sandbox",
            is_server: false,
            started_at: SystemTime::now(),
            took: Duration::ZERO,
            attributes: whose(&target.component, target.revision, target.ordinal).into(),
            error: None,
        };
        context.sampled.then(|| SandboxSpan { spans: self.clone(), span: Some(span), begun: Instant::now(), usage: Arc::default() })
    }

    fn hand_over(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl SpanCounts {
    /// Spans the collector took.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Spans that found the queue full, or that the collector did not take.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

impl SandboxSpan {
    /// The request failed with `code`.
    pub fn failed(&mut self, code: &'static str) {
        if let Some(span) = &mut self.span {
            span.error = Some(code);
        }
    }

    /// Where the runtime tells what the sandbox uses.
    pub fn usage(&self) -> &Arc<RequestUsage> {
        &self.usage
    }
}

impl Drop for SandboxSpan {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.took = self.begun.elapsed();
            if let Some((cpu_nanos, memory_bytes)) = self.usage.read() {
                span.attributes.push(("shoal.cpu_time_us", Value::Number(cpu_nanos / 1_000)));
                span.attributes.push(("shoal.memory_peak_bytes", Value::Number(memory_bytes)));
            }
            self.spans.hand_over(span);
        }
    }
}

fn whose(component: &ComponentId, revision: RevisionNumber, ordinal: u32) -> [(&'static str, Value); 5] {
    [
        ("shoal.namespace", Value::Text(component.app.namespace.to_string())),
        ("shoal.app", Value::Text(component.app.name.to_string())),
        ("shoal.component", Value::Text(component.component.to_string())),
        ("shoal.revision", Value::Number(revision.0)),
        ("shoal.instance", Value::Number(ordinal.into())),
    ]
}

#[cfg(test)]
mod tests;
