//! What the gateway counts. Owns names, labels and buckets of its metrics; a request touches atomics only, text is made when somebody asks. Every label is
//! a component of the table in use or a word of a closed list. Must never know why something happened.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use certificates::CertificateSet;
use http::StatusCode;
use model::id::ComponentId;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::{Registry, Unit},
};
use tokio::sync::watch;

use crate::{
    queue::ComponentState,
    refusal::Reason,
    tls::{HandshakeFault, Secured},
};

/// Status codes with a series of their own; any other counts under its class, so that a component cannot make series.
const CODES: [u16; 37] = [
    200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 412, 413, 415, 416, 417, 422, 426,
    429, 431, 499, 500, 501, 502, 503, 504, 507, 511,
];

/// Where the others count.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Codes of the gateway's own answers.
const REFUSED: [&str; 15] =
    ["E0308", "E0311", "E0501", "E0502", "E0503", "E0504", "E0505", "E0506", "E0507", "E0508", "E0509", "E0510", "E0511", "E0512", "E0514"];

/// Versions of TLS, by a full handshake and resumed.
const HANDSHAKES: [(&str, bool); 4] = [("TLSv1.2", false), ("TLSv1.2", true), ("TLSv1.3", false), ("TLSv1.3", true)];

/// Upper bounds of the latency buckets in seconds: a request to a sandbox takes tens of microseconds, a slow one seconds.
const BUCKETS_S: [f64; 15] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, f64::INFINITY];

/// What a gateway has counted since its start. The numbers are read one after another, not at one instant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GatewayReading {
    /// In order of id.
    pub components: Vec<ComponentReading>,
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub connections_open: u64,
}

/// What was counted of one component.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentReading {
    /// The component.
    pub component: ComponentId,
    /// Requests that are over.
    pub requests: u64,
    /// Of these, those answered with 5xx.
    pub errors: u64,
    /// Upper bound of a bucket in seconds, and how many requests took no longer and longer than the bound before. The last bound is infinite.
    pub durations: Vec<(f64, u64)>,
    /// How long all requests together took.
    pub duration_sum: Duration,
    /// Requests at instances now.
    pub in_flight: u64,
    /// Requests waiting for a place now.
    pub waiting: u64,
}

/// The gateway's metrics. Cheap to clone; clones count together.
#[derive(Clone, Default)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    components: ArcSwap<Vec<Arc<ComponentState>>>,
    refused: [AtomicU64; REFUSED.len()],
    connections: [AtomicU64; DoorKind::WORDS.len()],
    connections_open: [AtomicU64; DoorKind::WORDS.len()],
    handshakes: [AtomicU64; HANDSHAKES.len()],
    handshake_faults: [AtomicU64; HandshakeFault::ALL.len()],
    certificates: OnceLock<watch::Receiver<Arc<CertificateSet>>>,
}

impl Metrics {
    /// Makes the metrics and has `registry` show them as `gateway_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// What every component has counted so far, in order of id, and the connections.
    pub fn read(&self) -> GatewayReading {
        let components = self.inner.components.load();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GatewayReading {
            components: components.iter().map(|component| component.metrics.read(component)).collect(),
            connections: self.inner.connections.iter().map(load).sum(),
            connections_open: self.inner.connections_open.iter().map(load).sum(),
        }
    }

    /// Shows these components from now on.
    pub(crate) fn watch(&self, mut components: Vec<Arc<ComponentState>>) {
        components.sort_by(|one, two| one.id.cmp(&two.id));
        self.inner.components.store(Arc::new(components));
    }

