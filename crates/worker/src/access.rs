//! Finished requests on their way from the gateway to the log store. Owns the line that is written about each; must never wait.
//!
//! The line is written by hand, straight from what the gateway lends, on the request's own thread: as text in a struct of texts it took nine pieces of memory
//! that another thread gave back, and more time than all the rest of the way. A test holds it to what [`api::v1::AccessLine`] says.

use std::{
    io::Write as _,
    net::IpAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use api::time::Time;
use gateway::{AccessLog, AccessRecord};
use model::id::Timestamp;

use crate::{logs::LogStore, spans::Spans};

/// Keeps access records in the log store.
#[derive(Debug)]
pub struct StoredAccess {
    /// Where lines go.
    pub logs: Arc<LogStore>,
    /// Who else is told, when spans are recorded.
    pub spans: Option<Spans>,
}

impl AccessLog for StoredAccess {
    fn record(&self, record: &AccessRecord<'_>) {
        if let Some(spans) = &self.spans {
            spans.request(record);
        }
        self.logs.access(record.component, |node, line| write(record, node, line));
    }
}

/// Appends what `api::v1::LogEntry::Access` of `record`, answered on `node`, is as JSON.
fn write(record: &AccessRecord<'_>, node: &str, line: &mut Vec<u8>) {
    let ended_at = Time(ended_at(record.time, record.duration_us));
    let mut out = Line(line);
    out.raw(r#"{"type":"access","at":""#);
    out.shown(ended_at);
    out.raw(r#"","requestId":"#);
    out.text(record.request_id);
    if let Some(component) = record.component {
        // Names hold nothing that JSON would write otherwise.
        out.raw(r#","component":""#);
        out.shown(component);
        out.raw("\"");
    }
    if let Some(revision) = record.revision {
        out.number(r#","revision":"#, revision.0);
    }
    if let Some(ordinal) = record.instance {
        out.number(r#","ordinal":"#, u64::from(ordinal));
    }
    out.raw(r#","node":"#);
    out.text(node);
    out.raw(r#","client":""#);
    out.address(record.peer);
    out.raw(r#"","method":"#);
    out.text(record.method.as_str());
    out.raw(r#","host":"#);
    out.text(record.host);
    out.raw(r#","path":"#);
    out.text(record.path);
    // Both are one of a few words of ours.
    out.raw(r#","protocol":""#);
    out.raw(record.protocol);
    if let Some(tls) = record.tls {
        out.raw(" ");
        out.raw(tls);
    }
    out.raw(r#"","traceId":""#);
    out.bytes(&record.trace.context.trace_id_digits());
    out.number(r#"","status":"#, u64::from(record.status.as_u16()));
    if let Some(code) = record.error {
        out.raw(r#","code":"#);
        out.text(code);
    }
    out.number(r#","requestBytes":"#, record.bytes_in);
    out.number(r#","responseBytes":"#, record.bytes_out);
    out.number(r#","durationMicros":"#, record.duration_us);
    out.raw("}");
}

fn ended_at(begun: SystemTime, duration_us: u64) -> Timestamp {
    let begun = begun.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ended_ms = (begun.as_micros() + u128::from(duration_us)) / 1_000;
    Timestamp(u64::try_from(ended_ms).unwrap_or(u64::MAX))
}

/// A line of JSON that grows.
struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn raw(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn shown(&mut self, value: impl std::fmt::Display) {
        write!(self.0, "{value}").expect("a vector takes everything");
    }

    fn number(&mut self, key: &str, value: u64) {
        self.raw(key);
        serde_json::to_writer(&mut *self.0, &value).expect("a number is JSON, and a vector takes everything");
    }

    fn text(&mut self, text: &str) {
        let is_plain = text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
        if is_plain {
            self.raw("\"");
            self.raw(text);
            self.raw("\"");
        } else {
            serde_json::to_writer(&mut *self.0, text).expect("a text is JSON, and a vector takes everything");
        }
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                let [first, rest @ ..] = address.octets().map(u64::from);
                self.number("", first);
                rest.into_iter().for_each(|octet| self.number(".", octet));
            }
            IpAddr::V6(address) => self.shown(address),
        }
    }
}

#[cfg(test)]
mod tests;
