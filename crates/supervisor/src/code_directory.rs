//! What stays in the directory of code: everything the worker's newest assignment names, and of the rest as much as the bounds allow, the newest. Owns
//! removing; must never remove what is named, nor anything before a worker has said what it needs.
//!
//! Code is made of artifacts, so that what goes costs at most a compilation: an undo to a revision whose code is gone waits for the compiler.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    time::{Duration, Instant},
};

use model::id::Digest;
use runtime::code_store::{CodeStore, Entry};

use super::limits::{CODE_FILES_MAX, UNNAMED_CODE_KEPT_FOR};

/// The code directory as the supervisor keeps it.
#[derive(Debug)]
pub struct CodeDirectory {
    store: CodeStore,
    bounds: Bounds,
    /// What the newest whole list named; nothing may be removed before there was one.
    named: Option<HashSet<Digest>>,
    /// A list of which only some parts have come.
    coming: HashSet<Digest>,
    /// When code that is not named any more was last named, or made.
    left: HashMap<Digest, Instant>,
    /// Everything not in `left` counts as named until then.
    began: Instant,
    /// What is there, once it was looked at; never less than there really is.
    sum: Option<Sum>,
}

/// How much may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all files.
    pub bytes: u64,
    /// Number of files.
    pub files: usize,
    /// How long what is not named any more stays in any case.
    pub kept_for: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sum {
    bytes: u64,
    files: usize,
}

impl Bounds {
    /// The standard ones with at most `bytes`.
    pub fn of(bytes: u64) -> Self {
        Self { bytes, files: CODE_FILES_MAX, kept_for: UNNAMED_CODE_KEPT_FOR }
    }

    fn are_passed_by(&self, sum: Sum) -> bool {
        sum.bytes > self.bytes || sum.files > self.files
    }
}

impl CodeDirectory {
    /// Keeps `store` within `bounds`. Nothing is read yet.
    pub fn new(store: CodeStore, bounds: Bounds, now: Instant) -> Self {
        Self { store, bounds, named: None, coming: HashSet::new(), left: HashMap::new(), began: now, sum: None }
    }

    /// Takes a part of what a worker needs; with the last part the list is in force, and what is too much goes.
    pub fn name(&mut self, digests: Vec<Digest>, more: bool, now: Instant) -> io::Result<usize> {
        self.coming.extend(digests);
        if more {
            return Ok(0);
        }
        let named = std::mem::take(&mut self.coming);
        let before = self.named.replace(named).unwrap_or_default();
        let (left, named) = (&mut self.left, self.named.iter().flatten().collect::<HashSet<_>>());
        left.retain(|digest, _| !named.contains(digest));
        left.extend(before.into_iter().filter(|digest| !named.contains(digest)).map(|digest| (digest, now)));
        self.tidy(now)
    }

    /// Takes note of code that was just made.
    pub fn made(&mut self, digest: Digest, now: Instant) -> io::Result<usize> {
        if !self.is_named(&digest) {
            self.left.insert(digest, now);
        }
        let bytes = self.store.path(&digest).and_then(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.len());
        self.sum = self.sum.map(|sum| Sum { bytes: sum.bytes + bytes, files: sum.files + 1 });
        self.tidy(now)
    }

    /// Why no more code may be made: what is there is all needed. None while there is room.
    pub fn is_full(&mut self, now: Instant) -> io::Result<Option<String>> {
        self.tidy(now)?;
        let Sum { bytes, files } = self.sum()?;
        let Bounds { bytes: bytes_max, files: files_max, .. } = self.bounds;
        let words = || {
            format!(
                "the code directory has {bytes} bytes in {files} files that are needed, and may have {bytes_max} (`--code-bytes`) in {files_max}"
            )
        };
        Ok((bytes >= bytes_max || files >= files_max).then(words))
    }

    /// Removes what is not needed, the longest unneeded first, until the rest is within the bounds. Returns how many files went.
    fn tidy(&mut self, now: Instant) -> io::Result<usize> {
        let sum = self.sum()?;
        if self.named.is_none() || !self.bounds.are_passed_by(sum) {
            return Ok(0);
        }
        let entries = self.store.entries()?;
        let mut sum = Sum::of(&entries);
        let since = |entry: Entry| Some((self.unneeded_since(&entry.digest)?, entry));
        let mut unneeded: Vec<(Instant, Entry)> = entries.into_iter().filter_map(since).collect();
        unneeded.retain(|(since, _)| now.saturating_duration_since(*since) >= self.bounds.kept_for);
        unneeded.sort_by_key(|(since, entry)| (*since, entry.written));
        let mut removed = 0;
        for (_, entry) in unneeded {
            if !self.bounds.are_passed_by(sum) {
                break;
            }
            fs::remove_file(&entry.path)?;
            self.left.remove(&entry.digest);
            sum = Sum { bytes: sum.bytes.saturating_sub(entry.bytes), files: sum.files.saturating_sub(1) };
            removed += 1;
        }
        self.sum = Some(sum);
        if removed > 0 {
            tracing::info!(removed, code.bytes = sum.bytes, code.files = sum.files, "code that is not assigned any more is removed");
        }
        Ok(removed)
    }

