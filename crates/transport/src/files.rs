//! Small files that hold a node's keys and certificates. Owns that they are whole (aside, synced, renamed) and that private ones stay private; must never
//! know what is in them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Bits that let anyone but the owner at a file.
const OTHERS: u32 = 0o077;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// `read` or `write`.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("others than its owner may read {path}; make it private with: chmod 600 {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It is far larger than what belongs there.
    #[error("{} has more than {max} bytes, so it is not what belongs there", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that may be.
        max: u64,
    },
}

/// Reads a file that nobody else may read.
pub(crate) fn read_private(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    let mode = file.metadata().map_err(failed("read", path))?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(FileError::Open { path: path.to_owned() });
    }
    read_open(file, path, max)
}

/// Reads a file that is no secret.
pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    read_open(open(path)?, path, max)
}

/// Writes a file that only its owner may read: aside, synced, renamed, and the directory synced.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes).map_err(failed("write", path))
}

/// One PEM block.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let mut block = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        block.push_str(&String::from_utf8_lossy(line));
        block.push('\n');
    }
    zeroize::Zeroize::zeroize(&mut { text });
    block + &format!("-----END {label}-----\n")
}

fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(failed("read", path))
}

fn read_open(file: File, path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > max {
        return Err(FileError::TooLarge { path: path.to_owned(), max });
    }
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    // What a writer that died has left; it may be open to others.
    if let Err(error) = fs::remove_file(&aside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { attempt, path, source }
}
