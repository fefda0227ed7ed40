//! The one writer: takes wishes one after the other, holds them against the state, and writes all that came meanwhile with one flush,
//! the first plan about them in the same batch. So a request is written whole or not at all. Must never parse, and never read a file.

use std::sync::Arc;

use consensus::ProposeError;
use model::{
    id::{Index, RevisionNumber, Timestamp},
    problem::Problem,
};
use scheduler::Observed;
use state::{
    Applied, Command, DeployOutcome, PutOutcome, Refused, State,
    command::{Change, CommandV1, Deploy, UserCommand},
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use crate::{
    admit::Caller,
    api_error::{ApiError, chain},
    clock,
    core::Core,
    forward::no_leader,
    limits::{BATCH_BYTES_MAX, READ_BARRIER_MAX, WRITES_PER_BATCH_MAX},
};

/// What a user asks to be written: all of it or nothing.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// In order.
    commands: Vec<UserCommand>,
    /// Which document of the request each command is about; each its own where there are none.
    documents: Option<Vec<usize>>,
    /// When permissions were held against the revisions before: which those were, by app.
    held: Option<Vec<Option<RevisionNumber>>>,
}

impl Wish {
    /// One change that `caller`, who calls itself `claimed`, asks for at `at`.
    pub(crate) fn change(caller: &Caller, claimed: &str, at: Timestamp, change: Change) -> Self {
        Self::changes(caller, claimed, at, vec![change])
    }

    /// Several changes, all or none.
    pub(crate) fn changes(caller: &Caller, claimed: &str, at: Timestamp, changes: Vec<Change>) -> Self {
        let by = caller.by(claimed);
        let keyed = changes.len() > 1;
        let commands = changes.into_iter().enumerate().map(|(number, change)| UserCommand {
            at,
            by: by.clone(),
            from: caller.from.clone(),
            // Each command of a request is remembered by itself.
            key: caller.key.as_ref().map(|key| if keyed { format!("{key}/{number}") } else { key.clone() }),
            change,
        });
        Self { commands: commands.collect(), documents: None, held: None }
    }

    /// What a request of several documents asks for: each change with the document it is about.
    pub(crate) fn documents(caller: &Caller, claimed: &str, at: Timestamp, changes: Vec<(usize, Change)>) -> Self {
        let (documents, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let mut wish = Self::changes(caller, claimed, at, changes);
        for (command, document) in wish.commands.iter_mut().zip(&documents) {
            // What is so already is left out, so the place among the commands says nothing; and an answer from memory would be about other values of a
            // secret, whose seal nobody can compare.
            let sealed = matches!(command.change, Change::PutSecret(_));
            command.key = caller.key.as_ref().filter(|_| !sealed).map(|key| format!("{key}/{document}"));
        }
        Self { documents: Some(documents), ..wish }
    }

    /// About how many bytes it takes in the log.
    fn bytes(&self) -> usize {
        let size = |change: &Change| match change {
            // As text, and as what decisions read.
            Change::Deploy(deploy) => 2 * deploy.frozen.canonical.len(),
            Change::PutConfig(put) => put.data.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Change::PutSecret(put) => put.sealed.0.len(),
            // The others have names and numbers.
            _ => 256,
        };
        self.commands.iter().map(|command| size(&command.change)).sum()
    }

    /// The document that the command `number` is about.
    fn document(&self, number: usize) -> usize {
        self.documents.as_ref().and_then(|documents| documents.get(number)).copied().unwrap_or(number)
    }

    /// The same, refused when an app wishes for another revision by then than `held` says.
    pub(crate) fn holding(self, held: Option<Vec<Option<RevisionNumber>>>) -> Self {
        Self { held, ..self }
    }
}

/// A wish and whoever waits for it.
#[derive(Debug)]
pub(crate) struct Write {
    wish: Wish,
    answer: oneshot::Sender<Result<Written, ApiError>>,
}

/// What came of a wish: one answer per command, in order.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// The index of the last entry; of the state when nothing had to be written.
    pub(crate) index: Index,
    /// What each did.
    pub(crate) applied: Vec<Applied>,
}

/// The way to the writer.
#[derive(Debug, Clone)]
pub(crate) struct Writer(pub(crate) mpsc::Sender<Write>);

