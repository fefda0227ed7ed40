//! Builds the responses the gateway makes itself. Owns their headers and their body: one line of text, or JSON in the shape the API has for its errors;
//! must never show a word of the guest.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};
use http_body_util::Full;

use crate::{exchange::Exchange, refusal::Refusal};

/// RFC 9209.
pub(crate) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The response that tells `refusal`. `X-Request-Id` is added to every response later.
pub(crate) fn respond(refusal: &Refusal, exchange: &Exchange) -> Response<Full<Bytes>> {
    let as_json = exchange.accept.as_ref().and_then(|accept| accept.to_str().ok()).is_some_and(prefers_json);
    let (body, kind) =
        if as_json { (json(refusal, exchange), "application/json") } else { (text(refusal, exchange), "text/plain; charset=utf-8") };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    let error = refusal.proxy_error().map(|error| format!(" error={error};")).unwrap_or_default();
    let status = format!("shoal;{error} details=\"{}\"", refusal.details());
    headers.insert(PROXY_STATUS, HeaderValue::from_str(&status).expect("codes and error types are ASCII"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Refusal::HttpsOnly { location } = refusal {
        headers.insert(header::LOCATION, location.clone());
    }
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

fn text(refusal: &Refusal, exchange: &Exchange) -> String {
    let line = |sentence| format!("{}: {sentence} (request {})\n", refusal.code(), exchange.id);
    refusal.sentence().map(line).unwrap_or_default()
}

fn json(refusal: &Refusal, exchange: &Exchange) -> String {
    let message = refusal.sentence().unwrap_or_else(|| "the component failed".to_owned());
    let details = serde_json::json!({ "requestId": &**exchange.id.text() });
    let error = serde_json::json!({ "code": refusal.code(), "message": message, "help": "", "details": details });
    serde_json::json!({ "error": error }).to_string()
}

/// Whether `Accept` (RFC 9110, section 12.5.1) names JSON, and no text with a higher weight. `*/*` alone names nothing.
fn prefers_json(accept: &str) -> bool {
    let (mut json, mut text) = (0.0_f32, 0.0_f32);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
            json = json.max(weight);
        } else if matches!(kind.as_str(), "text/plain" | "text/html" | "text/*") {
            text = text.max(weight);
        }
    }
    json > 0.0 && json >= text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        let check = |accept: &str, expected: bool| assert_eq!(prefers_json(accept), expected, "{accept}");
        check("application/json", true);
        check("application/json, text/plain, */*", true);
        check("application/problem+json", true);
        check("APPLICATION/JSON;q=0.5", true);
        check("text/plain;q=0.5, application/json;q=0.9", true);
        check("text/plain, application/json;q=0.9", false);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false);
        check("*/*", false);
        check("application/*", false);
        check("application/json;q=0", false);
        check("application/json;q=x", false);
        check("", false);
    }
}
