//! The line written by hand is the one the API describes, byte for byte.

use std::time::Duration;

use api::v1::{AccessLine, LogEntry};
use gateway::{RequestTrace, TraceContext};
use http::{Method, StatusCode};
use model::id::{ComponentId, RevisionNumber};

use super::*;

const NODE: &str = "node \"one\"";

fn described(record: &AccessRecord<'_>) -> String {
    let line = AccessLine {
        at: Time(Timestamp(1_795_237_821_043)),
        request_id: record.request_id.to_owned(),
        component: record.component.cloned(),
        revision: record.revision,
        ordinal: record.instance,
        node: NODE.to_owned(),
        client: record.peer.to_string(),
        method: record.method.as_str().to_owned(),
        host: record.host.to_owned(),
        path: record.path.to_owned(),
        protocol: record.tls.map_or(record.protocol.to_owned(), |tls| format!("{} {tls}", record.protocol)),
        trace_id: Some(String::from_utf8(record.trace.context.trace_id_digits().to_vec()).unwrap()),
        status: record.status.as_u16(),
        code: record.error.map(str::to_owned),
        request_bytes: record.bytes_in,
        response_bytes: record.bytes_out,
        duration_micros: record.duration_us,
    };
    serde_json::to_string(&LogEntry::Access(line)).unwrap()
}

fn check(record: &AccessRecord<'_>) {
    let mut line = Vec::new();
    write(record, NODE, &mut line);
    assert_eq!(String::from_utf8(line).unwrap(), described(record));
}

#[test]
fn a_line_is_what_the_api_says_it_is() {
    let [hello, team] = ["hello/web", "team/other/api"].map(|text| text.parse::<ComponentId>().unwrap());
    let full = AccessRecord {
        time: UNIX_EPOCH + Duration::from_micros(1_795_237_821_042_900),
        request_id: "0198-abc",
        component: Some(&hello),
        revision: Some(RevisionNumber(7)),
        instance: Some(2),
        method: &Method::GET,
        host: "hello.localhost:8080",
        path: "/a/b",
        protocol: "HTTP/1.1",
        tls: None,
        trace: RequestTrace { context: TraceContext { trace_id: [0xa1; 16], parent_id: [1; 8], sampled: true }, client_span: None },
        status: StatusCode::OK,
        bytes_in: 0,
        bytes_out: u64::MAX,
        duration_us: 245,
        peer: [127, 0, 20, 255].into(),
        error: None,
    };
    check(&full);
    check(&AccessRecord { component: Some(&team), revision: None, instance: None, ..full.clone() });
    check(&AccessRecord { component: None, error: Some("E0502"), status: StatusCode::NOT_FOUND, ..full.clone() });
    check(&AccessRecord { protocol: "HTTP/2", tls: Some("TLSv1.3"), peer: "2001:db8::1".parse().unwrap(), ..full.clone() });
    for wild in ["", "\"", "\\", "tab\there", "line\nend", "\u{1}\u{1f}\u{7f}", "caf\u{e9} \u{1f980}", "</script>", "\u{2028}"] {
        check(&AccessRecord { request_id: wild, host: wild, path: wild, ..full.clone() });
    }
    check(&AccessRecord { method: &Method::from_bytes(b"X-'*+.^_`|~").unwrap(), ..full });
}
