//! One client's kept connection to one server's API, and the calls on a Config. Owns what an answer means for what was asked: done, not done, or nobody knows;
//! must never send anything twice.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinHandle};

use crate::history::Seen;

/// The name of the one value in a Config that a test writes.
const FIELD: &str = "value";

/// What fills a value up: a random-looking text would only cost the client time.
const FILLING: &str = "................................................................................................................................\
                       ................................................................................................................................";

/// A kept connection, opened when it is needed.
#[derive(Debug)]
pub struct Session {
    address: String,
    open: Option<(SendRequest<Full<Bytes>>, JoinHandle<()>)>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Lost {
    /// Nobody was reached.
    Unsent(String),
    /// It was sent, and then the connection broke or time ran out.
    Sent(String),
}

/// What became of a write.
#[derive(Debug)]
pub enum Written {
    /// It is on a majority, as this version.
    Done(u64),
    /// The Config has another version than the expected one.
    Conflict,
    /// Refused before anything was done, or nobody was reached.
    No(String),
    /// Nobody knows.
    Perhaps(String),
    /// An answer that no server should give.
    Strange(String),
}

/// What a read said.
#[derive(Debug)]
pub enum Answered {
    /// What is there.
    Seen(Option<Seen>),
    /// No answer, or none now.
    No(String),
    /// An answer that no server should give.
    Strange(String),
}

/// A Config to be written.
#[derive(Debug, Clone, Copy)]
pub struct Put<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is written.
    pub value: u64,
    /// Length of the whole value in bytes, at least 20 and at most 256.
    pub bytes: usize,
    /// Only if it has this version.
    pub expect: Option<u64>,
    /// Done once however often it is sent; every try has the same.
    pub key: &'a str,
}

impl Put<'_> {
    /// What is sent.
    pub fn body(&self) -> Value {
        let mut value = format!("{:020}", self.value);
        value.push_str(&FILLING[..self.bytes.saturating_sub(value.len()).min(FILLING.len())]);
        match self.expect {
            Some(version) => json!({"data": {FIELD: value}, "expect": version}),
            None => json!({"data": {FIELD: value}}),
        }
    }
}

impl Session {
    /// Nothing is dialed yet. `address` is `127.0.0.1:PORT`.
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), open: None }
    }

    /// Sends one request and reads the whole answer, within `within` in all.
    ///
    /// # Errors
    /// No whole answer came; the next call opens another connection.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: &str,
        within: Duration,
    ) -> Result<(StatusCode, Bytes), Lost> {
        let mut sent = false;
        let answer = tokio::time::timeout(within, self.exchange(method, path, body, key, &mut sent)).await;
        let why = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {within:?}"),
        };
        self.close();
        Err(if sent { Lost::Sent(why) } else { Lost::Unsent(why) })
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: &str,
        sent: &mut bool,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        let sender = self.connected().await?;
        *sent = true;
        let answer = sender.send_request(request.body(Full::new(body))?).await?;
        let (head, body) = answer.into_parts();
        Ok((head.status, body.collect().await?.to_bytes()))
    }

    async fn connected(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        let usable = match &mut self.open {
            Some((sender, _)) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.close();
            let stream = TcpStream::connect(self.address.parse::<SocketAddr>()?).await?;
            stream.set_nodelay(true)?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let driver = tokio::spawn(async move {
                // The caller hears of it as the end of its request.
                let _ = connection.await;
            });
            sender.ready().await?;
            self.open = Some((sender, driver));
        }
        let (sender, _) = self.open.as_mut().expect("it was just opened");
        Ok(sender)
    }

    fn close(&mut self) {
        if let Some((_, driver)) = self.open.take() {
            driver.abort();
        }
    }

    /// Writes a Config.
    pub async fn put(&mut self, put: Put<'_>, within: Duration) -> Written {
        match self.call(Method::PUT, &path(put.name), Some(put.body()), put.key, within).await {
            Ok((status, body)) => written(status, &body),
            Err(Lost::Unsent(why)) => Written::No(why),
            Err(Lost::Sent(why)) => Written::Perhaps(why),
        }
    }

    /// Reads a Config.
    pub async fn read(&mut self, name: &str, within: Duration) -> Answered {
        match self.call(Method::GET, &path(name), None, "", within).await {
            Ok((status, body)) => answered(status, &body),
            Err(Lost::Unsent(why) | Lost::Sent(why)) => Answered::No(why),
        }
    }

    /// Every Config of the server with the index it was read at; with `stale`, as this server has them.
    pub async fn list(&mut self, stale: bool, within: Duration) -> Option<(u64, Vec<(String, Seen)>)> {
        let query = if stale { "?consistency=stale" } else { "" };
        let (status, body) = self.call(Method::GET, &format!("/v1/configs{query}"), None, "", within).await.ok()?;
        let list: Value = serde_json::from_slice(&body).ok().filter(|_| status == StatusCode::OK)?;
        let items = list["items"].as_array()?.iter().map(|item| Some((item["name"].as_str()?.to_owned(), seen(item)?)));
        Some((list["resourceVersion"].as_u64()?, items.collect::<Option<_>>()?))
    }
}

