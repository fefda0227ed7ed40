//! The bytes of a snapshot: a stream of frames between a header and a trailer. Owns the layout and its checks; must never know where it is kept.
//!
//! ```text
//! "SHOALSNP" | header | record … | trailer       each a frame; the trailer has the number of records and the SHA-256 of all before it
//! ```

use std::io::{self, BufReader, BufWriter, Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    GroupId, RestoreError, StateMachine,
    frame::{self, FrameError, HEADER_BYTES, Schema},
    group::Members,
    limits::{RECORD_BYTES_MAX, SNAPSHOT_BUFFER_BYTES},
    log::LogId,
};

const MAGIC: &[u8; 8] = b"SHOALSNP";

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The group.
    pub group: GroupId,
    /// The last entry that is in it.
    pub last: LogId,
    /// Who was in the group then.
    pub(crate) members: Members,
    /// The entry that says so.
    pub(crate) members_at: Option<LogId>,
}

/// The header. Variants are only ever appended, their fields never change.
#[derive(Serialize, Deserialize)]
enum Header {
    V1 { group: GroupId, last: LogId, members: Members, members_at: Option<LogId> },
}

/// The trailer. Variants are only ever appended, their fields never change.
#[derive(Serialize, Deserialize)]
enum Trailer {
    V1 { records: u64, sha256: [u8; 32] },
}

/// Why a file is not a snapshot that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It could not be read, or ends too early.
    #[error("reading a snapshot")]
    Read {
        /// Why.
        #[from]
        source: io::Error,
    },
    /// Not a snapshot at all.
    #[error("this is not a snapshot: it does not begin like one")]
    Magic,
    /// A part is damaged or was written by a later version.
    #[error("reading part {part} of a snapshot")]
    Part {
        /// Which, from 0: the header.
        part: u64,
        /// Why.
        source: FrameError,
    },
    /// The parts are whole, but they are not what was written.
    #[error("the snapshot is damaged: {reason}")]
    Sum {
        /// What does not match.
        reason: &'static str,
    },
    /// The records are whole, but not a state.
    #[error("restoring the state of a snapshot")]
    Restore {
        /// Why.
        source: RestoreError,
    },
}

/// Writes `machine`, which is the state at `meta`. Streams: no more than one record is held.
pub fn export<M: StateMachine>(meta: &Meta, machine: &M, out: impl Write) -> io::Result<()> {
    let mut out = Summed { inner: BufWriter::with_capacity(SNAPSHOT_BUFFER_BYTES, out), sum: Sha256::new() };
    out.write_all(MAGIC)?;
    let Meta { group, last, members, members_at } = meta.clone();
    out.write_all(&frame::encode(Schema::SnapshotHeader, &Header::V1 { group, last, members, members_at }).map_err(invalid)?)?;
    let mut records = 0;
    for record in machine.records() {
        if record.len() > RECORD_BYTES_MAX {
            return Err(invalid(format!("a record of {} bytes is more than a snapshot may have", record.len())));
        }
        out.write_all(&frame::wrap(Schema::SnapshotRecord, &record).map_err(invalid)?)?;
        records += 1;
    }
    let trailer = Trailer::V1 { records, sha256: out.sum.clone().finalize().into() };
    out.write_all(&frame::encode(Schema::SnapshotTrailer, &trailer).map_err(invalid)?)?;
    out.inner.flush()
}

