//! Any bytes as what a client sends: the scanner reads them the same whole and in pieces, frames every head as hyper's parser does, and what passes
//! `normalize` is in normal form, so that it passes again unchanged. Must never open a connection.
#![no_main]

use gateway::fuzzing::{self, Piece};
use http::{Request, request::Parts};
use libfuzzer_sys::fuzz_target;

/// More than a head may have.
const FIELDS: usize = 256;

fuzz_target!(|bytes: &[u8]| {
    let Some((&size, stream)) = bytes.split_first() else { return };
    let pieces = scan(stream, stream.len());
    assert_eq!(pieces, scan(stream, usize::from(size).max(1)), "the scanner depends on how the bytes arrive");
    let mut at = 0;
    for piece in pieces {
        match piece {
            Piece::Head(length) => {
                head(&stream[at..at + length]);
                at += length;
            }
            Piece::Body(length) => at += length,
            Piece::Unfinished | Piece::Refused => break,
        }
    }
});

/// How much of a broken body went through before the break is seen depends on how it arrives; nothing after it does.
fn scan(stream: &[u8], size: usize) -> Vec<Piece> {
    let mut pieces = fuzzing::scan(stream, size);
    if pieces.last() == Some(&Piece::Refused) && matches!(pieces.iter().rev().nth(1), Some(Piece::Body(_))) {
        pieces.remove(pieces.len() - 2);
    }
    pieces
}

fn head(bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => assert_eq!(length, bytes.len(), "the parser sees the head end elsewhere"),
        Ok(httparse::Status::Partial) => panic!("the parser waits for more of a whole head"),
        // Hyper answers these with 400 itself.
        Err(_) => return,
    }
    let version = if parsed.version == Some(0) { http::Version::HTTP_10 } else { http::Version::HTTP_11 };
    let mut request = Request::builder().version(version).method(parsed.method.unwrap_or_default()).uri(parsed.path.unwrap_or_default());
    for field in parsed.headers.iter() {
        request = request.header(field.name, field.value);
    }
    let Ok(request) = request.body(()) else { return };
    let mut parts = request.into_parts().0;
    let Ok(host) = fuzzing::normalize(&mut parts) else { return };
    is_normal(&parts, &host);
    let before = format!("{parts:?}");
    assert_eq!(fuzzing::normalize(&mut parts), Ok(host), "{before}");
    assert_eq!(format!("{parts:?}"), before, "normalizing twice changes something");
}

fn is_normal(parts: &Parts, host: &str) {
    let path = parts.uri.path();
    assert!(path.starts_with('/') && parts.uri.authority().is_none() && parts.uri.scheme().is_none(), "{parts:?}");
    assert!(!path.contains("//") && !path.split('/').any(|element| matches!(element, "." | "..")), "{parts:?}");
    assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_whitespace()), "{host:?}");
    assert!(parts.headers.get_all("host").iter().count() <= 1, "{parts:?}");
    assert!(!parts.headers.keys().any(|name| name.as_str().contains('_')), "{parts:?}");
    assert!(!(parts.headers.contains_key("content-length") && parts.headers.contains_key("transfer-encoding")), "{parts:?}");
}
