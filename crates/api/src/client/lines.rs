//! A stream of JSON objects, one a line. Owns splitting and the death of silent streams; must never buffer more than one line.

use std::{marker::PhantomData, time::Duration};

use bytes::{Buf, BytesMut};
use http::Method;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{ClientError, Server, Tied, Token, connection};
use crate::limits::{JSON_BYTES_MAX, LINE_BYTES_MAX, STREAM_SILENCE_MAX};

/// JSON objects as they come. Dropping it ends the call.
pub struct Lines<L> {
    server: Server,
    body: Tied,
    buffer: BytesMut,
    /// How much of `buffer` holds no line end.
    searched: usize,
    line: PhantomData<fn() -> L>,
}

impl<L: DeserializeOwned> Lines<L> {
    /// The next object; `None` when the server ended the stream. Safe to drop and call again: nothing is lost.
    ///
    /// # Errors
    /// `Deadline` when not even a keep-alive came, `Broken` when the connection ends inside an object.
    pub async fn next(&mut self) -> Result<Option<L>, ClientError> {
        loop {
            while let Some(line) = self.take_line() {
                if !line.iter().all(u8::is_ascii_whitespace) {
                    return connection::parse(&self.server, &line).map(Some);
                }
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(self.broken(format!("a line of more than {LINE_BYTES_MAX} bytes").into()));
            }
            let silent = |_| ClientError::Deadline { server: self.server.clone(), after: STREAM_SILENCE_MAX };
            match timeout(STREAM_SILENCE_MAX, self.body.frame()).await.map_err(silent)? {
                Some(Ok(frame)) => self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) => return Err(self.broken(Box::new(error))),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(self.broken("the stream ended inside a line".into())),
            }
        }
    }

    fn take_line(&mut self) -> Option<BytesMut> {
        match self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let line = self.buffer.split_to(self.searched + end);
                self.buffer.advance(1);
                self.searched = 0;
                Some(line)
            }
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }

    fn broken(&self, source: Box<dyn std::error::Error + Send + Sync>) -> ClientError {
        ClientError::Broken { server: self.server.clone(), source }
    }
}

/// Opens the stream at `path`; its head must come within `deadline`.
pub(super) async fn open<L: DeserializeOwned>(
    server: &Server,
    token: Option<&Token>,
    path: &str,
    deadline: Duration,
) -> Result<Lines<L>, ClientError> {
    let mut request = connection::request(server, Method::GET, path, None)?;
    if let Some(token) = token {
        token.sign(request.headers_mut());
    }
    let late = |_| ClientError::Deadline { server: server.clone(), after: deadline };
    let (head, body) = timeout(deadline, server.send(request)).await.map_err(late)??.into_parts();
    if head.status.is_success() {
        return Ok(Lines { server: server.clone(), body, buffer: BytesMut::new(), searched: 0, line: PhantomData });
    }
    let whole = timeout(deadline, connection::read(server, body, JSON_BYTES_MAX)).await.map_err(late)??;
    Err(ClientError::refused(server, head.status, &whole))
}
