//! Talking to a control plane: assignments come down, reports and artifact requests go up. Owns the exchanges and
//! their retries; must never decide what an assignment means. Losing the control plane stops changes, never traffic.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::{
    limits::{ARTIFACT_BYTES_MAX, JSON_BYTES_MAX, LINE_BYTES_MAX, STREAM_SILENCE_MAX},
    node::{AssignmentPart, Parts, RENEW_PATH, REPORT_PATH, Report, ReportAnswer},
    peer::{Certified, RenewRequest},
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use model::id::{Digest, Generation};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Digest as _;
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    agent::Seat,
    chronicle::Chronicle,
    limits::{CONTROL_WAIT_MAX, REPORT_EVERY, RETRY_WAIT_MAX, RETRY_WAIT_MIN},
    standing::Standing,
    way::{Answer, Way},
};

/// What went wrong between this worker and its control plane.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens, or the connection broke.
    #[error("cannot reach the control plane at {at}")]
    Unreachable {
        /// The socket or the server.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// It answered something else.
    #[error("the control plane answered {status} to {what}: {text}")]
    Refused {
        /// What was asked.
        what: String,
        /// Its answer.
        status: StatusCode,
        /// What it said.
        text: String,
    },
    /// It broke off, or said what nobody understands.
    #[error("the control plane broke off {what}")]
    Broken {
        /// What was asked.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The bytes are not those asked for.
    #[error("artifact {digest} came with other bytes, or too many")]
    WrongBytes {
        /// What was asked for.
        digest: Digest,
    },
    /// The artifact cannot be written.
    #[error("cannot write the artifact to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the stream of assignments is called.
const STREAM: &str = "the assignment stream";

/// What came of a stream of assignments so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    /// No whole assignment.
    Nothing,
    /// One that was older than what this node has.
    Refused,
    /// The newest was taken.
    Taken,
}

/// The way to the control plane. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    way: Way,
    standing: Standing,
    /// Numbers the files that are being fetched.
    fetches: Arc<AtomicU64>,
    closed: watch::Sender<Vec<String>>,
    wished: watch::Sender<Option<u64>>,
}

/// An assignment, or a change of one, and whom to tell when it is not taken.
#[derive(Debug)]
pub struct Offer {
    /// All parts of it.
    pub part: AssignmentPart,
    /// Told when it is refused: the stream then starts over with a whole assignment. Dropped when it is taken.
    pub refused: oneshot::Sender<()>,
}

/// Waits that double from try to try and start over after a success.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    next: Duration,
}

impl Control {
    /// The control plane behind `way`, which tells `standing` what authorities to go by.
    pub fn new(way: Way, standing: Standing) -> Self {
        Self { way, standing, fetches: Arc::default(), closed: watch::Sender::default(), wished: watch::Sender::default() }
    }

    /// The sockets that no guest may reach, as the last report was answered.
    pub fn closed(&self) -> watch::Receiver<Vec<String>> {
        self.closed.subscribe()
    }

    /// How many components every worker is to run, as the last report was answered; none before the first.
    pub fn wished(&self) -> watch::Receiver<Option<u64>> {
        self.wished.subscribe()
    }

