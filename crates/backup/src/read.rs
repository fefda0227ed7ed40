//! Reading a backup part by part. Owns what is refused; must never give a part's bytes to be anything but unproven until the end was read.

use std::io::{self, BufReader, Read};

use model::id::Digest;
use sha2::{Digest as _, Sha256};

use crate::{About, END, FORMAT, Kind, MAGIC, PIECE_BYTES_MAX, SMALL_PART_BYTES_MAX};

/// Why a file is not a backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It does not begin like one.
    #[error("this is no snapshot that `shoal snapshot save` wrote")]
    Magic,
    /// A later version wrote it.
    #[error("the snapshot has format {found}, and this program reads format {FORMAT}")]
    Format {
        /// What stands in it.
        found: u32,
    },
    /// It ends before its end.
    #[error("the snapshot is torn: it ends in the middle")]
    Torn,
    /// Its bytes are not those that were written.
    #[error("the snapshot is damaged: {what}")]
    Damaged {
        /// What does not match.
        what: &'static str,
    },
    /// The system refuses.
    #[error("the snapshot cannot be read")]
    Read(#[source] io::Error),
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Torn } else { Self::Read(error) }
    }
}

/// Reads a file. Nothing that it gave is proven before [`Reader::next`] has given the end.
pub struct Reader<R> {
    from: BufReader<R>,
    sum: Sha256,
    about: About,
    /// A part was given and not read to its end.
    open: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning: what the file is of.
    ///
    /// # Errors
    /// It is no backup, or one of another format.
    pub fn open(from: R) -> Result<Self, BackupError> {
        let about = About {
            format: 0,
            cluster: String::new(),
            index: 0,
            state_hash: Digest([0; 32]),
            saved_at: 0,
            release: String::new(),
            artifacts: None,
            missing: Vec::new(),
            with_keys: false,
        };
        let mut reader = Self { from: BufReader::new(from), sum: Sha256::new(), about, open: false };
        let mut magic = [0; MAGIC.len()];
        match reader.take(&mut magic) {
            Ok(()) if &magic == MAGIC => {}
            Ok(()) | Err(BackupError::Torn) => return Err(BackupError::Magic),
            Err(error) => return Err(error),
        }
        let damaged = || BackupError::Damaged { what: "it does not say what it is of" };
        let Some(part) = reader.next_part()?.filter(|part| part.kind == Kind::About) else { return Err(damaged()) };
        let text = part.whole()?;
        let found = serde_json::from_slice::<serde_json::Value>(&text).ok().and_then(|about| about["format"].as_u64());
        match found.and_then(|found| u32::try_from(found).ok()) {
            Some(FORMAT) => {}
            Some(found) => return Err(BackupError::Format { found }),
            None => return Err(damaged()),
        }
        reader.about = serde_json::from_slice(&text).map_err(|_| damaged())?;
        Ok(reader)
    }

    /// What the file is of.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The next part; none when the end was read and every byte before it is as it was written. What is left of the part before is skipped.
    ///
    /// # Errors
    /// The file is torn or damaged.
    pub fn next_part(&mut self) -> Result<Option<Part<'_, R>>, BackupError> {
        if self.open {
            let mut rest = Part { kind: Kind::About, file: self, left: 0 };
            io::copy(&mut rest, &mut io::sink())?;
        }
        let mut head = [0; 1];
        self.take(&mut head)?;
        if head[0] == END {
            return self.end().map(|()| None);
        }
        let mut length = [0; 1];
        self.take(&mut length)?;
        let mut name = vec![0; usize::from(length[0])];
        self.take(&mut name)?;
        let digest = <[u8; 32]>::try_from(name.as_slice()).map(Digest);
        let kind = match (head[0], digest, name.is_empty()) {
            (1, _, true) => Kind::About,
            (2, _, true) => Kind::State,
            (3, _, true) => Kind::Key,
            (4, Ok(digest), _) => Kind::Artifact(digest),
            _ => return Err(BackupError::Damaged { what: "it has a part that no snapshot has" }),
        };
        self.open = true;
        Ok(Some(Part { kind, file: self, left: 0 }))
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let wanted: [u8; 32] = self.sum.clone().finalize().into();
        let mut told = [0; 32];
        self.from.read_exact(&mut told)?;
        if told != wanted {
            return Err(BackupError::Damaged { what: "its bytes are not the ones that were written" });
        }
        match self.from.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(BackupError::Damaged { what: "something follows its end" }),
        }
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.from.read_exact(bytes)?;
        self.sum.update(&*bytes);
        Ok(())
    }
}

