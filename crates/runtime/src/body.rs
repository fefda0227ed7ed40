//! The body of a response, which drives the guest that writes it. Owns the time between the head of a response and the end of its sandbox; must never
//! know how the response is sent.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use wasmtime_wasi_http::WasiBody;

use crate::{error::SandboxError, kept::Seat, lane::Guest, logs::SandboxLog, program::Program};

/// A response body. Reading it lets the guest work; dropping it before its end ends the guest at once, and what the guest does after the end goes on in
/// a task of its own, for a bounded time.
pub struct SandboxBody {
    body: WasiBody,
    guest: Option<Guest>,
    /// In a sandbox that others share.
    seat: Option<Seat>,
    length: Length,
    remains: Remains,
}

/// How much of the body must be read before a dropped body counts as read to its end.
enum Length {
    /// Until it ends.
    Unknown,
    /// This many bytes more: senders stop reading when they have them.
    Left(u64),
    /// Nothing is missing.
    Read,
}

/// What is needed when the response has begun.
pub(crate) struct Remains {
    program: Arc<Program>,
    log: SandboxLog,
    has_body: bool,
}

impl Remains {
    pub(crate) fn new(method: &Method, program: Arc<Program>, log: SandboxLog) -> Self {
        Self { program, log, has_body: method != Method::HEAD }
    }

    fn bad_response(&self, reason: String) -> SandboxError {
        let counters = &self.program.shared.counters;
        counters.count(&counters.bad_responses);
        let error = SandboxError::BadResponse { reason };
        self.log.host(error.to_string());
        error
    }

    /// Lets the guest finish what it does after its response, for a while.
    fn finish(&self, guest: Guest, body: WasiBody) {
        // Without an executor nothing can go on: the process is ending.
        let Ok(executor) = Handle::try_current() else { return };
        let (log, program, limit) = (self.log.clone(), Arc::clone(&self.program), self.program.shared.after_response);
        let rest = async move {
            if tokio::time::timeout(limit, finish(guest, body)).await.is_err() {
                program.overrun(limit, &log);
            }
        };
        self.program.shared.tasks.spawn_on(rest, &executor);
    }
}

impl SandboxBody {
    pub(crate) fn of(
        response: http::Response<WasiBody>,
        guest: Option<Guest>,
        remains: Remains,
    ) -> Result<http::Response<Self>, SandboxError> {
        Self::new(response, guest, None, remains)
    }

    /// The body of a response from a sandbox that others share: its guest is driven elsewhere.
    pub(crate) fn shared(response: http::Response<WasiBody>, seat: Seat, remains: Remains) -> Result<http::Response<Self>, SandboxError> {
        Self::new(response, None, Some(seat), remains)
    }

    fn new(
        response: http::Response<WasiBody>,
        guest: Option<Guest>,
        seat: Option<Seat>,
        remains: Remains,
    ) -> Result<http::Response<Self>, SandboxError> {
        let (head, body) = response.into_parts();
        if head.status.is_informational() {
            return Err(remains.bad_response(format!("{} is not a final status", head.status)));
        }
        let bodiless = !remains.has_body || head.status == StatusCode::NO_CONTENT || head.status == StatusCode::NOT_MODIFIED;
        let declared = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length = match declared {
            _ if bodiless => Length::Read,
            Some(0) => Length::Read,
            Some(bytes) => Length::Left(bytes),
            None => Length::Unknown,
        };
        Ok(http::Response::from_parts(head, Self { body, guest, seat, length, remains }))
    }

    /// Lets the guest work. True when it ended well, so that what it wrote last is there to be read.
    fn poll_guest(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, SandboxError>> {
        let Some(guest) = &mut self.guest else { return Poll::Ready(Ok(false)) };
        let ended = ready!(Pin::new(guest).poll(context));
        self.guest = None;
        Poll::Ready(ended.map(|()| true))
    }

    /// Most guests have nothing left to do when their response is read: one more turn here saves them a task of their own.
    fn wind_up(&mut self, context: &mut Context<'_>) {
        if matches!(self.length, Length::Read) {
            // The response is whole: what its guest dies of now stands in the log, the client need not know.
            let _ = self.poll_guest(context);
        }
    }

    /// What broke a body that seems to have ended. One of WASI 0.3 that breaks off ends like a whole one, and so does every body whose sandbox is taken down
    /// in the slow lane: only the guest knows, and it is told before.
    fn broken(&mut self, context: &mut Context<'_>) -> Option<SandboxError> {
        let quiet = self.remains.program.handler.breaks_quietly() || self.guest.as_ref().is_some_and(Guest::is_away);
        if matches!(self.length, Length::Read) || !quiet {
            return None;
        }
        match self.poll_guest(context) {
            Poll::Ready(Err(failure)) => Some(failure),
            _ => self.seat.as_ref().and_then(Seat::failure),
        }
    }

    fn count_read(&mut self, frame: &Frame<Bytes>) {
        if let (Length::Left(left), Some(data)) = (&mut self.length, frame.data_ref()) {
            *left = left.saturating_sub(data.len() as u64);
            if *left == 0 {
                self.length = Length::Read;
            }
        }
    }
}

impl Body for SandboxBody {
    type Data = Bytes;
    type Error = SandboxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, SandboxError>>> {
        let this = self.get_mut();
        // What is written already goes first; then the guest may write more, and that is looked for once.
        let mut read = Pin::new(&mut this.body).poll_frame(context);
        if read.is_pending() {
            if let Poll::Ready(Err(error)) = this.poll_guest(context) {
                this.length = Length::Unknown;
                return Poll::Ready(Some(Err(error)));
            }
            read = Pin::new(&mut this.body).poll_frame(context);
        }
        match ready!(read) {
            Some(Ok(frame)) => {
                this.count_read(&frame);
                if let Some(guest) = &this.guest {
                    guest.meter().re_arm();
                }
                if let Some(seat) = &this.seat {
                    seat.re_arm();
                }
                this.wind_up(context);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                // A body breaks when its guest fails: what the guest died of says more than that the body broke.
                this.length = Length::Unknown;
                match this.poll_guest(context) {
                    Poll::Ready(Err(failure)) => Poll::Ready(Some(Err(failure))),
                    _ => {
                        let failure = this.seat.as_ref().and_then(Seat::failure);
                        Poll::Ready(Some(Err(failure.unwrap_or_else(|| this.remains.bad_response(error.to_string())))))
                    }
                }
            }
            None => {
                if let Some(failure) = this.broken(context) {
                    this.length = Length::Unknown;
                    return Poll::Ready(Some(Err(failure)));
                }
                this.length = Length::Read;
                this.wind_up(context);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.guest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for SandboxBody {
    fn drop(&mut self) {
        if let (Length::Read, Some(guest)) = (&self.length, self.guest.take()) {
            let body = std::mem::take(&mut self.body);
            self.remains.finish(guest, body);
        }
    }
}

/// Both at once: a guest may still write a body that nobody reads.
async fn finish(mut guest: Guest, mut body: WasiBody) {
    let mut open = true;
    std::future::poll_fn(move |context| {
        while open {
            match Pin::new(&mut body).poll_frame(context) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => open = false,
                Poll::Pending => break,
            }
        }
        Pin::new(&mut guest).poll(context)
    })
    .await
    .ok();
}
