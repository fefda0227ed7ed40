//! The one writer: takes wishes one after the other, has them held against the state, and writes all that came meanwhile with one flush,
//! the first plan about them in the same batch. So a request is written whole or not at all. Must never parse, and never read a file.

use std::sync::Arc;

use consensus::ProposeError;
use model::{id::Timestamp, problem::chain};
use scheduler::Observed;
use state::{Command, State, command::CommandV1};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};
use wishes::decision::{Awaited, Wish, Written, decide, settle};

use crate::{
    api_error::ApiError,
    audit, clock,
    core::Core,
    forward::no_leader,
    limits::{BATCH_BYTES_MAX, READ_BARRIER_MAX, WRITES_PER_BATCH_MAX},
};

/// A wish and whoever waits for it.
#[derive(Debug)]
pub(crate) struct Write {
    wish: Wish,
    answer: oneshot::Sender<Result<Written, ApiError>>,
}

/// The way to the writer.
#[derive(Debug, Clone)]
pub(crate) struct Writer(pub(crate) mpsc::Sender<Write>);

impl Writer {
    /// Writes `wish`; when this returns without an error it is on disk.
    pub(crate) async fn write(&self, wish: Wish) -> Result<Written, ApiError> {
        let (answer, answered) = oneshot::channel();
        self.queue(Write { wish, answer });
        // A writer that ends in the middle says nothing of what it was about to write.
        answered.await.map_err(|_| ApiError::from(ProposeError::Unknown))?
    }

    /// Lets `write` wait for the writer; answers it at once when too many do.
    fn queue(&self, write: Write) {
        let (write, why) = match self.0.try_send(write) {
            Ok(()) => return,
            Err(TrySendError::Full(write)) => (write, ApiError::new("E0407", "too many writes wait for the disk", "try again in a moment")),
            Err(TrySendError::Closed(write)) => (write, ApiError::from(ProposeError::Stopped)),
        };
        // Whoever asked may have gone.
        let _ = write.answer.send(Err(why));
    }
}

/// Writes until it is dropped, which is after the last request was answered.
pub(crate) async fn run(core: Arc<Core>, mut writes: mpsc::Receiver<Write>) {
    let mut batch = Vec::new();
    // Those that were put off are first in the next batch, and then decided whatever comes of them.
    while !batch.is_empty() || writes.recv_many(&mut batch, WRITES_PER_BATCH_MAX).await > 0 {
        let Rest { unwritten, put_off } = write(&core, std::mem::take(&mut batch)).await;
        for write in unwritten {
            tokio::spawn(confirm(core.clone(), write));
        }
        batch = put_off;
    }
}

/// What of a batch is written, and who waits for which part of it.
struct Batch {
    commands: Vec<Command>,
    waiting: Vec<Waiting>,
    rest: Rest,
}

/// Those that a batch has nothing for.
#[derive(Debug, Default)]
struct Rest {
    /// They are refused, or so already.
    unwritten: Vec<Write>,
    /// They are for the next batch.
    put_off: Vec<Write>,
}

/// Whoever waits, what they wait for, and where its commands start in the batch.
type Waiting = (oneshot::Sender<Result<Written, ApiError>>, Awaited, usize);

/// Writes what there is to write of `writes`, and returns the others.
async fn write(core: &Core, writes: Vec<Write>) -> Rest {
    let Batch { commands, waiting, rest } = gather(core.state(), &core.observed(), clock::now(), writes);
    if commands.is_empty() {
        return rest;
    }
    core.metrics.proposals.inc_by(commands.len() as u64);
    let written = core.consensus.propose_batch(commands).await;
    for (answer, awaited, first) in waiting {
        let outcome = match &written {
            Ok(answers) => settle(&awaited, first, answers).map_err(ApiError::from),
            Err(error) => Err(ApiError::from(error.clone())),
        };
        // Whoever asked may have gone; the write stands.
        let _ = answer.send(outcome);
    }
    rest
}

/// Answers what needs no write, which makes it a read: it must be about everything that was acknowledged before, and about nothing else. A leader that was
/// replaced does not know the one, and what it decided by may be only proposed yet.
async fn confirm(core: Arc<Core>, write: Write) {
    let outcome = match core.consensus.read_barrier(READ_BARRIER_MAX).await {
        Err(error) => Err(no_leader(&chain(&error))),
        Ok(_) => {
            let state = core.state();
            match decide(&state, &write.wish) {
                Ok(decision) if decision.commands.is_empty() => Ok(Written { index: state.index(), applied: decision.applied }),
                // There is something to write after all.
                Ok(_) => return core.writer.queue(write),
                Err(problems) => {
                    audit::refused(&core, &write.wish, &problems);
                    Err(ApiError::problems(problems))
                }
            }
        }
    };
    // Whoever asked may have gone.
    let _ = write.answer.send(outcome);
}

