//! Log lines and access lines. Owns their shape and the question that selects them; must never know where they are kept.

use model::id::{AppId, ComponentId, Name, RevisionNumber};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Time;

/// What `GET /v1/logs` takes. Everything absent selects nothing away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogQuery {
    /// Lines of this app: `hello` or `team/hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub app: Option<AppId>,
    /// Of this component of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub component: Option<Name>,
    /// Keep the stream open and send what comes.
    #[serde(default)]
    pub follow: bool,
    /// Only the last so many lines of what is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Only lines from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,
    /// Only lines that contain this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grep: Option<String>,
    /// Access lines too.
    #[serde(default)]
    pub access: bool,
    /// Only what belongs to this request id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Only access lines with this status: `404`, `5xx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum LogEntry {
    /// A guest wrote it, or the host wrote it about a guest.
    Line(LogLine),
    /// A request was answered.
    Access(AccessLine),
    /// The lines of a node are missing: its worker does not answer.
    Absent {
        /// Which.
        node: String,
        /// Why not.
        reason: String,
    },
    /// Lines are missing here: they came faster than they could be kept or sent.
    Dropped {
        /// How many.
        lines: u64,
        /// Whose; absent when it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        component: Option<ComponentId>,
        /// They were access lines.
        #[serde(default)]
        access: bool,
    },
}

/// A line a component wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Who.
    #[schema(value_type = String)]
    pub component: ComponentId,
    /// Under which revision.
    #[schema(value_type = u64)]
    pub revision: RevisionNumber,
    /// On which node, by name.
    #[serde(default)]
    pub node: String,
    /// Where it was written to.
    pub stream: LogStream,
    /// While answering which request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What, without the line's end.
    pub text: String,
}

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogStream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host says something about the guest: a trap, a denial.
    Host,
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessLine {
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Its id, as in `X-Request-Id`.
    pub request_id: String,
    /// Who answered; absent when no route matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub component: Option<ComponentId>,
    /// Under which revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub revision: Option<RevisionNumber>,
    /// Which instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// On which node's gateway, by name.
    #[serde(default)]
    pub node: String,
    /// Who asked.
    pub client: String,
    /// The method.
    pub method: String,
    /// The host asked for.
    pub host: String,
    /// Path and query as they came.
    pub path: String,
    /// `HTTP/1.1`, `HTTP/2`; over TLS with its version, `HTTP/2 TLSv1.3`.
    pub protocol: String,
    /// The trace it belongs to, 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The status answered.
    pub status: u16,
    /// `E05xx` when the gateway made the answer itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// From the first byte of the request to the last of the response, in microseconds.
    pub duration_micros: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_flat_with_its_type_first() {
        let line = LogLine {
            at: "2026-11-21T05:10:21.042Z".parse().expect("a time"),
            component: "hello/web".parse().expect("an id"),
            revision: RevisionNumber(2),
            node: "one".into(),
            stream: LogStream::Stderr,
            request_id: None,
            text: "boom".into(),
        };
        let text = serde_json::to_string(&LogEntry::Line(line.clone())).expect("plain data");
        expect_test::expect![[r#"{"type":"line","at":"2026-11-21T05:10:21.042Z","component":"hello/web","revision":2,"node":"one","stream":"stderr","text":"boom"}"#]].assert_eq(&text);
        assert_eq!(serde_json::from_str::<LogEntry>(&text).expect("its own text"), LogEntry::Line(line));
    }
}
