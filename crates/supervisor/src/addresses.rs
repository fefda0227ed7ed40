//! Under which addresses others reach this node, and what it says of itself with them. Owns the choice among the machine's addresses; must never emit one that
//! nobody can dial.
//!
//! A listener that is bound to every address is reached under the one from which the node joined: that one leads to the cluster, whatever else the machine has.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use api::peer::Introduction;
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use tokio::net::TcpStream;

use super::{enroll::Enrolled, node::Node};

/// Addresses of the documentation ranges (RFC 5737, RFC 3849): routed like any other, owned by nobody.
const ANYWHERE: [&str; 2] = ["192.0.2.1:9", "[2001:db8::1]:9"];

/// What the node says of itself; others reach this machine under the first of `sources` that fits a listener.
pub fn introduction(node: &Node, sources: &[IpAddr]) -> Introduction {
    let sockets = &node.sockets;
    let bound = |listener: Option<&std::net::TcpListener>| listener.and_then(|listener| listener.local_addr().ok());
    let place = &node.options.place;
    let (control_plane, worker) = (sockets.control_plane.as_ref(), sockets.worker.as_ref());
    let at = |listener, told: &Option<String>| bound(listener).and_then(|bound| advertised(bound, told.as_deref(), sources));
    let (memory_bytes, cpu_millis) = if worker.is_some() { server::Settings::resources_of_this_machine() } else { (0, 0) };
    Introduction {
        name: node.options.name.clone(),
        peer: at(control_plane.and_then(|sockets| sockets.peer.as_ref()), &place.advertise_peer),
        mesh: at(worker.and_then(|sockets| sockets.mesh.as_ref()), &place.advertise_mesh),
        api: at(control_plane.map(|sockets| &sockets.api), &place.advertise_api),
        zone: place.zone.clone(),
        region: place.region.clone(),
        labels: place.labels.clone(),
        memory_bytes,
        cpu_millis,
        release: founding::introduction::RELEASE.to_owned(),
        schema: founding::introduction::SCHEMA,
    }
}

/// The addresses of a node that begins a cluster, best first. On a machine without a network that is loopback, which is enough for a cluster on one machine.
pub fn of_founder(node: &Node) -> Vec<IpAddr> {
    let routed = outward();
    let sources: Vec<IpAddr> = routed.iter().copied().chain(of_interfaces()).chain(loopback()).collect();
    let is_chosen = node.options.peer.is_some_and(|peer| peer.ip().is_unspecified()) && node.options.place.advertise_peer.is_none();
    if is_chosen && routed.is_empty() {
        tracing::warn!(
            address = %sources[0],
            help = "before a node of another machine joins, start this one with   --advertise HOST",
            "this machine has no default route, and others may not reach it under the address that was taken"
        );
    }
    sources
}

/// Which of them is kept: loopback is only for as long as there is nothing better.
pub fn kept_by_founder(sources: &[IpAddr]) -> Option<IpAddr> {
    sources.first().copied().filter(|source| !source.is_loopback())
}

/// The addresses of a node that has its place, best first: the one it joined from as long as this machine has it, then the way to the servers it knows. Without
/// any it says nothing of where it is, and others go on with what they know.
pub fn of_member(place: &Enrolled) -> Vec<IpAddr> {
    let kept = place.source.filter(|source| UdpSocket::bind((*source, 0)).is_ok());
    let servers = place.servers.iter().filter_map(|server| way_to(&server.peer));
    let mut sources: Vec<IpAddr> = kept.into_iter().chain(servers).chain(outward()).chain(of_interfaces()).collect();
    // Whoever joined came from somewhere; a founder without a source had no network, and may have none still.
    if place.source.is_none() {
        sources.extend(loopback());
    }
    sources
}

/// From where a connection to another node comes, and the same again when the other end is another machine.
pub fn of_connection(stream: &TcpStream) -> (Option<IpAddr>, Option<IpAddr>) {
    let (Ok(local), Ok(other)) = (stream.local_addr(), stream.peer_addr()) else { return (None, None) };
    let (local, other) = (local.ip().to_canonical(), other.ip().to_canonical());
    let is_elsewhere = local != other && !other.is_loopback();
    (Some(local).filter(is_dialable), is_elsewhere.then_some(local))
}

/// Where a way out of this machine begins, for each family that has one.
pub fn outward() -> Vec<IpAddr> {
    ANYWHERE.iter().filter_map(|anywhere| way_to(anywhere)).collect()
}

