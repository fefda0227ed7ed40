//! What is used, as rows of a table. Pure. Owns the columns of `top`, their order and the words in them; must never compute a rate.

use std::cmp::Reverse;

use api::v1::{ComponentUsage, InstanceUsage, NodeState, NodeUsage};
use model::id::ComponentId;

use super::{
    table::Table,
    usage::{ComponentRates, InstanceRates, NodeRates, Rated},
    views::{Shape, bytes},
};

/// What rows are ordered by; the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// CPU in use.
    Cpu,
    /// Memory held.
    Memory,
    /// Requests a second.
    Requests,
}

type Component = Rated<ComponentUsage, ComponentRates>;
type Node = Rated<NodeUsage, NodeRates>;
type Instance = Rated<InstanceUsage, InstanceRates>;

/// Components, in `order`.
pub fn components(rows: &mut [Component], order: Option<Order>, shape: Shape) -> Table {
    match order {
        None => {}
        Some(Order::Cpu) => rows.sort_by(|one, other| other.rates.cpu_cores.total_cmp(&one.rates.cpu_cores)),
        Some(Order::Memory) => rows.sort_by_key(|row| Reverse(row.usage.counts.memory_held_bytes)),
        Some(Order::Requests) => rows.sort_by(|one, other| other.rates.requests_per_second.total_cmp(&one.rates.requests_per_second)),
    }
    let mut table = shape.table(
        &["name", "cpu", "memory", "peak", "req/s", "5xx/s", "p50", "p95", "in flight", "waiting"],
        &["requests", "sandboxes", "traps", "timeouts", "cpu limit", "memory limit", "slow", "recycled", "egress", "denied", "lost lines"],
    );
    for Rated { usage, rates } in rows {
        let counts = &usage.counts;
        let usual = [
            short_name(&usage.component),
            cores(rates.cpu_cores),
            bytes(counts.memory_held_bytes),
            bytes(counts.memory_peak_bytes),
            rate(rates.requests_per_second),
            rate(rates.errors_per_second),
            rates.p50_micros.map(latency).unwrap_or_default(),
            rates.p95_micros.map(latency).unwrap_or_default(),
            counts.in_flight.to_string(),
            counts.waiting.to_string(),
        ];
        let wide = [
            counts.requests,
            counts.instantiations,
            counts.traps,
            counts.timeouts,
            counts.cpu_exhausted,
            counts.memory_denials,
            counts.slow_lane,
            counts.recycled,
            counts.egress_calls,
            counts.egress_denials,
            counts.log_lines_dropped,
        ];
        shape.row(&mut table, Some(&usage.component.app), usual, wide.map(|count| count.to_string()));
    }
    table
}

/// Nodes, in `order`.
pub fn nodes(rows: &mut [Node], order: Option<Order>, shape: Shape) -> Table {
    let cpu = |row: &Node| row.rates.worker_cpu_cores + row.rates.control_plane_cpu_cores;
    let memory = |row: &Node| {
        row.usage.control_plane.map_or(0, |process| process.resident_bytes) + row.usage.worker.map_or(0, |worker| worker.resident_bytes)
    };
    match order {
        None => {}
        Some(Order::Cpu) => rows.sort_by(|one, other| cpu(other).total_cmp(&cpu(one))),
        Some(Order::Memory) => rows.sort_by_key(|row| Reverse(memory(row))),
        Some(Order::Requests) => rows.sort_by(|one, other| other.rates.requests_per_second.total_cmp(&one.rates.requests_per_second)),
    }
    let shape = Shape { namespaces: false, ..shape };
    let mut table = shape.table(
        &["name", "status", "cpu", "memory", "sandboxes", "code", "connections", "req/s", "in flight", "waiting"],
        &["worker cpu", "worker memory", "control cpu", "control memory", "lost lines"],
    );
    for row in &*rows {
        let Rated { usage, rates } = row;
        let of = |value: fn(&api::v1::WorkerUsage) -> String| usage.serving.as_ref().map(value).unwrap_or_default();
        let looked = usage.control_plane.is_some() || usage.worker.is_some();
        let status = match (usage.state, usage.serving) {
            (NodeState::Ready, None) => "worker away",
            (NodeState::Ready, Some(_)) => "ready",
            (NodeState::Silent, _) => "silent",
            (NodeState::Unknown, _) => "unknown",
        };
        let usual = [
            usage.node.clone(),
            status.to_owned(),
            // Where no process can be looked at from the server that answers, nothing is known, which is not nothing.
            if looked { cores(cpu(row)) } else { String::new() },
            if looked { bytes(memory(row)) } else { String::new() },
            of(|worker| format!("{}/{}", worker.sandboxes, worker.sandbox_slots)),
            of(|worker| worker.programs_loaded.to_string()),
            of(|worker| worker.connections.to_string()),
            if usage.serving.is_some() { rate(rates.requests_per_second) } else { String::new() },
            of(|worker| worker.in_flight.to_string()),
            of(|worker| worker.waiting.to_string()),
        ];
        let wide = [
            if usage.worker.is_some() { cores(rates.worker_cpu_cores) } else { String::new() },
            usage.worker.map(|worker| bytes(worker.resident_bytes)).unwrap_or_default(),
            if usage.control_plane.is_some() { cores(rates.control_plane_cpu_cores) } else { String::new() },
            usage.control_plane.map(|process| bytes(process.resident_bytes)).unwrap_or_default(),
            of(|worker| (worker.log_lines_dropped + worker.access_lines_dropped).to_string()),
        ];
        shape.row(&mut table, None, usual, wide);
    }
    table
}

