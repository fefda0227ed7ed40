//! One Config that no other client touches, for questions that are asked of a server before it can hear them: they lie in its sockets until it goes on. Owns
//! these questions; what their answers mean is `session`'s.

use std::time::Duration;

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    DEADLINE,
    clients::{Clients, config_name},
    history::{Action, Outcome},
    session::{self, Answered, Put, Session, Written},
};

/// The key: far from those of the clients.
const KEY: u32 = 1_000_000;

/// Who asks, in the history.
const CLIENT: u32 = 1_000;

/// Longest time one try may take.
const TRY_MAX: Duration = Duration::from_secs(4);

/// Rest before a try that was refused is repeated.
const REST: Duration = Duration::from_millis(25);

/// Bytes of a value.
const VALUE_BYTES: usize = 32;

/// A question that was sent.
#[derive(Debug)]
pub struct Question {
    stream: TcpStream,
    action: Action,
    called: u64,
}

impl Clients {
    /// Writes the key through `server` until it is acknowledged; returns its version.
    pub async fn write_apart(&self, server: &str) -> u64 {
        let (value, name, mut session) = (self.value(), config_name(KEY), Session::new(server));
        let (once, called) = (format!("write-{value}"), self.history().call());
        let version = loop {
            match session.put(Put { name: &name, value, bytes: VALUE_BYTES, expect: None, key: &once }, TRY_MAX).await {
                Written::Done(version) => break version,
                Written::No(_) | Written::Perhaps(_) => tokio::time::sleep(REST).await,
                strange => panic!("{server}: {strange:?}"),
            }
        };
        let action = Action::Write { value, expect: None };
        self.history().returned(CLIENT, KEY, action, called, Outcome::Written { version });
        version
    }

    /// Sends `count` questions to `server` without waiting for an answer: reads of the key, and as many writes that expect `version`.
    pub async fn ask_apart(&self, server: &str, version: u64, count: usize) -> Vec<Question> {
        let mut questions = Vec::new();
        for number in 0..count {
            let (path, value) = (session::path(&config_name(KEY)), self.value());
            let put = Put { name: &config_name(KEY), value, bytes: VALUE_BYTES, expect: Some(version), key: "" };
            let (method, action, body) = match number % 2 {
                0 => ("GET", Action::Read, String::new()),
                _ => ("PUT", Action::Write { value, expect: Some(version) }, put.body().to_string()),
            };
            let text = format!(
                "{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let called = self.history().call();
            let mut stream = TcpStream::connect(server).await.expect("its supervisor listens for it");
            stream.write_all(text.as_bytes()).await.expect("a question fits into a socket");
            questions.push(Question { stream, action, called });
        }
        questions
    }

    /// Reads the answers to `questions` and writes them down; returns how many had one.
    pub async fn hear_apart(&self, questions: Vec<Question>) -> usize {
        let mut heard = 0;
        for (number, Question { mut stream, action, called }) in questions.into_iter().enumerate() {
            let mut text = String::new();
            let read = timeout(DEADLINE, stream.read_to_string(&mut text)).await;
            let whole = read.is_ok_and(|read| read.is_ok());
            let outcome = outcome(action, &text).unwrap_or_else(|strange| {
                if whole && !text.is_empty() {
                    self.history().strange(strange);
                }
                Outcome::Unknown
            });
            heard += usize::from(!matches!(outcome, Outcome::Unknown | Outcome::Failed));
            let client = CLIENT + 1 + u32::try_from(number).expect("questions are few");
            self.history().returned(client, KEY, action, called, outcome);
        }
        heard
    }
}

/// What the answer `text` says.
fn outcome(action: Action, text: &str) -> Result<Outcome, String> {
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no whole answer: {text}"))?;
    let status = head.get(9..12).and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok()).ok_or("no status")?;
    if action == Action::Read {
        return match session::answered(status, body.as_bytes()) {
            Answered::Seen(seen) => Ok(Outcome::Read(seen)),
            Answered::No(_) => Ok(Outcome::Failed),
            Answered::Strange(strange) => Err(strange),
        };
    }
    match session::written(status, body.as_bytes()) {
        Written::Done(version) => Ok(Outcome::Written { version }),
        Written::Conflict => Ok(Outcome::Conflict),
        Written::No(_) => Ok(Outcome::Failed),
        Written::Perhaps(_) => Ok(Outcome::Unknown),
        Written::Strange(strange) => Err(strange),
    }
}
