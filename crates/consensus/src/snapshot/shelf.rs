//! The seam under snapshots: a place for named files that are whole or not there. Owns the contract; must never know what is in a file.

use std::io::{self, Read, Seek, Write};

/// A file to be read from anywhere.
pub trait Readable: Read + Seek + Send {}

impl<T: Read + Seek + Send> Readable for T {}

/// A place for files. Called from any thread.
pub trait Shelf: Send + Sync + 'static {
    /// Every published file, in no order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// A published file.
    fn open(&self, name: &str) -> io::Result<Box<dyn Readable>>;

    /// A new file that nobody sees. Dropping it removes it.
    fn draft(&self) -> io::Result<Box<dyn Draft>>;

    /// Removes a published file; one that is not there is no error.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Keeps a damaged file for whoever looks into it, under a name that [`Self::names`] does not return.
    fn set_aside(&self, name: &str) -> io::Result<()>;
}

/// A file that is being written.
pub trait Draft: Write + Send {
    /// Reads what was written so far, from the start.
    fn read(&mut self) -> io::Result<Box<dyn Readable>>;

    /// Makes it safe against a power cut and gives it its name, in place of what had that name.
    fn publish(self: Box<Self>, name: &str) -> io::Result<()>;
}
