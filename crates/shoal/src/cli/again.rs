//! Streams that go on over another connection when theirs ends: a server that is started again, a leader that was killed. Owns how long that may take and what
//! is said about it; where a stream goes on is its own.

use std::time::Duration;

use api::client::ClientError;
use tokio::time::{Instant, sleep};

use super::{
    failure::Failure,
    session::{PATIENCE, Session},
};

/// Between two attempts: a control plane that was killed is back within a second.
const PAUSE: Duration = Duration::from_millis(500);

/// One stream over all its connections.
pub struct Again<'a> {
    session: &'a Session,
    /// Since when nothing came.
    silent_since: Option<Instant>,
}

impl<'a> Again<'a> {
    /// A stream that begins.
    pub fn new(session: &'a Session) -> Self {
        Self { session, silent_since: None }
    }

    /// Something came.
    pub fn went_on(&mut self) {
        self.silent_since = None;
    }

    /// Waits before the stream is opened again at the next server. `broke` is why it ended; the end of a server is no error.
    ///
    /// # Errors
    /// The reason, when another try would not help, or none has for half a minute.
    pub async fn after(&mut self, broke: Option<ClientError>) -> Result<(), Failure> {
        let now = Instant::now();
        let since = *self.silent_since.get_or_insert_with(|| {
            self.session.terminal.hint("the server went away; going on where it stopped");
            now
        });
        if let Some(error) = broke
            && (!error.may_pass() || now.duration_since(since) >= PATIENCE)
        {
            return Err(error.into());
        }
        self.session.client().await?.pass_over();
        sleep(PAUSE).await;
        Ok(())
    }
}