impl Writer {
    /// Writes `wish`; when this returns without an error it is on disk.
    pub(crate) async fn write(&self, wish: Wish) -> Result<Written, ApiError> {
        let (answer, answered) = oneshot::channel();
        self.queue(Write { wish, answer });
        answered.await.map_err(|_| ApiError::from(ProposeError::Stopped))?
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

/// What a wish comes to on a state: what is to be written, and the state after it.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    /// The state after all of it.
    pub(crate) state: State,
    /// What is to be written: nothing of what is so already.
    pub(crate) commands: Vec<Command>,
    /// What each part of the wish does.
    pub(crate) applied: Vec<Applied>,
    /// Which command does it, `None` when it is so already, and which document it is about.
    places: Vec<(usize, Option<usize>)>,
}

impl Decision {
    /// Whether a part of the wish is so already, and another is not.
    fn is_mixed(&self) -> bool {
        !self.commands.is_empty() && self.places.iter().any(|(_, place)| place.is_none())
    }
}

/// Holds `wish` against `state`. All or nothing: one refusal refuses it whole, with every reason and the document it is about.
pub(crate) fn decide(state: &State, wish: &Wish) -> Result<Decision, Vec<(usize, Problem)>> {
    let commands = wish.commands.iter().map(|command| Command::V1(CommandV1::User(command.clone())));
    let mut problems = changed_meanwhile(state, wish);
    let mut decision = Decision { state: state.clone(), commands: Vec::new(), applied: Vec::new(), places: Vec::new() };
    for (number, command) in commands.enumerate() {
        let document = wish.document(number);
        let mut after = decision.state.clone();
        match after.apply(after.index().next(), &command) {
            Ok(
                applied @ (Applied::Deployed { outcome: DeployOutcome::Unchanged, .. }
                | Applied::Put { outcome: PutOutcome::Unchanged, .. }),
            ) => {
                decision.applied.push(applied);
                decision.places.push((document, None));
            }
            Ok(applied) => {
                decision.applied.push(applied);
                decision.places.push((document, Some(decision.commands.len())));
                decision.commands.push(command);
                decision.state = after;
            }
            Err(refused) => problems.push((document, refused.problem())),
        }
    }
    if problems.is_empty() { Ok(decision) } else { Err(problems) }
}

/// Apps that wish for another revision by now than the one their permissions were held against.
fn changed_meanwhile(state: &State, wish: &Wish) -> Vec<(usize, Problem)> {
    let deploys = wish.commands.iter().map(|command| match &command.change {
        Change::Deploy(deploy) => Some(deploy),
        _ => None,
    });
    let held = wish.held.iter().flatten();
    let changed = deploys.enumerate().filter_map(|(number, deploy)| Some((wish.document(number), deploy?))).zip(held).filter_map(
        |((document, deploy), held)| {
            let now = state.app(&deploy.app).map(|record| record.wanted);
            (now != *held).then_some((document, deploy))
        },
    );
    let problem = |deploy: &Deploy| {
        let message = format!("the app `{}` was changed by somebody else while its permissions were looked at", deploy.app);
        Problem::new("E0403", message).help("apply it again")
    };
    changed.map(|(document, deploy)| (document, problem(deploy))).collect()
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
type Waiting = (oneshot::Sender<Result<Written, ApiError>>, Decision, usize);

/// Writes what there is to write of `writes`, and returns the others.
async fn write(core: &Core, writes: Vec<Write>) -> Rest {
    let Batch { commands, waiting, rest } = gather(core.state(), &core.observed(), clock::now(), writes);
    if commands.is_empty() {
        return rest;
    }
    core.metrics.proposals.inc_by(commands.len() as u64);
    let written = core.consensus.propose_batch(commands).await;
    for (answer, decision, first) in waiting {
        let outcome = match &written {
            Ok(answers) => settle(&decision, first, answers),
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
                Err(problems) => Err(ApiError::problems(problems)),
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
                state = decision.state.clone();
                let first = batch.commands.len();
                batch.commands.extend(decision.commands.iter().cloned());
                batch.waiting.push((write.answer, decision, first));
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

/// What really happened to a wish whose commands start at `first` of the batch.
fn settle(decision: &Decision, first: usize, answers: &[(u64, Result<Applied, Refused>)]) -> Result<Written, ApiError> {
    let (mut index, mut applied, mut problems) = (Index(0), Vec::new(), Vec::new());
    for ((document, place), expected) in decision.places.iter().zip(&decision.applied) {
        match place.and_then(|place| answers.get(first + place)) {
            None => applied.push(expected.clone()),
            Some((at, Ok(done))) => {
                index = index.max(Index(*at));
                applied.push(done.clone());
            }
            Some((_, Err(refused))) => problems.push((*document, refused.problem())),
        }
    }
    if problems.is_empty() { Ok(Written { index, applied }) } else { Err(ApiError::problems(problems)) }
}

#[cfg(test)]
mod tests {
    use api::v1::{ApiRole, Principal};
    use state::command::PutConfig;

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
