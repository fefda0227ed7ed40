//! Headers as they come in, and as the component or the client sees them.

use super::*;

fn headers(lines: &str) -> HeaderMap {
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header line");
        (name.parse::<HeaderName>().expect("a name"), value.parse::<HeaderValue>().expect("a value"))
    };
    let mut map = HeaderMap::new();
    for (name, value) in lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(header) {
        map.append(name, value);
    }
    map
}

fn lines(headers: &HeaderMap) -> String {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("test values are ASCII"))).collect();
    lines.sort();
    lines.join("\n")
}

fn check_forwarding(given: &str, trusted: bool, wanted: &str) {
    let mut headers = headers(given);
    let text = HeaderValue::from_static("10.0.0.9");
    let peer = Peer { ip: "10.0.0.9".parse().expect("an address"), text: &text, proto: "http", trusted };
    set_forwarding(&mut headers, peer);
    let wanted: Vec<_> = wanted.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines(&headers), wanted.join("\n"), "trusted: {trusted}");
}

#[test]
fn strangers_are_not_believed() {
    check_forwarding(
        "host: a:80
         x-forwarded-for: 1.1.1.1
         x-forwarded-proto: https
         x-forwarded-host: evil
         x-forwarded-port: 1
         x-real-ip: 1.1.1.1
         forwarded: for=1.1.1.1",
        false,
        "host: a:80
         x-forwarded-for: 10.0.0.9
         x-forwarded-host: a:80
         x-forwarded-proto: http",
    );
}

#[test]
fn trusted_proxies_are_appended_to() {
    check_forwarding(
        "host: a
         x-forwarded-for: 1.1.1.1
         x-forwarded-for: 2.2.2.2, 3.3.3.3
         x-forwarded-proto: https
         forwarded: for=1.1.1.1",
        true,
        "forwarded: for=1.1.1.1
         host: a
         x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9
         x-forwarded-host: a
         x-forwarded-proto: https",
    );
}

#[test]
fn chains_are_bounded() {
    let long = format!("x-forwarded-for: {}", vec!["1.1.1.1"; 100].join(", "));
    let mut headers = headers(&long);
    let text = HeaderValue::from_static("10.0.0.9");
    set_forwarding(&mut headers, Peer { ip: "10.0.0.9".parse().expect("an address"), text: &text, proto: "http", trusted: true });
    let chain = headers[X_FORWARDED_FOR].to_str().expect("ASCII");
    assert_eq!(chain.split(", ").count(), FORWARDED_HOPS_MAX);
    assert!(chain.ends_with(", 10.0.0.9"));
}

#[test]
fn hop_by_hop_headers_stay_here() {
    let mut given = headers(
        "host: a
         connection: keep-alive, X-Mine, host
         connection: x-forwarded-for
         keep-alive: timeout=5
         proxy-connection: close
         te: trailers
         transfer-encoding: chunked
         upgrade: h2c
         http2-settings: AAMAAABk
         x-mine: 1
         x-forwarded-for: 1.1.1.1
         x-other: 2",
    );
    strip_hop_by_hop(&mut given);
    assert_eq!(lines(&given), "host: a\nx-other: 2");
}

#[test]
fn a_component_cannot_speak_as_the_gateway() {
    let check = |given: &str, wanted: &str| {
        let mut headers = headers(given);
        strip_forged_status(&mut headers);
        assert_eq!(lines(&headers), wanted);
    };
    check("proxy-status: Shoal; error=x", "");
    check("proxy-status: cdn; received-status=503, shoal; error=y", "");
    check("proxy-status: cdn; error=dns_error", "proxy-status: cdn; error=dns_error");
}

#[test]
fn trailers_are_no_back_door() {
    let mut given = headers("x-sum: 1\nx-forwarded-for: 1.1.1.1\nhost: b\nauthorization: Basic x\ncontent-length: 5");
    strip_trailers(&mut given);
    assert_eq!(lines(&given), "x-sum: 1");
}