/// The members as the server at `address` knows them: `/v1/cluster`.
pub async fn members(address: &str, within: Duration) -> Option<Value> {
    let answer = Session::new(address).call(Method::GET, "/v1/cluster?consistency=stale", None, "", within).await;
    answer.ok().filter(|(status, _)| *status == StatusCode::OK).and_then(|(_, body)| serde_json::from_slice(&body).ok())
}

/// Where a Config is.
pub fn path(name: &str) -> String {
    format!("/v1/namespaces/default/configs/{name}")
}

fn seen(config: &Value) -> Option<Seen> {
    let text = config["data"][FIELD].as_str()?;
    Some(Seen { value: text.get(..20)?.parse().ok()?, version: config["version"].as_u64()? })
}

/// What a server's answer to a read says.
pub fn answered(status: StatusCode, body: &[u8]) -> Answered {
    let strange = || format!("{status}: {}", String::from_utf8_lossy(body));
    match status {
        StatusCode::OK => match serde_json::from_slice(body).ok().as_ref().and_then(seen) {
            Some(seen) => Answered::Seen(Some(seen)),
            None => Answered::Strange(strange()),
        },
        StatusCode::NOT_FOUND => Answered::Seen(None),
        StatusCode::SERVICE_UNAVAILABLE => Answered::No(strange()),
        _ => Answered::Strange(strange()),
    }
}

/// What a server's answer to a write says. E0422, E0407 and E0406 promise that nothing was written; E0431 does not.
pub fn written(status: StatusCode, body: &[u8]) -> Written {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let why = || format!("{status}: {}", String::from_utf8_lossy(body));
    match (status, json["error"]["code"].as_str()) {
        (StatusCode::OK, _) => json["version"].as_u64().map_or_else(|| Written::Strange(why()), Written::Done),
        (StatusCode::CONFLICT, Some("E0403")) => Written::Conflict,
        (StatusCode::SERVICE_UNAVAILABLE, Some("E0422" | "E0407")) | (StatusCode::INSUFFICIENT_STORAGE, Some("E0406")) => {
            Written::No(why())
        }
        (StatusCode::SERVICE_UNAVAILABLE, Some("E0431")) => Written::Perhaps(why()),
        _ => Written::Strange(why()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_says_so_has_done_nothing() {
        let check = |status: u16, code: &str, expected: &str| {
            let body = json!({"error": {"code": code}, "version": 7}).to_string();
            let found = format!("{:?}", written(StatusCode::from_u16(status).unwrap(), body.as_bytes()));
            assert!(found.starts_with(expected), "{status} {code}: {found}");
        };
        check(200, "", "Done(7)");
        check(409, "E0403", "Conflict");
        check(409, "E0401", "Strange");
        check(503, "E0422", "No");
        check(503, "E0407", "No");
        check(503, "E0431", "Perhaps");
        check(507, "E0406", "No");
        check(500, "", "Strange");
    }
}
