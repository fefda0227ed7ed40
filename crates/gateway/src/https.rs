//! Requests without TLS that a route wants to have with it: which ones, and where they are sent. Owns the address under `https://` as clients reach it; pure.
//! Must never know a certificate, or a guest.

use http::{HeaderMap, HeaderValue, Request, header};
use model::app::Https;

use crate::{
    exchange::Exchange,
    forward, host,
    refusal::{BadRequest, Refusal},
    table::Route,
};

/// The port of `http://` where none is said.
const HTTP_PORT: u16 = 80;

/// The port of `https://` where none is said.
const HTTPS_PORT: u16 = 443;

/// The ports of a gateway that speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    /// Where it listens for plain HTTP.
    pub(crate) http: u16,
    /// Where it listens for TLS.
    pub(crate) https: u16,
    /// Where clients reach that, when somebody said so.
    pub(crate) advertised: Option<u16>,
}

impl Ports {
    /// Where a client finds TLS that found plain HTTP at port `seen`.
    fn https_of(self, seen: Option<u16>) -> u16 {
        // Whoever maps the usual port of one onto ours does so with that of the other; a client that sees our port sees the other one too.
        let mapped = seen.unwrap_or(HTTP_PORT) == HTTP_PORT && self.http != HTTP_PORT;
        self.advertised.unwrap_or(if mapped { HTTPS_PORT } else { self.https })
    }

    /// The address under `https://` of the `target` of a request, which named `authority`; none when there is no such address.
    pub(crate) fn location(self, authority: &str, target: &str) -> Option<HeaderValue> {
        let name = host::normal(authority).filter(|name| !name.is_empty())?;
        let port = match self.https_of(host::port(authority)) {
            HTTPS_PORT => String::new(),
            port => format!(":{port}"),
        };
        HeaderValue::from_bytes(format!("https://{name}{port}{target}").as_bytes()).ok()
    }
}

/// Whether `request`, which `route` answers, is to come back with TLS. On a node that speaks none it is answered: there is nowhere to send it.
pub(crate) fn check<B>(route: &Route, request: &Request<B>, exchange: &Exchange) -> Result<(), Refusal> {
    let Some(ports) = exchange.connection.gateway.ports else { return Ok(()) };
    if route.rule.https == Https::Both || is_secure(request.headers(), exchange) {
        return Ok(());
    }
    let authority = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let location = ports.location(authority, target).ok_or(BadRequest::NoHost)?;
    Err(Refusal::HttpsOnly { location })
}

/// Whether the client spoke TLS: to us, or to a proxy that is believed.
fn is_secure(headers: &HeaderMap, exchange: &Exchange) -> bool {
    let connection = &exchange.connection;
    connection.tls.is_some() || (connection.peer_trusted && forward::says_https(headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_sent_where_they_find_tls() {
        let check = |(http, https): (u16, u16), advertised: Option<u16>, authority: &str, expected: &str| {
            let location = Ports { http, https, advertised }.location(authority, "/a?b=c");
            assert_eq!(location.as_ref().and_then(|location| location.to_str().ok()), Some(expected), "{http} {https} {authority}");
        };
        // The usual ports, by themselves or by a mapping onto ours.
        check((80, 443), None, "shop.example", "https://shop.example/a?b=c");
        check((8080, 8443), None, "shop.example", "https://shop.example/a?b=c");
        check((8080, 8443), None, "Shop.Example.:80", "https://shop.example/a?b=c");
        // Ours, as they are.
        check((8080, 8443), None, "hello.localhost:8080", "https://hello.localhost:8443/a?b=c");
        check((80, 8443), None, "shop.example", "https://shop.example:8443/a?b=c");
        check((8080, 443), None, "shop.example:8080", "https://shop.example/a?b=c");
        check((8080, 8443), None, "[::1]:8080", "https://[::1]:8443/a?b=c");
        // A mapping nobody can guess, and what helps.
        check((8080, 8443), None, "shop.example:9000", "https://shop.example:8443/a?b=c");
        check((8080, 8443), Some(9443), "shop.example:9000", "https://shop.example:9443/a?b=c");
        check((8080, 8443), Some(443), "shop.example:8080", "https://shop.example/a?b=c");
        check((8080, 8443), None, "shop.example:99999", "https://shop.example:8443/a?b=c");
    }

    #[test]
    fn without_a_host_there_is_no_address() {
        let ports = Ports { http: 80, https: 443, advertised: None };
        assert_eq!((ports.location("", "/"), ports.location("a b", "/")), (None, None));
        assert_eq!(ports.location("a.example", "/%0d%0aX").map(|value| value.len()), Some("https://a.example/%0d%0aX".len()));
    }
}
