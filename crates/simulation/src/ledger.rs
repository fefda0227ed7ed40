//! The smallest machine worth testing: keys with values, and every write that was ever made. Owns its records; must never be more than a test needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use consensus::{RestoreError, StateMachine};
use serde::{Deserialize, Serialize};

use crate::{Random, Subject};

/// Sets a key, and is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Names the write.
    pub unique: u64,
    /// Which key.
    pub key: u64,
}

/// Keys, who wrote each last, and all writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The last write of each key and the index it had.
    keys: Arc<BTreeMap<u64, (u64, u64)>>,
    writes: Arc<BTreeSet<u64>>,
}

/// Keys there are.
const KEYS: u64 = 8;

impl StateMachine for Ledger {
    type Command = Write;
    type Answer = u64;

    fn apply(&mut self, index: u64, command: &Write) -> u64 {
        Arc::make_mut(&mut self.keys).insert(command.key, (command.unique, index));
        Arc::make_mut(&mut self.writes).insert(command.unique);
        command.unique
    }

    fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        let keys = self.keys.iter().map(|(key, (unique, index))| [key.to_be_bytes(), unique.to_be_bytes(), index.to_be_bytes()].concat());
        Box::new(keys.chain(self.writes.iter().map(|unique| unique.to_be_bytes().to_vec())))
    }

    fn restore(records: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError> {
        let mut ledger = Self::default();
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).unwrap_or_default();
        for (place, record) in (0..).zip(records) {
            let record = record?;
            match record.len() {
                8 => drop(Arc::make_mut(&mut ledger.writes).insert(number(&record))),
                24 => {
                    let last = (number(&record[8..16]), number(&record[16..]));
                    Arc::make_mut(&mut ledger.keys).insert(number(&record[..8]), last);
                }
                other => return Err(RestoreError::Record { number: place, reason: format!("{other} bytes") }),
            }
        }
        Ok(ledger)
    }

    /// FNV over all records, four times with different starts: nobody attacks a simulation.
    fn hash(&self) -> [u8; 32] {
        let mut sums = [0xcbf2_9ce4_8422_2325_u64, 1, 2, 3];
        for byte in self.records().flatten() {
            sums.iter_mut().for_each(|sum| *sum = (*sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        }
        let mut hash = [0; 32];
        hash.chunks_exact_mut(8).zip(sums).for_each(|(place, sum)| place.copy_from_slice(&sum.to_be_bytes()));
        hash
    }
}

impl Subject for Ledger {
    fn empty() -> Self {
        Self::default()
    }

    fn write(&self, unique: u64, random: &mut Random) -> Write {
        Write { unique, key: random.below(KEYS) }
    }

    fn holds(&self, unique: u64) -> bool {
        self.writes.contains(&unique)
    }

    fn reached(&self) -> u64 {
        self.keys.values().map(|(_, index)| *index).max().unwrap_or(0)
    }
}
