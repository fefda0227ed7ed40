//! Writing a backup part by part. Owns the bytes; must never reorder what it is given.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::{About, END, Kind, MAGIC, PIECE_BYTES_MAX};

/// Writes a file. Without [`Writer::finish`] it stays torn, and is refused.
pub struct Writer<W> {
    out: W,
    sum: Sha256,
}

impl<W: Write> Writer<W> {
    /// Begins a file with what it is of.
    ///
    /// # Errors
    /// `out` takes nothing.
    pub fn begin(out: W, about: &About) -> io::Result<Self> {
        let mut writer = Self { out, sum: Sha256::new() };
        writer.put(MAGIC)?;
        let text = serde_json::to_vec(about)?;
        writer.part(&Kind::About, text.as_slice())?;
        Ok(writer)
    }

    /// A part that is copied from `from` to its end.
    ///
    /// # Errors
    /// `from` cannot be read, or the file not be written.
    pub fn part(&mut self, kind: &Kind, mut from: impl Read) -> io::Result<()> {
        self.stream(kind, |pieces| io::copy(&mut from, pieces).map(drop))
    }

    /// A part that `write` writes by itself.
    ///
    /// # Errors
    /// Those of `write`, and of the file.
    pub fn stream(&mut self, kind: &Kind, write: impl FnOnce(&mut Pieces<'_, W>) -> io::Result<()>) -> io::Result<()> {
        self.put(&[kind.number()])?;
        let name: &[u8] = if let Kind::Artifact(digest) = kind { &digest.0 } else { &[] };
        self.put(&[u8::try_from(name.len()).map_err(io::Error::other)?])?;
        self.put(name)?;
        let mut pieces = Pieces { file: self, piece: Vec::with_capacity(PIECE_BYTES_MAX) };
        write(&mut pieces)?;
        pieces.flush()?;
        self.put(&0_u32.to_be_bytes())
    }

    /// Ends the file, and gives what it was written to back.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(&[END])?;
        let sum: [u8; 32] = self.sum.clone().finalize().into();
        self.out.write_all(&sum)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Where a part goes: bytes are gathered into pieces.
pub struct Pieces<'a, W> {
    file: &'a mut Writer<W>,
    piece: Vec<u8>,
}

impl<W: Write> Write for Pieces<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES_MAX - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES_MAX {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(self.piece.len()).map_err(io::Error::other)?;
        self.file.put(&length.to_be_bytes())?;
        self.file.put(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}