/// A part as it comes.
pub struct Part<'a, R> {
    /// What it is.
    pub kind: Kind,
    file: &'a mut Reader<R>,
    /// Bytes of the piece that are not read yet.
    left: usize,
}

impl<R: Read> Part<'_, R> {
    /// All of a small part.
    ///
    /// # Errors
    /// It has more than [`SMALL_PART_BYTES_MAX`] bytes, or the file is torn.
    pub fn whole(self) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        let mut part = self;
        (&mut part).take(SMALL_PART_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > SMALL_PART_BYTES_MAX {
            return Err(BackupError::Damaged { what: "a part is longer than any that is written" });
        }
        Ok(bytes)
    }
}

impl<R: Read> Read for Part<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && self.file.open {
            let mut length = [0; 4];
            self.file.take(&mut length).map_err(io_error)?;
            self.left = u32::from_be_bytes(length) as usize;
            if self.left > PIECE_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece is longer than any that is written"));
            }
            self.file.open = self.left > 0;
        }
        let wanted = bytes.len().min(self.left);
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.file.from.read(&mut bytes[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.sum.update(&bytes[..read]);
        self.left -= read;
        Ok(read)
    }
}

fn io_error(error: BackupError) -> io::Error {
    match error {
        BackupError::Read(error) => error,
        BackupError::Torn => io::ErrorKind::UnexpectedEof.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Writer;

    fn about() -> About {
        About {
            format: FORMAT,
            cluster: "c".into(),
            index: 7,
            state_hash: Digest::of(b"state"),
            saved_at: 1_000,
            release: "0.1.0".into(),
            artifacts: Some(1),
            missing: Vec::new(),
            with_keys: true,
        }
    }

    fn written(state: &[u8], artifact: &[u8]) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), &about()).expect("memory takes it");
        writer.part(&Kind::State, state).expect("memory takes it");
        writer.part(&Kind::Key, [9; 32].as_slice()).expect("memory takes it");
        writer.part(&Kind::Artifact(Digest::of(artifact)), artifact).expect("memory takes it");
        writer.finish().expect("memory takes it")
    }

    fn all(file: &[u8]) -> Result<Vec<(Kind, Vec<u8>)>, BackupError> {
        let (mut reader, mut parts) = (Reader::open(file)?, Vec::new());
        while let Some(mut part) = reader.next_part()? {
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes)?;
            parts.push((part.kind.clone(), bytes));
        }
        Ok(parts)
    }

    #[test]
    fn what_is_written_is_read() {
        for (state, artifact) in [(0, 1), (PIECE_BYTES_MAX, 5), (PIECE_BYTES_MAX + 1, 3 * PIECE_BYTES_MAX)] {
            let (state, artifact) = (vec![1; state], vec![2; artifact]);
            let file = written(&state, &artifact);
            let parts = all(&file).expect("whole");
            let digest = Digest::of(&artifact);
            assert_eq!(parts, [(Kind::State, state), (Kind::Key, vec![9; 32]), (Kind::Artifact(digest), artifact)]);
            let mut reader = Reader::open(file.as_slice()).expect("whole");
            assert_eq!(reader.about(), &about());
            let mut count = 0;
            while reader.next_part().expect("parts may be skipped").is_some() {
                count += 1;
            }
            assert_eq!(count, 3);
        }
    }

    #[test]
    fn a_file_of_something_else_is_refused_in_words() {
        assert!(matches!(all(b""), Err(BackupError::Magic)));
        assert!(matches!(all(b"SHOALSNP and more"), Err(BackupError::Magic)));
        let mut later = about();
        later.format = 2;
        let file = Writer::begin(Vec::new(), &later).and_then(Writer::finish).expect("memory takes it");
        assert!(matches!(all(&file), Err(BackupError::Format { found: 2 })));
        let longer = [written(b"state", b"wasm"), vec![0]].concat();
        assert!(matches!(all(&longer), Err(BackupError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn a_torn_or_changed_file_is_refused(at in 0_usize..600, flip in 1_u8..=255) {
            let file = written(b"the state of a cluster", b"wasm");
            let at = at % file.len();
            prop_assert!(all(&file[..at]).is_err(), "cut at {}", at);
            let mut changed = file;
            changed[at] ^= flip;
            prop_assert!(all(&changed).is_err(), "changed at {}", at);
        }
    }
}
