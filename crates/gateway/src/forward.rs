//! What of a request's and a response's headers passes the gateway. Owns hop-by-hop removal and the forwarding headers, believed only from trusted
//! proxies; must never know who answers.

use std::{
    net::IpAddr,
    task::{Context, Poll},
};

use futures_util::{TryFutureExt as _, future::MapErr};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header, uri::PathAndQuery};
use tower::Service;

use crate::{
    exchange::Exchange,
    limits::FORWARDED_HOPS_MAX,
    refusal::Refusal,
    respond::PROXY_STATUS,
    stack::{Admitted, Bottom, CallError, LocalRequest},
    table::Route,
};

/// Names one request everywhere.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Headers that speak about one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HTTP2_SETTINGS,
];

/// Says of whom a request came, so believed from trusted proxies only.
const FORWARDING: [HeaderName; 9] = [
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-real-ip"),
];

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
        let request_id = exchange.id.clone();
        self.inner.call(LocalRequest { request, target, request_id, deadline }).map_err(Refusal::Failed as fn(CallError) -> Refusal)
    }
}

/// Turns the request as it came into the request the component sees.
fn prepare<B>(request: &mut Request<B>, route: &Route, exchange: &Exchange) {
    if let Some(path) = route.rewritten(request.uri().path()) {
        *request.uri_mut() = with_path(request.uri(), &path);
    }
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    strip_hop_by_hop(headers);
    let connection = &exchange.connection;
    set_forwarding(headers, connection.peer.ip(), &connection.peer_text, connection.peer_trusted);
    headers.insert(X_REQUEST_ID, exchange.id.header().clone());
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
        headers.remove(header::CONNECTION);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Removes from request trailers what would be believed as a header.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    for name in HOP_BY_HOP.iter().chain(&FORWARDING) {
        trailers.remove(name);
    }
    for name in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::AUTHORIZATION, X_REQUEST_ID] {
        trailers.remove(name);
    }
}

/// A component cannot speak as the gateway: its `Proxy-Status: shoal; …` is dropped, anybody else's passes.
pub(crate) fn strip_forged_status(headers: &mut HeaderMap) {
    let is_forged = |value: &HeaderValue| value.as_bytes().windows(5).any(|word| word.eq_ignore_ascii_case(b"shoal"));
    if headers.get_all(PROXY_STATUS).iter().any(is_forged) {
        headers.remove(PROXY_STATUS);
    }
}

/// Says of whom the request came: appended to what a trusted proxy said, said anew otherwise.
fn set_forwarding(headers: &mut HeaderMap, peer: IpAddr, peer_text: &HeaderValue, trusted: bool) {
    let before = if trusted { headers.get_all(X_FORWARDED_FOR).iter().cloned().collect() } else { Vec::new() };
    if !trusted {
        for name in &FORWARDING {
            headers.remove(name);
        }
    }
    headers.insert(X_FORWARDED_FOR, chain(&before, peer, peer_text));
    if !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
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
