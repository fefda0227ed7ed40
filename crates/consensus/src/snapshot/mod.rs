//! Snapshots: which there are, how one is written, checked and read, and which may go. Owns what a snapshot is called and that it is whole
//! before anybody sees it; must never know what a record means.

mod disk_shelf;
mod format;
mod memory_shelf;
mod shelf;

use std::{io, sync::Arc};

pub use self::{
    disk_shelf::DiskShelf,
    format::{ImportError, Meta, export, import},
    memory_shelf::MemoryShelf,
    shelf::{Draft, Readable, Shelf},
};
use crate::{StateMachine, limits::SNAPSHOTS_KEPT, log::LogId};

/// The snapshots of one member. Clones are the same.
#[derive(Clone)]
pub(crate) struct Snapshots {
    shelf: Arc<dyn Shelf>,
}

const SUFFIX: &str = ".snapshot";

impl Snapshots {
    pub(crate) fn new(shelf: Arc<dyn Shelf>) -> Self {
        Self { shelf }
    }

    /// Writes `machine` as the snapshot `meta` and lets older ones go. Returns its name.
    pub(crate) fn save<M: StateMachine>(&self, meta: &Meta, machine: &M) -> io::Result<String> {
        let mut draft = self.shelf.draft()?;
        export(meta, machine, &mut draft)?;
        self.publish(meta, draft)
    }

    /// Room for a snapshot that arrives.
    pub(crate) fn draft(&self) -> io::Result<Box<dyn Draft>> {
        self.shelf.draft()
    }

    /// Gives a whole and checked draft its name, then lets older ones go.
    pub(crate) fn publish(&self, meta: &Meta, draft: Box<dyn Draft>) -> io::Result<String> {
        let name = name_of(meta.last);
        draft.publish(&name)?;
        let names = self.names()?;
        for old in names.iter().rev().skip(SNAPSHOTS_KEPT) {
            self.shelf.remove(old)?;
        }
        Ok(name)
    }

    /// The newest one that is whole, and what is in it. Damaged ones are set aside.
    pub(crate) fn newest<M: StateMachine>(&self) -> io::Result<Option<(Meta, M, String)>> {
        for name in self.names()?.into_iter().rev() {
            let mut file = self.shelf.open(&name)?;
            match import(&mut file) {
                Ok((meta, machine)) => return Ok(Some((meta, machine, name))),
                Err(error) => {
                    tracing::error!(snapshot = name, error = %chain(&error), "a snapshot is damaged; the one before it is tried");
                    self.shelf.set_aside(&name)?;
                }
            }
        }
        Ok(None)
    }

    /// Removes all others.
    pub(crate) fn remove_all_but(&self, kept: &str) -> io::Result<()> {
        self.names()?.iter().filter(|name| *name != kept).try_for_each(|name| self.shelf.remove(name))
    }

    pub(crate) fn open(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        self.shelf.open(name)
    }

    /// Names of whole snapshots, oldest first.
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = self.shelf.names()?;
        names.retain(|name| name.ends_with(SUFFIX));
        names.sort();
        Ok(names)
    }
}

/// Sorts like the snapshots themselves: what is later applied comes later.
fn name_of(last: LogId) -> String {
    format!("{:020}-{:020}{SUFFIX}", last.index, last.term)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