    /// Sends every assignment on to `offers`, reconnecting for ever; ends when nobody takes them. `connected` tells whether a stream is up.
    pub async fn stream_assignments(&self, offers: mpsc::Sender<Offer>, connected: watch::Sender<bool>) {
        let mut backoff = Backoff::default();
        while !offers.is_closed() {
            let ended = self.stream_once(&offers, &connected, &mut backoff).await;
            if connected.send_replace(false) {
                tracing::warn!(error = ended.err().map(tracing::field::display), "the control plane is away; traffic goes on");
            }
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    /// One stream, and on to another server when it brought nothing: the server may be behind, or cut off.
    async fn stream_once(
        &self,
        offers: &mpsc::Sender<Offer>,
        connected: &watch::Sender<bool>,
        backoff: &mut Backoff,
    ) -> Result<(), ControlError> {
        let answer = self.ask(Method::GET, "/node/v1/assignments", Bytes::new()).await?;
        let body = expect_success(STREAM, answer.response).await?.into_body();
        connected.send_replace(true);
        let mut brought = Brought::Nothing;
        let ended = take_parts(body, offers, &mut brought, backoff).await;
        if brought != Brought::Taken || ended.is_err() {
            answer.through.leave();
        }
        if brought == Brought::Refused {
            // As long as the control plane is older than this node is it stays refused, so this is not done in haste.
            tokio::time::sleep(RETRY_WAIT_MAX).await;
        }
        ended
    }

    /// Sends the newest report whenever it changes, and every few seconds as a sign of life; ends when the agent does. A report waits until `kept`
    /// has come to its assignment: what a user was told is ready is there again after a power cut. What the chronicle has is in every report.
    pub async fn send_reports(&self, mut seats: watch::Receiver<Seat>, mut kept: watch::Receiver<Generation>, chronicle: &Chronicle) {
        let mut backoff = Backoff::default();
        let (mut told, mut authorities) = (chronicle.changes(), self.standing.changes());
        // Above that of any worker before this one: in a container the next one has the same process id.
        let mut sequence = crate::sandboxes::now().0;
        loop {
            told.mark_unchanged();
            authorities.mark_unchanged();
            let report = {
                let seat = seats.borrow_and_update();
                let mut report = seat.roster.report(std::process::id());
                sequence += 1;
                report.iter_mut().for_each(|report| {
                    report.sequence = sequence;
                    report.authorities = Some(self.standing.held());
                    chronicle.complete(report, &seat.roster);
                });
                report
            };
            let generation = report.as_ref().map(|report| report.generation).unwrap_or_default();
            if kept.wait_for(|kept| *kept >= generation).await.is_err() {
                return;
            }
            let wait = match report {
                None => REPORT_EVERY,
                Some(report) => match self.report(&report).await {
                    Ok(()) => {
                        chronicle.taken(&report.events);
                        backoff = Backoff::default();
                        REPORT_EVERY
                    }
                    Err(error) => {
                        tracing::debug!(error = %error, "a report was not taken");
                        let wait = backoff.wait();
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                },
            };
            tokio::select! {
                changed = seats.changed() => if changed.is_err() { return },
                // The chronicle outlives this loop, so that it never ends by itself.
                Ok(()) = told.changed() => {}
                Ok(()) = authorities.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn report(&self, report: &Report) -> Result<(), ControlError> {
        let answer: ReportAnswer = self.exchange("a report", REPORT_PATH, report).await?;
        answer.authorities.iter().for_each(|authorities| self.standing.learn(authorities));
        self.closed.send_if_modified(|closed| {
            let news = *closed != answer.closed;
            closed.clone_from(&answer.closed);
            news
        });
        self.wished.send_replace(Some(answer.wished));
        self.way.learn(answer);
        Ok(())
    }

    /// Asks for a new certificate.
    pub async fn renew(&self, request: &RenewRequest) -> Result<Certified, ControlError> {
        self.exchange("a new certificate", RENEW_PATH, request).await
    }

    async fn exchange<A: DeserializeOwned>(&self, what: &str, path: &str, question: &impl Serialize) -> Result<A, ControlError> {
        let broken = |source: io::Error| ControlError::Broken { what: what.into(), source };
        let body = serde_json::to_vec(question).map_err(|error| broken(error.into()))?;
        let answer = self.ask(Method::POST, path, body.into()).await?;
        let body = Limited::new(expect_success(what, answer.response).await?.into_body(), JSON_BYTES_MAX).collect();
        let body = timeout(CONTROL_WAIT_MAX, body).await.map_err(|_| broken(io::ErrorKind::TimedOut.into()))?;
        let body = body.map_err(|error| broken(io::Error::other(error)))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| broken(error.into()))
    }

    /// Brings the artifact `digest` to `path`, whole or not at all; its bytes are checked on the way. Two may bring the same at once.
    pub async fn fetch(&self, digest: Digest, path: &Path) -> Result<(), ControlError> {
        let aside = path.with_extension(format!("{}.part", self.fetches.fetch_add(1, Ordering::Relaxed)));
        let fetched = self.fetch_aside(digest, &aside).await;
        if fetched.is_err() {
            // It may not even have been made.
            let _ = tokio::fs::remove_file(&aside).await;
        }
        fetched?;
        tokio::fs::rename(&aside, path).await.map_err(|source| ControlError::Write { path: path.to_owned(), source })
    }

    async fn fetch_aside(&self, digest: Digest, aside: &Path) -> Result<(), ControlError> {
        let what = format!("artifact {digest}");
        let answer = self.ask(Method::GET, &format!("/node/v1/artifacts/{digest}"), Bytes::new()).await?;
        let mut body = expect_success(&what, answer.response).await?.into_body();
        let write = |source| ControlError::Write { path: aside.to_owned(), source };
        let mut file = tokio::fs::File::create(aside).await.map_err(write)?;
        let mut hash = sha2::Sha256::new();
        let mut bytes = 0;
        loop {
            let frame = timeout(CONTROL_WAIT_MAX, body.frame()).await.unwrap_or(None);
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| ControlError::Broken { what: what.clone(), source: io::Error::other(error) })?;
            let Ok(data) = frame.into_data() else { continue };
            bytes += data.len() as u64;
            if bytes > ARTIFACT_BYTES_MAX {
                return Err(ControlError::WrongBytes { digest });
            }
            hash.update(&data);
            file.write_all(&data).await.map_err(write)?;
        }
        file.flush().await.map_err(write)?;
        if <[u8; 32]>::from(hash.finalize()) != digest.0 {
            return Err(ControlError::WrongBytes { digest });
        }
        Ok(())
    }

    /// Sends one request.
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ControlError> {
        let unreachable = |source: io::Error| ControlError::Unreachable { at: self.way.to_string(), source };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "localhost")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| unreachable(io::Error::other(error)))?;
        let answer = timeout(CONTROL_WAIT_MAX, self.way.send(request)).await;
        answer.map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?.map_err(unreachable)
    }
}

/// Takes the parts of a stream until it ends, or one is refused.
async fn take_parts(
    mut body: Incoming,
    offers: &mpsc::Sender<Offer>,
    brought: &mut Brought,
    backoff: &mut Backoff,
) -> Result<(), ControlError> {
    let broken = |source: io::Error| ControlError::Broken { what: STREAM.into(), source };
    let (mut held, mut parts) = (Vec::new(), Parts::default());
    loop {
        let frame = timeout(STREAM_SILENCE_MAX, body.frame()).await.map_err(|_| broken(io::ErrorKind::TimedOut.into()))?;
        let Some(frame) = frame else { return Ok(()) };
        let Ok(data) = frame.map_err(|error| broken(io::Error::other(error)))?.into_data() else { continue };
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            held.extend_from_slice(piece);
            if held.len() > LINE_BYTES_MAX {
                return Err(broken(io::Error::other("a line is too long")));
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut held);
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let part = serde_json::from_slice(&line).map_err(|error| broken(error.into()))?;
                let Some(part) = parts.take(part) else { continue };
                let (refused, is_refused) = oneshot::channel();
                if offers.send(Offer { part, refused }).await.is_err() {
                    return Ok(());
                }
                if is_refused.await.is_ok() {
                    *brought = Brought::Refused;
                    return Ok(());
                }
                *brought = Brought::Taken;
                *backoff = Backoff::default();
            }
        }
    }
}

async fn expect_success(what: &str, response: Response<Incoming>) -> Result<Response<Incoming>, ControlError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = http_body_util::Limited::new(response.into_body(), 4096).collect();
    let text = match timeout(CONTROL_WAIT_MAX, body).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        _ => String::new(),
    };
    Err(ControlError::Refused { what: what.to_owned(), status, text })
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: RETRY_WAIT_MIN }
    }
}

impl Backoff {
    /// How long to wait before the next try.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(RETRY_WAIT_MAX);
        wait
    }

    /// The wait after `tries` failures.
    pub fn after(tries: u32) -> Duration {
        RETRY_WAIT_MIN.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(RETRY_WAIT_MAX)
    }
}
