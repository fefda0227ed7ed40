//! Artifact bytes on disk, named by digest: the store of a server.
//!
//! Owns writing aside, checking, flushing and renaming, so that a name always means its bytes, and what goes when there is too much. Must never know which app
//! uses them, who asks, or how they travel. Start with [`Artifacts`].

pub mod limits;
mod upload;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::Stream;
use inspect::{InspectError, Inspection};
use model::id::Digest;
use tokio::{sync::Semaphore, time::timeout};

pub use crate::upload::UploadError;
use crate::{
    limits::{ARTIFACT_GRACE, ARTIFACTS_MAX, FACTS_CACHED_MAX, UPLOAD_MAX, UPLOADS_MAX},
    upload::{Aside, receive},
};

/// The artifacts of this server.
#[derive(Debug)]
pub struct Artifacts {
    directory: PathBuf,
    bounds: Bounds,
    /// Bytes stored.
    bytes: AtomicU64,
    /// Artifacts stored.
    count: AtomicUsize,
    /// Held while one is removed, and while one is said to be needed: what was needed just before is not removed just after.
    removing: Mutex<()>,
    uploads: Semaphore,
    next_upload: AtomicU64,
    facts: Mutex<HashMap<Digest, Arc<Result<Inspection, InspectError>>>>,
}

/// How much may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes from which on what nobody refers to goes.
    pub bytes: u64,
    /// Artifacts from which on what nobody refers to goes.
    pub count: usize,
    /// How long an artifact stays after somebody needed it.
    pub grace: Duration,
}

impl Bounds {
    /// The standard ones with at most `bytes`.
    pub fn of(bytes: u64) -> Self {
        Self { bytes, count: ARTIFACTS_MAX, grace: ARTIFACT_GRACE }
    }
}

