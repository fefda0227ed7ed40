//! Proposing commands. Owns what a proposer may conclude from an answer; must never look into a command.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use openraft::{
    AsyncRuntime,
    errors::{ClientWriteError, Fatal},
    raft::WriteResponse,
};

use crate::{
    Consensus, Health, ProposeError, StateMachine, entry,
    limits::{COMMAND_BYTES_MAX, PROPOSE_MS_MAX},
    raft::{Encoded, TypesOf, leader_named},
};

type Outcome<M, R> = Result<Result<WriteResponse<TypesOf<M, R>>, ClientWriteError<TypesOf<M, R>>>, Fatal<TypesOf<M, R>>>;

impl<M: StateMachine, R: AsyncRuntime> Consensus<M, R> {
    /// Writes `command` and applies it. When this returns a majority has it on disk, [`Self::state`] shows it, and it has the returned index.
    /// A caller that goes away while waiting learns nothing: the command may be applied all the same.
    pub async fn propose(&self, command: M::Command) -> Result<(u64, M::Answer), ProposeError> {
        let mut answers = self.propose_batch(vec![command]).await?;
        answers.pop().ok_or(ProposeError::Unknown)
    }

    /// Writes `commands` next to each other with one flush, and applies them in order. They are refused together; but when leadership is lost on the way
    /// ([`ProposeError::Unknown`]), the first few of them may be accepted and the others not.
    pub async fn propose_batch(&self, commands: Vec<M::Command>) -> Result<Vec<(u64, M::Answer)>, ProposeError> {
        let commands = commands.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let _flight = self.0.flights.start().ok_or_else(|| self.ended())?;
        self.check(commands.iter().map(|command| command.0.len()).sum())?;
        let count = commands.len();
        let outcomes = self.0.raft.client_write_many(commands).await.map_err(|_| self.ended())?;
        let all = R::timeout(Duration::from_millis(PROPOSE_MS_MAX), outcomes.collect::<Vec<_>>());
        let outcomes = all.await.map_err(|_| ProposeError::Unknown)?;
        self.conclude(outcomes, count)
    }

    /// An error when nothing may be written now.
    fn check(&self, bytes: usize) -> Result<(), ProposeError> {
        match self.0.status.get() {
            Health::Failed { message } => return Err(ProposeError::Failed { message }),
            Health::Stopped => return Err(ProposeError::Stopped),
            Health::Working | Health::Refusing { .. } => {}
        }
        let room = self.0.log.room(bytes);
        self.0.status.room(&room);
        room.map_err(|source| ProposeError::Storage { source: Arc::new(source) })
    }

    fn conclude(&self, outcomes: Vec<Outcome<M, R>>, count: usize) -> Result<Vec<(u64, M::Answer)>, ProposeError> {
        let mut answers = Vec::with_capacity(count);
        for outcome in outcomes {
            match outcome {
                Ok(Ok(written)) => {
                    let index = written.log_id.index;
                    answers.extend(written.response.into_answer().map(|answer| (index, answer)));
                }
                // Refused before anything was written.
                Ok(Err(ClientWriteError::ForwardToLeader(forward))) if answers.is_empty() => {
                    return Err(ProposeError::NotLeader { leader: leader_named(&forward) });
                }
                Ok(Err(_)) => return Err(ProposeError::Unknown),
                Err(_) => return Err(self.interrupted()),
            }
        }
        if answers.len() == count { Ok(answers) } else { Err(self.interrupted()) }
    }

    /// Why nothing can be proposed any more.
    pub(crate) fn ended(&self) -> ProposeError {
        match self.0.status.get() {
            Health::Failed { message } => ProposeError::Failed { message },
            Health::Working | Health::Refusing { .. } | Health::Stopped => ProposeError::Stopped,
        }
    }

    /// Why something that was written is not answered.
    fn interrupted(&self) -> ProposeError {
        match self.0.status.get() {
            Health::Failed { message } => ProposeError::Failed { message },
            Health::Working | Health::Refusing { .. } | Health::Stopped => ProposeError::Unknown,
        }
    }
}

/// Encodes a command in the proposer's task, so that the consensus thread only writes.
fn encode<C: serde::Serialize>(command: &C) -> Result<Encoded, ProposeError> {
    let payload = entry::command(command).map_err(|source| ProposeError::Encode { source })?;
    let bytes = payload.len();
    if bytes > COMMAND_BYTES_MAX { Err(ProposeError::TooLarge { bytes, limit: COMMAND_BYTES_MAX }) } else { Ok(Encoded(payload)) }
}
