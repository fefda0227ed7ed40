//! A stream of JSON objects, one a line or one an event. Owns splitting and the death of silent streams; must never buffer more than one line.

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
    raw: RawLines,
    line: PhantomData<fn() -> L>,
}

impl<L: DeserializeOwned> Lines<L> {
    /// The next object; `None` when the server ended the stream. Safe to drop and call again: nothing is lost.
    ///
    /// # Errors
    /// `Deadline` when not even a keep-alive came, `Broken` when the connection ends inside an object.
    pub async fn next(&mut self) -> Result<Option<L>, ClientError> {
        while let Some(line) = self.raw.next().await? {
            if !line.iter().all(u8::is_ascii_whitespace) {
                return connection::parse(&self.raw.server, &line).map(Some);
            }
        }
        Ok(None)
    }
}

/// Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>) whose data is JSON that says everything: their names and ids repeat it.
pub(super) struct Messages {
    raw: RawLines,
    /// Of the event that is under way.
    data: Vec<u8>,
}

impl Messages {
    /// The data of the next event; `None` when the server ended the stream. Safe to drop and call again.
    ///
    /// # Errors
    /// As [`Lines::next`].
    pub(super) async fn next<D: DeserializeOwned>(&mut self) -> Result<Option<D>, ClientError> {
        while let Some(line) = self.raw.next().await? {
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() && !self.data.is_empty() {
                return connection::parse(&self.raw.server, &std::mem::take(&mut self.data)).map(Some);
            }
            if let Some(data) = line.strip_prefix(b"data:") {
                // JSON bears white space between its parts, so that the first space and the line ends need no care.
                self.data.extend_from_slice(data);
            }
        }
        Ok(None)
    }
}

struct RawLines {
    server: Server,
    body: Tied,
    buffer: BytesMut,
    /// How much of `buffer` holds no line end.
    searched: usize,
}

impl RawLines {
    async fn next(&mut self) -> Result<Option<BytesMut>, ClientError> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
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

/// Opens the stream of objects at `path`; its head must come within `deadline`.
pub(super) async fn open<L: DeserializeOwned>(
    server: &Server,
    token: Option<&Token>,
    path: &str,
    deadline: Duration,
) -> Result<Lines<L>, ClientError> {
    Ok(Lines { raw: open_raw(server, token, path, deadline).await?, line: PhantomData })
}

/// Opens the stream of server-sent events at `path`; its head must come within `deadline`.
pub(super) async fn open_messages(server: &Server, token: Option<&Token>, path: &str, deadline: Duration) -> Result<Messages, ClientError> {
    Ok(Messages { raw: open_raw(server, token, path, deadline).await?, data: Vec::new() })
}

async fn open_raw(server: &Server, token: Option<&Token>, path: &str, deadline: Duration) -> Result<RawLines, ClientError> {
    let mut request = connection::request(server, Method::GET, path, None)?;
    if let Some(token) = token {
        token.sign(request.headers_mut());
    }
    let late = |_| ClientError::Deadline { server: server.clone(), after: deadline };
    let (head, body) = timeout(deadline, server.send(request)).await.map_err(late)??.into_parts();
    if head.status.is_success() {
        return Ok(RawLines { server: server.clone(), body, buffer: BytesMut::new(), searched: 0 });
    }
    let whole = timeout(deadline, connection::read(server, body, JSON_BYTES_MAX)).await.map_err(late)??;
    Err(ClientError::refused(server, head.status, &whole))
}