impl Artifacts {
    /// The artifacts under `directory`; what an earlier process left half-written is removed.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(directory: &Path, bounds: Bounds) -> io::Result<Self> {
        let aside = directory.join("tmp");
        fs::create_dir_all(&aside)?;
        for leftover in fs::read_dir(&aside)? {
            fs::remove_file(leftover?.path())?;
        }
        let stored = stored(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            bounds,
            bytes: AtomicU64::new(stored.iter().map(|artifact| artifact.bytes).sum()),
            count: AtomicUsize::new(stored.len()),
            removing: Mutex::default(),
            uploads: Semaphore::new(UPLOADS_MAX),
            next_upload: AtomicU64::new(1),
            facts: Mutex::default(),
        })
    }

    /// Bytes stored.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether as much is stored as may be, or more.
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.bounds.bytes || self.count.load(Ordering::Relaxed) >= self.bounds.count
    }

    /// Says that `digest` is needed, and whether it is here: if so, it stays for a while, so that an apply finds what it asked for before.
    pub fn touch(&self, digest: &Digest) -> bool {
        let _removing = self.removing.lock().expect("nothing panics while holding this");
        let file = fs::File::options().append(true).open(self.path(digest));
        // A clock that cannot be set leaves the file with the grace it has.
        file.inspect(|file| drop(file.set_modified(SystemTime::now()))).is_ok()
    }

    /// Removes artifacts that `is_referenced` does not want and nobody needed for a while, the oldest first, until the rest is within the bounds. Returns
    /// how many went. A crash in between leaves fewer files, each of them whole. Blocks while it reads the directory.
    ///
    /// # Errors
    /// The directory cannot be read, or a file not be removed.
    pub fn sweep(&self, is_referenced: impl Fn(&Digest) -> bool, now: SystemTime) -> io::Result<usize> {
        if !self.is_full() {
            return Ok(0);
        }
        let is_old = |needed: SystemTime| now.duration_since(needed).is_ok_and(|age| age >= self.bounds.grace);
        let mut unneeded = stored(&self.directory)?;
        unneeded.retain(|artifact| is_old(artifact.needed) && !is_referenced(&artifact.digest));
        unneeded.sort_by_key(|artifact| artifact.needed);
        let mut removed = 0;
        for artifact in unneeded {
            if !self.is_full() {
                break;
            }
            let _removing = self.removing.lock().expect("nothing panics while holding this");
            // Somebody may have asked for it since the directory was read.
            let needed = fs::metadata(self.path(&artifact.digest)).and_then(|metadata| metadata.modified());
            if !needed.is_ok_and(is_old) {
                continue;
            }
            fs::remove_file(self.path(&artifact.digest))?;
            self.facts.lock().expect("nothing panics while holding the facts").remove(&artifact.digest);
            self.bytes.fetch_sub(artifact.bytes, Ordering::Relaxed);
            self.count.fetch_sub(1, Ordering::Relaxed);
            removed += 1;
        }
        Ok(removed)
    }

    /// Where the bytes of `digest` are.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!("{}.wasm", digest.hex()))
    }

    /// How many bytes `digest` has; `None` when it is not here.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|metadata| metadata.len())
    }

    /// What `digest` is; `None` when it is not here. Read once, then remembered. Whoever asks needs it: see [`Self::touch`].
    ///
    /// # Errors
    /// It is here and cannot be read.
    pub async fn facts(&self, digest: &Digest) -> io::Result<Option<Arc<Result<Inspection, InspectError>>>> {
        if !self.touch(digest) {
            return Ok(None);
        }
        if let Some(known) = self.facts.lock().expect("nothing panics while holding the facts").get(digest) {
            return Ok(Some(known.clone()));
        }
        let path = self.path(digest);
        let read = tokio::task::spawn_blocking(move || match fs::read(path) {
            Ok(bytes) => Ok(Some(Arc::new(inspect::inspect(&bytes)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        let Some(facts) = read.await.map_err(io::Error::other)?? else { return Ok(None) };
        let mut known = self.facts.lock().expect("nothing panics while holding the facts");
        if known.len() >= FACTS_CACHED_MAX {
            known.clear();
        }
        known.insert(*digest, facts.clone());
        Ok(Some(facts))
    }

    /// Stores what comes as `digest`. When this returns without an error the bytes are on disk under that name.
    ///
    /// # Errors
    /// Nothing of it was stored, and why.
    pub async fn store<E>(&self, digest: &Digest, pieces: impl Stream<Item = Result<Bytes, E>>) -> Result<(), UploadError>
    where
        E: std::fmt::Display,
    {
        let _permit = self.uploads.try_acquire().map_err(|_| UploadError::Busy)?;
        if self.is_full() && self.size(digest).is_none() {
            return Err(UploadError::Full { count: self.count.load(Ordering::Relaxed), bytes: self.bytes() });
        }
        let number = self.next_upload.fetch_add(1, Ordering::Relaxed);
        let aside = Aside(self.directory.join("tmp").join(format!("{}.{number}", digest.hex())));
        let mut file = tokio::fs::File::create(&aside.0).await?;
        let late = |_| UploadError::BrokenOff { message: format!("it is not whole after {} s", UPLOAD_MAX.as_secs()) };
        let size = timeout(UPLOAD_MAX, receive(pieces, digest, &mut file)).await.map_err(late)??;
        file.sync_all().await?;
        drop(file);
        let replaced = self.size(digest);
        tokio::fs::rename(&aside.0, self.path(digest)).await?;
        std::mem::forget(aside);
        self.bytes.fetch_add(size.saturating_sub(replaced.unwrap_or(0)), Ordering::Relaxed);
        self.count.fetch_add(usize::from(replaced.is_none()), Ordering::Relaxed);
        // The name must survive a crash too, before anybody is told that it is there.
        tokio::fs::File::open(&self.directory).await?.sync_all().await?;
        Ok(())
    }
}

/// An artifact on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    digest: Digest,
    bytes: u64,
    /// When somebody needed it last.
    needed: SystemTime,
}

fn stored(directory: &Path) -> io::Result<Vec<Stored>> {
    let mut stored = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let digest = name.to_str().and_then(|name| name.strip_suffix(".wasm")).and_then(|hex| format!("sha256:{hex}").parse().ok());
        let Some(digest) = digest else { continue };
        let metadata = entry.metadata()?;
        stored.push(Stored { digest, bytes: metadata.len(), needed: metadata.modified()? });
    }
    Ok(stored)
}

/// Whether the disk, or the part of it that is ours, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    type Piece = Result<Bytes, io::Error>;

    async fn check(name: &[u8], pieces: Vec<Piece>, expected: Result<(), &str>) {
        let directory = tempfile::tempdir().expect("a directory");
        let artifacts = Artifacts::open(directory.path(), Bounds::of(1 << 30)).expect("an empty directory");
        let digest = Digest::of(name);
        let stored = artifacts.store(&digest, stream::iter(pieces)).await;
        assert_eq!(artifacts.size(&digest).is_some(), stored.is_ok(), "a name is there exactly when its bytes are");
        assert_eq!(stored.map_err(|error| error.code()), expected);
        let left = fs::read_dir(directory.path().join("tmp")).expect("the place aside").count();
        assert_eq!(left, 0, "nothing is left aside");
    }

    #[tokio::test]
    async fn an_upload_is_stored_whole_or_not_at_all() {
        let piece = |text: &'static str| Ok(Bytes::from(text));
        check(b"wasm", vec![piece("wa"), piece("sm")], Ok(())).await;
        check(b"wasm", vec![piece("wa")], Err("E0209")).await;
        check(b"wasm", vec![piece("wa"), Err(io::ErrorKind::ConnectionReset.into())], Err("E0408")).await;
        let mebibyte = Bytes::from(vec![0; 1024 * 1024]);
        check(b"wasm", (0..=256).map(|_| Ok(mebibyte.clone())).collect(), Err("E0409")).await;
    }

    #[tokio::test]
    async fn a_full_disk_is_told_as_such() {
        let mut full = tokio::fs::File::options().write(true).open("/dev/full").await.expect("Linux has one");
        let pieces = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"wasm"))]);
        let error = receive(pieces, &Digest::of(b"wasm"), &mut full).await.expect_err("nothing fits there");
        assert!(matches!(&error, UploadError::Storage(error) if is_full(error)), "{error:?}");
        assert_eq!(error.code(), "E0406");
    }

    #[test]
    fn what_a_crash_left_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("tmp")).expect("a fresh directory");
        fs::write(directory.path().join("tmp/half"), "ha").expect("a fresh directory");
        Artifacts::open(directory.path(), Bounds::of(1 << 30)).expect("a directory of ours");
        assert!(!directory.path().join("tmp/half").exists());
    }

    /// A store with three artifacts, `a` the oldest, in which `bytes` may be.
    async fn three(directory: &Path, bytes: u64) -> Artifacts {
        let artifacts = Artifacts::open(directory, Bounds::of(1 << 30)).expect("an empty directory");
        for (age, name) in [(30, "a"), (20, "b"), (10, "c")] {
            let piece = stream::iter([Ok::<_, io::Error>(Bytes::from(name))]);
            artifacts.store(&Digest::of(name.as_bytes()), piece).await.expect("there is room");
            let file = fs::File::options().append(true).open(artifacts.path(&Digest::of(name.as_bytes()))).expect("it was stored");
            file.set_modified(SystemTime::now() - Duration::from_secs(age * 3600)).expect("a file of ours");
        }
        let bounds = Bounds { grace: Duration::from_secs(3600), ..Bounds::of(bytes) };
        Artifacts::open(directory, bounds).expect("a directory of ours")
    }

    fn there(artifacts: &Artifacts) -> Vec<&'static str> {
        ["a", "b", "c"].into_iter().filter(|name| artifacts.size(&Digest::of(name.as_bytes())).is_some()).collect()
    }

    #[tokio::test]
    async fn the_oldest_that_nobody_refers_to_goes_and_only_as_much_as_must() {
        let directory = tempfile::tempdir().expect("a directory");
        let artifacts = three(directory.path(), 3).await;
        assert_eq!(artifacts.sweep(|digest| *digest == Digest::of(b"a"), SystemTime::now()).expect("a directory of ours"), 1);
        assert_eq!((there(&artifacts), artifacts.bytes()), (vec!["a", "c"], 2));
        assert_eq!(artifacts.sweep(|_| false, SystemTime::now()).expect("a directory of ours"), 0, "there is room again");
        let artifacts = Artifacts::open(directory.path(), Bounds::of(3)).expect("a directory of ours");
        assert_eq!((artifacts.bytes(), artifacts.count.load(Ordering::Relaxed)), (2, 2), "a new process counts what is there");
    }

    #[tokio::test]
    async fn what_was_asked_for_just_now_stays_for_the_apply_that_follows() {
        let directory = tempfile::tempdir().expect("a directory");
        let artifacts = three(directory.path(), 1).await;
        assert!(artifacts.touch(&Digest::of(b"a")) && !artifacts.touch(&Digest::of(b"never stored")));
        artifacts.sweep(|_| false, SystemTime::now()).expect("a directory of ours");
        assert_eq!(there(&artifacts), ["a"]);
        assert!(artifacts.facts(&Digest::of(b"b")).await.expect("no disk error").is_none(), "what went is not known any more");
    }

    #[tokio::test]
    async fn a_full_store_takes_only_what_it_has_already() {
        let directory = tempfile::tempdir().expect("a directory");
        let artifacts = three(directory.path(), 3).await;
        assert_eq!(artifacts.sweep(|_| true, SystemTime::now()).expect("a directory of ours"), 0);
        let store = async |name: &'static str| {
            let piece = stream::iter([Ok::<_, io::Error>(Bytes::from(name))]);
            artifacts.store(&Digest::of(name.as_bytes()), piece).await
        };
        assert!(store("a").await.is_ok());
        let error = store("d").await.expect_err("it is full");
        assert_eq!(error.code(), "E0405");
    }
}
