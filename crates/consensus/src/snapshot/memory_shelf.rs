//! Snapshots in memory: the twin of a directory for tests and simulation. Owns the model: a draft is lost in a crash, a published file is not.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::shelf::{Draft, Readable, Shelf};

/// A shelf that outlives the groups that use it. Clones are the same shelf.
#[derive(Clone, Default)]
pub struct MemoryShelf(Arc<Mutex<BTreeMap<String, Arc<[u8]>>>>);

impl MemoryShelf {
    /// An empty shelf.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the bits `mask` of byte `at` in the file `name`, as a failing disk would. Beyond the end nothing happens.
    pub fn damage(&self, name: &str, at: usize, mask: u8) {
        if let Some(file) = self.files().get_mut(name) {
            let mut bytes = file.to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
            *file = bytes.into();
        }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf for MemoryShelf {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        let file = self.files().get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(file)))
    }

    fn draft(&self) -> io::Result<Box<dyn Draft>> {
        Ok(Box::new(MemoryDraft { shelf: self.clone(), bytes: Vec::new() }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name);
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
        self.shelf.files().insert(name.to_owned(), self.bytes.into());
        Ok(())
    }
}
