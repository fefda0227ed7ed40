//! The supervisor's side of a worker's lifeline: it gets the certificates before anything else and whenever they change, and its requests for code become
//! compile children, one per core at most. Owns those children; must never compile itself.

use std::{io, process::Stdio, sync::Arc, time::Instant};

use certificates::Bundle;
use futures_util::StreamExt;
use model::id::Digest;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::codec::{FramedRead, LinesCodec};
use worker::lifeline::{LINES_WAITING_MAX, ToSupervisor, ToWorker, line_of, write_lines};

use super::{
    child::command_of,
    compile::Said,
    limits::{COMPILE_WAIT_MAX, COMPILE_WORDS_BYTES_MAX, COMPILES_WAITING_MAX},
    node::Node,
    sockets::Lent,
    supervisor::Event,
};

/// Longest line a worker may send.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Answers a worker until its lifeline ends, which its own end does. Compile children die with the future.
pub async fn serve(node: Arc<Node>, lifeline: UnixStream, events: mpsc::Sender<Event>) -> io::Result<()> {
    let (reader, writer) = lifeline.into_split();
    let (out, outgoing) = mpsc::channel(LINES_WAITING_MAX);
    // A worker reads at all times, so that this ends a wait for room too.
    tokio::select! {
        ended = answer(node, reader, &out, events) => ended,
        written = write_lines(writer, outgoing) => written,
    }
}

