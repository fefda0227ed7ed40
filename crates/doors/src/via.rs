//! How a request came. Owns the ways there are; must never say what one of them opens.

use std::{fmt, net::SocketAddr};

/// How a request came. Travels with it, once the door knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Over the socket in the data directory, by its owner.
    Socket,
    /// Over TCP from this machine, without TLS, by the owner of the server.
    Loopback,
    /// From this machine by another user, whose id this is, or by somebody of whom nothing is known.
    Stranger(Option<u32>),
    /// Over TLS, from this address.
    Tls(SocketAddr),
    /// Passed on by another server, which has let it in.
    Server,
}

/// From where a call came, as a log line says it.
impl fmt::Display for Via {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(address) => write!(out, "{address}"),
            Self::Socket => out.write_str("the socket"),
            Self::Loopback => out.write_str("loopback"),
            Self::Stranger(Some(user)) => write!(out, "user {user} of this machine"),
            Self::Stranger(None) => out.write_str("somebody on this machine"),
            Self::Server => out.write_str("another server"),
        }
    }
}
