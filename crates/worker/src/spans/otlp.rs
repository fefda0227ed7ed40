//! Spans as OTLP/HTTP takes them in JSON (opentelemetry-proto 1, `ExportTraceServiceRequest`). Pure. Owns the form on the wire; must never connect.

use std::time::UNIX_EPOCH;

use serde_json::{Value as Json, json};

use super::{Span, Value};

/// One request that brings `spans` of `node`.
pub(super) fn request(spans: &[Span], node: &str) -> Vec<u8> {
    let resource = [("service.name", text("shoal")), ("service.version", text(env!("CARGO_PKG_VERSION"))), ("host.name", text(node))];
    let whole = json!({"resourceSpans": [{
        "resource": {"attributes": resource.map(|(key, value)| attribute(key, &value))},
        "scopeSpans": [{"scope": {"name": "shoal"}, "spans": spans.iter().map(span).collect::<Vec<_>>()}],
    }]});
    serde_json::to_vec(&whole).expect("JSON of ours has string keys only")
}

fn span(span: &Span) -> Json {
    let started = span.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut attributes: Vec<_> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    attributes.extend(span.error.filter(|code| !code.is_empty()).map(|code| attribute("shoal.error.code", &text(code))));
    let mut whole = json!({
        "traceId": digits(&span.trace_id),
        "spanId": digits(&span.id),
        "name": span.name,
        // SPAN_KIND_SERVER and SPAN_KIND_INTERNAL.
        "kind": if span.is_server { 2 } else { 1 },
        // 64-bit numbers are text in this form, ids are hex.
        "startTimeUnixNano": started.as_nanos().to_string(),
        "endTimeUnixNano": (started + span.took).as_nanos().to_string(),
        "attributes": attributes,
    });
    if let Some(parent) = span.parent_id {
        whole["parentSpanId"] = digits(&parent).into();
    }
    if let Some(code) = span.error {
        // STATUS_CODE_ERROR.
        whole["status"] = json!({"code": 2, "message": code});
    }
    whole
}

fn attribute(key: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
    };
    json!({"key": key, "value": value})
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn digits(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes any text");
        out
    })
}
