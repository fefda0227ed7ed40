//! Heads as hyper may and may not see them, and streams of requests cut at every place.

use proptest::prelude::*;

use super::*;

/// The segments of `stream` as steps, fed `piece` bytes at a time the way `guarded_io.rs` does.
fn steps(stream: &[u8], piece: usize) -> Vec<Step> {
    let mut scanner = Scanner::default();
    let (mut kept, mut steps) = (Vec::new(), Vec::new());
    for new in stream.chunks(piece) {
        kept.extend_from_slice(new);
        while !kept.is_empty() {
            let step = scanner.step(&kept);
            match (step, steps.last_mut()) {
                (Step::More, _) => break,
                (Step::Refuse(_) | Step::Broken, _) => {
                    steps.push(step);
                    return steps;
                }
                (Step::Body(length), Some(Step::Body(before))) => {
                    *before += length;
                    kept.drain(..length);
                }
                (Step::Head(length) | Step::Body(length), _) => {
                    steps.push(step);
                    kept.drain(..length);
                }
            }
        }
    }
    steps
}

fn check(stream: &str, wanted: &[Step]) {
    for piece in [usize::MAX, 1, 2, 7] {
        assert_eq!(steps(stream.as_bytes(), piece.min(stream.len())), wanted, "{stream:?} in pieces of {piece}");
    }
}

fn refused(stream: &str, bad: BadRequest) {
    check(stream, &[Step::Refuse(HeadFault::Bad(bad))]);
}

#[test]
fn heads_and_bodies_follow_each_other() {
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[Step::Head(27)]);
    check("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[Step::Head(29)]);
    check("GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", &[Step::Head(18), Step::Head(18)]);
    check("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n", &[Step::Head(38), Step::Body(5), Step::Head(18)]);
    check("POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n", &[Step::Head(38), Step::Head(18)]);
    check(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        &[Step::Head(47), Step::Body(11), Step::Head(18)],
    );
    check("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked \r\n\r\n0\r\n\r\n", &[Step::Head(48), Step::Body(5)]);
    check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz", &[Step::Head(47), Step::Broken]);
    check("GET / HTTP/1.1\r\nX: tab\tand \u{f6}\r\n\r\n", &[Step::Head(33)]);
    check("GET", &[]);
}

#[test]
fn ambiguous_heads_are_refused() {
    refused("GET / HTTP/1.1\nHost: a\n\n", BadRequest::BareLineFeed);
    refused("GET / HTTP/1.1\r\nHost: a\n\r\n", BadRequest::BareLineFeed);
    refused("GET / HTTP/1.1\r\nHost: a\r\n\n", BadRequest::BareLineFeed);
    refused("\nGET / HTTP/1.1\r\n\r\n", BadRequest::BareLineFeed);
    refused("\r\n\r\nGET / HTTP/1.1\r\n\r\n", BadRequest::RequestLine);
    refused("GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", BadRequest::FoldedHeader);
    refused("GET / HTTP/1.1\r\n A: b\r\n\r\n", BadRequest::FoldedHeader);
    refused("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", BadRequest::ControlCharacter);
    refused("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", BadRequest::ControlCharacter);
    refused("GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", BadRequest::ControlCharacter);
    refused("GET / HTTP/1.1\r\nA : b\r\n\r\n", BadRequest::HeaderName);
    refused("GET / HTTP/1.1\r\nA\r\n\r\n", BadRequest::HeaderName);
    refused("GET / HTTP/1.1\r\n: b\r\n\r\n", BadRequest::HeaderName);
    refused("GET / HTTP/1.1\r\nA(b): c\r\n\r\n", BadRequest::HeaderName);
    refused("GET  / HTTP/1.1\r\n\r\n", BadRequest::RequestLine);
    refused("GET /  HTTP/1.1\r\n\r\n", BadRequest::RequestLine);
    refused("GET /\r\n\r\n", BadRequest::RequestLine);
    refused("GET / HTTP/1.2\r\n\r\n", BadRequest::RequestLine);
    refused("GET / http/1.1\r\n\r\n", BadRequest::RequestLine);
    refused("G@T / HTTP/1.1\r\n\r\n", BadRequest::RequestLine);
    refused("GET /a\"b HTTP/1.1\r\n\r\n".replace('"', "\x01").as_str(), BadRequest::Target);
    refused("GET http:// HTTP/1.1\r\n\r\n", BadRequest::Target);
    check("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", &[Step::Refuse(HeadFault::Connect)]);
}

