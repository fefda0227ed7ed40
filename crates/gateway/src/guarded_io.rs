//! The bytes of one connection between the socket and hyper. Owns what hyper does not: a head reaches hyper only whole and accepted, one at a time; a
//! head that dribbles in is timed, a client that takes nothing is given up, and our last answer is not lost to a reset. Must never know a route.

use std::{
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};
use tokio_util::io::poll_read_buf;

use crate::{
    connection::Connection,
    head_scan::{HeadFacts, HeadFault, STAND_IN, Scanner, Step},
    limits::{LINGER, LINGER_BYTES_MAX},
};

/// Bytes read at once while a head is incomplete.
const READ_BYTES: usize = 8 * 1024;

/// An answer of up to so many bytes in several pieces is sent as one: the kernel takes one piece for 0.3 µs less than a list of them, which pays for copying
/// what most answers have.
const GATHERED_BYTES_MAX: usize = 1024;

/// A socket with its guard.
#[derive(Debug)]
pub(crate) struct GuardedIo<T> {
    inner: T,
    connection: Arc<Connection>,
    /// Read from the socket and not released to hyper yet: the preface that was peeked at, part of a head, or what waits behind it.
    input: BytesMut,
    /// So many bytes of `input` are released, and only wait for room.
    released: usize,
    reading: Reading,
    head_timer: Timer,
    write_timer: Timer,
    linger: Option<Linger>,
}

