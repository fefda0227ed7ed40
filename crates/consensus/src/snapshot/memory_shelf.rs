//! Snapshots in memory: the twin of a directory for tests and simulation. Owns the model: a draft is lost in a crash, and so is what has a name but was not
//! flushed yet; what was published is not.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::shelf::{Draft, Readable, Shelf};

/// A shelf that outlives the groups that use it. Clones are the same shelf.
#[derive(Clone, Default)]
pub struct MemoryShelf(Arc<Mutex<Files>>);

#[derive(Default)]
struct Files {
    /// What can be read.
    seen: BTreeMap<String, Arc<[u8]>>,
    /// What would be there after a power cut.
    flushed: BTreeMap<String, Arc<[u8]>>,
    /// Publishing returns before anything is flushed.
    hasty: bool,
}

impl MemoryShelf {
    /// An empty shelf.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty shelf that says a file is published before it is flushed, which no shelf may. What a later file flushes is what was published before it.
    pub fn hasty() -> Self {
        Self(Arc::new(Mutex::new(Files { hasty: true, ..Files::default() })))
    }

    /// The power is cut: what was not flushed is gone, and what was removed since is there again.
    pub fn crash(&self) {
        let mut files = self.files();
        files.seen = files.flushed.clone();
    }

    /// Changes the bits `mask` of byte `at` in the file `name`, as a failing disk would. Beyond the end nothing happens.
    pub fn damage(&self, name: &str, at: usize, mask: u8) {
        let mut files = self.files();
        let Some(mut bytes) = files.seen.get(name).map(|file| file.to_vec()) else { return };
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= mask;
        }
        files.flushed.insert(name.to_owned(), bytes.clone().into());
        files.seen.insert(name.to_owned(), bytes.into());
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf for MemoryShelf {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.files().seen.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        let file = self.files().seen.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(file)))
    }

    fn draft(&self) -> io::Result<Box<dyn Draft>> {
        Ok(Box::new(MemoryDraft { shelf: self.clone(), bytes: Vec::new() }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().seen.remove(name);
        Ok(())
    }

    fn set_aside(&self, name: &str) -> io::Result<()> {
        self.remove(name)
    }
}

struct MemoryDraft {
    shelf: MemoryShelf,
    bytes: Vec<u8>,
}

impl Write for MemoryDraft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Draft for MemoryDraft {
    fn read(&mut self) -> io::Result<Box<dyn Readable>> {
        Ok(Box::new(Cursor::new(self.bytes.clone())))
    }

    fn publish(self: Box<Self>, name: &str) -> io::Result<()> {
        let mut files = self.shelf.files();
        if files.hasty {
            files.flushed = files.seen.clone();
        }
        files.seen.insert(name.to_owned(), self.bytes.into());
        if !files.hasty {
            // Flushing the directory flushes what was removed before, too.
            files.flushed = files.seen.clone();
        }
        Ok(())
    }
}
