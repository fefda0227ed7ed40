//! The directory of compiled code: one file per artifact, for the engine it needs. Owns the files' names, form and protection; must never compile, and never run
//! anything that is not as it was written.
//!
//! A file is the engine's code followed by a 16-byte trailer: `SHOALCD1`, the crc32c of the code, and four zero bytes. The checksum finds a torn or
//! decayed file; against forgery stands the directory, which only the compile child can write.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
    time::SystemTime,
};

use model::id::Digest;

use crate::{
    engine::{self, Kind},
    error::OpenError,
    limits,
};

/// Opens every trailer; the digit is the version of the form.
const TRAILER_MAGIC: &[u8; 8] = b"SHOALCD1";

/// Bytes of the trailer.
const TRAILER_BYTES: usize = 16;

/// Ends the name of a code file.
const CODE_SUFFIX: &str = ".code";

/// Ends the name of a half-written code file.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// The code files of this machine.
#[derive(Debug, Clone)]
pub struct CodeStore {
    directory: PathBuf,
}

/// One code file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The artifact.
    pub digest: Digest,
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was written.
    pub written: SystemTime,
}

/// A code file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{attempt} {}", path.display())]
pub struct StoreError {
    attempt: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StoreError {
    /// The error's code, see docs/reference/errors.
    pub fn code(&self) -> &'static str {
        "E0406"
    }
}

impl CodeStore {
    /// The store in `directory`, which must exist and should be readable by its owner alone.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The file with code of `digest` that one of this process's engines can run, if there is one.
    pub fn path(&self, digest: &Digest) -> Option<PathBuf> {
        let of = |kind| self.directory.join(code_file_name(digest, engine::compatibility(kind)));
        Kind::ALL.into_iter().map(of).find(|path| path.is_file())
    }

    /// Writes code under its final name in one step: a reader sees all of it or nothing, also after a crash. Blocks for two fsyncs.
    pub fn put(&self, digest: &Digest, kind: Kind, code: &[u8]) -> Result<PathBuf, StoreError> {
        let name = code_file_name(digest, engine::compatibility(kind));
        let path = self.directory.join(&name);
        let temporary = self.directory.join(format!("{name}.{}{TEMPORARY_SUFFIX}", process::id()));
        let failed = |attempt, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError { attempt, path, source }
        };
        let written = write(&temporary, code)
            .map_err(failed("writing the code file", &temporary))
            .and_then(|()| fs::rename(&temporary, &path).map_err(failed("naming the code file", &path)));
        if let Err(error) = written {
            // The first error counts; what is left behind is removed with the leftovers.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed("syncing", &self.directory))?;
        Ok(path)
    }

    /// Every code file, whichever engine it is for.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let hex = name.to_str().and_then(|name| name.strip_suffix(CODE_SUFFIX)?.split_once('-')).map(|(hex, _)| hex.to_owned());
            let Some(digest) = hex.and_then(|hex| format!("sha256:{hex}").parse().ok()) else { continue };
            // A file that goes meanwhile is no entry.
            let Ok(metadata) = entry.metadata() else { continue };
            entries.push(Entry { digest, path: entry.path(), bytes: metadata.len(), written: metadata.modified()? });
        }
        Ok(entries)
    }

    /// Removes half-written files whose writer is gone. Returns how many.
    pub fn remove_leftovers(&self) -> io::Result<usize> {
        self.remove_where(|name, age| {
            let writer = name.strip_suffix(TEMPORARY_SUFFIX).and_then(|name| name.rsplit_once('.')).map(|(_, writer)| writer);
            writer.is_some_and(|writer| age > limits::LEFTOVER_AGE || !Path::new("/proc").join(writer).exists())
        })
    }

    /// Removes code that no engine of this version can run, and code of artifacts that `keep` does not want. Code that is open stays usable.
    /// Returns how many files went.
    pub fn retain(&self, keep: impl Fn(&Digest) -> bool) -> io::Result<usize> {
        self.remove_where(|name, _| match name.strip_suffix(CODE_SUFFIX).and_then(|name| name.split_once('-')) {
            Some((hex, compatibility)) => {
                let digest = format!("sha256:{hex}").parse();
                kind_of(compatibility).is_none() || !digest.is_ok_and(|digest| keep(&digest))
            }
            None => false,
        })
    }

    fn remove_where(&self, unwanted: impl Fn(&str, std::time::Duration) -> bool) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
            if unwanted(&entry.file_name().to_string_lossy(), age.unwrap_or_default()) {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// The name of the file with code of `digest` for engines of `compatibility`.
pub fn code_file_name(digest: &Digest, compatibility: &str) -> String {
    format!("{}-{compatibility}{CODE_SUFFIX}", digest.hex())
}

/// The engine that a code file's name says it is for; none when no engine of this process can run it.
pub(crate) fn kind_of_file(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?.strip_suffix(CODE_SUFFIX)?;
    kind_of(name.split_once('-')?.1)
}

fn kind_of(compatibility: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| engine::compatibility(*kind) == compatibility)
}

