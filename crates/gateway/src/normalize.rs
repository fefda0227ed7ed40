//! One reading of every request. Owns what is refused because two readers could understand it differently, and what is put in normal form; a pure
//! function with its layer. Must never know a route. What hyper reads more leniently than this is seen by `head_scan.rs` and told in its facts.

use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header, request::Parts};
use tower::Service;

use crate::{
    forward,
    head_scan::HeadFacts,
    host,
    limits::{HEADERS_MAX, URI_BYTES_MAX},
    path,
    refusal::{BadRequest, Refusal},
    stack::{Arrived, Normal},
};

/// See `stack.rs`.
#[derive(Debug, Clone)]
pub(crate) struct Normalize<S> {
    pub(crate) inner: S,
}

impl<S, R> Service<Arrived> for Normalize<S>
where
    S: Service<Normal, Response = R, Error = Refusal>,
{
    type Response = R;
    type Error = Refusal;
    type Future = Either<Ready<Result<R, Refusal>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrived: Arrived) -> Self::Future {
        let Arrived { request, facts, exchange } = arrived;
        let (mut parts, body) = request.into_parts();
        match normalize(&mut parts, facts) {
            Ok(host) => Either::Right(self.inner.call(Normal { request: http::Request::from_parts(parts, body), host, exchange })),
            Err(refusal) => Either::Left(ready(Err(refusal))),
        }
    }
}

/// Puts `parts` in normal form: origin-form target, one Host, no header name with an underscore. Returns the host to route by: lower case, without
/// port, empty when an HTTP/1.0 request has none.
pub(crate) fn normalize(parts: &mut Parts, facts: HeadFacts) -> Result<String, Refusal> {
    if let Some(fault) = facts.fault {
        return Err(fault.into());
    }
    // A CONNECT that names a protocol (RFC 8441) is an upgrade: a WebSocket over HTTP/2, which over HTTP/1.1 is a GET.
    if is_extended_connect(&parts.extensions) {
        parts.method = Method::GET;
    }
    if parts.method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    if parts.headers.len() > HEADERS_MAX {
        return Err(Refusal::TooManyHeaders);
    }
    check_lengths(parts)?;
    let host = one_host(parts)?;
    check_target(parts)?;
    drop_underscores(&mut parts.headers);
    check_expect(&parts.headers)?;
    Ok(host)
}

fn is_extended_connect(extensions: &Extensions) -> bool {
    extensions.get::<hyper::ext::Protocol>().is_some()
}

/// The scanner has refused these on HTTP/1 already, where hyper would hide them; here the rule is written down for every version.
fn check_lengths(parts: &Parts) -> Result<(), BadRequest> {
    let headers = &parts.headers;
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(());
    }
    match parts.version {
        Version::HTTP_11 if headers.contains_key(header::CONTENT_LENGTH) => Err(BadRequest::TwoLengths),
        Version::HTTP_11 => Ok(()),
        Version::HTTP_10 => Err(BadRequest::TransferEncodingOn10),
        _ => Err(BadRequest::TransferEncoding),
    }
}

/// Brings Host and the target's authority together in the Host header.
fn one_host(parts: &mut Parts) -> Result<String, BadRequest> {
    let mut given = parts.headers.get_all(header::HOST).iter();
    let header = given.next().cloned();
    if given.next().is_some() {
        return Err(BadRequest::TwoHosts);
    }
    let of_header = match &header {
        Some(value) => Some(value.to_str().ok().and_then(host::normal).ok_or(BadRequest::Host)?),
        None => None,
    };
    let Some(authority) = parts.uri.authority() else {
        return match of_header {
            Some(host) => Ok(host),
            None if parts.version == Version::HTTP_10 => Ok(String::new()),
            None => Err(BadRequest::NoHost),
        };
    };
    let of_target = host::normal(authority.as_str()).ok_or(BadRequest::Host)?;
    let agree = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
    match (&header, &of_header) {
        (Some(value), Some(host)) if *host != of_target || !agree(value) => return Err(BadRequest::HostDisagrees),
        (Some(_), _) => {}
        // RFC 9112 asks for Host even beside an absolute target; HTTP/2 says it with `:authority` alone.
        (None, _) if parts.version == Version::HTTP_11 => return Err(BadRequest::NoHost),
        (None, _) => {
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| BadRequest::Host)?;
            parts.headers.insert(header::HOST, value);
        }
    }
    Ok(of_target)
}

/// Leaves an origin-form target with a normal path.
fn check_target(parts: &mut Parts) -> Result<(), Refusal> {
    let uri = &parts.uri;
    let length = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if length > URI_BYTES_MAX {
        return Err(Refusal::UriTooLong);
    }
    if uri.scheme().is_some_and(|scheme| *scheme != http::uri::Scheme::HTTP && *scheme != http::uri::Scheme::HTTPS) {
        return Err(BadRequest::Target.into());
    }
    if !uri.path().starts_with('/') {
        return Err(BadRequest::Target.into());
    }
    let path = path::normal(uri.path()).map_err(BadRequest::Path)?;
    if path != uri.path() || uri.authority().is_some() || uri.scheme().is_some() {
        parts.uri = forward::with_path(uri, &path);
    }
    Ok(())
}

/// `X_Forwarded_For` and `X-Forwarded-For` are one variable to a CGI-like reader, so names with an underscore go no further (as in nginx).
fn drop_underscores(headers: &mut HeaderMap) {
    let has_underscore = |name: &HeaderName| name.as_str().contains('_');
    if headers.keys().any(has_underscore) {
        let names: Vec<_> = headers.keys().filter(|name| has_underscore(name)).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

fn check_expect(headers: &HeaderMap) -> Result<(), BadRequest> {
    match headers.get(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Err(BadRequest::Expect),
        _ => Ok(()),
    }
}

/// An upgrade is refused with the reason, because a WebSocket client cannot go on without it. `h2c` is only an offer, which may be ignored. Asked once the
/// route is known, which may want the client elsewhere first.
pub(crate) fn check_upgrade<B>(request: &Request<B>) -> Result<(), Refusal> {
    if is_extended_connect(request.extensions()) {
        return Err(Refusal::Upgrade);
    }
    let Some(upgrade) = request.headers().get(header::UPGRADE) else {
        return Ok(());
    };
    let is_offer = |protocol: &str| protocol.eq_ignore_ascii_case("h2c") || protocol.to_ascii_lowercase().starts_with("tls/");
    let only_offers = upgrade.to_str().is_ok_and(|protocols| protocols.split(',').map(str::trim).all(is_offer));
    if only_offers { Ok(()) } else { Err(Refusal::Upgrade) }
}

#[cfg(test)]
mod tests;
