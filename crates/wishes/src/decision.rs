//! What a wish comes to on a state. Owns that it is written whole or not at all, and what of it is so already; must never write.

use std::collections::BTreeMap;

use api::v1::ErrorDetail;
use model::{
    id::{Index, RevisionNumber, Timestamp},
    problem::Problem,
};
use state::{
    Applied, Command, DeployOutcome, PutOutcome, Refused, State,
    command::{Change, CommandV1, Deploy, UserCommand, Witness},
};

use crate::caller::Caller;

/// What a user asks to be written: all of it or nothing.
#[derive(Debug, Clone)]
pub struct Wish {
    /// In order.
    commands: Vec<UserCommand>,
    /// Which document of the request each command is about; each its own where there are none.
    documents: Option<Vec<usize>>,
    /// When permissions were held against the revisions before: which those were, by app.
    held: Option<Vec<Option<RevisionNumber>>>,
}

impl Wish {
    /// One change that `caller`, who calls itself `claimed`, asks for at `at`.
    pub fn change(caller: &Caller, claimed: &str, at: Timestamp, change: Change) -> Self {
        Self::changes(caller, claimed, at, vec![change])
    }

    /// Several changes, all or none.
    pub fn changes(caller: &Caller, claimed: &str, at: Timestamp, changes: Vec<Change>) -> Self {
        let by = caller.by(claimed);
        let keyed = changes.len() > 1;
        let commands = changes.into_iter().enumerate().map(|(number, change)| UserCommand {
            at,
            by: by.clone(),
            token: caller.token.clone(),
            from: caller.from.clone(),
            // Each command of a request is remembered by itself.
            key: caller.key.as_ref().map(|key| if keyed { format!("{key}/{number}") } else { key.clone() }),
            change,
        });
        Self { commands: commands.collect(), documents: None, held: None }
    }

    /// Something that is done beside the state. It is remembered by no key: what follows under the caller's key is another change.
    pub fn witness(caller: &Caller, at: Timestamp, witness: Witness) -> Self {
        let mut wish = Self::change(caller, "", at, Change::Witness(witness));
        wish.commands.iter_mut().for_each(|command| command.key = None);
        wish
    }

    /// Who asks for it, and from where.
    pub fn asked_by(&self) -> (&str, &str) {
        self.commands.first().map_or(("", ""), |command| (&command.by, &command.from))
    }

    /// What a request of several documents asks for: each change with the document it is about. Those of Secrets are remembered by their own `keys`.
    pub fn documents(caller: &Caller, claimed: &str, at: Timestamp, changes: Vec<(usize, Change)>, keys: &BTreeMap<usize, String>) -> Self {
        let (documents, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let mut wish = Self::changes(caller, claimed, at, changes);
        for (command, document) in wish.commands.iter_mut().zip(&documents) {
            // What is so already is left out, so the place among the commands says nothing.
            command.key = match &command.change {
                Change::PutSecret(_) => keys.get(document).cloned(),
                _ => caller.key.as_ref().map(|key| format!("{key}/{document}")),
            };
        }
        Self { documents: Some(documents), ..wish }
    }

    /// About how many bytes it takes in the log.
    pub fn bytes(&self) -> usize {
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
    pub fn holding(self, held: Option<Vec<Option<RevisionNumber>>>) -> Self {
        Self { held, ..self }
    }
}

/// What came of a wish: one answer per command, in order.
#[derive(Debug, Clone)]
pub struct Written {
    /// The index of the last entry; of the state when nothing had to be written.
    pub index: Index,
    /// What each did.
    pub applied: Vec<Applied>,
}

/// What a wish comes to on a state: what is to be written, and the state after it.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The state after all of it, without a history of it.
    pub state: State,
    /// What is to be written: nothing of what is so already.
    pub commands: Vec<Command>,
    /// What each part of the wish does.
    pub applied: Vec<Applied>,
    /// Which command does it, `None` when it is so already, and which document it is about.
    places: Vec<(usize, Option<usize>)>,
}

/// What whoever wished waits for while the commands of a [`Decision`] are written.
#[derive(Debug, Clone)]
pub struct Awaited {
    applied: Vec<Applied>,
    places: Vec<(usize, Option<usize>)>,
}

impl Decision {
    /// The state after it, what is to be written, and what to make of the answers to that.
    pub fn into_parts(self) -> (State, Vec<Command>, Awaited) {
        (self.state, self.commands, Awaited { applied: self.applied, places: self.places })
    }

    /// Whether a part of the wish is so already, and another is not.
    pub fn is_mixed(&self) -> bool {
        !self.commands.is_empty() && self.places.iter().any(|(_, place)| place.is_none())
    }
}

/// Holds `wish` against `state`. All or nothing: one refusal refuses it whole, with every reason and the document it is about.
///
/// # Errors
/// These reasons.
pub fn decide(state: &State, wish: &Wish) -> Result<Decision, Vec<(usize, Problem)>> {
    let commands = wish.commands.iter().map(|command| Command::V1(CommandV1::User(command.clone())));
    let mut problems = changed_meanwhile(state, wish);
    let mut decision = Decision { state: state.trial(), commands: Vec::new(), applied: Vec::new(), places: Vec::new() };
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

/// Apps that wish for another revision by now than the one their permissions were held against, unless it was this wish that changed them.
fn changed_meanwhile(state: &State, wish: &Wish) -> Vec<(usize, Problem)> {
    let deploys = wish.commands.iter().map(|command| match &command.change {
        Change::Deploy(deploy) => Some(deploy).filter(|_| !state.remembers(command)),
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

/// What really happened to a wish whose commands start at `first` of the batch.
///
/// # Errors
/// What the state refused of it, with the documents it is about.
pub fn settle(awaited: &Awaited, first: usize, answers: &[(u64, Result<Applied, Refused>)]) -> Result<Written, ErrorDetail> {
    let (mut index, mut applied, mut problems) = (Index(0), Vec::new(), Vec::new());
    for ((document, place), expected) in awaited.places.iter().zip(&awaited.applied) {
        match place.and_then(|place| answers.get(first + place)) {
            None => applied.push(expected.clone()),
            Some((at, Ok(done))) => {
                index = index.max(Index(*at));
                applied.push(done.clone());
            }
            Some((_, Err(refused))) => problems.push((*document, refused.problem())),
        }
    }
    if problems.is_empty() { Ok(Written { index, applied }) } else { Err(ErrorDetail::problems(problems)) }
}