#[derive(Debug)]
enum Reading {
    /// HTTP/2: its own framing keeps heads and bodies apart.
    Plain,
    /// HTTP/1, in step with its framing.
    Scanned(Scanner),
    /// A refused head: hyper reads the stand-in and then nothing more.
    Refused { stand_in: &'static [u8] },
    /// A broken body: hyper is told so once.
    Broken,
}

/// Reading on after our last word.
#[derive(Debug)]
struct Linger {
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<T> GuardedIo<T> {
    /// An HTTP/2 connection, of which `input` was read already.
    pub(crate) fn h2(inner: T, connection: Arc<Connection>, input: BytesMut) -> Self {
        Self::new(inner, connection, input, Reading::Plain)
    }

    /// An HTTP/1 connection, of which `input` was read already. Its first head is timed from now.
    pub(crate) fn h1(inner: T, connection: Arc<Connection>, input: BytesMut) -> Self {
        let mut io = Self::new(inner, connection, input, Reading::Scanned(Scanner::default()));
        io.head_timer.start();
        io
    }

    fn new(inner: T, connection: Arc<Connection>, input: BytesMut, reading: Reading) -> Self {
        let limits = &connection.gateway.limits;
        let (head_timer, write_timer) = (Timer::new(limits.head_timeout), Timer::new(limits.write_stall));
        Self { inner, connection, input, released: 0, reading, head_timer, write_timer, linger: None }
    }
}

/// How many of some bytes hyper may have now, and whether more can follow at once.
struct Released {
    bytes: usize,
    /// The next head waits until hyper's service has taken the last.
    full: bool,
}

/// Releases what may be released of `bytes`; on a fault `reading` changes and the rest is dead.
fn release(reading: &mut Reading, connection: &Connection, bytes: &[u8], cx: &Context<'_>) -> Released {
    let mut released = Released { bytes: 0, full: false };
    while released.bytes < bytes.len() {
        let Reading::Scanned(scanner) = reading else { break };
        if scanner.at_head() && !connection.facts_wanted(cx) {
            released.full = true;
            break;
        }
        match scanner.step(&bytes[released.bytes..]) {
            Step::Head(length) => {
                connection.put_facts(HeadFacts::default());
                released.bytes += length;
            }
            Step::Body(length) => released.bytes += length,
            Step::More => break,
            Step::Refuse(fault) => refuse(reading, connection, fault),
            Step::Broken => *reading = Reading::Broken,
        }
    }
    released
}

fn refuse(reading: &mut Reading, connection: &Connection, fault: HeadFault) {
    connection.put_facts(HeadFacts { fault: Some(fault) });
    *reading = Reading::Refused { stand_in: STAND_IN };
}

impl<T: AsyncRead + Unpin> GuardedIo<T> {
    /// Gives hyper what waits in `input`; ready when there is something to say.
    fn poll_input(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.released > 0 {
                self.released -= copy(&mut self.input, self.released, buf);
                if self.input.is_empty() {
                    // Most connections are idle most of the time: they keep no buffer.
                    self.input = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            match &mut self.reading {
                Reading::Plain if self.input.is_empty() => return Pin::new(&mut self.inner).poll_read(cx, buf),
                Reading::Plain => {
                    copy(&mut self.input, usize::MAX, buf);
                    return Poll::Ready(Ok(()));
                }
                Reading::Refused { stand_in: [] } => return Poll::Pending,
                Reading::Refused { stand_in } => {
                    copy(stand_in, usize::MAX, buf);
                    return Poll::Ready(Ok(()));
                }
                Reading::Broken => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "malformed chunked body"))),
                Reading::Scanned(_) => {}
            }
            let released = release(&mut self.reading, &self.connection, &self.input, cx);
            self.released = released.bytes;
            if released.bytes > 0 {
                self.head_timer.stop();
            } else if released.full {
                return Poll::Pending;
            } else if matches!(self.reading, Reading::Scanned(_)) {
                ready!(self.poll_more(cx))?;
                if self.input.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Reads more of an incomplete head. Ready with an empty `input` at the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.reserve(READ_BYTES);
        self.head_timer.start();
        match poll_read_buf(Pin::new(&mut self.inner), cx, &mut self.input)? {
            Poll::Ready(0) => {
                self.input.clear();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => {
                ready!(self.head_timer.poll(cx));
                if self.input.is_empty() {
                    // It never said a word: closed without one, as hyper sees the end of the stream.
                    return Poll::Ready(Ok(()));
                }
                refuse(&mut self.reading, &self.connection, HeadFault::Timeout);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Reads and throws away what the client still sends after our last word.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger =
            self.linger.get_or_insert_with(|| Linger { until: Box::pin(tokio::time::sleep(LINGER)), bytes_left: LINGER_BYTES_MAX });
        loop {
            self.input.clear();
            self.input.reserve(READ_BYTES);
            match poll_read_buf(Pin::new(&mut self.inner), cx, &mut self.input) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(bytes)) if bytes >= linger.bytes_left => return Poll::Ready(()),
                Poll::Ready(Ok(bytes)) => linger.bytes_left -= bytes,
                Poll::Pending => return linger.until.as_mut().poll(cx),
            }
        }
    }

    /// Whether the client may be sending something nobody reads, so that closing would reset the connection under our answer.
    fn is_cut_short(&self) -> bool {
        match &self.reading {
            Reading::Plain => false,
            Reading::Scanned(scanner) => !scanner.at_head() || !self.input.is_empty(),
            Reading::Refused { .. } | Reading::Broken => true,
        }
    }
}

/// All of `pieces` one after the other in `to`; none when that would not fit, or there is nothing to join.
fn gather<'a>(pieces: &[IoSlice<'_>], to: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let joined = if pieces.len() > 1 { to.get_mut(..length)? } else { return None };
    let mut rest = &mut *joined;
    for piece in pieces {
        let (here, after) = rest.split_at_mut(piece.len());
        here.copy_from_slice(piece);
        rest = after;
    }
    Some(joined)
}

fn copy(from: &mut impl bytes::Buf, bytes_max: usize, to: &mut ReadBuf<'_>) -> usize {
    let length = from.remaining().min(bytes_max).min(to.remaining());
    from.copy_to_slice(to.initialize_unfilled_to(length));
    to.advance(length);
    length
}

impl<T: AsyncRead + Unpin> AsyncRead for GuardedIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let first_head = this.head_timer.is_running();
        if !this.input.is_empty() || first_head || !matches!(this.reading, Reading::Scanned(_)) {
            return this.poll_input(cx, buf);
        }
        // The way of nearly all reads: straight into hyper's buffer, looked at there, and only the rest of it kept back.
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let new = &buf.filled()[before..];
        if new.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let released = release(&mut this.reading, &this.connection, new, cx);
        this.input.extend_from_slice(&new[released.bytes..]);
        buf.set_filled(before + released.bytes);
        if released.bytes > 0 {
            return Poll::Ready(Ok(()));
        }
        this.poll_input(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.write_timer.bound(cx, written)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut gathered = [0; GATHERED_BYTES_MAX];
        let written = match gather(bufs, &mut gathered) {
            Some(piece) => Pin::new(&mut this.inner).poll_write(cx, piece),
            None => Pin::new(&mut this.inner).poll_write_vectored(cx, bufs),
        };
        this.write_timer.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A socket has nothing to flush; TLS may still hold the end of an answer that the client does not take.
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.write_timer.bound(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            let shut = Pin::new(&mut this.inner).poll_shutdown(cx);
            ready!(this.write_timer.bound(cx, shut))?;
            if !this.is_cut_short() {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_linger(cx).map(Ok)
    }
}

/// A limit on waiting that costs nothing until there is something to wait for.
#[derive(Debug)]
struct Timer {
    limit: std::time::Duration,
    started: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    fn new(limit: std::time::Duration) -> Self {
        Self { limit, started: None, sleep: None }
    }

    fn start(&mut self) {
        self.started.get_or_insert_with(Instant::now);
    }

    fn stop(&mut self) {
        self.started = None;
        self.sleep = None;
    }

    fn is_running(&self) -> bool {
        self.started.is_some()
    }

    /// Ready when the limit is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.started.get_or_insert_with(Instant::now) + self.limit;
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline))).as_mut().poll(cx)
    }

    /// `outcome`, or an error when it stays pending beyond the limit.
    fn bound<R>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if outcome.is_ready() {
            if self.is_running() {
                self.stop();
            }
            return outcome;
        }
        ready!(self.poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no data")))
    }
}

#[cfg(test)]
mod tests;