    fn is_named(&self, digest: &Digest) -> bool {
        self.named.as_ref().is_some_and(|named| named.contains(digest))
    }

    /// Since when nobody needs code of `digest`; none while somebody does.
    fn unneeded_since(&self, digest: &Digest) -> Option<Instant> {
        if self.is_named(digest) { None } else { Some(self.left.get(digest).copied().unwrap_or(self.began)) }
    }

    fn sum(&mut self) -> io::Result<Sum> {
        let sum = match self.sum {
            Some(sum) => sum,
            None => Sum::of(&self.store.entries()?),
        };
        self.sum = Some(sum);
        Ok(sum)
    }
}

impl Sum {
    fn of(entries: &[Entry]) -> Self {
        Self { bytes: entries.iter().map(|entry| entry.bytes).sum(), files: entries.len() }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::Path};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A directory with 100 bytes of code of each of `names`.
    fn directory(names: &[&str], bytes: u64) -> (tempfile::TempDir, CodeDirectory, Instant) {
        let directory = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| write(directory.path(), name));
        let now = Instant::now();
        let bounds = Bounds { bytes, files: 10, kept_for: HOUR };
        let code = CodeDirectory::new(CodeStore::new(directory.path()), bounds, now);
        (directory, code, now)
    }

    fn write(directory: &Path, name: &str) {
        let path = directory.join(format!("{}-0123456789abcdef.code", digest(name).hex()));
        fs::write(&path, [0; 100]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    }

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn digests(names: &[&str]) -> Vec<Digest> {
        names.iter().map(|name| digest(name)).collect()
    }

    fn check(directory: &tempfile::TempDir, expected: &[&str]) {
        let there: HashSet<_> = CodeStore::new(directory.path()).entries().unwrap().into_iter().map(|entry| entry.digest).collect();
        assert_eq!(there, digests(expected).into_iter().collect());
    }

    #[test]
    fn nothing_goes_before_a_worker_has_said_all_it_needs() {
        let (directory, mut code, now) = directory(&["a", "b", "c"], 100);
        code.made(digest("c"), now + HOUR * 9).unwrap();
        code.name(digests(&["a"]), true, now + HOUR * 9).unwrap();
        check(&directory, &["a", "b", "c"]);
        assert_eq!(code.name(digests(&["b"]), false, now + HOUR * 9).unwrap(), 0, "what was made just now is kept for an hour");
        assert_eq!(code.name(digests(&["a", "b"]), false, now + HOUR * 10).unwrap(), 1);
        check(&directory, &["a", "b"]);
    }

    #[test]
    fn what_is_named_stays_however_much_it_is_and_the_longest_unneeded_goes_first() {
        let (directory, mut code, now) = directory(&["a", "b", "c", "d"], 250);
        code.name(digests(&["a", "b", "c", "d"]), false, now).unwrap();
        check(&directory, &["a", "b", "c", "d"]);
        assert!(code.is_full(now).unwrap().is_some_and(|words| words.contains("--code-bytes")), "it is all needed, and too much");
        code.name(digests(&["a", "c", "d"]), false, now + HOUR).unwrap();
        code.name(digests(&["a"]), false, now + HOUR * 2).unwrap();
        check(&directory, &["a", "c", "d"]);
        code.name(digests(&["a"]), false, now + HOUR * 3).unwrap();
        let left = CodeStore::new(directory.path()).entries().unwrap().len();
        assert_eq!(left, 2, "`b` went an hour after nobody needed it, then one of the others, and with two there is room");
        assert_eq!(code.is_full(now + HOUR * 3).unwrap(), None);
    }

    #[test]
    fn within_the_bounds_everything_stays_for_ever() {
        let (directory, mut code, now) = directory(&["a", "b"], 1_000);
        code.name(digests(&[]), false, now).unwrap();
        code.name(digests(&[]), false, now + HOUR * 1_000).unwrap();
        check(&directory, &["a", "b"]);
    }

    #[test]
    fn a_new_supervisor_waits_for_a_list_and_then_as_long_as_for_what_was_named_just_now() {
        let (directory, code, now) = directory(&["a", "b"], 100);
        drop(code);
        let bounds = Bounds { bytes: 100, files: 10, kept_for: HOUR };
        let mut code = CodeDirectory::new(CodeStore::new(directory.path()), bounds, now + HOUR);
        code.name(digests(&["a"]), false, now + HOUR).unwrap();
        check(&directory, &["a", "b"]);
        code.name(digests(&["a"]), false, now + HOUR * 2).unwrap();
        check(&directory, &["a"]);
    }
}