/// Takes what the worker says, and answers it, as long as there is room for answers.
async fn answer(node: Arc<Node>, reader: OwnedReadHalf, out: &mpsc::Sender<Vec<u8>>, events: mpsc::Sender<Event>) -> io::Result<()> {
    let mut lines = FramedRead::new(reader, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
    let mut compiles: JoinSet<ToWorker> = JoinSet::new();
    let mut sets = node.certificates.as_ref().map(|keeper| keeper.subscribe());
    if node.sockets.worker.as_ref().is_some_and(|sockets| sockets.https.is_some()) {
        let bundle = sets.as_mut().map(|sets| sets.borrow_and_update().clone()).unwrap_or_default();
        out.send(line_of(&message(&bundle))?).await.map_err(io::Error::other)?;
    }
    loop {
        let room = out.reserve().await.map_err(io::Error::other)?;
        let answer = tokio::select! {
            bundle = next_certificates(&mut sets) => message(&bundle),
            line = lines.next() => {
                let Some(line) = line else { return Ok(()) };
                match serde_json::from_str(&line.map_err(io::Error::other)?)? {
                    ToSupervisor::Listening {} => {
                        // Nobody listens any more when the node is being stopped.
                        let _ = events.send(Event::Listening).await;
                        continue;
                    }
                    ToSupervisor::Needs { digests, more } => {
                        if let Err(error) = node.code().name(digests, more, Instant::now()) {
                            tracing::warn!(error = %error, "code that is not assigned any more cannot be removed");
                        }
                        continue;
                    }
                    ToSupervisor::Compile { digest } if compiles.len() >= COMPILES_WAITING_MAX => {
                        failed(digest, "E0301", "too many components wait to be compiled".into(), true)
                    }
                    ToSupervisor::Compile { digest } => {
                        let node = node.clone();
                        compiles.spawn(async move { compile(&node, digest).await });
                        continue;
                    }
                }
            }
            Some(done) = compiles.join_next() => match done {
                Ok(answer) => answer,
                Err(error) => return Err(io::Error::other(error)),
            },
        };
        room.send(line_of(&answer)?);
    }
}

/// The message that tells a worker its certificates.
fn message(bundle: &Bundle) -> ToWorker {
    ToWorker::Certificates { pairs: bundle.pairs.clone(), broken: bundle.broken.clone() }
}

/// The certificates once they are others; never without a directory of them.
async fn next_certificates(certificates: &mut Option<watch::Receiver<Arc<Bundle>>>) -> Arc<Bundle> {
    if let Some(certificates) = certificates
        && certificates.changed().await.is_ok()
    {
        return certificates.borrow_and_update().clone();
    }
    std::future::pending().await
}

async fn compile(node: &Node, digest: Digest) -> ToWorker {
    let Ok(_permit) = node.compiles.acquire().await else {
        return failed(digest, "E0301", "the supervisor is stopping".into(), true);
    };
    // A directory that cannot be read is found out by the child, which says it better.
    if let Ok(Some(full)) = node.code().is_full(Instant::now()) {
        return failed(digest, "E0405", full, true);
    }
    match tokio::time::timeout(COMPILE_WAIT_MAX, run_child(node, digest)).await {
        Ok(Ok(answer)) => {
            if let (ToWorker::Compiled { .. }, Err(error)) = (&answer, node.code().made(digest, Instant::now())) {
                tracing::warn!(error = %error, "code that is not assigned any more cannot be removed");
            }
            answer
        }
        Ok(Err(error)) => failed(digest, "E0301", format!("starting the compiler: {error}"), true),
        Err(_) => failed(digest, "E0309", format!("compiling took longer than {} s", COMPILE_WAIT_MAX.as_secs()), false),
    }
}

async fn run_child(node: &Node, digest: Digest) -> io::Result<ToWorker> {
    let mut command = command_of(node, "compile", &node.compile_config(digest), Lent::default())?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (said, complaint, status) = tokio::join!(read(out), read(err), child.wait());
    let status = status?;
    match serde_json::from_str(said.trim()) {
        Ok(Said::Compiled { millis }) => {
            tracing::info!(artifact = %digest.short(), took.ms = millis, "code is made");
            Ok(ToWorker::Compiled { digest, millis })
        }
        Ok(Said::Failed { code, message, passing }) => Ok(failed(digest, &code, message, passing)),
        Err(_) => {
            tracing::warn!(artifact = %digest, status = %status, words = complaint, "a compile child ended without a word");
            Ok(explain(digest, status))
        }
    }
}

/// What an end without a word means. Where its own limits ended it, or it crashed on its input, the next try ends the same; who kills it has other reasons.
fn explain(digest: Digest, status: std::process::ExitStatus) -> ToWorker {
    use std::os::unix::process::ExitStatusExt;
    match status.signal() {
        Some(libc::SIGXCPU) => failed(digest, "E0309", "compiling took too much processor time".into(), false),
        Some(libc::SIGABRT | libc::SIGSEGV) => failed(digest, "E0309", "compiling took too much memory".into(), false),
        Some(libc::SIGXFSZ) => failed(digest, "E0309", "the code is too large".into(), false),
        Some(libc::SIGKILL) => {
            failed(digest, "E0301", "the compiler was killed from outside, as it is when the machine has no memory left".into(), true)
        }
        _ => failed(digest, "E0301", format!("the compiler crashed ({status})"), false),
    }
}

/// Reads what a child says, and throws away what is too much, so that it is never blocked by us.
async fn read(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut bytes = Vec::new();
    // A child that is killed breaks its pipe off; what came before it still counts.
    let _ = (&mut from).take(COMPILE_WORDS_BYTES_MAX).read_to_end(&mut bytes).await;
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn failed(digest: Digest, code: &str, message: String, passing: bool) -> ToWorker {
    tracing::warn!(artifact = %digest.short(), error.code = code, error = message, "code is not made");
    ToWorker::Failed { digest, code: code.to_owned(), message, passing }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn only_what_the_component_does_is_held_against_it() {
        let check = |signal: i32, expected: (&str, bool)| match explain(Digest::of(b"x"), std::process::ExitStatus::from_raw(signal)) {
            ToWorker::Failed { code, passing, .. } => assert_eq!((code.as_str(), passing), expected, "signal {signal}"),
            other => panic!("{other:?}"),
        };
        check(libc::SIGXCPU, ("E0309", false));
        check(libc::SIGABRT, ("E0309", false));
        check(libc::SIGSEGV, ("E0309", false));
        check(libc::SIGXFSZ, ("E0309", false));
        check(libc::SIGKILL, ("E0301", true));
        check(libc::SIGILL, ("E0301", false));
    }
}
