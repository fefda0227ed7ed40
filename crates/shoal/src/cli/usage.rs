//! From two readings to rates. Pure. Owns the arithmetic: what was counted between the readings, over the time between; never negative, also when a process
//! started anew in between. Must never print.

use std::{collections::BTreeMap, time::Duration};

use api::v1::{ComponentCounts, ComponentUsage, InstanceUsage, LatencyBucket, NodeUsage, ProcessUsage, TopView};
use serde::Serialize;

/// What a component did between two readings.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentRates {
    /// Seconds between the readings.
    pub window_seconds: f64,
    /// Cores in use by guests.
    pub cpu_cores: f64,
    /// Requests that ended, a second.
    pub requests_per_second: f64,
    /// Of these, those answered with 5xx.
    pub errors_per_second: f64,
    /// Half of the requests took no longer, in microseconds, estimated within a bucket; absent without a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_micros: Option<u64>,
    /// 95 of 100 requests took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_micros: Option<u64>,
}

/// What a node did between two readings.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRates {
    /// Seconds between the readings.
    pub window_seconds: f64,
    /// Cores in use by the worker.
    pub worker_cpu_cores: f64,
    /// Cores in use by the control plane.
    pub control_plane_cpu_cores: f64,
    /// Requests that ended, a second.
    pub requests_per_second: f64,
}

/// What an instance did between two readings.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRates {
    /// Seconds between the readings.
    pub window_seconds: f64,
    /// Requests that were given a place at it, a second.
    pub requests_per_second: f64,
}

/// An object's reading, and its rates since the reading before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rated<U, R> {
    /// The reading.
    #[serde(flatten)]
    pub usage: U,
    /// The rates.
    pub rates: R,
}

/// The time between two readings.
pub fn window(before: &TopView, now: &TopView) -> Duration {
    Duration::from_millis(now.at.0.millis_since(before.at.0))
}

/// Rates of every component of `now`.
pub fn components(before: &TopView, now: &TopView) -> Vec<Rated<ComponentUsage, ComponentRates>> {
    let window = window(before, now);
    let earlier: BTreeMap<_, _> = before.components.iter().map(|usage| ((&usage.component, &usage.node), usage)).collect();
    let rated = now.components.iter().map(|usage| {
        let same = earlier.get(&(&usage.component, &usage.node)).filter(|before| before.since == usage.since).copied();
        Rated { usage: usage.clone(), rates: component_rates(same, usage, window) }
    });
    rated.collect()
}

/// What `usage` did since it began to count, on average.
pub fn since_start(usage: &ComponentUsage, now: &TopView) -> ComponentRates {
    component_rates(None, usage, Duration::from_millis(now.at.0.millis_since(usage.since.0)))
}

fn component_rates(before: Option<&ComponentUsage>, now: &ComponentUsage, window: Duration) -> ComponentRates {
    let grown = |count: fn(&ComponentCounts) -> u64| count(&now.counts).saturating_sub(before.map_or(0, |before| count(&before.counts)));
    let buckets = between(before.map_or(&[], |before| before.latency.as_slice()), &now.latency);
    ComponentRates {
        window_seconds: window.as_secs_f64(),
        cpu_cores: per_second(grown(|counts| counts.cpu_micros), window) / 1e6,
        requests_per_second: per_second(grown(|counts| counts.requests), window),
        errors_per_second: per_second(grown(|counts| counts.errors), window),
        p50_micros: quantile(&buckets, 0.5),
        p95_micros: quantile(&buckets, 0.95),
    }
}

/// Rates of every node of `now`.
pub fn nodes(before: &TopView, now: &TopView) -> Vec<Rated<NodeUsage, NodeRates>> {
    let window = window(before, now);
    let rated = now.nodes.iter().map(|usage| {
        let earlier = before.nodes.iter().find(|before| before.node == usage.node);
        let same = earlier.and_then(|before| before.serving).filter(|before| usage.serving.is_some_and(|now| now.since == before.since));
        let requests = usage.serving.map_or(0, |now| now.requests).saturating_sub(same.map_or(0, |before| before.requests));
        let worker = usage.worker.map_or(0.0, |now| cores(earlier.and_then(|before| before.worker), now, window));
        let rates = NodeRates {
            window_seconds: window.as_secs_f64(),
            worker_cpu_cores: worker,
            control_plane_cpu_cores: usage
                .control_plane
                .map_or(0.0, |now| cores(earlier.and_then(|before| before.control_plane), now, window)),
            requests_per_second: per_second(requests, window),
        };
        Rated { usage: usage.clone(), rates }
    });
    rated.collect()
}

/// A process that was not there before started in between: all its time belongs to the window.
fn cores(before: Option<ProcessUsage>, now: ProcessUsage, window: Duration) -> f64 {
    let before = before.filter(|before| before.pid == now.pid).map_or(0, |before| before.cpu_micros);
    per_second(now.cpu_micros.saturating_sub(before), window) / 1e6
}

