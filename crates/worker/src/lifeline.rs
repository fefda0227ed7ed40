//! The socket pair to the supervisor: its end means the supervisor is gone, and JSON lines on it ask for code, answer, and bring certificates. Owns both
//! message shapes; must never decide when code is needed, or show a key.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use futures_util::StreamExt;
use gateway::{CertificatePair, CertificateSet};
use model::id::Digest;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::{mpsc, oneshot, watch},
};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    sync::CancellationToken,
};

pub use crate::limits::LIFELINE_LINE_BYTES_MAX as LINE_BYTES_MAX;
pub use crate::limits::LIFELINE_LINES_WAITING_MAX as LINES_WAITING_MAX;
use crate::limits::NEEDS_PER_LINE;

/// Requests waiting to be written: one per program that is being prepared.
const REQUESTS_WAITING_MAX: usize = 64;

/// What a worker tells its supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToSupervisor {
    /// Make code of the artifact that lies under its digest among the incoming ones.
    Compile {
        /// The artifact.
        digest: Digest,
    },
    /// The gateway listens.
    Listening {},
    /// Code that the newest assignment needs: everything else may go, once the last part has come.
    Needs {
        /// Artifacts.
        digests: Vec<Digest>,
        /// More of the same list follow.
        more: bool,
    },
}

/// What a supervisor tells its worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToWorker {
    /// The code is in the store.
    Compiled {
        /// Of which artifact.
        digest: Digest,
        /// How long it took, in milliseconds.
        millis: u64,
    },
    /// The certificates from now on, in place of all before. Sent first where TLS is spoken.
    Certificates {
        /// Those that can be used.
        pairs: Vec<CertificatePair>,
        /// The names of those that cannot.
        broken: Vec<String>,
    },
    /// There will be no code.
    Failed {
        /// Of which artifact.
        digest: Digest,
        /// `E0301` and the like.
        code: String,
        /// One sentence.
        message: String,
        /// Whether another try may end otherwise: the machine failed, not the component.
        passing: bool,
    },
}

/// Why there is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileRefused {
    /// The compiler, or the machine it ran on, said no.
    #[error("{message}")]
    Failed {
        /// `E0301` and the like.
        code: String,
        /// One sentence.
        message: String,
        /// Whether another try may end otherwise.
        passing: bool,
    },
    /// The supervisor is gone.
    #[error("the supervisor is gone")]
    Gone,
}

/// The worker's end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lifeline {
    requests: mpsc::Sender<Request>,
    certificates: watch::Receiver<Arc<CertificateSet>>,
}

#[derive(Debug)]
enum Request {
    Compile { digest: Digest, answer: oneshot::Sender<Result<Duration, CompileRefused>> },
    Listening,
    Needs(Vec<Digest>),
}

type Waiting = BTreeMap<Digest, Vec<oneshot::Sender<Result<Duration, CompileRefused>>>>;

impl Lifeline {
    /// A handle, and the task that must run for it; the task ends when the supervisor is gone, and cancels `gone` then.
    pub fn new(stream: UnixStream, gone: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        let (requests, receiver) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (sender, certificates) = watch::channel(Arc::default());
        let task = async move {
            let error = talk(stream, receiver, sender).await.err();
            tracing::info!(error = error.map(tracing::field::display), "the supervisor is gone");
            gone.cancel();
        };
        (Self { requests, certificates }, task)
    }

    /// Has code made of the incoming artifact `digest`; returns how long that took.
    pub async fn compile(&self, digest: Digest) -> Result<Duration, CompileRefused> {
        let (answer, told) = oneshot::channel();
        self.requests.send(Request::Compile { digest, answer }).await.map_err(|_| CompileRefused::Gone)?;
        told.await.map_err(|_| CompileRefused::Gone)?
    }

    /// Tells the supervisor of which artifacts code is needed from now on.
    pub async fn needs(&self, digests: Vec<Digest>) {
        // When the supervisor is gone nothing is removed.
        let _ = self.requests.send(Request::Needs(digests)).await;
    }

    /// The certificates, once the supervisor has sent them, and every later set.
    pub async fn certificates(&self) -> Result<watch::Receiver<Arc<CertificateSet>>, CompileRefused> {
        let mut certificates = self.certificates.clone();
        certificates.changed().await.map_err(|_| CompileRefused::Gone)?;
        Ok(certificates)
    }

    /// Tells the supervisor that connections are accepted.
    pub async fn listening(&self) {
        // When the supervisor is gone nobody waits for the word.
        let _ = self.requests.send(Request::Listening).await;
    }
}

