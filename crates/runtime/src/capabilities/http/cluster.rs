//! The sockets of the cluster itself: which of them a guest reaches only by a rule that names the address, and which it never reaches. Owns both lists;
//! must never resolve a name or know a rule.

use std::net::{IpAddr, SocketAddr};

use arc_swap::ArcSwap;

use crate::settings::Settings;

/// The cluster's sockets as far as this node knows them.
#[derive(Debug, Default)]
pub(crate) struct ClusterSockets {
    guarded: Vec<SocketAddr>,
    closed_ports: Vec<u16>,
    elsewhere: ArcSwap<Vec<Place>>,
}

/// Where a node answers, as it says so itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
}

/// What is the cluster's at one port. An address that is unspecified means every one of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AtPort {
    /// Reached only by a rule that names the address.
    pub(super) guarded: Vec<IpAddr>,
    /// Never reached.
    pub(super) closed: Vec<IpAddr>,
    /// Names of machines that are never reached; what they resolve to belongs to `closed`.
    pub(super) names: Vec<String>,
}

impl ClusterSockets {
    /// Those of this node.
    pub(crate) fn new(settings: &Settings) -> Self {
        let (guarded, closed_ports) = (settings.cluster_sockets.clone(), settings.closed_ports.clone());
        Self { guarded, closed_ports, elsewhere: ArcSwap::default() }
    }

    /// Learns where nodes answer, each as `HOST:PORT`. What is no such text means no socket.
    pub(crate) fn close(&self, places: &[String]) {
        let places: Vec<Place> = places.iter().filter_map(|text| Place::of(text)).collect();
        self.elsewhere.store(places.into());
    }

    /// What is the cluster's at `port`.
    pub(super) fn at(&self, port: u16) -> AtPort {
        let guarded = self.guarded.iter().filter(|socket| socket.port() == port).map(|socket| socket.ip().to_canonical()).collect();
        let mut found = AtPort { guarded, ..AtPort::default() };
        if self.closed_ports.contains(&port) {
            found.closed.push(std::net::Ipv4Addr::UNSPECIFIED.into());
        }
        for place in self.elsewhere.load().iter().filter(|place| place.port == port) {
            match place.host.parse::<IpAddr>() {
                Ok(address) => found.closed.push(address.to_canonical()),
                Err(_) => found.names.push(place.host.clone()),
            }
        }
        found
    }
}

impl AtPort {
    /// Whether `address` is never reached; `is_own` says whether an address is one of this machine.
    pub(super) fn closes(&self, address: IpAddr, is_own: impl Fn(IpAddr) -> bool) -> bool {
        let mine = |address| is_here(address) || is_own(address);
        self.closed.contains(&address) || mine(address) && self.closed.iter().any(|closed| mine(*closed))
    }

    /// Whether only a rule that names `address` reaches it.
    pub(super) fn guards(&self, address: IpAddr, is_own: impl Fn(IpAddr) -> bool) -> bool {
        let everywhere = || self.guarded.iter().any(IpAddr::is_unspecified);
        self.guarded.contains(&address) || everywhere() && (is_here(address) || is_own(address))
    }
}

impl Place {
    fn of(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (!host.is_empty()).then(|| Self { host: host.to_ascii_lowercase(), port })
    }
}

/// Whether a connection to `address` ends on this machine whatever addresses it has.
fn is_here(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.octets()[0] == 0,
        IpAddr::V6(address) => address.is_loopback() || address.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets() -> ClusterSockets {
        let sockets = ClusterSockets { guarded: vec!["10.0.0.1:8080".parse().unwrap()], closed_ports: vec![7070], ..Default::default() };
        let places = ["10.0.0.9:7071", "[fd00::9]:7071", "Node.Example:7071", "127.0.0.1:7170", "nonsense", ":7071", "a:0"];
        sockets.close(&places.map(str::to_owned));
        sockets
    }

    #[test]
    fn a_place_is_a_host_and_a_port() {
        let closed = ["10.0.0.9", "fd00::9"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(sockets().at(7071), AtPort { closed, names: vec!["node.example".into()], ..AtPort::default() });
        assert_eq!(sockets().at(0), AtPort::default());
        sockets().close(&[]);
    }

    #[test]
    fn closed_on_this_machine_is_closed_on_every_address_of_it() {
        let own: IpAddr = "10.0.0.1".parse().unwrap();
        let check = |port, address: &str, expected| {
            let closes = sockets().at(port).closes(address.parse().unwrap(), |address| address == own);
            assert_eq!(closes, expected, "{address}:{port}");
        };
        for here in ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "10.0.0.1"] {
            check(7070, here, true);
            // Another node of this machine, which listens on loopback.
            check(7170, here, true);
            check(7071, here, false);
            check(8080, here, false);
        }
        check(7070, "10.0.0.9", false);
        check(7170, "10.0.0.9", false);
        check(7071, "10.0.0.9", true);
        check(7071, "fd00::9", true);
    }
}
