//! Builds the responses the gateway makes itself. Owns their headers and their one line of text; must never show a word of the guest.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};
use http_body_util::Full;

use crate::{exchange::Exchange, refusal::Refusal};

/// RFC 9209.
pub(crate) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The response that tells `refusal`. `X-Request-Id` is added to every response later.
pub(crate) fn respond(refusal: &Refusal, exchange: &Exchange) -> Response<Full<Bytes>> {
    let code = refusal.code();
    let text = refusal.sentence().map(|sentence| format!("{code}: {sentence} (request {})\n", exchange.id)).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    let status = format!("shoal; error={}; details=\"{code}\"", refusal.proxy_error());
    headers.insert(PROXY_STATUS, HeaderValue::from_str(&status).expect("codes and error types are ASCII"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(header::RETRY_AFTER, seconds);
    }
    if let Some(methods) = allowed(refusal) {
        headers.insert(header::ALLOW, methods);
    }
    if refusal.closes() && exchange.connection.is_h1() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// `Allow`, which a 405 must carry (RFC 9110, section 15.5.6).
fn allowed(refusal: &Refusal) -> Option<HeaderValue> {
    match refusal {
        Refusal::MethodNotAllowed(methods) => {
            let names: Vec<_> = methods.iter().map(http::Method::as_str).collect();
            Some(HeaderValue::from_str(&names.join(", ")).expect("methods are tokens"))
        }
        Refusal::Connect => Some(HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH")),
        _ => None,
    }
}
