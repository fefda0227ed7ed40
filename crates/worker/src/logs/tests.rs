//! What the tests of the logs share. Must never be compiled into the program.

use api::{
    time::Time,
    v1::{LogLine, LogStream},
};
use model::id::{RevisionNumber, Timestamp};

use super::LogRate;

/// As much as a test may write.
pub(crate) const ANY_RATE: LogRate = LogRate { lines: 1_000_000, bytes: 1 << 40 };

/// One line of a guest.
pub(crate) fn line(component: &str, at: u64, request: Option<&str>, text: &str) -> LogLine {
    LogLine {
        at: Time(Timestamp(at)),
        component: component.parse().unwrap(),
        revision: RevisionNumber(1),
        node: String::new(),
        stream: LogStream::Stdout,
        request_id: request.map(str::to_owned),
        text: text.to_owned(),
    }
}
