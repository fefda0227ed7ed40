//! The limits that protect the host from a guest: which of them a failure came of. Owns the reading of the engine's errors; must never know what a sandbox
//! does about them.

use wasmtime::component::ResourceTableError;
use wasmtime_wasi_http::FieldMapError;

use crate::limits;

/// A call asked for more than the host gives; for limits that are checked by the host abilities themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostLimit {
    /// A call asked for too many random bytes.
    #[error("asked for {asked} random bytes at once, the limit is {}", limits::RANDOM_BYTES_MAX)]
    RandomBytes { asked: u64 },
}

/// The limit a guest died of, in one line; none when it died of something else.
pub(crate) fn reached(error: &wasmtime::Error) -> Option<String> {
    if let Some(limit) = error.downcast_ref::<HostLimit>() {
        return Some(limit.to_string());
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Some("more resources of the host at once than a sandbox may hold".into());
    }
    match error.downcast_ref() {
        Some(FieldMapError::TotalSizeTooBig) => {
            return Some(format!("more than {} bytes of header fields in one map", limits::HEADER_BYTES_MAX));
        }
        Some(FieldMapError::TooManyFields) => return Some("more header fields in one map than it can hold".into()),
        _ => {}
    }
    // The engine keeps the types of these two to itself. A test causes each, so a changed wording is found.
    let text = error.root_cause().to_string();
    if text.contains("store handle limit exceeded") {
        return Some(format!("more than {} handles", limits::HANDLES_MAX));
    }
    text.contains("fuel allocated for hostcalls has been exhausted")
        .then(|| format!("more than {} bytes copied by one call of the host", limits::HOST_CALL_BYTES_MAX))
}
