//! openraft's own tests of a storage, over ours: the log on disk and its twin, with snapshots on either shelf.

use std::{io, sync::Arc};

use openraft::{
    StorageError, TokioRuntime,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;

use super::{Applier, LogStore, Types};
use crate::{
    GroupId, LogBackend, RestoreError, StateMachine,
    disk_log::DiskLog,
    health::Status,
    memory_log::{MemoryDisk, MemoryLog},
    snapshot::{DiskShelf, MemoryShelf, Shelf, Snapshots},
    work::Work,
};

/// Nothing: the suite only applies entries that are not commands.
#[derive(Clone)]
struct Empty;

impl StateMachine for Empty {
    type Command = ();
    type Answer = ();

    fn apply(&mut self, _: u64, (): &()) {}

    fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        Box::new(std::iter::empty())
    }

    fn restore(_: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError> {
        Ok(Self)
    }

    fn hash(&self) -> [u8; 32] {
        [0; 32]
    }
}

type Log = LogStore<(), TokioRuntime>;
type Machine = Applier<Empty, TokioRuntime>;

struct OnDisk;

struct InMemory;

impl StoreBuilder<Types<(), TokioRuntime>, Log, Machine, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError<Types<(), TokioRuntime>>> {
        let directory = tempfile::tempdir().expect("a directory");
        let log = DiskLog::open(&directory.path().join("log")).expect("opens");
        let shelf = DiskShelf::open(&directory.path().join("snapshots")).expect("opens");
        let (log, machine) = store(Box::new(log), Arc::new(shelf));
        Ok((directory, log, machine))
    }
}

impl StoreBuilder<Types<(), TokioRuntime>, Log, Machine, ()> for InMemory {
    async fn build(&self) -> Result<((), Log, Machine), StorageError<Types<(), TokioRuntime>>> {
        let log = MemoryLog::open(&MemoryDisk::new()).expect("opens");
        let (log, machine) = store(Box::new(log), Arc::new(MemoryShelf::new()));
        Ok(((), log, machine))
    }
}

fn store(log: Box<dyn LogBackend>, shelf: Arc<dyn Shelf>) -> (Log, Machine) {
    let status = Status::new();
    let machine = Applier::open(GroupId::default(), 1_000, Empty, Snapshots::new(shelf), status.clone(), Work::Aside);
    (LogStore::new(log, status), machine.expect("nothing is there yet"))
}

#[tokio::test]
async fn the_log_on_disk_is_what_openraft_wants() {
    Suite::test_all(OnDisk).await.expect("every test of the suite passes");
}

#[tokio::test]
async fn its_twin_is_what_openraft_wants() {
    Suite::test_all(InMemory).await.expect("every test of the suite passes");
}
