//! What of a request's and a response's headers passes the gateway. Owns hop-by-hop removal and the forwarding headers, believed only from trusted
//! proxies; must never know who answers.

use std::{
    net::IpAddr,
    task::{Context, Poll},
};

use futures_util::{TryFutureExt as _, future::MapErr};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header,
    uri::{PathAndQuery, Scheme},
};
use tower::Service;

use crate::{
    exchange::Exchange,
    limits::FORWARDED_HOPS_MAX,
    refusal::Refusal,
    respond::PROXY_STATUS,
    stack::{Admitted, Bottom, CallError, LocalRequest},
    table::Route,
    trace,
};

/// Names one request everywhere.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers that [`prepare`] may add: those above, `te` and `traceparent`.
const HEADERS_SET: usize = 6;

/// Whether a header speaks about one connection only (RFC 9110, section 7.6.1).
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Whether a header says of whom a request came, so that it is believed from trusted proxies only.
fn is_forwarding(name: &str) -> bool {
    name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip")
}

/// Removes every header whose name `goes`. One pass over the names that are there is cheaper than asking for each that could be.
fn strip(headers: &mut HeaderMap, goes: impl Fn(&str) -> bool) {
    if headers.keys().any(|name| goes(name.as_str())) {
        let gone: Vec<_> = headers.keys().filter(|name| goes(name.as_str())).cloned().collect();
        for name in gone {
            headers.remove(name);
        }
    }
}

/// See `stack.rs`.
#[derive(Debug, Clone)]
pub(crate) struct Forward<S> {
    pub(crate) inner: S,
}

impl<S: Bottom> Service<Admitted> for Forward<S> {
    type Response = S::Response;
    type Error = Refusal;
    type Future = MapErr<S::Call, fn(CallError) -> Refusal>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx).map_err(Refusal::Failed)
    }

    fn call(&mut self, admitted: Admitted) -> Self::Future {
        let Admitted { mut request, exchange, route, target, deadline } = admitted;
        prepare(&mut request, &route, &exchange);
        let scheme = scheme(request.headers());
        let (request_id, trace) = (exchange.id.clone(), exchange.trace);
        self.inner
            .call(LocalRequest { request, target, request_id, scheme, trace, deadline })
            .map_err(Refusal::Failed as fn(CallError) -> Refusal)
    }
}

/// Turns the request as it came into the request the component sees.
fn prepare<B>(request: &mut Request<B>, route: &Route, exchange: &Exchange) {
    if let Some(path) = route.rewritten(request.uri().path()) {
        *request.uri_mut() = with_path(request.uri(), &path);
    }
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    // In one step: a map made for what the client sent would grow three times on the way.
    headers.reserve(HEADERS_SET);
    // The one hop-by-hop header a component must see: gRPC servers answer only who says that trailers reach it, and through us they do.
    let takes_trailers = takes_trailers(headers);
    strip_hop_by_hop(headers);
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let connection = &exchange.connection;
    let proto = if connection.tls.is_some() { "https" } else { "http" };
    let trusted = connection.peer_trusted;
    set_forwarding(headers, Peer { ip: connection.peer.ip(), text: &connection.peer_text, proto, trusted });
    headers.insert(X_REQUEST_ID, exchange.id.header().clone());
    trace::set(headers, &exchange.trace);
}

/// Whether `TE` names `trailers` (RFC 9110, section 10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let names = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.map(str::trim).any(|name| name.eq_ignore_ascii_case("trailers"))
}

/// What the client spoke, by the forwarding headers as they leave us.
fn scheme(headers: &HeaderMap) -> Scheme {
    if says_https(headers) { Scheme::HTTPS } else { Scheme::HTTP }
}

/// Whether the forwarding headers say that the client spoke TLS. Whoever asks knows whether to believe them.
pub(crate) fn says_https(headers: &HeaderMap) -> bool {
    headers.get(X_FORWARDED_PROTO).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// `uri` with another path and the same query.
pub(crate) fn with_path(uri: &Uri, path: &str) -> Uri {
    let text = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let path_and_query = PathAndQuery::try_from(text).expect("routes and normal paths hold only characters a path may have");
    Uri::from(path_and_query)
}

/// Removes what speaks about one connection only, and what the sender says does.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            // Host and lengths are not the sender's to take away.
            if name != header::HOST && name != header::CONTENT_LENGTH {
                headers.remove(name);
            }
        }
    }
    strip(headers, is_hop_by_hop);
}

/// Removes from request trailers what would be believed as a header.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    let framing = |name: &str| matches!(name, "host" | "content-length" | "authorization" | "x-request-id");
    strip(trailers, |name| is_hop_by_hop(name) || is_forwarding(name) || framing(name));
}

/// Removes from response trailers what speaks about one connection, about the length of what has been sent, or as the gateway.
pub(crate) fn strip_response_trailers(trailers: &mut HeaderMap) {
    strip(trailers, |name| is_hop_by_hop(name) || matches!(name, "content-length" | "x-request-id" | "proxy-status"));
}

/// A component cannot speak as the gateway: its `Proxy-Status: shoal; …` is dropped, anybody else's passes.
pub(crate) fn strip_forged_status(headers: &mut HeaderMap) {
    let is_forged = |value: &HeaderValue| value.as_bytes().windows(5).any(|word| word.eq_ignore_ascii_case(b"shoal"));
    if headers.get_all(PROXY_STATUS).iter().any(is_forged) {
        headers.remove(PROXY_STATUS);
    }
}

/// Who is connected to us.
#[derive(Clone, Copy)]
struct Peer<'a> {
    ip: IpAddr,
    text: &'a HeaderValue,
    /// What it speaks: `http` or `https`.
    proto: &'static str,
    /// A proxy that is believed.
    trusted: bool,
}

/// Says of whom the request came: appended to what a trusted proxy said, said anew otherwise.
fn set_forwarding(headers: &mut HeaderMap, peer: Peer<'_>) {
    let Peer { ip, text, proto, trusted } = peer;
    let before = if trusted { headers.get_all(X_FORWARDED_FOR).iter().cloned().collect() } else { Vec::new() };
    if !trusted {
        strip(headers, is_forwarding);
    }
    headers.insert(X_FORWARDED_FOR, chain(&before, ip, text));
    if !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    }
    if !headers.contains_key(X_FORWARDED_HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

fn chain(before: &[HeaderValue], peer: IpAddr, peer_text: &HeaderValue) -> HeaderValue {
    if before.is_empty() {
        return peer_text.clone();
    }
    let elements = before.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut elements: Vec<_> = elements.map(str::trim).filter(|element| !element.is_empty()).collect();
    let peer = peer.to_string();
    elements.push(&peer);
    let kept = elements.len().saturating_sub(FORWARDED_HOPS_MAX);
    HeaderValue::from_str(&elements[kept..].join(", ")).unwrap_or_else(|_| peer_text.clone())
}

#[cfg(test)]
mod tests;