/// From which address `target` is reached, when that is an address with a port: nothing is sent, the system only looks up its routes.
fn way_to(target: &str) -> Option<IpAddr> {
    let target: SocketAddr = target.parse().ok()?;
    let any: SocketAddr = if target.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(is_dialable)
}

/// What the interfaces of this machine that are up have, in the system's order.
fn of_interfaces() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let found = interfaces.filter(|one| one.flags.contains(up) && !one.flags.contains(InterfaceFlags::IFF_LOOPBACK)).filter_map(|one| {
        let address = one.address?;
        let four = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    found.filter(|address| is_dialable(address) && !address.is_loopback()).collect()
}

fn loopback() -> [IpAddr; 2] {
    [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1])]
}

/// Whether another machine could dial it as it is written: an address of the link alone lacks the name of the link.
fn is_dialable(address: &IpAddr) -> bool {
    let is_of_link = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_unspecified() && !is_of_link
}

/// Under which `HOST:PORT` others reach a listener that is bound to `bound`; nothing when nobody knows.
fn advertised(bound: SocketAddr, told: Option<&str>, sources: &[IpAddr]) -> Option<String> {
    match told {
        Some(told) if told.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => Some(told.to_owned()),
        Some(host) => Some(format!("{host}:{}", bound.port())),
        None if bound.ip().is_unspecified() => {
            // A listener on every address of IPv6 takes those of IPv4 too; the other way round it does not.
            let fits = sources.iter().find(|source| is_dialable(source) && (source.is_ipv4() || bound.is_ipv6()));
            fits.map(|source| SocketAddr::new(*source, bound.port()).to_string())
        }
        None => Some(bound.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enroll::Since;

    #[test]
    fn what_is_advertised_can_be_dialed() {
        let check = |bound: &str, told: Option<&str>, sources: &[&str], expected: Option<&str>| {
            let sources: Vec<IpAddr> = sources.iter().map(|text| text.parse().expect("an address")).collect();
            let found = advertised(bound.parse().expect("an address"), told, &sources);
            assert_eq!(found.as_deref(), expected, "{bound} {told:?} {sources:?}");
        };
        check("127.0.0.1:7071", None, &["10.0.0.5"], Some("127.0.0.1:7071"));
        check("0.0.0.0:7071", None, &["10.0.0.5", "10.1.0.5"], Some("10.0.0.5:7071"));
        check("[::]:7071", None, &["fd00::5"], Some("[fd00::5]:7071"));
        check("[::]:7071", None, &["10.0.0.5"], Some("10.0.0.5:7071"));
        check("0.0.0.0:7071", None, &["fd00::5", "10.0.0.5"], Some("10.0.0.5:7071"));
        check("0.0.0.0:7071", None, &["fd00::5"], None);
        check("0.0.0.0:7071", None, &[], None);
        check("[::]:7071", None, &["::", "0.0.0.0", "fe80::1"], None);
        check("0.0.0.0:7071", Some("node-a.example"), &["10.0.0.5"], Some("node-a.example:7071"));
        check("0.0.0.0:7071", Some("node-a.example:17071"), &[], Some("node-a.example:17071"));
    }

    fn enrolled() -> Enrolled {
        let cluster = transport::ClusterId::from_bytes([1; 16]);
        let (node, name, servers) = (model::id::NodeId(5), "b".to_owned(), Vec::new());
        Enrolled { cluster, group: None, node, name, servers, source: None, worker_key: None, since: Since::Before }
    }

    #[test]
    fn the_address_of_the_join_is_kept_as_long_as_this_machine_has_it() {
        let place = |source: &str| Enrolled { source: source.parse().ok(), ..enrolled() };
        assert_eq!(of_member(&place("127.0.0.1")).first(), Some(&IpAddr::from([127, 0, 0, 1])));
        let elsewhere: IpAddr = "192.0.2.77".parse().expect("an address");
        assert!(!of_member(&place("192.0.2.77")).contains(&elsewhere), "no machine has an address of the documentation range");
        assert!(
            !of_member(&place("192.0.2.77")).iter().any(IpAddr::is_loopback),
            "a node that joined is not known as loopback all at once"
        );
        assert!(of_member(&enrolled()).iter().any(IpAddr::is_loopback), "a cluster of one goes on without a network");
    }

    #[test]
    fn the_way_to_this_machine_itself_begins_on_it() {
        assert_eq!(way_to("127.0.0.1:9"), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(way_to("a.example:7071"), None, "names are not looked up");
        assert!(of_interfaces().iter().chain(&outward()).all(|address| is_dialable(address) && !address.is_loopback()));
    }
}