async fn talk(stream: UnixStream, requests: mpsc::Receiver<Request>, certificates: watch::Sender<Arc<CertificateSet>>) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let (out, outgoing) = mpsc::channel(LINES_WAITING_MAX);
    // Neither waits for the other: two ends that both write before they read would wait for each other for ever.
    tokio::select! {
        ended = listen(reader, requests, &out, certificates) => ended,
        written = write_lines(writer, outgoing) => written,
    }
}

/// Takes what the supervisor says at all times, and what it is asked as long as there is room for it.
async fn listen(
    reader: OwnedReadHalf,
    mut requests: mpsc::Receiver<Request>,
    out: &mpsc::Sender<Vec<u8>>,
    certificates: watch::Sender<Arc<CertificateSet>>,
) -> io::Result<()> {
    let mut lines = FramedRead::new(reader, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
    let mut waiting = Waiting::new();
    loop {
        let next = async {
            let room = out.reserve().await;
            (room, requests.recv().await)
        };
        tokio::select! {
            line = lines.next() => match line {
                None => return Ok(()),
                Some(line) => settle(&mut waiting, &certificates, &line.map_err(io::Error::other)?)?,
            },
            (room, Some(request)) = next => {
                let room = room.map_err(io::Error::other)?;
                if let Some(text) = text_of(request, &mut waiting)? {
                    room.send(text);
                }
            }
        }
    }
}

/// The lines of a request; none when somebody has asked the same already.
fn text_of(request: Request, waiting: &mut Waiting) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    match request {
        Request::Compile { digest, answer } => {
            let askers = waiting.entry(digest).or_default();
            askers.push(answer);
            if askers.len() > 1 {
                return Ok(None);
            }
            add_line(&mut text, &ToSupervisor::Compile { digest })?;
        }
        Request::Listening => add_line(&mut text, &ToSupervisor::Listening {})?,
        Request::Needs(digests) => {
            let (last, parts) = parts_of(&digests);
            for part in parts {
                add_line(&mut text, &ToSupervisor::Needs { digests: part.to_vec(), more: true })?;
            }
            add_line(&mut text, &ToSupervisor::Needs { digests: last.to_vec(), more: false })?;
        }
    }
    Ok(Some(text))
}

/// Adds `message` to `text` as a line.
fn add_line(text: &mut Vec<u8>, message: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *text, message)?;
    text.push(b'\n');
    Ok(())
}

/// `message` as a line.
///
/// # Errors
/// It cannot be JSON.
pub fn line_of(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    add_line(&mut text, message).map(|()| text)
}

/// Writes what comes until nothing will; for both ends, each of which reads meanwhile.
///
/// # Errors
/// The other end is gone.
pub async fn write_lines(mut writer: impl AsyncWrite + Unpin, mut outgoing: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(text) = outgoing.recv().await {
        writer.write_all(&text).await?;
    }
    Ok(())
}

/// The last part of a list, and those before it.
fn parts_of(digests: &[Digest]) -> (&[Digest], std::slice::Chunks<'_, Digest>) {
    let whole = digests.len() / NEEDS_PER_LINE * NEEDS_PER_LINE;
    let (parts, last) = digests.split_at(whole);
    (last, parts.chunks(NEEDS_PER_LINE))
}

fn settle(waiting: &mut Waiting, certificates: &watch::Sender<Arc<CertificateSet>>, line: &str) -> io::Result<()> {
    // A parser's complaint may quote what it read, and that may be a key.
    let message =
        serde_json::from_str(line).map_err(|error| io::Error::other(format!("a message cannot be read: {:?}", error.classify())))?;
    let (digest, result) = match message {
        ToWorker::Compiled { digest, millis } => (digest, Ok(Duration::from_millis(millis))),
        ToWorker::Certificates { pairs, broken } => {
            certificates.send_replace(Arc::new(set_of(&pairs, broken)));
            return Ok(());
        }
        ToWorker::Failed { digest, code, message, passing } => (digest, Err(CompileRefused::Failed { code, message, passing })),
    };
    for answer in waiting.remove(&digest).unwrap_or_default() {
        // Whoever asked may have been stopped meanwhile.
        let _ = answer.send(result.clone());
    }
    Ok(())
}

