//! Rules as text, what they say about destinations, and which addresses none reaches by accident.

use expect_test::expect;

use super::*;

fn egress(rules: &[&str]) -> Egress {
    Egress { allow: rules.iter().map(|rule| rule.parse().expect("a rule")).collect() }
}

/// What happens to a call of `url`'s parts once its host resolved to `address`.
fn outcome(rules: &[&str], scheme: Scheme, host: &str, port: u16, address: &str) -> String {
    let verdict = egress(rules).decide(scheme, host, port);
    if verdict == Verdict::Denied {
        return "denied".to_owned();
    }
    match verdict.admits(address.parse().expect("an address")) {
        Ok(()) => "goes".to_owned(),
        Err(word) => word.to_owned(),
    }
}

#[test]
fn rules_have_one_spelling() {
    for (text, canonical) in [
        ("https://api.example", "https://api.example:443"),
        ("http://API.Example.", "http://api.example:80"),
        ("HTTPS://api.example:8443", "https://api.example:8443"),
        ("https://*.Example.com", "https://*.example.com:443"),
        ("https://localhost:3000", "https://localhost:3000"),
        ("https://under_score.example", "https://under_score.example:443"),
        ("tcp://10.0.0.0/8:5432", "tcp://10.0.0.0/8:5432"),
        ("tcp://10.0.0.7/32:5432", "tcp://10.0.0.7:5432"),
        ("http://127.0.0.1:65535", "http://127.0.0.1:65535"),
        ("https://0.0.0.0/0", "https://0.0.0.0/0:443"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:443"),
        ("https://[2001:DB8::/32]:99", "https://[2001:db8::/32]:99"),
        ("https://[::ffff:10.0.0.1]:99", "https://10.0.0.1:99"),
        ("https://[fd00::1/128]", "https://[fd00::1]:443"),
    ] {
        let rule: EgressRule = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(rule.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(rule), "{canonical} means the same");
    }
}

#[test]
fn what_is_no_rule_says_how_to_write_it() {
    let texts = [
        "",
        "api.example",
        "ftp://api.example",
        "https://",
        "https://:443",
        "https://*",
        "https://*:443",
        "https://a.*.example",
        "https://api.example/",
        "https://api.example:443/v1",
        "https://api.example?x",
        "https://me@api.example",
        "https://api.example:0",
        "https://api.example:65536",
        "https://api.example:+80",
        "https://api.example:",
        "https://2001:db8::1",
        "https://2001:db8::/32",
        "https://[10.0.0.0/8]",
        "https://[::ffff:10.0.0.0/104]",
        "https://10.1.2.3/8",
        "https://10.0.0.0/33",
        "https://127.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://-a.example",
        "https://a..example",
        "https://ex ample",
        "https://ä.example",
        "https://[fe80::1%eth0]",
        "tcp://db.example",
        "*",
        "*.example",
    ];
    let said: Vec<String> = texts
        .iter()
        .map(|text| format!("{}\n", text.parse::<EgressRule>().map_or_else(|error| error.to_string(), |rule| format!("{rule} IS A RULE"))))
        .collect();
    expect![[r#"
        `` is not a destination: write https://
        `api.example` is not a destination: write https://api.example
        `ftp://api.example` is not a destination: it starts with https://, http:// or tcp://
        `https://` is not a destination: write a host like api.example, *.example for every host below it, or 0.0.0.0/0 for every IPv4 address
        `https://:443` is not a destination: write a host like api.example, *.example for every host below it, or 0.0.0.0/0 for every IPv4 address
        `https://*` is not a destination: write a host like api.example, *.example for every host below it, or 0.0.0.0/0 for every IPv4 address
        `https://*:443` is not a destination: write a host like api.example, *.example for every host below it, or 0.0.0.0/0 for every IPv4 address
        `https://a.*.example` is not a destination: write a host like api.example, *.example for every host below it, or 0.0.0.0/0 for every IPv4 address
        `https://api.example/` is not a destination: write the host and the port alone, without a path
        `https://api.example:443/v1` is not a destination: write the host and the port alone, without a path
        `https://api.example?x` is not a destination: write the host and the port alone, without a path
        `https://me@api.example` is not a destination: write it without a user name
        `https://api.example:0` is not a destination: a port is 1 to 65535
        `https://api.example:65536` is not a destination: a port is 1 to 65535
        `https://api.example:+80` is not a destination: a port is 1 to 65535
        `https://api.example:` is not a destination: a port is 1 to 65535
        `https://2001:db8::1` is not a destination: an IPv6 address or network stands in brackets: https://[2001:db8::1]:443
        `https://2001:db8::/32` is not a destination: an IPv6 address or network stands in brackets: https://[2001:db8::1]:443
        `https://[10.0.0.0/8]` is not a destination: write it without brackets: 10.0.0.0/8
        `https://[::ffff:10.0.0.0/104]` is not a destination: write the IPv4 network itself: 10.0.0.0/8
        `https://10.1.2.3/8` is not a destination: a bit is set behind the prefix; the network is 10.0.0.0/8
        `https://10.0.0.0/33` is not a destination: write the host and the port alone, without a path
        `https://127.1` is not a destination: write the address in full: 127.0.0.1
        `https://2130706433` is not a destination: write the address in full: 127.0.0.1
        `https://0x7f000001` is not a destination: write the address in full: 127.0.0.1
        `https://-a.example` is not a destination: a host has letters, digits, `-` and dots; international names as xn--…
        `https://a..example` is not a destination: a host has letters, digits, `-` and dots; international names as xn--…
        `https://ex ample` is not a destination: a host has letters, digits, `-` and dots; international names as xn--…
        `https://ä.example` is not a destination: a host has letters, digits, `-` and dots; international names as xn--…
        `https://[fe80::1%eth0]` is not a destination: a host has letters, digits, `-` and dots; international names as xn--…
        `tcp://db.example` is not a destination: write the port: tcp://db.example:5432
        `*` is not a destination: write a host like https://api.example, https://*.example for every host below it, or https://0.0.0.0/0 for every IPv4 address
        `*.example` is not a destination: write https://*.example
    "#]].assert_eq(&said.concat());
}

#[test]
fn names_are_compared_as_hosts_are() {
    let rules = ["https://api.example", "http://*.shop.example:8080"];
    for (scheme, host, port, goes) in [
        (Scheme::Https, "api.example", 443, true),
        (Scheme::Https, "API.EXAMPLE", 443, true),
        (Scheme::Https, "api.example.", 443, true),
        (Scheme::Https, "api.example..", 443, false),
        (Scheme::Https, "api.example", 8443, false),
        (Scheme::Http, "api.example", 443, false),
        (Scheme::Tcp, "api.example", 443, false),
        (Scheme::Https, "www.api.example", 443, false),
        (Scheme::Https, "xapi.example", 443, false),
        (Scheme::Https, "api.example.evil.test", 443, false),
        (Scheme::Https, "", 443, false),
        (Scheme::Http, "a.shop.example", 8080, true),
        (Scheme::Http, "a.b.Shop.Example.", 8080, true),
        (Scheme::Http, "shop.example", 8080, false),
        (Scheme::Http, ".shop.example", 8080, false),
        (Scheme::Http, "evilshop.example", 8080, false),
        (Scheme::Http, "10.0.0.1", 8080, false),
    ] {
        let expected = if goes { Verdict::Allowed { explicit_address: false, networks: Vec::new() } } else { Verdict::Denied };
        assert_eq!(egress(&rules).decide(scheme, host, port), expected, "{scheme}://{host}:{port}");
    }
}

#[test]
fn what_a_name_resolves_to_is_judged() {
    let https = |rules: &[&str], host: &str, address: &str| outcome(rules, Scheme::Https, host, 443, address);
    for (rules, host, address, expected) in [
        (&["https://api.example"][..], "api.example", "192.0.2.1", "goes"),
        (&["https://api.example"], "api.example", "10.0.0.1", "goes"),
        (&["https://api.example"], "api.example", "127.0.0.1", "loopback"),
        (&["https://api.example"], "api.example", "::1", "loopback"),
        (&["https://api.example"], "api.example", "::ffff:127.0.0.1", "loopback"),
        (&["https://api.example"], "api.example", "169.254.169.254", "a metadata service"),
        (&["https://api.example"], "api.example", "fe80::1", "link-local"),
        // A name that a network allows, once it is known where it leads.
        (&["https://10.0.0.0/8"], "db.internal", "10.1.2.3", "goes"),
        (&["https://10.0.0.0/8"], "db.internal", "::ffff:10.1.2.3", "goes"),
        (&["https://10.0.0.0/8"], "db.internal", "192.0.2.1", "in none of the allowed networks"),
        (&["https://127.0.0.0/8"], "db.internal", "127.0.0.1", "loopback"),
        (&["https://0.0.0.0/0"], "any.example", "192.0.2.1", "goes"),
        (&["https://0.0.0.0/0"], "any.example", "2001:db8::1", "in none of the allowed networks"),
        (&["https://0.0.0.0/0"], "any.example", "127.0.0.1", "loopback"),
        // A single address is explicit, under whichever name it was found.
        (&["https://127.0.0.1"], "localhost", "127.0.0.1", "goes"),
        (&["https://127.0.0.1"], "localhost", "127.0.0.2", "in none of the allowed networks"),
        (&["https://localhost", "https://127.0.0.1"], "localhost", "127.0.0.1", "goes"),
        (&["https://localhost", "https://127.0.0.1"], "localhost", "::1", "loopback"),
        (&["https://localhost", "https://127.0.0.1"], "localhost", "192.0.2.1", "goes"),
        (&["https://localhost", "https://10.0.0.0/8"], "localhost", "192.0.2.1", "goes"),
        // The same scheme and port, or the network does not count.
        (&["https://api.example", "https://127.0.0.1:8443"], "api.example", "127.0.0.1", "loopback"),
        (&["http://10.0.0.0/8:443"], "db.internal", "10.1.2.3", "denied"),
    ] {
        assert_eq!(https(rules, host, address), expected, "{rules:?} and {host} at {address}");
    }
}

#[test]
fn addresses_are_compared_as_addresses() {
    for (rules, host, expected) in [
        (&["http://127.0.0.1"][..], "127.0.0.1", "goes"),
        (&["http://127.0.0.1"], "127.0.0.1.", "goes"),
        (&["http://127.0.0.1"], "[::ffff:127.0.0.1]", "goes"),
        (&["http://127.0.0.1"], "::ffff:7f00:1", "goes"),
        (&["http://127.0.0.1"], "127.0.0.2", "denied"),
        (&["http://127.0.0.0/8"], "127.0.0.1", "loopback"),
        (&["http://[::1]"], "[0:0:0:0:0:0:0:1]", "goes"),
        (&["http://[::1]"], "127.0.0.1", "denied"),
        (&["http://169.254.169.254"], "169.254.169.254", "goes"),
        (&["http://169.254.0.0/16"], "169.254.169.254", "a metadata service"),
        (&["http://0.0.0.0/0"], "192.0.2.1", "goes"),
        (&["http://0.0.0.0/0"], "0.0.0.0", "unspecified"),
        (&["http://[::/0]"], "[::ffff:127.0.0.1]", "denied"),
        (&["http://[::/0]"], "[64:ff9b::7f00:1]", "loopback"),
        (&["http://[::/0]"], "[2001:db8::1]", "goes"),
        (&["http://*.example"], "192.0.2.1", "denied"),
    ] {
        let bare = host.trim_matches(['[', ']']).trim_end_matches('.');
        assert_eq!(outcome(rules, Scheme::Http, host, 80, bare), expected, "{rules:?} and {host}");
    }
}

#[test]
fn forms_that_only_a_resolver_takes_for_an_address_are_names() {
    for host in ["127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1"] {
        assert_eq!(outcome(&["http://*.example", "http://api.example"], Scheme::Http, host, 80, "127.0.0.1"), "denied", "{host}");
        assert_eq!(outcome(&["http://0.0.0.0/0"], Scheme::Http, host, 80, "127.0.0.1"), "loopback", "{host}");
    }
}

#[test]
fn protected_addresses_are_known_in_every_form() {
    for (address, expected) in [
        ("0.0.0.0", Some("unspecified")),
        ("0.1.2.3", Some("of this machine's own network")),
        ("127.0.0.1", Some("loopback")),
        ("127.255.255.254", Some("loopback")),
        ("126.255.255.255", None),
        ("128.0.0.0", None),
        ("169.253.255.255", None),
        ("169.254.0.1", Some("link-local")),
        ("169.254.169.254", Some("a metadata service")),
        ("169.255.0.0", None),
        ("100.100.100.200", Some("a metadata service")),
        ("168.63.129.16", Some("a metadata service")),
        ("192.0.0.192", Some("a metadata service")),
        ("100.64.0.1", None),
        ("10.0.0.1", None),
        ("192.168.0.1", None),
        ("223.255.255.255", None),
        ("224.0.0.1", Some("multicast")),
        ("239.255.255.255", Some("multicast")),
        ("240.0.0.1", Some("reserved")),
        ("255.255.255.254", Some("reserved")),
        ("255.255.255.255", Some("broadcast")),
        ("::", Some("unspecified")),
        ("::1", Some("loopback")),
        ("::2", Some("of this machine's own network")),
        ("::127.0.0.1", Some("loopback")),
        ("::ffff:127.0.0.1", Some("loopback")),
        ("::ffff:0.0.0.0", Some("unspecified")),
        ("::ffff:169.254.169.254", Some("a metadata service")),
        ("::ffff:8.8.8.8", None),
        ("::ffff:0:127.0.0.1", Some("loopback")),
        ("64:ff9b::169.254.169.254", Some("a metadata service")),
        ("64:ff9b::8.8.8.8", None),
        ("2002:7f00:1::", Some("loopback")),
        ("2002:808:808::", None),
        ("fe7f::1", None),
        ("fe80::1", Some("link-local")),
        ("febf::1", Some("link-local")),
        ("fec0::1", Some("site-local")),
        ("feff::1", Some("site-local")),
        ("ff02::1", Some("multicast")),
        ("fd00:ec2::254", Some("a metadata service")),
        ("fd20:ce::254", Some("a metadata service")),
        ("fd00:ec2::253", None),
        ("fd00::1", None),
        ("2001:db8::1", None),
    ] {
        assert_eq!(is_protected(address.parse().expect("an address")), expected, "{address}");
    }
}

#[test]
fn a_denied_destination_says_the_rule_that_allows_it() {
    for (host, rule) in [
        ("API.example.", Some("https://api.example:443")),
        ("127.0.0.1", Some("https://127.0.0.1:443")),
        ("::1", Some("https://[::1]:443")),
        ("[::1]", Some("https://[::1]:443")),
        ("127.1", None),
        ("*.example", None),
        ("", None),
    ] {
        let allowing = EgressRule::allowing(Scheme::Https, host, 443);
        assert_eq!(allowing.as_ref().map(ToString::to_string).as_deref(), rule, "{host}");
        if let Some(rule) = allowing {
            assert_ne!(Egress { allow: vec![rule] }.decide(Scheme::Https, host, 443), Verdict::Denied, "{host}");
        }
    }
}

#[test]
fn a_narrower_rule_is_covered() {
    for (rule, wider, covered) in [
        ("https://a.example", "https://a.example", true),
        ("https://a.example", "https://*.example", true),
        ("https://*.a.example", "https://*.example", true),
        ("https://*.example", "https://*.a.example", false),
        ("https://example", "https://*.example", false),
        ("https://a.example:8443", "https://*.example", false),
        ("http://a.example:443", "https://*.example", false),
        ("https://10.1.0.0/16", "https://10.0.0.0/8", true),
        ("https://10.0.0.0/8", "https://10.1.0.0/16", false),
        ("https://10.1.2.3", "https://10.0.0.0/8", true),
        ("https://127.0.0.1", "https://0.0.0.0/0", false),
        ("https://a.example", "https://0.0.0.0/0", false),
    ] {
        let parse = |text: &str| text.parse::<EgressRule>().expect("a rule");
        assert_eq!(parse(rule).is_covered_by(&parse(wider)), covered, "{rule} by {wider}");
    }
}

#[test]
fn the_canonical_form_is_a_list_of_texts() {
    let egress = egress(&["http://10.0.0.0/8", "https://api.example"]);
    let text = serde_json::to_string(&egress).expect("rules are text");
    expect![[r#"{"allow":["http://10.0.0.0/8:80","https://api.example:443"]}"#]].assert_eq(&text);
    assert_eq!(serde_json::from_str::<Egress>(&text).expect("what was written is read"), egress);
    assert!(serde_json::from_str::<Egress>(r#"{"allow":["api.example"]}"#).is_err());
}
