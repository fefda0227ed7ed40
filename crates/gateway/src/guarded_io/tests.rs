//! The scanner and hyper, side by side on the same bytes: whatever the scanner lets through, hyper must frame the same way. This is the test against
//! request smuggling; the tables only say what is refused.

use std::{convert::Infallible, future::ready, sync::Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{Config, Limits, LocalRequest, Metrics, access::NoAccessLog, stack::CallError};

/// Closes the connection once it is answered, so that a run has an end.
const LAST: &str = "GET /last HTTP/1.0\r\n\r\n";

fn connection() -> Arc<Connection> {
    connection_with(Limits::standard())
}

fn connection_with(limits: Limits) -> Arc<Connection> {
    let bottom = tower::service_fn(|_: LocalRequest| ready(Ok::<_, CallError>(Response::new(Full::new(Bytes::new())))));
    let config = Config {
        listener: std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"),
        tls: None,
        bottom,
        trusted_proxies: Vec::new(),
        limits,
        own_spans: None,
        access_log: Arc::new(NoAccessLog),
        metrics: Metrics::default(),
    };
    let (_, handle) = config.bind().expect("a fresh socket");
    Arc::new(Connection::new(handle.shared, ([127, 0, 0, 1], 1).into()))
}

/// The targets the scanner sees, and whether it accepts all; `None` when the stream ends inside a request.
fn scanned(stream: &[u8]) -> Option<(Vec<String>, bool)> {
    let (mut scanner, mut rest, mut seen) = (Scanner::default(), stream, Vec::new());
    while !rest.is_empty() {
        match scanner.step(rest) {
            Step::Head(length) => {
                let head = String::from_utf8_lossy(&rest[..length]).trim_start().to_owned();
                seen.push(head.split(' ').nth(1).unwrap_or_default().to_owned());
                rest = &rest[length..];
            }
            Step::Body(length) => rest = &rest[length..],
            Step::More => return None,
            Step::Refuse(_) | Step::Broken => return Some((seen, false)),
        }
    }
    scanner.at_head().then_some((seen, true))
}

/// The targets of the requests hyper reads from `stream` behind the guard, `piece` bytes at a time, and how many of them had no facts.
async fn read_by_hyper(stream: Vec<u8>, piece: usize) -> (Vec<String>, usize) {
    let (client, server) = tokio::io::duplex(64);
    let connection = connection();
    let (seen, without) = (Mutex::new(Vec::new()), Mutex::new(0));
    let answer = |request: Request<Incoming>| {
        match connection.take_facts() {
            Some(HeadFacts { fault: None }) => seen.lock().expect("one thread").push(request.uri().to_string()),
            Some(HeadFacts { fault: Some(_) }) => {}
            None => *without.lock().expect("one thread") += 1,
        }
        async {
            let _ = request.into_body().collect().await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }
    };
    let io = TokioIo::new(GuardedIo::h1(server, connection.clone(), BytesMut::new()));
    let served = http1::Builder::new().header_read_timeout(None).serve_connection(io, service_fn(answer));
    let talked = async {
        let (mut reader, mut writer) = tokio::io::split(client);
        let write = async {
            for bytes in stream.chunks(piece) {
                if writer.write_all(bytes).await.is_err() {
                    break;
                }
            }
            writer
        };
        let read = async {
            let _ = reader.read_to_end(&mut Vec::new()).await;
        };
        // The writer is kept until the server has closed: an end of the stream would cut off what is under way.
        let (_writer, ()) = tokio::join!(write, read);
    };
    let both = async { tokio::join!(served, talked) };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("the connection ends");
    (seen.lock().expect("one thread").clone(), *without.lock().expect("one thread"))
}

/// A request put together from parts that may or may not fit.
fn assembled() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec!["GET /a HTTP/1.1\r\n", "POST /b HTTP/1.1\r\n", "\r\nGET /c HTTP/1.1\r\n"]);
    let field = prop::sample::select(vec![
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        "Connection: keep-alive\r\n",
        "x: y\r\n",
        "x:\t\r\n",
        "x : y\r\n",
        "x: y\n",
        " folded\r\n",
    ]);
    let body = prop::sample::select(vec![
        "",
        "abc",
        "3\r\nabc\r\n0\r\n\r\n",
        "00\r\nx: y\r\n\r\n",
        "3;e=f\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n",
        "\n",
    ]);
    (line, prop::collection::vec(field, 0..3), body).prop_map(|(line, fields, body)| format!("{line}{}\r\n{body}", fields.concat()))
}

fn requests() -> impl Strategy<Value = String> {
    let whole = prop::sample::select(vec![
        "GET /d HTTP/1.1\r\n\r\n",
        "POST /e HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "POST /f HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
        "POST /g HTTP/1.1\r\nContent-Length: 19\r\n\r\nGET /h HTTP/1.1\r\n\r\n",
        "POST /i HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n13\r\nGET /j HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
    ]);
    let one = prop_oneof![3 => whole.prop_map(str::to_owned), 2 => assembled()];
    prop::collection::vec(one, 0..8).prop_map(|requests| requests.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn hyper_frames_what_passes_as_the_scanner_does(stream in requests(), piece in 1_usize..80) {
        let stream = stream + LAST;
        if let Some((targets, _)) = scanned(stream.as_bytes()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let (read, without) = runtime.block_on(read_by_hyper(stream.clone().into_bytes(), piece));
            prop_assert_eq!(without, 0, "hyper read a head the scanner did not see in {:?}", stream);
            prop_assert_eq!(read, targets, "{:?}", stream);
        }
    }
}

#[tokio::test]
async fn a_request_inside_a_body_is_a_body() {
    let inner = "GET /inner HTTP/1.1\r\n\r\n";
    let stream = format!("POST /outer HTTP/1.1\r\nContent-Length: {}\r\n\r\n{inner}{LAST}", inner.len());
    let targets = vec!["/outer".to_owned(), "/last".to_owned()];
    assert_eq!(scanned(stream.as_bytes()), Some((targets.clone(), true)));
    assert_eq!(read_by_hyper(stream.into_bytes(), 7).await, (targets, 0));
}

/// Takes bytes and never gets rid of them, as TLS does over a socket whose other end takes nothing.
struct NeverFlushed;

impl AsyncWrite for NeverFlushed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncRead for NeverFlushed {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn an_answer_that_stays_in_the_buffers_of_tls_is_given_up() {
    let limits = Limits { write_stall: std::time::Duration::from_millis(10), ..Limits::standard() };
    let mut io = GuardedIo::h2(NeverFlushed, connection_with(limits), BytesMut::new());
    io.write_all(b"an answer").await.expect("it is taken");
    assert_eq!(io.flush().await.expect_err("it is not sent").kind(), io::ErrorKind::TimedOut);
    assert_eq!(io.shutdown().await.expect_err("neither is the last word").kind(), io::ErrorKind::TimedOut);
}

#[test]
fn small_answers_are_sent_in_one_piece_and_large_ones_as_they_are() {
    let check = |pieces: &[&str], expected: Option<&str>| {
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece.as_bytes())).collect();
        let mut room = [b'?'; 8];
        assert_eq!(gather(&slices, &mut room), expected.map(str::as_bytes), "{pieces:?}");
    };
    check(&["head", "b", "", "ody"], Some("headbody"));
    check(&["head", "body", "!"], None);
    check(&["", ""], Some(""));
    check(&["head"], None);
    check(&[], None);
}
