//! An app's log as it comes, beside whatever else is printed: for `run` and `dev`. Owns the reconnects; the lines' form is `log_lines`'.

use std::time::Duration;

use api::v1::{LogEntry, LogQuery};
use model::id::AppId;

use super::{age, failure::Outcome, log_lines, session::Session};

/// Between two attempts to read the log again: a control plane that was killed is back within a second.
const PAUSE: Duration = Duration::from_millis(500);

/// Which requests are shown between the lines of components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    /// Every one.
    All,
    /// Those answered with an error.
    Failed,
}

impl Requests {
    fn shows(self, entry: &LogEntry) -> bool {
        match (self, entry) {
            (Self::Failed, LogEntry::Access(line)) => line.status >= 400 || line.code.is_some(),
            _ => true,
        }
    }
}

/// Shows what the app writes and answers from now on, across restarts of the server; ends by being dropped, or when nobody reads any more.
///
/// # Errors
/// Never for a connection that broke; only when no server was ever found.
pub async fn show(app: &AppId, requests: Requests, session: &Session) -> Outcome {
    let mut since = age::now();
    loop {
        let query = LogQuery { app: Some(app.clone()), follow: true, access: true, since: Some(since.into()), ..LogQuery::default() };
        if let Ok(mut entries) = session.client().await?.logs(&query).await {
            let shape = log_lines::Shape { color: session.terminal.out_color, ..log_lines::Shape::default() };
            while let Ok(Some(entry)) = entries.next().await {
                if requests.shows(&entry)
                    && let Err(exit) = session.terminal.offer(log_lines::text(&entry, shape))
                {
                    return Ok(exit);
                }
            }
        }
        since = age::now();
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn requests_that_went_well_are_left_out_unless_all_are_wanted() {
        let access = |status: u16, code: Option<&str>| {
            json!({"type": "access", "at": "2026-01-01T00:00:00.000Z", "requestId": "r-1", "client": "127.0.0.1", "method": "GET", "host": "h",
                   "path": "/", "protocol": "HTTP/1.1", "status": status, "code": code, "requestBytes": 0, "responseBytes": 5, "durationMicros": 1})
        };
        let check = |entry: Value, failed: bool| {
            let entry: LogEntry = serde_json::from_value(entry).expect("the shape of the API");
            assert_eq!((Requests::Failed.shows(&entry), Requests::All.shows(&entry)), (failed, true), "{entry:?}");
        };
        check(access(200, None), false);
        check(access(304, None), false);
        check(access(404, None), true);
        check(access(200, Some("E0510")), true);
        check(json!({"type": "dropped", "lines": 3}), true);
    }
}
