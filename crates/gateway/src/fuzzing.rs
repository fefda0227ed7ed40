//! What the fuzz targets reach of the parts that read hostile bytes. Owns no behavior of its own; must never be compiled into a release, so it exists
//! only under `--cfg fuzzing`, which cargo-fuzz sets.

use http::request::Parts;

use crate::head_scan::{HeadFacts, Scanner, Step};

/// What a stretch of a client's bytes is to the scanner. Bytes of one body are one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// One accepted head of so many bytes.
    Head(usize),
    /// So many bytes of a body, framing included.
    Body(usize),
    /// The bytes ended inside a head.
    Unfinished,
    /// Everything from here on.
    Refused,
}

/// What the scanner makes of `stream` when it arrives `size` bytes at a time.
pub fn scan(stream: &[u8], size: usize) -> Vec<Piece> {
    let (mut scanner, mut pieces) = (Scanner::default(), Vec::new());
    let (mut at, mut arrived) = (0, size.min(stream.len()));
    while at < stream.len() {
        match scanner.step(&stream[at..arrived]) {
            Step::Head(length) => {
                pieces.push(Piece::Head(length));
                at += length;
            }
            Step::Body(length) => {
                match pieces.last_mut() {
                    Some(Piece::Body(before)) => *before += length,
                    _ => pieces.push(Piece::Body(length)),
                }
                at += length;
            }
            Step::More if arrived == stream.len() => {
                pieces.push(Piece::Unfinished);
                break;
            }
            Step::More => arrived = (arrived + size).min(stream.len()),
            Step::Refuse(_) | Step::Broken => {
                pieces.push(Piece::Refused);
                break;
            }
        }
        if at == arrived {
            arrived = (arrived + size).min(stream.len());
        }
    }
    pieces
}

/// The host to route by, as text the reason why there is none.
pub fn normalize(parts: &mut Parts) -> Result<String, String> {
    crate::normalize::normalize(parts, HeadFacts::default()).map_err(|refusal| format!("{refusal:?}"))
}