/// Rates of every instance of `now`.
pub fn instances(before: &TopView, now: &TopView) -> Vec<Rated<InstanceUsage, InstanceRates>> {
    let window = window(before, now);
    let key = |usage: &InstanceUsage| (usage.instance.clone(), usage.revision, usage.node.clone());
    let earlier: BTreeMap<_, _> = before.instances.iter().map(|usage| (key(usage), usage)).collect();
    let rated = now.instances.iter().map(|usage| {
        let same = earlier.get(&key(usage)).filter(|before| before.since == usage.since);
        let requests = usage.requests.saturating_sub(same.map_or(0, |before| before.requests));
        let rates = InstanceRates { window_seconds: window.as_secs_f64(), requests_per_second: per_second(requests, window) };
        Rated { usage: usage.clone(), rates }
    });
    rated.collect()
}

/// Counts stay far below 2^53, and one decimal is shown.
#[allow(clippy::cast_precision_loss)]
fn per_second(count: u64, window: Duration) -> f64 {
    if window.is_zero() { 0.0 } else { count as f64 / window.as_secs_f64() }
}

/// How much each bucket has grown.
fn between(before: &[LatencyBucket], now: &[LatencyBucket]) -> Vec<LatencyBucket> {
    let count = |bound| before.iter().find(|bucket| bucket.up_to_micros == bound).map_or(0, |bucket| bucket.count);
    now.iter().map(|bucket| LatencyBucket { count: bucket.count.saturating_sub(count(bucket.up_to_micros)), ..*bucket }).collect()
}

/// The bound below which `share` of the requests lie, as if each bucket were filled evenly; in the last bucket its lower bound.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn quantile(buckets: &[LatencyBucket], share: f64) -> Option<u64> {
    let all: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    let mut left = share * all as f64;
    for bucket in buckets.iter().filter(|bucket| bucket.count > 0) {
        let count = bucket.count as f64;
        if left <= count {
            let width = bucket.up_to_micros.map_or(0, |bound| bound.saturating_sub(bucket.above_micros));
            return Some(bucket.above_micros + (width as f64 * left / count).round() as u64);
        }
        left -= count;
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reading(second: u32, component: Value) -> TopView {
        let at = format!("2026-01-01T00:00:{second:02}.000Z");
        let mut whole = json!({"component": "hello/web", "node": "one", "since": "2026-01-01T00:00:00.000Z"});
        whole.as_object_mut().expect("an object").extend(component.as_object().expect("fields").clone());
        serde_json::from_value(json!({"at": at, "components": [whole]})).expect("the shape of the API")
    }

    #[test]
    fn rates_are_what_was_counted_over_the_time_between() {
        let bucket = |above: u64, up_to: u64, count: u64| json!({"aboveMicros": above, "upToMicros": up_to, "count": count});
        let before = reading(10, json!({"requests": 100, "cpuMicros": 1_000_000, "latency": [bucket(50, 100, 100)]}));
        let now = reading(
            12,
            json!({"requests": 300, "errors": 10, "cpuMicros": 1_500_000, "latency": [bucket(50, 100, 200), bucket(1_000, 2_000, 100)]}),
        );
        let rates = components(&before, &now).remove(0).rates;
        assert_eq!((rates.window_seconds, rates.cpu_cores, rates.requests_per_second, rates.errors_per_second), (2.0, 0.25, 100.0, 5.0));
        assert_eq!((rates.p50_micros, rates.p95_micros), (Some(100), Some(1_900)));
    }

    #[test]
    fn a_worker_that_started_anew_counts_from_zero() {
        let before = reading(10, json!({"requests": 1_000, "latency": [{"aboveMicros": 50, "upToMicros": 100, "count": 1_000}]}));
        let anew =
            json!({"since": "2026-01-01T00:00:11.000Z", "requests": 20, "latency": [{"aboveMicros": 50, "upToMicros": 100, "count": 20}]});
        let rates = components(&before, &reading(12, anew)).remove(0).rates;
        assert_eq!((rates.requests_per_second, rates.p50_micros), (10.0, Some(75)));
        let backwards = components(&reading(12, json!({"requests": 9})), &reading(10, json!({"requests": 7}))).remove(0).rates;
        assert_eq!((backwards.requests_per_second, backwards.p50_micros), (0.0, None));
    }

    #[test]
    fn a_process_with_another_id_counts_from_zero() {
        let process = |pid, cpu_micros| ProcessUsage { pid, cpu_micros, resident_bytes: 0, anonymous_bytes: 0 };
        let second = Duration::from_secs(1);
        assert_eq!(cores(Some(process(7, 5_000_000)), process(7, 5_500_000), second), 0.5);
        assert_eq!(cores(Some(process(7, 5_000_000)), process(8, 250_000), second), 0.25);
        assert_eq!(cores(None, process(8, 250_000), Duration::ZERO), 0.0);
    }

    #[test]
    fn what_took_longer_than_every_bound_is_told_by_the_last_bound() {
        let last = LatencyBucket { above_micros: 30_000_000, up_to_micros: None, count: 3 };
        assert_eq!(quantile(&[last], 0.5), Some(30_000_000));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