/// Decides each wish on the state the ones before it leave, and plans on what all of them leave.
fn gather(mut state: State, observed: &Observed, now: Timestamp, writes: Vec<Write>) -> Batch {
    let mut batch = Batch { commands: Vec::new(), waiting: Vec::new(), rest: Rest::default() };
    let mut bytes = 0;
    for write in writes {
        bytes += write.wish.bytes();
        match decide(&state, &write.wish) {
            // What a part finds so already may be what the wish before it writes, at an index that nobody knows yet; and a batch has its size.
            Ok(decision) if !batch.commands.is_empty() && (bytes > BATCH_BYTES_MAX || decision.is_mixed()) => {
                batch.rest.put_off.push(write)
            }
            Ok(decision) if !decision.commands.is_empty() => {
                let (after, commands, awaited) = decision.into_parts();
                state = after;
                batch.waiting.push((write.answer, awaited, batch.commands.len()));
                batch.commands.extend(commands);
            }
            Ok(_) | Err(_) => batch.rest.unwritten.push(write),
        }
    }
    let plan = scheduler::plan(&state, observed, now);
    if !batch.commands.is_empty() && !plan.steps.is_empty() {
        batch.commands.push(Command::V1(CommandV1::Carry(plan)));
    }
    batch
}

#[cfg(test)]
mod tests {
    use api::v1::{ApiRole, Principal};
    use state::command::{Change, PutConfig};
    use wishes::caller::Caller;

    use super::*;

    /// A wish for Configs with these values.
    fn write(configs: &[(&str, &str)]) -> (Write, oneshot::Receiver<Result<Written, ApiError>>) {
        let principal = Principal { name: "ana".to_owned(), role: ApiRole::Admin, namespace: None };
        let caller = Caller { principal, by_token: false, token: None, from: String::new(), key: None };
        let change = |(name, value): &(&str, &str)| {
            let (id, data) = (name.parse().expect("an id"), [("k".to_owned(), (*value).to_owned())].into());
            Change::PutConfig(PutConfig { id, described: None, data, expect: None })
        };
        let (answer, answered) = oneshot::channel();
        let wish = Wish::changes(&caller, "", Timestamp(1), configs.iter().map(change).collect());
        (Write { wish, answer }, answered)
    }

    /// How many commands there are, and how many wishes are written, have nothing to write, and are put off.
    fn counted(writes: Vec<Write>) -> (usize, usize, usize, usize) {
        let observed = Observed { phases: Default::default(), silent: Default::default() };
        let batch = gather(State::empty(), &observed, Timestamp(1), writes);
        (batch.commands.len(), batch.waiting.len(), batch.rest.unwritten.len(), batch.rest.put_off.len())
    }

    #[test]
    fn a_wish_that_rests_in_part_on_one_before_it_is_put_off() {
        let (first, same, mixed, other) =
            (write(&[("x", "1")]).0, write(&[("x", "1")]).0, write(&[("x", "1"), ("y", "1")]).0, write(&[("z", "1")]).0);
        assert_eq!(counted(vec![first, same, mixed, other]), (2, 2, 1, 1));
    }

    #[test]
    fn a_batch_has_its_size_and_takes_at_least_one() {
        let large = "v".repeat(BATCH_BYTES_MAX / 80);
        let long: Vec<String> = (0..60).map(|number| format!("c{number}")).collect();
        let wish = |tens: std::ops::Range<usize>| {
            let configs: Vec<_> = long[tens].iter().map(|name| (name.as_str(), large.as_str())).collect();
            write(&configs).0
        };
        assert_eq!(counted(vec![wish(0..60), wish(0..60)]), (60, 1, 0, 1));
        assert_eq!(counted(vec![wish(0..20), wish(20..40), wish(40..60)]), (60, 3, 0, 0));
        assert_eq!(counted(vec![wish(0..20), wish(20..60), wish(0..40), write(&[("y", "1")]).0]), (60, 2, 0, 2));
    }
}
