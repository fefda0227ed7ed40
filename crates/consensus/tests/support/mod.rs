//! A state machine that remembers everything it was told. Owns the shorthand of these tests.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{path::Path, time::Duration};

use consensus::{Config, Consensus, OpenError, StateMachine};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Every command with its index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal(pub Vec<(u64, String)>);

impl StateMachine for Journal {
    type Command = String;
    type Answer = usize;

    fn apply(&mut self, index: u64, command: &String) -> usize {
        assert_ne!(command, "panic", "a broken invariant");
        self.0.push((index, command.clone()));
        self.0.len()
    }
}

impl Journal {
    /// `one`, `two` and so on, from index 1.
    pub fn of<'a>(commands: impl IntoIterator<Item = &'a str>) -> Self {
        Self((1..).zip(commands.into_iter().map(str::to_owned)).collect())
    }
}

pub fn open(directory: &Path) -> Result<Consensus<Journal>, OpenError> {
    Consensus::open(Config { dir: directory.to_owned(), node_id: 1 }, Journal::default())
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
