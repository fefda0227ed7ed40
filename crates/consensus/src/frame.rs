//! The frame around everything that is stored: 12 bytes that say what follows, how long it is and whether it is whole.
//! Owns the layout and the list of schemas; must never know what a body means.
//!
//! ```text
//! 0      1        3       4        8         12
//! | 0xA5 | schema | flags | length | crc32c | body …        big endian; the crc is over bytes 0..8 and the body
//! ```

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::DECODED_BYTES_MAX;

/// Bytes before the body.
pub const HEADER_BYTES: usize = 12;

/// First byte of every frame: not the start of any text, and not zero, which torn files are full of.
const MAGIC: u8 = 0xA5;

/// What a frame's body is. Numbers are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// The payload of a log entry, version 1.
    Entry = 1,
    /// A vote, version 1.
    Vote = 2,
    /// A record of the in-memory twin of the log.
    MemoryRecord = 3,
    /// A message between two members, version 1 and later.
    Message = 4,
    /// The answer to a message.
    Reply = 5,
    /// What a snapshot is of.
    SnapshotHeader = 6,
    /// One record of a state, whose body is the state machine's own.
    SnapshotRecord = 7,
    /// What a snapshot must add up to.
    SnapshotTrailer = 8,
    /// Whose directory this is.
    Identity = 9,
}

/// Why a frame cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end before the frame does.
    #[error("the frame is cut off: {found} of {expected} bytes are there")]
    Short {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        expected: usize,
    },
    /// Not a frame at all.
    #[error("no frame starts here: the first byte is {0:#04x}")]
    Magic(u8),
    /// Bytes changed since they were written.
    #[error("the frame is damaged: its checksum is {found:08x}, expected {expected:08x}")]
    Damaged {
        /// The checksum of the bytes.
        found: u32,
        /// The checksum that was written.
        expected: u32,
    },
    /// Written by another version.
    #[error("the frame has schema {found}, expected {expected}: it was written by another version of shoal")]
    Schema {
        /// What it has.
        found: u16,
        /// What the place holds.
        expected: u16,
    },
    /// Written by a later version.
    #[error("the frame has flags {0:#04x}, which this version of shoal does not know")]
    Flags(u8),
    /// The body does not decode.
    #[error("the frame's body does not decode: {0}")]
    Body(String),
}

/// `value` in a frame. Fails only on what bincode cannot encode: sequences of unknown length.
pub fn encode(schema: Schema, value: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEADER_BYTES];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .map_err(|error| FrameError::Body(error.to_string()))?;
    seal(schema, bytes)
}

/// `body` in a frame, as it is.
pub fn wrap(schema: Schema, body: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.resize(HEADER_BYTES, 0);
    bytes.extend_from_slice(body);
    seal(schema, bytes)
}

/// Writes the header of a frame whose body stands behind room for it.
fn seal(schema: Schema, mut bytes: Vec<u8>) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(bytes.len() - HEADER_BYTES).map_err(|_| FrameError::Body("longer than 4 GiB".to_owned()))?;
    bytes[0] = MAGIC;
    bytes[1..3].copy_from_slice(&(schema as u16).to_be_bytes());
    bytes[4..8].copy_from_slice(&length.to_be_bytes());
    let sum = checksum(&bytes);
    bytes[8..12].copy_from_slice(&sum.to_be_bytes());
    Ok(bytes)
}

/// The value in `frame`, which must be one whole frame of `schema` and nothing more.
pub fn decode<T: DeserializeOwned>(schema: Schema, frame: &[u8]) -> Result<T, FrameError> {
    let body = unwrap(schema, frame)?;
    let config = bincode::config::standard().with_limit::<DECODED_BYTES_MAX>();
    let (value, used) = bincode::serde::decode_from_slice(body, config).map_err(|error| FrameError::Body(error.to_string()))?;
    if used == body.len() { Ok(value) } else { Err(FrameError::Body(format!("{} bytes are left over", body.len() - used))) }
}

/// The body of `frame`, which must be one whole frame of `schema` and nothing more.
pub fn unwrap(schema: Schema, frame: &[u8]) -> Result<&[u8], FrameError> {
    let expected = length(frame)?;
    if frame.len() != expected {
        return Err(FrameError::Short { found: frame.len(), expected });
    }
    let written = number(&frame[8..12]);
    let found = checksum(frame);
    if written != found {
        return Err(FrameError::Damaged { found, expected: written });
    }
    let found = u16::from_be_bytes([frame[1], frame[2]]);
    if found != schema as u16 {
        return Err(FrameError::Schema { found, expected: schema as u16 });
    }
    if frame[3] != 0 {
        return Err(FrameError::Flags(frame[3]));
    }
    Ok(&frame[HEADER_BYTES..])
}

/// Bytes of the frame that `bytes` starts with, header included. Read from the header alone, so it is only as true as the checksum says later.
pub fn length(bytes: &[u8]) -> Result<usize, FrameError> {
    if let Some(first) = bytes.first().filter(|first| **first != MAGIC) {
        return Err(FrameError::Magic(*first));
    }
    if bytes.len() < HEADER_BYTES {
        return Err(FrameError::Short { found: bytes.len(), expected: HEADER_BYTES });
    }
    Ok(HEADER_BYTES + number(&bytes[4..8]) as usize)
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("the caller cut out four bytes"))
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..8]), &frame[HEADER_BYTES..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_for_ever() {
        let frame = encode(Schema::Entry, &(7u64, "hello")).expect("encodes");
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, concat!("a5", "0001", "00", "00000007", "19f1d1d4", "07", "0568656c6c6f"));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let frame = encode(Schema::Entry, &(7u64, "hello")).expect("encodes");
        assert_eq!(decode::<(u64, String)>(Schema::Entry, &frame), Ok((7, "hello".to_owned())));
        for end in 0..frame.len() {
            assert!(decode::<(u64, String)>(Schema::Entry, &frame[..end]).is_err(), "cut at {end}");
        }
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<(u64, String)>(Schema::Entry, &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_text_longer_than_its_body_is_refused_before_memory_is_taken_for_it() {
        let mut frame = encode(Schema::Entry, &[0u8; 9]).expect("encodes");
        // A text of 2^60 bytes.
        frame[HEADER_BYTES..].copy_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0x10]);
        let sum = checksum(&frame);
        frame[8..12].copy_from_slice(&sum.to_be_bytes());
        let error = decode::<String>(Schema::Entry, &frame).expect_err("the body ends after nine bytes");
        assert_eq!(error, FrameError::Body("LimitExceeded".to_owned()));
    }

    #[test]
    fn a_frame_of_another_kind_or_version_is_refused() {
        let frame = encode(Schema::Vote, &1u8).expect("encodes");
        assert_eq!(decode::<u8>(Schema::Entry, &frame), Err(FrameError::Schema { found: 2, expected: 1 }));
        let mut later = frame;
        later[3] = 0x80;
        let sum = checksum(&later);
        later[8..12].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(decode::<u8>(Schema::Vote, &later), Err(FrameError::Flags(0x80)));
    }
}
