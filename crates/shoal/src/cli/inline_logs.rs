//! An app's log as it comes, beside whatever else is printed: for `run` and `dev`. Owns the reconnects; the lines' form is `log_lines`'.

use std::time::Duration;

use api::v1::LogQuery;
use model::id::AppId;

use super::{age, failure::Outcome, log_lines, session::Session};

/// Between two attempts to read the log again: a control plane that was killed is back within a second.
const PAUSE: Duration = Duration::from_millis(500);

/// Shows what the app writes and answers from now on, across restarts of the server; ends only by being dropped.
///
/// # Errors
/// Never for a connection that broke; only when no server was ever found.
pub async fn show(app: &AppId, session: &Session) -> Outcome {
    let mut since = age::now();
    loop {
        let query = LogQuery { app: Some(app.clone()), follow: true, access: true, since: Some(since.into()), ..LogQuery::default() };
        if let Ok(mut entries) = session.client().await?.logs(&query).await {
            let shape = log_lines::Shape { color: session.terminal.out_color, ..log_lines::Shape::default() };
            while let Ok(Some(entry)) = entries.next().await {
                session.terminal.data(log_lines::text(&entry, shape));
            }
        }
        since = age::now();
        tokio::time::sleep(PAUSE).await;
    }
}
