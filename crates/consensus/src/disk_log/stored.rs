//! What the log's files hold of ours: places, frames and votes as bytes. Owns the stored form and the guard of every length; must never touch a file.

use std::{
    io,
    io::{Read, Write},
};

use bytes::Bytes;
use codeq::{Decode, Encode};
use raft_log::codeq;

use crate::{
    frame::{self, Schema},
    limits::COMMAND_BYTES_MAX,
    log::{Flushed, LogId, Vote},
};

/// What the crate stores for us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stored;

pub(super) type Crc = codeq::config::Crc32fast;

impl raft_log::Types for Stored {
    type LogId = Place;
    type LogPayload = Framed;
    type Vote = StoredVote;
    type Callback = Told;
    type UserData = Framed;

    fn log_index(id: &Place) -> u64 {
        id.0.index
    }

    fn payload_size(payload: &Framed) -> u64 {
        payload.0.len() as u64
    }
}

pub(super) struct Told(pub(super) Flushed);

impl raft_log::Callback for Told {
    fn send(self, result: io::Result<()>) {
        self.0.tell(result);
    }
}

/// A log id as 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(pub(super) LogId);

impl Encode for Place {
    fn encode<W: Write>(&self, mut out: W) -> io::Result<usize> {
        for number in [self.0.term, self.0.index] {
            out.write_all(&number.to_be_bytes())?;
        }
        Ok(16)
    }
}

impl Decode for Place {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        let mut number = || {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes).map(|()| u64::from_be_bytes(bytes))
        };
        Ok(Self(LogId { term: number()?, index: number()? }))
    }
}

/// A frame, with its length guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Framed(pub(super) Bytes);

impl Encode for Framed {
    fn encode<W: Write>(&self, mut out: W) -> io::Result<usize> {
        let length = u32::try_from(self.0.len()).map_err(|_| invalid("a frame is longer than 4 GiB"))?;
        out.write_all(&length.to_be_bytes())?;
        out.write_all(&(!length).to_be_bytes())?;
        out.write_all(&self.0)?;
        Ok(8 + self.0.len())
    }
}

impl Decode for Framed {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        let mut number = || {
            let mut bytes = [0; 4];
            from.read_exact(&mut bytes).map(|()| u32::from_be_bytes(bytes))
        };
        let (length, guard) = (number()?, number()?);
        if length != !guard || length as usize > COMMAND_BYTES_MAX + frame::HEADER_BYTES {
            return Err(invalid("the length of a record is damaged"));
        }
        let mut bytes = vec![0; length as usize];
        from.read_exact(&mut bytes)?;
        Ok(Self(Bytes::from(bytes)))
    }
}

/// A vote in a frame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd)]
pub(super) struct StoredVote(pub(super) Vote);

impl Encode for StoredVote {
    fn encode<W: Write>(&self, out: W) -> io::Result<usize> {
        Framed(frame::encode(Schema::Vote, &self.0).map_err(invalid)?.into()).encode(out)
    }
}

impl Decode for StoredVote {
    fn decode<R: Read>(from: R) -> io::Result<Self> {
        frame::decode(Schema::Vote, &Framed::decode(from)?.0).map(Self).map_err(invalid)
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