/// Instances, in `order`; there is no CPU of a single instance, so that order is the one of requests.
pub fn instances(rows: &mut [Instance], order: Option<Order>, shape: Shape) -> Table {
    match order {
        None => {}
        Some(Order::Memory) => rows.sort_by_key(|row| Reverse(row.usage.memory_bytes)),
        Some(Order::Cpu | Order::Requests) => {
            rows.sort_by(|one, other| other.rates.requests_per_second.total_cmp(&one.rates.requests_per_second));
        }
    }
    let mut table = shape.table(&["name", "revision", "node", "memory", "req/s", "in flight"], &["requests"]);
    for Rated { usage, rates } in rows {
        let component = &usage.instance.component;
        let usual = [
            format!("{}.{}", short_name(component), usage.instance.ordinal),
            usage.revision.to_string(),
            usage.node.clone(),
            bytes(usage.memory_bytes),
            rate(rates.requests_per_second),
            format!("{}/{}", usage.in_flight, usage.capacity),
        ];
        shape.row(&mut table, Some(&component.app), usual, [usage.requests.to_string()]);
    }
    table
}

/// One line each about what a component uses, for `describe`: averages since counting began, in a name and a value.
pub fn summary(usage: &ComponentUsage, rates: &ComponentRates) -> Vec<(&'static str, String)> {
    let counts = &usage.counts;
    let mut lines = vec![
        ("cpu:", format!("{} on average", cores(rates.cpu_cores))),
        ("held:", format!("{} now, {} at most in one sandbox", bytes(counts.memory_held_bytes), bytes(counts.memory_peak_bytes))),
        (
            "traffic:",
            format!(
                "{} requests, {} req/s, {} in flight, {} waiting{}",
                counts.requests,
                rate(rates.requests_per_second),
                counts.in_flight,
                counts.waiting,
                rates
                    .p50_micros
                    .zip(rates.p95_micros)
                    .map(|(p50, p95)| format!(", p50 {}, p95 {}", latency(p50), latency(p95)))
                    .unwrap_or_default()
            ),
        ),
    ];
    let troubles = [
        (counts.errors, "answers with 5xx"),
        (counts.traps, "traps"),
        (counts.timeouts, "timeouts"),
        (counts.cpu_exhausted, "out of CPU time"),
        (counts.memory_denials, "memory denials"),
        (counts.egress_denials, "egress denials"),
        (counts.log_lines_dropped, "log lines dropped"),
    ];
    let told: Vec<String> = troubles.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !told.is_empty() {
        lines.push(("trouble:", told.join(", ")));
    }
    lines
}

fn short_name(component: &ComponentId) -> String {
    format!("{}/{}", component.app.name, component.component)
}

/// Thousandths of a core.
fn cores(cores: f64) -> String {
    format!("{:.0}m", cores * 1_000.0)
}

fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { format!("{per_second:.0}") } else { format!("{per_second:.1}") }
}

