//! Properties of the judgement: whatever a name resolves to, nothing protected is connected to unless a rule names exactly that address, and what the
//! cluster is run by never.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use model::egress::{EgressRule, Verdict, is_protected};
use proptest::prelude::*;

use super::*;
use crate::capabilities::http::{cluster::AtPort, destination::Destination};

fn address() -> impl Strategy<Value = IpAddr> {
    let interesting = prop::sample::select(vec![
        "127.0.0.1",
        "127.1.2.3",
        "169.254.169.254",
        "100.100.100.200",
        "0.0.0.0",
        "224.0.0.1",
        "10.0.0.1",
        "192.168.1.7",
        "93.184.216.34",
        "::1",
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::1",
        "2001:db8::7",
        "fd00::7",
    ])
    .prop_map(|text| text.parse::<IpAddr>().unwrap());
    prop_oneof![
        3 => interesting,
        1 => any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        1 => any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

fn host() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["localhost", "api.example", "a.api.example", "LOCALHOST.", "metadata.google.internal"]);
    prop_oneof![name.prop_map(str::to_owned), address().prop_map(host_of)]
}

fn host_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn rule() -> impl Strategy<Value = String> {
    let target = prop_oneof![
        prop::sample::select(vec!["localhost", "api.example", "*.example", "0.0.0.0/0", "[::/0]", "10.0.0.0/8", "127.0.0.0/8"])
            .prop_map(str::to_owned),
        address().prop_map(host_of),
    ];
    (prop::sample::select(vec!["http", "https"]), target, prop::sample::select(vec![80_u16, 443, 8080]))
        .prop_map(|(scheme, target, port)| format!("{scheme}://{target}:{port}"))
}

proptest! {
    #[test]
    fn only_what_a_rule_allows_is_connected_to(
        rules in prop::collection::vec(rule(), 0..4),
        scheme in prop::sample::select(vec!["http", "https"]),
        host in host(),
        port in prop::sample::select(vec![80_u16, 443, 8080]),
        resolved in prop::collection::vec(address(), 1..4),
        own in any::<bool>(),
        guarded in any::<bool>(),
        closed in any::<bool>(),
    ) {
        let allow: Vec<EgressRule> = rules.iter().filter_map(|rule| rule.parse().ok()).collect();
        let egress = Egress { allow: allow.clone() };
        let destination = Destination::of(&format!("{scheme}://{host}:{port}/").parse::<Uri>().unwrap()).unwrap();
        let addresses = destination.address().map_or(resolved, |address| vec![address]);
        let everywhere = |is: bool| is.then_some(IpAddr::from(Ipv4Addr::UNSPECIFIED)).into_iter().collect();
        let cluster = AtPort { guarded: everywhere(guarded), closed: everywhere(closed), names: Vec::new() };
        let verdict = destination.decide(&egress);
        let judged = if verdict == Verdict::Denied { Vec::new() } else {
            destination.judge(&verdict, &addresses, &cluster, |_| own).unwrap_or_default()
        };
        let fitting: Vec<_> = allow.iter().filter(|rule| rule.scheme == destination.scheme && rule.port == port).collect();
        prop_assert!(judged.is_empty() || !fitting.is_empty(), "something is reached without a rule for its scheme and port");
        for socket in judged {
            let named = fitting.iter().any(|rule| rule.target.to_string() == host_of(socket.ip()));
            prop_assert!(addresses.iter().any(|address| address.to_canonical() == socket.ip()), "only what it resolved to");
            prop_assert!(named || is_protected(socket.ip()).is_none(), "{socket} is protected");
            let here = own || socket.ip().is_loopback() || socket.ip().is_unspecified();
            prop_assert!(named || !(here && guarded), "{socket} is the gateway's");
            prop_assert!(!(here && closed), "{socket} is what the cluster is run by");
        }
    }

    /// Goal: whatever a guest writes, the host that is judged is the host that is connected to and verified.
    #[test]
    fn a_destination_is_what_the_uri_says(text in "https?://[a-zA-Z0-9.@:\\[\\]_%-]{1,40}(/[a-z@:]{0,8})?") {
        let Ok(uri) = text.parse::<Uri>() else { return Ok(()) };
        let Some(destination) = Destination::of(&uri) else { return Ok(()) };
        prop_assert!(!uri.authority().unwrap().as_str().contains('@'));
        prop_assert_eq!(destination.to_string().parse::<Uri>().ok().and_then(|again| Destination::of(&again)), Some(destination));
    }
}

#[test]
fn what_is_no_destination_goes_nowhere() {
    for text in [
        "/path",
        "ftp://api.example/",
        "http://me@api.example/",
        "http://me:secret@10.0.0.1/",
        "http://api.example:0/",
        "api.example:80",
        "http://_[:]",
        "http://[a]/",
    ] {
        let uri: Uri = text.parse().unwrap();
        assert_eq!(Destination::of(&uri), None, "{text}");
    }
}

#[test]
fn sockets_of_the_cluster_need_the_address_in_a_rule_or_are_closed() {
    let peer: IpAddr = "10.0.0.9".parse().unwrap();
    let check = |cluster: &AtPort, rule: &str, own, expected: Result<(), Denied>| {
        let egress = Egress { allow: vec![rule.parse().unwrap()] };
        let destination = Destination { scheme: model::egress::Scheme::Http, host: "peer.example".into(), port: 7000 };
        let judged = destination.judge(&destination.decide(&egress), &[peer], cluster, |_| own);
        let judged = judged.map(|sockets| assert_eq!(sockets, ["10.0.0.9:7000".parse().unwrap()]));
        assert_eq!(judged, expected, "{rule} {cluster:?} {own}");
    };
    let rules = ["http://peer.example:7000", "http://10.0.0.0/8:7000", "http://10.0.0.9:7000", "http://10.0.0.9/32:7000"];
    let everywhere: IpAddr = "::".parse().unwrap();
    let refused = Err(Denied::Address { address: peer, why: "a port of the cluster itself" });
    for own in [true, false] {
        for rule in rules {
            let guarded = AtPort { guarded: vec![peer, everywhere], ..AtPort::default() };
            check(&guarded, rule, own, if rule.contains("10.0.0.9") { Ok(()) } else { refused.clone() });
            let closed = AtPort { closed: vec![peer], ..AtPort::default() };
            check(&closed, rule, own, Err(Denied::Closed { address: peer }));
            let closed_here = AtPort { closed: vec![everywhere], ..AtPort::default() };
            check(&closed_here, rule, own, if own { Err(Denied::Closed { address: peer }) } else { Ok(()) });
        }
    }
}
