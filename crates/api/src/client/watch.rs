//! Watching objects over any server of a cluster: a stream that breaks goes on where it stopped, at whichever server answers. Owns the position.

use http::StatusCode;
use tokio::time::sleep;

use super::{Client, ClientError, lines::Messages, query};
use crate::{
    limits::{WATCH_PAUSE, WATCH_PAUSES_MAX},
    v1::{ObjectEvent, ObjectQuery},
};

/// Changes of objects as they come. Dropping it ends the call.
pub struct Watch {
    client: Client,
    question: ObjectQuery,
    messages: Option<Messages>,
}

/// What a watch says.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    /// This.
    Event(ObjectEvent),
    /// Too much happened meanwhile: list again, and watch anew.
    Compacted,
}

impl Client {
    /// Watches what `question` selects. Nothing is dialed yet.
    pub fn watch(&self, question: ObjectQuery) -> Watch {
        Watch { client: self.clone(), question, messages: None }
    }
}

impl Watch {
    /// The next event. Safe to drop and call again: nothing is lost, and nothing comes twice.
    ///
    /// # Errors
    /// A server refuses, or none answers for a while.
    pub async fn next(&mut self) -> Result<Watched, ClientError> {
        let mut pauses = 0;
        loop {
            let heard = match &mut self.messages {
                Some(messages) => messages.next::<ObjectEvent>().await,
                None => match self.open().await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            match heard {
                Ok(Some(event)) => return Ok(self.hear(event)),
                // A stream is over when its server stops; another one goes on with it.
                Ok(None) => {}
                Err(ClientError::Refused { status: StatusCode::GONE, .. }) => return Ok(Watched::Compacted),
                Err(error) if pauses == WATCH_PAUSES_MAX || !error.may_pass() => return Err(error),
                Err(_) => {}
            }
            self.messages = None;
            self.client.servers.pass_over();
            pauses += 1;
            sleep(WATCH_PAUSE).await;
        }
    }

    async fn open(&mut self) -> Result<(), ClientError> {
        let path = query::append("/v1/watch", &self.question);
        self.messages = Some(self.client.messages(&path).await?);
        Ok(())
    }

    fn hear(&mut self, event: ObjectEvent) -> Watched {
        match &event {
            ObjectEvent::Added(change) | ObjectEvent::Modified(change) | ObjectEvent::Deleted(change) => {
                self.question.after = Some(change.at)
            }
            ObjectEvent::Bookmark { at } => self.question.after = Some(*at),
            ObjectEvent::Compacted { .. } => {
                self.messages = None;
                return Watched::Compacted;
            }
        }
        Watched::Event(event)
    }
}
