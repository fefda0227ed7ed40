//! The replicated state as consensus sees it. Owns the adapter; must never hold a rule.

use std::io;

use consensus::{RestoreError, StateMachine};
use model::{id::Index, problem::chain};
use state::{Applied, Command, Refused, State};

/// The state machine: [`State`] with the shape consensus asks for.
#[derive(Debug, Clone, Default)]
pub struct Machine(pub State);

impl StateMachine for Machine {
    type Command = Command;
    type Answer = Result<Applied, Refused>;

    fn apply(&mut self, index: u64, command: &Command) -> Self::Answer {
        self.0.apply(Index(index), command)
    }

    fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        self.0.records()
    }

    fn restore(records: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError> {
        State::restore(records).map(Self).map_err(|error| RestoreError::State { reason: chain(&error) })
    }

    fn hash(&self) -> [u8; 32] {
        self.0.hash()
    }
}
