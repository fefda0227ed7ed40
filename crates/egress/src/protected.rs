//! The addresses that only a rule naming exactly them reaches. Owns the list; must never know a rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why `ip` is reached only by a rule that names exactly this address, in a word that completes "the address is …"; nothing when it is an ordinary one.
/// Addresses that carry an IPv4 address inside (mapped, compatible, NAT64, 6to4) are judged by that one.
pub fn is_protected(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => v6(ip),
    }
}

fn v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        // Where clouds answer for the machine and its credentials: AWS, Google, Azure and most others; Alibaba; Azure's host agent; Oracle.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Some("a metadata service"),
        [0, 0, 0, 0] => Some("unspecified"),
        // Linux connects to 0.x.y.z as to this machine.
        [0, ..] => Some("of this machine's own network"),
        [127, ..] => Some("loopback"),
        [169, 254, ..] => Some("link-local"),
        [224..=239, ..] => Some("multicast"),
        [255, 255, 255, 255] => Some("broadcast"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn v6(ip: Ipv6Addr) -> Option<&'static str> {
    let word = match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Some("a metadata service"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ => None,
    };
    word.or_else(|| carried(ip).and_then(v4))
}

/// The IPv4 address inside, when `ip` is of a form that leads to one.
fn carried(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match ip.segments() {
        // ::ffff:a.b.c.d, ::a.b.c.d, ::ffff:0:a.b.c.d, and what NAT64 translates.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(of(high, low))
        }
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}
