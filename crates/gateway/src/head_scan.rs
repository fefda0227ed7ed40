//! Follows the framing of an HTTP/1 connection byte by byte, more strictly than hyper, and notes what hyper would hide: bare line feeds, a
//! Content-Length beside a Transfer-Encoding, folded lines. Owns the state machine; pure. Must never do I/O; `guarded_io.rs` feeds it.

use memchr::memchr;

use crate::{
    chunk_scan::{ChunkScan, ChunkStep},
    limits::{HEAD_BYTES_MAX, HEADERS_MAX, URI_BYTES_MAX},
    refusal::{BadRequest, Refusal},
};

/// What the scanner saw of one request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HeadFacts {
    /// Why this head was kept from hyper, which then got [`STAND_IN`] in its place.
    pub(crate) fault: Option<HeadFault>,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadFault {
    /// Two readers could frame it differently.
    Bad(BadRequest),
    /// Longer than a head may be.
    TooLarge,
    /// The target alone is.
    UriTooLong,
    /// Too many fields.
    TooManyHeaders,
    /// CONNECT has no target hyper's service should see.
    Connect,
    /// It did not arrive in time.
    Timeout,
}

impl From<HeadFault> for Refusal {
    fn from(fault: HeadFault) -> Self {
        match fault {
            HeadFault::Bad(bad) => Self::BadRequest(bad),
            HeadFault::TooLarge => Self::HeadTooLarge,
            HeadFault::UriTooLong => Self::UriTooLong,
            HeadFault::TooManyHeaders => Self::TooManyHeaders,
            HeadFault::Connect => Self::Connect,
            HeadFault::Timeout => Self::HeadTimeout,
        }
    }
}

/// What hyper reads in place of a head it must not see. The service answers it with the fault; nothing of the client is in it.
pub(crate) const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// What to do with the bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The first so many bytes are one whole, accepted head.
    Head(usize),
    /// The first so many bytes are body, framing included.
    Body(usize),
    /// The head is not complete: keep the bytes, bring more, and start from the same byte again.
    More,
    /// The head is refused, and nothing after it can be trusted.
    Refuse(HeadFault),
    /// The body breaks its framing, and nothing after it can be trusted.
    Broken,
}

/// The place in the stream.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    head: HeadScan,
    body: BodyScan,
}

#[derive(Debug, Default)]
enum BodyScan {
    #[default]
    None,
    Length(u64),
    Chunked(ChunkScan),
}

impl Scanner {
    /// Looks at `bytes`, which begin where the last step left off (or, after [`Step::More`], where it began). Never looks at a byte twice.
    pub(crate) fn step(&mut self, bytes: &[u8]) -> Step {
        match &mut self.body {
            BodyScan::None => self.head_step(bytes),
            BodyScan::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.body = BodyScan::None;
                }
                Step::Body(taken)
            }
            BodyScan::Chunked(scan) => match scan.step(bytes) {
                ChunkStep::Through => Step::Body(bytes.len()),
                ChunkStep::End(taken) => {
                    self.body = BodyScan::None;
                    Step::Body(taken)
                }
                ChunkStep::Broken => Step::Broken,
            },
        }
    }

    /// Whether the next byte belongs to a head.
    pub(crate) fn at_head(&self) -> bool {
        matches!(self.body, BodyScan::None)
    }

    fn head_step(&mut self, bytes: &[u8]) -> Step {
        match self.head.advance(bytes) {
            Ok(None) => Step::More,
            Ok(Some(length)) => {
                let head = std::mem::take(&mut self.head);
                self.body = match (head.chunked, head.content_length) {
                    (true, _) => BodyScan::Chunked(ChunkScan::default()),
                    (false, None | Some(0)) => BodyScan::None,
                    (false, Some(length)) => BodyScan::Length(length),
                };
                Step::Head(length)
            }
            Err(fault) => Step::Refuse(fault),
        }
    }
}

/// One head, line by line.
#[derive(Debug, Default)]
struct HeadScan {
    /// Where the unfinished line begins.
    line_start: usize,
    /// Where no line feed was found up to.
    scanned: usize,
    fields: usize,
    seen_request_line: bool,
    is_10: bool,
    content_length: Option<u64>,
    chunked: bool,
}

