//! Follows a chunked body to its end, without keeping any of it. Owns a reading stricter than hyper's: whatever passes here hyper frames the same way. Pure.

use crate::{
    head_scan::is_control,
    limits::{CHUNK_EXTENSION_BYTES_MAX, HEADERS_MAX, TRAILER_BYTES_MAX},
};

/// Hex digits of a chunk's size: 2^60 bytes are enough, and more could overflow somewhere.
const SIZE_DIGITS_MAX: u8 = 15;

/// What became of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkStep {
    /// All of them are body, and there is more to come.
    Through,
    /// The body ended after so many.
    End(usize),
    /// Not framed as RFC 9112 says, or beyond a limit.
    Broken,
}

/// The place in the body.
#[derive(Debug, Default)]
pub(crate) struct ChunkScan {
    place: Place,
    /// Bytes left of the chunk's data, or the size read so far.
    size: u64,
    digits: u8,
    extension_bytes: usize,
    trailer_bytes: usize,
    trailers: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// At the first byte of a line of the trailer section.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
}

impl ChunkScan {
    /// Takes the next bytes of the body.
    pub(crate) fn step(&mut self, bytes: &[u8]) -> ChunkStep {
        let mut at = 0;
        while at < bytes.len() {
            if self.place == Place::Data {
                let taken = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.size -= taken as u64;
                at += taken;
                if self.size == 0 {
                    self.place = Place::DataCr;
                }
                continue;
            }
            let is_end = self.place == Place::EndLf;
            let Some(next) = self.byte(bytes[at]) else {
                return ChunkStep::Broken;
            };
            at += 1;
            if is_end {
                return ChunkStep::End(at);
            }
            self.place = next;
        }
        ChunkStep::Through
    }

    /// The place after one byte of framing; `None` when it may not stand here.
    fn byte(&mut self, byte: u8) -> Option<Place> {
        match (self.place, byte) {
            (Place::Size, b'\r') if self.digits > 0 => Some(Place::SizeEnd),
            (Place::Size, b';') if self.digits > 0 => self.extension(),
            (Place::Size, _) => self.digit(byte),
            (Place::Extension, b'\r') => Some(Place::SizeEnd),
            (Place::Extension, _) if !is_control(byte) => self.extension(),
            (Place::SizeEnd, b'\n') => Some(self.sized()),
            (Place::DataCr, b'\r') => Some(Place::DataLf),
            (Place::DataLf, b'\n') => Some(Place::Size),
            (Place::TrailerStart, b'\r') => Some(Place::EndLf),
            // A folded line, or a field without a name.
            (Place::TrailerStart, b' ' | b'\t' | b':') => None,
            (Place::TrailerStart, _) => {
                self.trailers += 1;
                if self.trailers <= HEADERS_MAX { self.trailer(byte) } else { None }
            }
            (Place::Trailer, b'\r') => Some(Place::TrailerLf),
            (Place::Trailer, _) => self.trailer(byte),
            (Place::TrailerLf, b'\n') => Some(Place::TrailerStart),
            (Place::EndLf, b'\n') => Some(Place::EndLf),
            _ => None,
        }
    }

    fn digit(&mut self, byte: u8) -> Option<Place> {
        let digit = char::from(byte).to_digit(16)?;
        self.digits += 1;
        self.size = self.size * 16 + u64::from(digit);
        (self.digits <= SIZE_DIGITS_MAX).then_some(Place::Size)
    }

    fn extension(&mut self) -> Option<Place> {
        self.extension_bytes += 1;
        (self.extension_bytes <= CHUNK_EXTENSION_BYTES_MAX).then_some(Place::Extension)
    }

    fn sized(&mut self) -> Place {
        self.digits = 0;
        if self.size == 0 { Place::TrailerStart } else { Place::Data }
    }

    fn trailer(&mut self, byte: u8) -> Option<Place> {
        self.trailer_bytes += 1;
        (!is_control(byte) && self.trailer_bytes <= TRAILER_BYTES_MAX).then_some(Place::Trailer)
    }
}

#[cfg(test)]
mod tests;