/// Reads a snapshot, and gives its state only when every byte of it was as it was written.
pub fn import<M: StateMachine>(from: impl Read) -> Result<(Meta, M), ImportError> {
    let mut parts = Parts::open(from)?;
    let meta = match frame::decode(Schema::SnapshotHeader, &parts.next()?).map_err(|source| ImportError::Part { part: 0, source })? {
        Header::V1 { group, last, members, members_at } => Meta { group, last, members, members_at },
    };
    if members_invalid(&meta.members) {
        return Err(ImportError::Sum { reason: "its membership cannot be" });
    }
    let mut records = Records { parts: &mut parts, count: 0, trailer: None, error: None };
    let restored = M::restore(&mut records);
    // A machine may stop before the end; what is left is checked all the same.
    while restored.is_ok() && records.trailer.is_none() && records.error.is_none() {
        records.next();
    }
    let Records { count, trailer, error, .. } = records;
    if let Some(error) = error {
        return Err(error);
    }
    let machine = restored.map_err(|source| ImportError::Restore { source })?;
    let Some((trailer, sum)) = trailer else { return Err(ImportError::Sum { reason: "it has no end" }) };
    let Trailer::V1 { records, sha256 } =
        frame::decode(Schema::SnapshotTrailer, &trailer).map_err(|source| ImportError::Part { part: count + 1, source })?;
    if records != count {
        return Err(ImportError::Sum { reason: "the number of its records is not the one that was written" });
    }
    if sha256 != sum {
        return Err(ImportError::Sum { reason: "its bytes are not the ones that were written" });
    }
    parts.end()?;
    Ok((meta, machine))
}

fn members_invalid(members: &Members) -> bool {
    !members.configs.is_empty() && members.membership().is_none()
}

/// The frames of a snapshot, one after the other.
struct Parts<R> {
    from: Summed<BufReader<R>>,
    part: u64,
}

impl<R: Read> Parts<R> {
    fn open(from: R) -> Result<Self, ImportError> {
        let mut from = Summed { inner: BufReader::with_capacity(SNAPSHOT_BUFFER_BYTES, from), sum: Sha256::new() };
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if &magic == MAGIC { Ok(Self { from, part: 0 }) } else { Err(ImportError::Magic) }
    }

    /// The next frame, whole but not yet decoded.
    fn next(&mut self) -> Result<Vec<u8>, ImportError> {
        let part = self.part;
        self.part += 1;
        let mut bytes = vec![0; HEADER_BYTES];
        self.from.read_exact(&mut bytes)?;
        let length = frame::length(&bytes).map_err(|source| ImportError::Part { part, source })?;
        if length > RECORD_BYTES_MAX + HEADER_BYTES {
            return Err(ImportError::Sum { reason: "a part is longer than any that is written" });
        }
        bytes.resize(length, 0);
        self.from.read_exact(&mut bytes[HEADER_BYTES..])?;
        Ok(bytes)
    }

    /// An error when something follows.
    fn end(&mut self) -> Result<(), ImportError> {
        let more = self.from.read(&mut [0])?;
        if more == 0 { Ok(()) } else { Err(ImportError::Sum { reason: "something follows its end" }) }
    }
}

/// The records of a snapshot until its trailer, which is kept with the sum of what came before it.
struct Records<'a, R> {
    parts: &'a mut Parts<R>,
    count: u64,
    trailer: Option<(Vec<u8>, [u8; 32])>,
    error: Option<ImportError>,
}

impl<R: Read> Records<'_, R> {
    fn read(&mut self) -> Result<Option<Vec<u8>>, ImportError> {
        let sum = self.parts.from.sum.clone();
        let part = self.parts.part;
        let frame = self.parts.next()?;
        match frame::unwrap(Schema::SnapshotRecord, &frame) {
            Ok(body) => {
                self.count += 1;
                Ok(Some(body.to_vec()))
            }
            Err(FrameError::Schema { found, .. }) if found == Schema::SnapshotTrailer as u16 => {
                self.trailer = Some((frame, sum.finalize().into()));
                Ok(None)
            }
            Err(source) => Err(ImportError::Part { part, source }),
        }
    }
}

impl<R: Read> Iterator for Records<'_, R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.trailer.is_some() || self.error.is_some() {
            return None;
        }
        match self.read() {
            Ok(record) => record.map(Ok),
            Err(error) => {
                let told = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
                self.error = Some(error);
                Some(Err(told))
            }
        }
    }
}

/// Passes bytes on and sums them up.
struct Summed<T> {
    inner: T,
    sum: Sha256,
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.sum.update(&bytes[..read]);
        Ok(read)
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