impl HeadScan {
    /// The length of the head that `bytes` begin with, once it is complete.
    fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadFault> {
        while let Some(at) = memchr(b'\n', &bytes[self.scanned..]) {
            let end = self.scanned + at;
            if end >= HEAD_BYTES_MAX {
                return Err(HeadFault::TooLarge);
            }
            let line = bytes[self.line_start..end].strip_suffix(b"\r").ok_or(HeadFault::Bad(BadRequest::BareLineFeed))?;
            self.line_start = end + 1;
            self.scanned = end + 1;
            if self.line(line)? {
                return Ok(Some(end + 1));
            }
        }
        self.scanned = bytes.len();
        let line_length = bytes.len() - self.line_start;
        // A request line that is still coming is refused as too long, not as a head too large: the client learns which.
        if !self.seen_request_line && line_length > URI_BYTES_MAX + REQUEST_LINE_REST {
            return Err(HeadFault::UriTooLong);
        }
        if bytes.len() >= HEAD_BYTES_MAX { Err(HeadFault::TooLarge) } else { Ok(None) }
    }

    /// Takes one line without its end; true for the empty line that ends the head.
    fn line(&mut self, line: &[u8]) -> Result<bool, HeadFault> {
        if !self.seen_request_line {
            // RFC 9112, section 2.2: an empty line before the request is ignored, once.
            if line.is_empty() && self.line_start == 2 {
                return Ok(false);
            }
            self.seen_request_line = true;
            self.is_10 = request_line(line)?;
            return Ok(false);
        }
        if line.is_empty() {
            return Ok(true);
        }
        self.fields += 1;
        if self.fields > HEADERS_MAX {
            return Err(HeadFault::TooManyHeaders);
        }
        self.field(line).map_err(HeadFault::Bad)?;
        Ok(false)
    }

    fn field(&mut self, line: &[u8]) -> Result<(), BadRequest> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(BadRequest::FoldedHeader);
        }
        let colon = memchr(b':', line).ok_or(BadRequest::HeaderName)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            return Err(BadRequest::HeaderName);
        }
        if value.iter().any(|&byte| is_control(byte)) {
            return Err(BadRequest::ControlCharacter);
        }
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value.trim_ascii()),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value.trim_ascii()),
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), BadRequest> {
        if self.chunked {
            return Err(BadRequest::TwoLengths);
        }
        let digits = std::str::from_utf8(value).ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        // hyper keeps its largest numbers for itself; a body of 2^63 bytes is not one.
        let length = digits.and_then(|digits| digits.parse::<u64>().ok()).filter(|length| *length <= u64::MAX / 2);
        let length = length.ok_or(BadRequest::ContentLength)?;
        match self.content_length.replace(length) {
            None => Ok(()),
            // The same number twice is allowed by RFC 9110 to be taken as one, but nobody sends it by intent.
            Some(_) => Err(BadRequest::ContentLength),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), BadRequest> {
        if self.is_10 {
            return Err(BadRequest::TransferEncodingOn10);
        }
        if self.content_length.is_some() {
            return Err(BadRequest::TwoLengths);
        }
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(BadRequest::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }
}

/// Bytes of a request line beside its target: the longest method anyone uses, two spaces and the version.
const REQUEST_LINE_REST: usize = 32;

/// `METHOD SP TARGET SP HTTP/1.x`, one space each. True for HTTP/1.0.
fn request_line(line: &[u8]) -> Result<bool, HeadFault> {
    let wrong = HeadFault::Bad(BadRequest::RequestLine);
    let first = memchr(b' ', line).ok_or(wrong)?;
    let (method, rest) = (&line[..first], &line[first + 1..]);
    let second = memchr(b' ', rest).ok_or(wrong)?;
    let (target, version) = (&rest[..second], &rest[second + 1..]);
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err(wrong);
    }
    if target.len() > URI_BYTES_MAX {
        return Err(HeadFault::UriTooLong);
    }
    let is_10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(wrong),
    };
    if method == b"CONNECT" {
        return Err(HeadFault::Connect);
    }
    // What hyper's parser of targets refuses would otherwise be answered by hyper itself, without a request id.
    if !is_plain_target(target) {
        let target = std::str::from_utf8(target).map_err(|_| wrong)?;
        target.parse::<http::Uri>().map_err(|_| HeadFault::Bad(BadRequest::Target))?;
    }
    Ok(is_10)
}

/// A path and query of the characters nearly every target is made of; spares it a trial parse.
fn is_plain_target(target: &[u8]) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    target.first() == Some(&b'/') && target.iter().all(|&byte| plain(byte))
}

/// RFC 9110, section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let b = byte as u8;
            table[byte] = b.is_ascii_alphanumeric()
                || matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
            byte += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

/// Control characters no field value may hold; a tab may.
pub(crate) fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

#[cfg(test)]
mod tests;
