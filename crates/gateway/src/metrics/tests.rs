//! The text a scraper reads.

use super::*;

#[test]
fn counts_become_text() {
    let mut registry = Registry::with_prefix("shoal");
    let metrics = Metrics::register(&mut registry);
    let component = Arc::new(ComponentState::new("hello/web".parse().expect("a valid id")));
    metrics.watch(vec![component.clone()]);
    component.metrics.finish(StatusCode::OK, Duration::from_micros(80), 3, 5);
    component.metrics.finish(StatusCode::OK, Duration::from_secs(60), 0, 5);
    component.metrics.finish(StatusCode::from_u16(299).expect("a status"), Duration::from_millis(2), 0, 0);
    component.metrics.finish(StatusCode::from_u16(799).expect("a status"), Duration::from_millis(2), 0, 0);
    metrics.refused("E0501");
    let open = metrics.connection_opened(DoorKind::Http);
    drop(metrics.connection_opened(DoorKind::Https));
    let read = metrics.read();
    let counted = |component: &ComponentReading| (component.requests, component.errors, component.durations[1], component.durations[14].1);
    assert_eq!(read.components.iter().map(counted).collect::<Vec<_>>(), [(4, 0, (0.000_1, 1), 1)]);
    assert_eq!((read.connections, read.connections_open), (2, 1));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("a string takes any text");
    drop(open);
    for line in [
        "shoal_gateway_requests_total{namespace=\"default\",app=\"hello\",component=\"web\",code=\"200\"} 2",
        "shoal_gateway_requests_total{namespace=\"default\",app=\"hello\",component=\"web\",code=\"2xx\"} 1",
        "shoal_gateway_requests_total{namespace=\"default\",app=\"hello\",component=\"web\",code=\"other\"} 1",
        "shoal_gateway_request_duration_seconds_bucket{le=\"0.0001\",namespace=\"default\",app=\"hello\",component=\"web\"} 1",
        "shoal_gateway_request_duration_seconds_bucket{le=\"+Inf\",namespace=\"default\",app=\"hello\",component=\"web\"} 4",
        "shoal_gateway_request_duration_seconds_count{namespace=\"default\",app=\"hello\",component=\"web\"} 4",
        "shoal_gateway_request_bytes_total{namespace=\"default\",app=\"hello\",component=\"web\"} 3",
        "shoal_gateway_response_bytes_total{namespace=\"default\",app=\"hello\",component=\"web\"} 10",
        "shoal_gateway_requests_in_flight{namespace=\"default\",app=\"hello\",component=\"web\"} 0",
        "shoal_gateway_queue_depth{namespace=\"default\",app=\"hello\",component=\"web\"} 0",
        "shoal_gateway_refused_total{reason=\"E0501\"} 1",
        "shoal_gateway_connections_total{listener=\"http\"} 1",
        "shoal_gateway_connections_total{listener=\"https\"} 1",
        "shoal_gateway_connections_open{listener=\"http\"} 1",
        "shoal_gateway_connections_open{listener=\"https\"} 0",
    ] {
        assert!(text.lines().any(|has| has == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn codes_are_sorted_and_every_status_counts_once() {
    assert!(CODES.is_sorted());
    let metrics = ComponentMetrics::new();
    for status in 100..1000 {
        metrics.finish(StatusCode::from_u16(status).expect("a status"), Duration::ZERO, 0, 0);
    }
    assert_eq!(metrics.by_code().map(|(_, count)| count).sum::<u64>(), 900);
}