/// Microseconds in the unit people say.
#[allow(clippy::cast_precision_loss)]
fn latency(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        _ => format!("{:.1}s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use api::v1::TopView;
    use expect_test::{Expect, expect};
    use model::id::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::usage;

    fn reading(second: u32, rest: Value) -> TopView {
        let mut whole = json!({"at": format!("2026-01-01T00:00:{second:02}.000Z")});
        whole.as_object_mut().expect("an object").extend(rest.as_object().expect("fields").clone());
        serde_json::from_value(whole).expect("the shape of the API")
    }

    fn component(name: &str, requests: u64, cpu: u64, held: u64) -> Value {
        json!({"component": name, "node": "one", "since": "2026-01-01T00:00:00.000Z", "requests": requests, "cpuMicros": cpu, "traps": 2,
               "memoryHeldBytes": held, "memoryPeakBytes": 3 << 20, "inFlight": 1,
               "latency": [{"aboveMicros": 50, "upToMicros": 100, "count": requests}]})
    }

    fn check(table: &Table, expected: Expect) {
        expected.assert_eq(&table.render(None));
    }

    fn shape(wide: bool) -> Shape {
        Shape { wide, namespaces: false, now: Timestamp(0) }
    }

    #[test]
    fn components_are_ordered_by_what_is_asked() {
        let before = reading(10, json!({"components": [component("hello/web", 0, 0, 0), component("spin/web", 0, 0, 0)]}));
        let now = reading(
            12,
            json!({"components": [component("hello/web", 300, 200_000, 2 << 20), component("spin/web", 9, 2_000_000, 1 << 20)]}),
        );
        let mut rows = usage::components(&before, &now);
        check(
            &components(&mut rows, None, shape(false)),
            expect![[r#"
            NAME        CPU     MEMORY   PEAK   REQ/S   5XX/S   P50    P95    IN FLIGHT   WAITING
            hello/web   100m    2Mi      3Mi    150     0.0     75µs   98µs   1           0
            spin/web    1000m   1Mi      3Mi    4.5     0.0     75µs   97µs   1           0"#]],
        );
        let first =
            |order, rows: &mut [Component]| components(rows, Some(order), shape(true)).render(None).lines().nth(1).map(str::to_owned);
        assert!(first(Order::Cpu, &mut rows).is_some_and(|line| line.starts_with("spin")));
        assert!(first(Order::Memory, &mut rows).is_some_and(|line| line.starts_with("hello")));
        assert!(first(Order::Requests, &mut rows).is_some_and(|line| line.starts_with("hello")));
        let lines: Vec<String> =
            summary(&rows[0].usage, &rows[0].rates).into_iter().map(|(name, value)| format!("{name} {value}\n")).collect();
        expect![[r#"
            cpu: 100m on average
            held: 2Mi now, 3Mi at most in one sandbox
            traffic: 300 requests, 150 req/s, 1 in flight, 0 waiting, p50 75µs, p95 98µs
            trouble: 2 traps
        "#]]
        .assert_eq(&lines.concat());
    }

    #[test]
    fn a_node_shows_both_processes_and_a_worker_that_is_away() {
        let process = |pid: u32, cpu: u64| json!({"pid": pid, "cpuMicros": cpu, "residentBytes": 20 << 20, "anonymousBytes": 5 << 20});
        let serving = |requests: u64| {
            json!({"since": "2026-01-01T00:00:00.000Z", "sandboxes": 3, "sandboxSlots": 1000, "programsLoaded": 2, "connections": 64,
                   "requests": requests, "inFlight": 3, "waiting": 0, "logLinesDropped": 0, "accessLinesDropped": 0})
        };
        let node = |cpu: u64, requests: u64| json!({"nodes": [{"node": "one", "state": "ready", "controlPlane": process(1, cpu), "worker": process(2, cpu * 2), "serving": serving(requests)}]});
        let (before, now) = (reading(10, node(1_000_000, 10)), reading(11, node(1_100_000, 1_010)));
        check(
            &nodes(&mut usage::nodes(&before, &now), None, shape(true)),
            expect![[r#"
            NAME   STATUS   CPU    MEMORY   SANDBOXES   CODE   CONNECTIONS   REQ/S   IN FLIGHT   WAITING   WORKER CPU   WORKER MEMORY   CONTROL CPU   CONTROL MEMORY   LOST LINES
            one    ready    300m   40Mi     3/1000      2      64            1000    3           0         200m         20Mi            100m          20Mi             0"#]],
        );
        let away = reading(12, json!({"nodes": [{"node": "one", "state": "ready", "controlPlane": process(1, 1_100_000)}]}));
        check(
            &nodes(&mut usage::nodes(&now, &away), None, shape(false)),
            expect![[r#"
            NAME   STATUS        CPU   MEMORY   SANDBOXES   CODE   CONNECTIONS   REQ/S   IN FLIGHT   WAITING
            one    worker away   0m    20Mi     -           -      -             -       -           -"#]],
        );
        let elsewhere = |requests: u64| json!({"nodes": [{"node": "two", "state": "ready", "serving": serving(requests)}]});
        let (before, now) = (reading(10, elsewhere(10)), reading(11, elsewhere(20)));
        check(
            &nodes(&mut usage::nodes(&before, &now), None, shape(false)),
            expect![[r#"
            NAME   STATUS   CPU   MEMORY   SANDBOXES   CODE   CONNECTIONS   REQ/S   IN FLIGHT   WAITING
            two    ready    -     -        3/1000      2      64            10.0    3           0"#]],
        );
    }

    #[test]
    fn instances_show_their_load() {
        let instance = |requests: u64| {
            json!({"instances": [{"instance": "team/hello/web.2", "revision": 3, "node": "one", "since": "2026-01-01T00:00:00.000Z",
                                  "requests": requests, "inFlight": 7, "capacity": 100, "memoryBytes": 1_048_576}]})
        };
        let rows = &mut usage::instances(&reading(10, instance(5)), &reading(11, instance(25)));
        check(
            &instances(rows, Some(Order::Cpu), Shape { namespaces: true, ..shape(false) }),
            expect![[r#"
            NAMESPACE   NAME          REVISION   NODE   MEMORY   REQ/S   IN FLIGHT
            team        hello/web.2   r3         one    1Mi      20.0    7/100"#]],
        );
    }
}