#[test]
fn lengths_must_be_one() {
    let refused = |fields: &str, bad| refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), bad);
    refused("Content-Length: 5\r\nTransfer-Encoding: chunked", BadRequest::TwoLengths);
    refused("Transfer-Encoding: chunked\r\nContent-Length: 5", BadRequest::TwoLengths);
    refused("Content-Length: 5\r\nContent-Length: 6", BadRequest::ContentLength);
    refused("Content-Length: 5\r\nContent-Length: 5", BadRequest::ContentLength);
    refused("Content-Length: 5, 5", BadRequest::ContentLength);
    refused("Content-Length: +3", BadRequest::ContentLength);
    refused("Content-Length: -3", BadRequest::ContentLength);
    refused("Content-Length: 0x3", BadRequest::ContentLength);
    refused("Content-Length: 3 3", BadRequest::ContentLength);
    refused("Content-Length:", BadRequest::ContentLength);
    refused("Content-Length: 18446744073709551615", BadRequest::ContentLength);
    refused("Content-Length: 18446744073709551616", BadRequest::ContentLength);
    refused("Transfer-Encoding: xchunked", BadRequest::TransferEncoding);
    refused("Transfer-Encoding: chunked, identity", BadRequest::TransferEncoding);
    refused("Transfer-Encoding: identity", BadRequest::TransferEncoding);
    refused("Transfer-Encoding: gzip, chunked", BadRequest::TransferEncoding);
    refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BadRequest::TransferEncoding);
    refused("Transfer-Encoding : chunked", BadRequest::HeaderName);
    refused("Transfer-Encoding:\x0bchunked", BadRequest::ControlCharacter);
    super::tests::refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", BadRequest::TransferEncodingOn10);
}

#[test]
fn heads_have_limits() {
    let check = |stream: &str, fault| assert_eq!(steps(stream.as_bytes(), 4096).last(), Some(&Step::Refuse(fault)), "{:.60}", stream);
    check(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1)), HeadFault::TooManyHeaders);
    check(&format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(HEAD_BYTES_MAX)), HeadFault::TooLarge);
    check(&format!("GET / HTTP/1.1\r\na: {}", "b".repeat(HEAD_BYTES_MAX)), HeadFault::TooLarge);
    check(&format!("GET /{} HTTP/1.1\r\n\r\n", "b".repeat(URI_BYTES_MAX)), HeadFault::UriTooLong);
    check(&format!("GET /{}", "b".repeat(2 * URI_BYTES_MAX)), HeadFault::UriTooLong);
    let longest = format!("GET /{} HTTP/1.1\r\n{}\r\n", "b".repeat(URI_BYTES_MAX - 1), "a: b\r\n".repeat(HEADERS_MAX));
    assert_eq!(steps(longest.as_bytes(), 4096), [Step::Head(longest.len())]);
}

/// The steps, without how much of a body went through before it was seen to be broken: that alone may depend on the pieces.
fn framing(stream: &[u8], piece: usize) -> Vec<Step> {
    let mut steps = steps(stream, piece);
    if let [.., Step::Body(_), Step::Broken] = steps[..] {
        steps.remove(steps.len() - 2);
    }
    steps
}

#[test]
fn a_broken_body_is_broken_in_any_pieces() {
    let stream = b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nabcGET / HTTP/1.1\r\n";
    for piece in 1..=stream.len() {
        assert_eq!(framing(stream, piece), [Step::Head(46), Step::Broken], "in pieces of {piece}");
    }
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        stream in prop::collection::vec(prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "Host: a\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "\r\n",
            "\n", "abc", "3\r\nabc\r\n", "0\r\n", "x: y\r\n", " ",
        ]), 0..14),
        piece in 1_usize..9,
    ) {
        let stream = stream.concat();
        prop_assert_eq!(framing(stream.as_bytes(), piece), framing(stream.as_bytes(), stream.len().max(1)));
    }
}