    /// Counts an answer the gateway made itself.
    pub(crate) fn refused(&self, code: &str) {
        if let Some(at) = REFUSED.iter().position(|known| *known == code) {
            self.inner.refused[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Shows when these certificates expire.
    pub(crate) fn watch_certificates(&self, certificates: watch::Receiver<Arc<CertificateSet>>) {
        // A second gateway with the same metrics would show the same certificates.
        let _ = self.inner.certificates.set(certificates);
    }

    /// Counts a connection, open until the answer is dropped.
    pub(crate) fn connection_opened(&self, door: DoorKind) -> OpenConnection {
        self.inner.connections[door as usize].fetch_add(1, Ordering::Relaxed);
        self.inner.connections_open[door as usize].fetch_add(1, Ordering::Relaxed);
        OpenConnection { inner: self.inner.clone(), door }
    }

    /// Counts a TLS handshake.
    pub(crate) fn handshake(&self, outcome: &Result<Secured, HandshakeFault>) {
        let counter = match outcome {
            Ok(secured) => HANDSHAKES
                .iter()
                .position(|(version, resumed)| *version == secured.version && *resumed == secured.resumed)
                .map(|at| &self.inner.handshakes[at]),
            Err(fault) => HandshakeFault::ALL.iter().position(|known| known == fault).map(|at| &self.inner.handshake_faults[at]),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A connection that counts as open.
pub(crate) struct OpenConnection {
    inner: Arc<Inner>,
    door: DoorKind,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.inner.connections_open[self.door as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Which listener a connection came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DoorKind {
    Http,
    Https,
}

impl DoorKind {
    /// In the order of the variants.
    const WORDS: [&'static str; 2] = ["http", "https"];
}

/// What is counted per component.
#[derive(Debug)]
pub(crate) struct ComponentMetrics {
    codes: [AtomicU64; CODES.len()],
    classes: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BUCKETS_S.len()],
    duration_us: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    held_us: AtomicU64,
    /// Requests at endpoints.
    pub(crate) in_flight: AtomicU64,
    /// Requests that had to wait for a place.
    pub(crate) held: AtomicU64,
}

impl ComponentMetrics {
    pub(crate) fn new() -> Self {
        Self {
            codes: std::array::from_fn(|_| AtomicU64::new(0)),
            classes: Default::default(),
            buckets: Default::default(),
            duration_us: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            refused: Default::default(),
            held_us: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }
    }

    /// Counts one finished request.
    pub(crate) fn finish(&self, status: StatusCode, elapsed: Duration, bytes_in: u64, bytes_out: u64) {
        let counter = match CODES.binary_search(&status.as_u16()) {
            Ok(at) => &self.codes[at],
            Err(_) => self.classes.get(usize::from(status.as_u16() / 100)).unwrap_or(&self.classes[0]),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let seconds = elapsed.as_secs_f64();
        let bucket = BUCKETS_S.partition_point(|bound| *bound < seconds).min(BUCKETS_S.len() - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.duration_us.fetch_add(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if bytes_in > 0 {
            self.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        }
        self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }

    fn read(&self, component: &ComponentState) -> ComponentReading {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let buckets = self.buckets.each_ref().map(load);
        let failed = CODES.iter().zip(&self.codes).filter(|(code, _)| **code >= 500).map(|(_, counter)| load(counter)).sum::<u64>();
        ComponentReading {
            component: component.id.clone(),
            requests: buckets.iter().sum(),
            errors: failed + load(&self.classes[5]),
            durations: BUCKETS_S.into_iter().zip(buckets).collect(),
            duration_sum: Duration::from_micros(load(&self.duration_us)),
            in_flight: load(&self.in_flight),
            waiting: component.waiting() as u64,
        }
    }

    /// Whether there was ever a request.
    fn is_used(&self, component: &ComponentState) -> bool {
        let any = |counter: &AtomicU64| counter.load(Ordering::Relaxed) > 0;
        any(&self.in_flight) || any(&self.held) || component.waiting() > 0 || self.buckets.iter().any(any)
    }

    /// Counts one request that its component did not answer.
    pub(crate) fn refuse(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused for `reason`.
    pub(crate) fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }

    /// Counts the wait of one held request.
    pub(crate) fn waited(&self, waited: Duration) {
        self.held_us.fetch_add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    fn by_code(&self) -> impl Iterator<Item = (String, u64)> {
        let codes = CODES.iter().map(u16::to_string).zip(&self.codes);
        let classes = CLASSES.iter().map(|class| (*class).to_owned()).zip(&self.classes);
        codes.chain(classes).map(|(code, counter)| (code, counter.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // With thousands of idle components the page would say little in many megabytes.
        let components: Vec<_> =
            self.inner.components.load().iter().filter(|component| component.metrics.is_used(component)).cloned().collect();
        encode_by_code(&components, &mut encoder)?;
        encode_durations(&components, &mut encoder)?;
        encode_refused(&components, &mut encoder)?;
        encode_waits(&components, &mut encoder)?;
        let mut each = |name, help, unit: Option<&Unit>, kind: MetricType, value: &dyn Fn(&ComponentState) -> u64| {
            let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
            for component in components.iter() {
                let labels = labels_of(component);
                let mut series = metric.encode_family(&labels)?;
                match kind {
                    MetricType::Gauge => series.encode_gauge(&i64::try_from(value(component)).unwrap_or(i64::MAX))?,
                    _ => series.encode_counter::<NoLabelSet, _, f64>(&value(component), None)?,
                }
            }
            fmt::Result::Ok(())
        };
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (bytes, counter, gauge) = (Some(&Unit::Bytes), MetricType::Counter, MetricType::Gauge);
        each("gateway_request", "Bytes of request bodies", bytes, counter, &|component| load(&component.metrics.bytes_in))?;
        each("gateway_response", "Bytes of response bodies", bytes, counter, &|component| load(&component.metrics.bytes_out))?;
        each("gateway_requests_held", "Requests that waited for a place", None, counter, &|component| load(&component.metrics.held))?;
        each("gateway_requests_in_flight", "Requests at instances", None, gauge, &|component| load(&component.metrics.in_flight))?;
        each("gateway_queue_depth", "Requests waiting for a place", None, gauge, &|component| component.waiting() as u64)?;
        self.encode_gateway(&mut encoder)
    }
}

impl Metrics {
    fn encode_gateway(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut refused = encoder.encode_descriptor("gateway_refused", "Answers the gateway made itself", None, MetricType::Counter)?;
        for (code, counter) in REFUSED.iter().zip(&self.inner.refused) {
            let labels = [("reason", *code)];
            refused.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&counter.load(Ordering::Relaxed), None)?;
        }
        let doors = |counters: &[AtomicU64; DoorKind::WORDS.len()]| counters.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        let mut opened = encoder.encode_descriptor("gateway_connections", "Connections accepted", None, MetricType::Counter)?;
        for (listener, count) in DoorKind::WORDS.iter().zip(doors(&self.inner.connections)) {
            opened.encode_family(&[("listener", *listener)])?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        let mut open = encoder.encode_descriptor("gateway_connections_open", "Connections open", None, MetricType::Gauge)?;
        for (listener, count) in DoorKind::WORDS.iter().zip(doors(&self.inner.connections_open)) {
            open.encode_family(&[("listener", *listener)])?.encode_gauge(&i64::try_from(count).unwrap_or(i64::MAX))?;
        }
        match self.inner.certificates.get() {
            Some(certificates) => self.encode_tls(&certificates.borrow().clone(), encoder),
            None => Ok(()),
        }
    }

    fn encode_tls(&self, certificates: &CertificateSet, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut done = encoder.encode_descriptor("gateway_tls_handshakes", "TLS handshakes completed", None, MetricType::Counter)?;
        for ((version, resumed), counter) in HANDSHAKES.iter().zip(&self.inner.handshakes) {
            let labels = [("version", *version), ("resumed", if *resumed { "true" } else { "false" })];
            done.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&counter.load(Ordering::Relaxed), None)?;
        }
        let help = "TLS handshakes that came to nothing";
        let mut failed = encoder.encode_descriptor("gateway_tls_handshake_failures", help, None, MetricType::Counter)?;
        for (fault, counter) in HandshakeFault::ALL.iter().zip(&self.inner.handshake_faults) {
            let labels = [("reason", fault.word())];
            failed.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&counter.load(Ordering::Relaxed), None)?;
        }
        let help = "When each certificate in use ends, in seconds since 1970";
        let mut expiry = encoder.encode_descriptor("gateway_certificate_expiry", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for certificate in certificates.certificates().iter().chain(certificates.of_routes()) {
            expiry.encode_family(&[("name", certificate.name())])?.encode_gauge(&certificate.facts().expires)?;
        }
        let mut count =
            encoder.encode_descriptor("gateway_certificates", "Certificates in use, by where they come from", None, MetricType::Gauge)?;
        for (from, number) in [("directory", certificates.certificates().len()), ("secret", certificates.of_routes().count())] {
            count.encode_family(&[("from", from)])?.encode_gauge(&i64::try_from(number).unwrap_or(i64::MAX))?;
        }
        let help = "Certificates that cannot be used as they are now; the last good one of the name is, if there was one";
        let mut broken = encoder.encode_descriptor("gateway_certificate_broken", help, None, MetricType::Gauge)?;
        for name in certificates.broken() {
            broken.encode_family(&[("name", name.as_str())])?.encode_gauge(&1_i64)?;
        }
        Ok(())
    }
}

/// Who a series is of: the same three labels wherever something is counted per component.
fn labels_of(component: &ComponentState) -> [(&'static str, &str); 3] {
    let ComponentId { app, component } = &component.id;
    [("namespace", app.namespace.as_str()), ("app", app.name.as_str()), ("component", component.as_str())]
}

fn encode_by_code(components: &[Arc<ComponentState>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Requests by component and status code";
    let mut metric = encoder.encode_descriptor("gateway_requests", help, None, MetricType::Counter)?;
    for component in components {
        for (code, count) in component.metrics.by_code() {
            let [namespace, app, name] = labels_of(component);
            let labels = [namespace, app, name, ("code", code.as_str())];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
    }
    Ok(())
}

fn encode_refused(components: &[Arc<ComponentState>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Requests that the component did not answer, by what kept it from doing so";
    let mut metric = encoder.encode_descriptor("gateway_requests_refused", help, None, MetricType::Counter)?;
    for component in components {
        for reason in Reason::ALL.into_iter().filter(|reason| component.metrics.refused(*reason) > 0) {
            let [namespace, app, name] = labels_of(component);
            let labels = [namespace, app, name, ("reason", reason.word())];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&component.metrics.refused(reason), None)?;
        }
    }
    Ok(())
}

fn encode_waits(components: &[Arc<ComponentState>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Time that held requests waited for a place, all together";
    let mut metric = encoder.encode_descriptor("gateway_requests_held", help, Some(&Unit::Seconds), MetricType::Counter)?;
    for component in components {
        let seconds = component.metrics.held_us.load(Ordering::Relaxed) as f64 / 1e6;
        metric.encode_family(&labels_of(component))?.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
    }
    Ok(())
}

fn encode_durations(components: &[Arc<ComponentState>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "From the end of the request head to the end of the response body";
    let mut metric = encoder.encode_descriptor("gateway_request_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for component in components {
        let counts = component.metrics.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<_> = BUCKETS_S.into_iter().zip(counts).collect();
        let sum = component.metrics.duration_us.load(Ordering::Relaxed) as f64 / 1e6;
        metric.encode_family(&labels_of(component))?.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
