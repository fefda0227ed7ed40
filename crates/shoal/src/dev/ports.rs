//! Which ports `shoal dev` takes: the usual ones when they are free, any free one when not, and exactly what was asked for otherwise.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

/// The API's usual address.
pub const API: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);
/// The gateway's usual address under `shoal dev`: nobody else on the network reaches it.
pub const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The same over TLS, when there are certificates.
pub const HTTPS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// The address to listen on, and whether the default was in use. What was `wanted` explicitly is taken as it is: when that is in use, starting says so.
pub fn choose(wanted: Option<SocketAddr>, default: SocketAddr) -> (SocketAddr, bool) {
    if let Some(wanted) = wanted {
        return (wanted, false);
    }
    match TcpListener::bind(default) {
        Ok(_) => (default, false),
        Err(_) => (SocketAddr::new(default.ip(), 0), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_replaced_unless_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("a bound socket has an address");
        assert_eq!(choose(None, address), (SocketAddr::new(address.ip(), 0), true));
        assert_eq!(choose(Some(address), API), (address, false));
        drop(taken);
        assert_eq!(choose(None, address), (address, false));
    }
}
