//! A state machine that remembers everything it was told. Owns the shorthand of these tests.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{io, path::Path, sync::Arc, time::Duration};

use consensus::{
    Alone, Config, Consensus, GroupId, Identity, OpenError, Peer, Profile, RestoreError, StateMachine, Storage, Tuning,
    memory_log::{MemoryDisk, MemoryLog},
    snapshot::MemoryShelf,
};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The group of these tests.
pub const GROUP: GroupId = GroupId([7; 16]);

/// The only member of most of them.
pub const IDENTITY: Identity = Identity { group: GROUP, node_id: 1 };

/// Every command with its index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal(pub Vec<(u64, String)>);

impl StateMachine for Journal {
    type Command = String;
    type Answer = usize;

    fn apply(&mut self, index: u64, command: &String) -> usize {
        if command == "panic" {
            panic!("a broken invariant");
        }
        self.0.push((index, command.clone()));
        self.0.len()
    }

    fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        let encode = |(index, command): &(u64, String)| [&index.to_be_bytes(), command.as_bytes()].concat();
        Box::new(self.0.iter().map(encode))
    }

    fn restore(records: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError> {
        let mut journal = Self::default();
        for (number, record) in (0..).zip(records) {
            let record = record?;
            let bad = || RestoreError::Record { number, reason: "too short or no text".to_owned() };
            let (index, command) = record.split_first_chunk().ok_or_else(bad)?;
            let command = String::from_utf8(command.to_vec()).map_err(|_| bad())?;
            journal.0.push((u64::from_be_bytes(*index), command));
        }
        Ok(journal)
    }

    fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        for (place, byte) in self.records().flatten().enumerate() {
            hash[place % 32] = hash[(place + 31) % 32] ^ byte.rotate_left(place as u32);
        }
        hash
    }
}

impl Journal {
    /// The commands, without where they stand.
    pub fn commands(&self) -> Vec<&str> {
        self.0.iter().map(|(_, command)| command.as_str()).collect()
    }
}

pub fn peer(id: u64) -> Peer {
    Peer { id, address: format!("member{id}:7071") }
}

/// The only member of a group in `directory`, founded if it is new.
pub fn open(directory: &Path) -> Result<Consensus<Journal>, OpenError> {
    let config = Config { dir: directory.to_owned(), identity: IDENTITY, profile: Profile::Lan };
    let consensus = Consensus::open(config, Journal::default(), Arc::new(Alone))?;
    if consensus.membership().borrow().voters.is_empty() {
        runtime().block_on(consensus.initialize(peer(1))).expect("an empty log takes a first member");
    }
    Ok(consensus)
}

/// The only member of a group on a modelled disk, founded if it is new.
pub async fn start(disk: &MemoryDisk) -> Consensus<Journal> {
    let consensus = start_on(disk, &MemoryShelf::new(), Tuning::from(Profile::Lan)).await.expect("it starts");
    if consensus.membership().borrow().voters.is_empty() {
        consensus.initialize(peer(1)).await.expect("an empty log takes a first member");
    }
    consensus
}

/// A member on a modelled disk and shelf.
pub async fn start_on(disk: &MemoryDisk, shelf: &MemoryShelf, tuning: Tuning) -> Result<Consensus<Journal>, OpenError> {
    let log = MemoryLog::open(disk).expect("the disk is whole");
    let storage = Storage { log: Box::new(log), shelf: Arc::new(shelf.clone()) };
    Consensus::start(IDENTITY, tuning, storage, Journal::default(), Arc::new(Alone)).await
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