/// What can be used of `pairs`. The supervisor has checked them; should it have been wrong, one bad pair takes nothing from the others.
fn set_of(pairs: &[CertificatePair], broken: Vec<String>) -> CertificateSet {
    let (set, refused) = CertificateSet::load(pairs);
    for (name, error) in refused {
        tracing::error!(error.code = "E0513", certificate.name = name, error = %error, "a certificate cannot be used");
    }
    tracing::info!(certificates = set.certificates().len(), certificates.broken = broken.len(), "certificates are taken over");
    set.with_broken(broken)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_long_list_of_needs_is_told_in_lines_a_supervisor_reads() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (lifeline, task) = Lifeline::new(ours, CancellationToken::new());
        let _task = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(task));
        let wanted: Vec<Digest> = (0..2 * NEEDS_PER_LINE + 1).map(|number| Digest::of(&number.to_le_bytes())).collect();
        lifeline.needs(wanted.clone()).await;
        lifeline.needs(Vec::new()).await;
        let mut lines = BufReader::new(theirs).lines();
        let (mut told, mut lists) = (Vec::new(), Vec::new());
        while lists.len() < 2 {
            let line = lines.next_line().await.unwrap().expect("the lifeline goes on");
            assert!(line.len() < 64 << 10, "the supervisor reads no longer lines: {} bytes", line.len());
            let ToSupervisor::Needs { digests, more } = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
            told.extend(digests);
            if !more {
                lists.push(std::mem::take(&mut told));
            }
        }
        assert_eq!(lists, [wanted, Vec::new()]);
    }

    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    #[tokio::test]
    async fn a_worker_hears_a_supervisor_that_does_not_read() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (lifeline, task) = Lifeline::new(ours, CancellationToken::new());
        let _task = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(task));
        // More than a socket holds, so that whoever writes it waits.
        let wanted: Vec<Digest> = (0..32_768_u32).map(|number| Digest::of(&number.to_le_bytes())).collect();
        lifeline.needs(wanted).await;
        let certificates = line_of(&ToWorker::Certificates { pairs: Vec::new(), broken: vec!["one".into()] }).unwrap();
        theirs.write_all(&certificates).await.unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(20), lifeline.certificates()).await.expect("it is heard");
        assert_eq!(heard.unwrap().borrow().broken(), ["one"]);
    }

    #[tokio::test]
    async fn one_question_serves_everyone_who_asks_for_the_same_code() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let gone = CancellationToken::new();
        let (lifeline, task) = Lifeline::new(ours, gone.clone());
        let digest = Digest::of(b"x");
        let supervisor = async {
            let (reader, mut writer) = theirs.into_split();
            let mut lines = BufReader::new(reader).lines();
            let asked = lines.next_line().await.unwrap().unwrap();
            assert_eq!(serde_json::from_str::<ToSupervisor>(&asked).unwrap(), ToSupervisor::Compile { digest });
            let answer = serde_json::to_string(&ToWorker::Compiled { digest, millis: 7 }).unwrap();
            writer.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            assert_eq!(lines.next_line().await.unwrap().unwrap(), r#"{"listening":{}}"#);
        };
        let worker = async {
            let (first, second) = tokio::join!(lifeline.compile(digest), lifeline.compile(digest));
            assert_eq!((first, second), (Ok(Duration::from_millis(7)), Ok(Duration::from_millis(7))));
            lifeline.listening().await;
        };
        tokio::join!(task, supervisor, worker);
        assert!(gone.is_cancelled(), "the supervisor's end was dropped");
    }

    #[tokio::test]
    async fn certificates_come_as_a_set_and_a_bad_one_takes_nothing_from_the_others() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (lifeline, task) = Lifeline::new(ours, CancellationToken::new());
        let task = tokio::spawn(task);
        let pair =
            |name: &str, chain: &str| CertificatePair { name: name.into(), chain: chain.into(), key: gateway::KeyText::new("".into()) };
        let mut send = async |pairs: Vec<CertificatePair>, broken: &[&str]| {
            let broken = broken.iter().map(ToString::to_string).collect();
            let line = serde_json::to_string(&ToWorker::Certificates { pairs, broken }).unwrap();
            theirs.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        };
        send(vec![], &["one"]).await;
        let mut certificates = lifeline.certificates().await.unwrap();
        assert_eq!(certificates.borrow_and_update().broken(), ["one"]);
        send(vec![pair("two", "none")], &["one"]).await;
        certificates.changed().await.unwrap();
        assert_eq!(certificates.borrow_and_update().broken(), ["one", "two"]);
        drop(theirs);
        task.await.unwrap();
        assert_eq!(certificates.borrow().broken(), ["one", "two"], "a supervisor that is gone takes nothing away");
    }

    #[tokio::test]
    async fn a_message_that_cannot_be_read_is_not_repeated() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{\"certificates\":{\"pairs\":\"PRIVATE KEY\"}}\n").await.unwrap();
        let (_, requests) = mpsc::channel(1);
        let error = talk(ours, requests, watch::channel(Arc::default()).0).await.unwrap_err();
        assert!(!error.to_string().contains("PRIVATE"), "{error}");
    }

    #[tokio::test]
    async fn whoever_waits_when_the_supervisor_goes_is_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (lifeline, task) = Lifeline::new(ours, CancellationToken::new());
        drop(theirs);
        let ((), result) = tokio::join!(task, lifeline.compile(Digest::of(b"x")));
        assert_eq!(result, Err(CompileRefused::Gone));
    }
}
