//! Finished requests on their way from the gateway to the log store. Owns the change of shape; must never wait.

use std::{sync::Arc, time::UNIX_EPOCH};

use api::{time::Time, v1::AccessLine};
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

fn protocol(record: &AccessRecord<'_>) -> String {
    match record.tls {
        Some(tls) => format!("{} {tls}", record.protocol),
        None => record.protocol.to_owned(),
    }
}

impl AccessLog for StoredAccess {
    fn record(&self, record: &AccessRecord<'_>) {
        if let Some(spans) = &self.spans {
            spans.request(record);
        }
        let begun = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let ended_ms = (begun.as_micros() + u128::from(record.duration_us)) / 1_000;
        self.logs.access(AccessLine {
            at: Time(Timestamp(u64::try_from(ended_ms).unwrap_or(u64::MAX))),
            request_id: record.request_id.to_owned(),
            component: record.component.cloned(),
            revision: record.revision,
            ordinal: record.instance,
            node: String::new(),
            client: record.peer.to_string(),
            method: record.method.as_str().to_owned(),
            host: record.host.to_owned(),
            path: record.path.to_owned(),
            protocol: protocol(record),
            trace_id: Some(record.trace.context.trace_id_text()),
            status: record.status.as_u16(),
            code: record.error.map(str::to_owned),
            request_bytes: record.bytes_in,
            response_bytes: record.bytes_out,
            duration_micros: record.duration_us,
        });
    }
}