/// Which file on this machine holds which bytes: a file that was written to, replaced or opened to others is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// Of the file at `path` now.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&fs::Metadata> for Identity {
    fn from(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Checks that a code file is protected and whole, which is what makes running it safe. Reads all of it once. Returns which file it was.
pub(crate) fn verify(path: &Path) -> Result<Identity, OpenError> {
    let read = |source| OpenError::Read { path: path.to_owned(), source };
    let damaged = |reason| OpenError::Damaged { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    let unprotected = |reason| Err(OpenError::Unprotected { path: path.to_owned(), reason });
    if !metadata.is_file() {
        return unprotected("it is not a regular file");
    }
    if metadata.permissions().mode() & 0o222 != 0 {
        return unprotected("it can be written; code files have mode 0400");
    }
    if metadata.uid() != 0 && metadata.uid() != rustix::process::geteuid().as_raw() {
        return unprotected("it belongs to another user");
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.read_to_end(&mut bytes).map_err(read)?;
    let (code, trailer) = bytes.split_last_chunk::<TRAILER_BYTES>().ok_or_else(|| damaged("it is cut short"))?;
    if !trailer.starts_with(TRAILER_MAGIC) {
        return Err(damaged("it is cut short or was not written by this program"));
    }
    if *trailer != trailer_of(code) { Err(damaged("its checksum does not match")) } else { Ok(Identity::from(&metadata)) }
}

fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(code)?;
    file.write_all(&trailer_of(code))?;
    file.set_permissions(fs::Permissions::from_mode(0o400))?;
    file.sync_all()
}

fn trailer_of(code: &[u8]) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..8].copy_from_slice(TRAILER_MAGIC);
    trailer[8..12].copy_from_slice(&crc32c::crc32c(code).to_le_bytes());
    trailer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, CodeStore, Digest) {
        let directory = tempfile::tempdir().unwrap();
        let store = CodeStore::new(directory.path());
        (directory, store, Digest::of(b"artifact"))
    }

    #[test]
    fn what_is_put_is_found_and_verified() {
        let (_directory, store, digest) = store();
        assert_eq!(store.path(&digest), None);
        let path = store.put(&digest, Kind::Wasi02, b"code").unwrap();
        assert_eq!(store.path(&digest), Some(path.clone()));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o400);
        verify(&path).unwrap();
        store.put(&digest, Kind::Wasi02, b"code").expect("writing the same code again replaces it");
    }

    #[test]
    fn damaged_and_open_files_are_refused() {
        let (_directory, store, digest) = store();
        let path = store.put(&digest, Kind::Wasi02, b"some code").unwrap();
        let whole = fs::read(&path).unwrap();
        let check = |bytes: &[u8], mode: u32, words: &str| {
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = verify(&path).unwrap_err();
            assert_eq!(error.code(), "E0302");
            assert!(error.to_string().contains(words), "{error}");
        };
        check(&[], 0o400, "cut short");
        check(&whole[..whole.len() - 1], 0o400, "cut short");
        check(&[b"X", &whole[1..]].concat(), 0o400, "checksum");
        check(&whole, 0o600, "can be written");
        check(&whole, 0o420, "can be written");
    }

    #[test]
    fn leftovers_of_the_dead_are_removed() {
        let (directory, store, digest) = store();
        let name = code_file_name(&digest, engine::compatibility(Kind::Wasi02));
        let of_the_dead = directory.path().join(format!("{name}.4194305.tmp"));
        let of_the_living = directory.path().join(format!("{name}.{}.tmp", process::id()));
        let code = store.put(&digest, Kind::Wasi02, b"code").unwrap();
        fs::write(&of_the_dead, b"half").unwrap();
        fs::write(&of_the_living, b"half").unwrap();
        assert_eq!(store.remove_leftovers().unwrap(), 1);
        assert!(!of_the_dead.exists() && of_the_living.exists() && code.exists());
    }

    #[test]
    fn unwanted_and_foreign_code_is_removed() {
        let (directory, store, digest) = store();
        let other = Digest::of(b"other");
        let (wanted, unwanted) = (store.put(&digest, Kind::Wasi02, b"code").unwrap(), store.put(&other, Kind::Wasi03, b"code").unwrap());
        let foreign = directory.path().join(code_file_name(&digest, "0000000000000000"));
        fs::write(&foreign, b"old").unwrap();
        assert_eq!(store.retain(|kept| *kept == digest).unwrap(), 2);
        assert!(wanted.exists() && !unwanted.exists() && !foreign.exists());
    }
}
