//! The state of the product under test: [`State`] with what a simulation must find again. Owns the adapter; must never hold a rule of the state.

use std::{collections::BTreeSet, io, sync::Arc};

use consensus::{Checkpoint, RestoreError, StateMachine};
use model::id::{Digest, Index, NodeId};
use serde::{Deserialize, Serialize};
use state::{
    Applied, Command, Compacted, ObjectKey, Op, Refused, State, Verdict,
    command::{Attest, Change, CommandV1, PutConfig, UserCommand},
    limits::CHECKPOINT_EVERY,
};

use crate::{
    Random, Subject, commands,
    scenario::{Became, Changed, Listing, Made},
};

/// How far the state's index goes with each entry: so its members compare themselves at every twentieth entry instead of every thousandth, and what is
/// kept for a number of checkpoints is forgotten within one simulation.
const STRIDE: u64 = CHECKPOINT_EVERY / 20;

/// Entries between two checks of every invariant, which look at the whole state.
const CHECK_ENTRIES: u64 = 5;

/// A command of the product, with a number to find it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// Names the write.
    pub unique: u64,
    /// The command.
    pub command: Command,
}

/// The replicated state, which commands were applied, and what they were answered.
#[derive(Debug, Clone)]
pub struct Replica {
    state: State,
    applied: Arc<BTreeSet<u64>>,
    /// Over all answers: members that answered differently differ, whatever their states say.
    answers: u64,
}

impl Replica {
    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }
}

/// What somebody asks for.
fn asked(numbered: &Numbered) -> Option<&Change> {
    let Command::V1(CommandV1::User(user)) = &numbered.command else { return None };
    Some(&user.change)
}

/// One step of FNV over `text`.
fn mix(sum: u64, text: &str) -> u64 {
    text.bytes().fold(sum, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

impl StateMachine for Replica {
    type Command = Numbered;
    type Answer = Result<Applied, Refused>;

    /// # Panics
    /// When an invariant of the state is broken: consensus takes that as the end of the member, which no simulation forgives.
    fn apply(&mut self, index: u64, numbered: &Numbered) -> Self::Answer {
        let answer = self.state.apply(Index(index * STRIDE), &numbered.command);
        Arc::make_mut(&mut self.applied).insert(numbered.unique);
        self.answers = mix(self.answers, &format!("{answer:?}"));
        if index.is_multiple_of(CHECK_ENTRIES)
            && let Err(broken) = self.state.check()
        {
            panic!("an invariant is broken after {:?}: {broken}", numbered.command);
        }
        answer
    }

    fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        let own = std::iter::once(self.answers).chain(self.applied.iter().copied()).flat_map(u64::to_be_bytes).collect();
        Box::new(std::iter::once(own).chain(self.state.records()))
    }

    fn restore(records: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError> {
        let own = records.next().transpose()?.unwrap_or_default();
        let mut numbers = own.chunks_exact(8).map(|bytes| bytes.try_into().map(u64::from_be_bytes).unwrap_or_default());
        let answers = numbers.next().ok_or_else(|| RestoreError::Record { number: 0, reason: "it is empty".to_owned() })?;
        let applied = Arc::new(numbers.collect());
        let state = State::restore(records).map_err(|error| RestoreError::State { reason: error.to_string() })?;
        Ok(Self { state, applied, answers })
    }

    fn hash(&self) -> [u8; 32] {
        let own: Vec<u8> = self.records().next().unwrap_or_default();
        Digest::of(&[self.state.hash().as_slice(), &own].concat()).0
    }
}

impl Subject for Replica {
    fn empty() -> Self {
        Self { state: State::empty(), applied: Arc::default(), answers: 0xcbf2_9ce4_8422_2325 }
    }

    fn write(&self, unique: u64, random: &mut Random) -> Numbered {
        Numbered { unique, command: Command::V1(commands::any(&self.state, unique, random)) }
    }

    fn holds(&self, unique: u64) -> bool {
        self.applied.contains(&unique)
    }

    fn reached(&self) -> u64 {
        self.state.index().0 / STRIDE
    }

    fn made(numbered: &Numbered, answer: &Self::Answer) -> Option<Made> {
        let (Change::PutConfig(put), Ok(Applied::Put { version, .. })) = (asked(numbered)?, answer) else { return None };
        Some(Made { object: put.id.to_string(), version: version.0, content: format!("{:?}", put.data) })
    }

    fn unmakes(numbered: &Numbered) -> Option<String> {
        let Change::DeleteConfig(delete) = asked(numbered)? else { return None };
        Some(delete.id.to_string())
    }

    fn look(&self, object: &str) -> Option<Made> {
        let config = self.state.config(&object.parse().ok()?)?;
        Some(Made { object: object.to_owned(), version: config.version.0, content: format!("{:?}", config.data) })
    }

    fn again(command: &Numbered, unique: u64) -> Option<Numbered> {
        let Command::V1(CommandV1::User(UserCommand { key: Some(_), .. })) = &command.command else { return None };
        Some(Numbered { unique, ..command.clone() })
    }

    fn told(numbered: &Numbered, answer: &Self::Answer) -> Vec<(String, String)> {
        let Command::V1(CommandV1::User(user)) = &numbered.command else { return Vec::new() };
        let key = user.key.as_ref().map(|key| (format!("what {} asked under {key}", user.by), format!("{answer:?}")));
        // Of those who saw the same version, one may change it; one who asks again under its key is the same.
        let asked = user.key.clone().unwrap_or_else(|| numbered.unique.to_string());
        let won = match (&user.change, answer) {
            (Change::PutConfig(PutConfig { id, expect: Some(expect), .. }), Ok(Applied::Put { version, .. }))
                if version != expect && expect.0 > 0 =>
            {
                Some((format!("who changed config {id} from {expect}"), asked))
            }
            _ => None,
        };
        key.into_iter().chain(won).collect()
    }

    fn founding(unique: u64) -> Vec<Numbered> {
        (unique..).zip(commands::founding()).map(|(unique, command)| Numbered { unique, command: Command::V1(command) }).collect()
    }

    fn admission(name: &str, unique: u64) -> Option<Numbered> {
        Some(Numbered { unique, command: Command::V1(commands::join_server(name)) })
    }

    fn number(answer: &Self::Answer) -> Option<u64> {
        match answer {
            Ok(Applied::Joined { node, .. }) => Some(node.0),
            _ => None,
        }
    }

    fn attestation(member: u64, checkpoint: Checkpoint, unique: u64) -> Option<Numbered> {
        let index = checkpoint.index * STRIDE;
        let attest = Attest { node: NodeId(member), index: Index(index), hash: checkpoint.hash };
        index.is_multiple_of(CHECKPOINT_EVERY).then_some(Numbered { unique, command: Command::V1(CommandV1::Attest(attest)) })
    }

    fn diverged(&self, member: u64, checkpoint: Checkpoint, voters: &[u64]) -> Option<String> {
        let voters = voters.iter().copied().map(NodeId).collect();
        match self.state.verdict(NodeId(member), (Index(checkpoint.index * STRIDE), checkpoint.hash), &voters) {
            Verdict::Agree | Verdict::Wait => None,
            Verdict::Diverged { majority, .. } => {
                Some(if majority { "most others differ" } else { "nobody can say who is right" }.to_owned())
            }
        }
    }

    fn list(&self) -> Listing {
        let objects = self.objects().map(|key| (format!("{key:?}"), self.row(&key).unwrap_or_default())).collect();
        Listing { index: self.state.index().0, objects }
    }

    fn changes(&self, after: u64) -> Result<Vec<Changed>, u64> {
        let changes = self.state.changes_after(Index(after)).map_err(|Compacted { oldest }| oldest.0)?;
        let changed = changes.map(|change| Changed {
            index: change.index.0,
            object: format!("{:?}", change.object),
            became: match change.op {
                Op::Added => Became::Added,
                Op::Modified => Became::Modified,
                Op::Deleted => Became::Deleted,
            },
            now: self.row(&change.object),
        });
        Ok(changed.collect())
    }
}

impl Replica {
    fn objects(&self) -> impl Iterator<Item = ObjectKey> {
        let state = &self.state;
        let nodes = state.nodes().map(|row| ObjectKey::Node(row.id, row.name.clone()));
        let tokens = state.join_tokens().map(|row| ObjectKey::JoinToken(row.id.clone()));
        let tokens = tokens.chain(state.api_tokens().map(|row| ObjectKey::ApiToken(row.id.clone())));
        let apps = state.apps().map(|row| ObjectKey::App(row.id.clone()));
        let apps = apps.chain(state.all_revisions().map(|row| ObjectKey::Revision(row.app.clone(), row.number)));
        let apps = apps.chain(state.placements().map(|row| ObjectKey::Placement(row.id, row.instance.clone())));
        let values = state.configs().map(|row| ObjectKey::Config(row.id.clone()));
        let values = values.chain(state.secrets().map(|row| ObjectKey::Secret(row.id.clone())));
        let values = values.chain(state.namespaces().map(|row| ObjectKey::Namespace(row.name.clone())));
        state.cluster().map(|_| ObjectKey::Cluster).into_iter().chain(nodes).chain(tokens).chain(apps).chain(values)
    }

    /// The object as text, while it is there.
    fn row(&self, key: &ObjectKey) -> Option<String> {
        let state = &self.state;
        match key {
            ObjectKey::Cluster => state.cluster().map(|row| format!("{row:?}")),
            ObjectKey::Node(id, _) => state.node(*id).map(|row| format!("{row:?}")),
            ObjectKey::JoinToken(id) => state.join_token(id).map(|row| format!("{row:?} {:?}", row.version)),
            ObjectKey::ApiToken(id) => state.api_token(id).map(|row| format!("{row:?}")),
            ObjectKey::App(id) => state.app(id).map(|row| format!("{row:?}")),
            ObjectKey::Revision(app, number) => state.revision(app, *number).map(|row| format!("{row:?}")),
            ObjectKey::Placement(id, _) => state.placement(*id).map(|row| format!("{row:?}")),
            ObjectKey::Config(id) => state.config(id).map(|row| format!("{row:?}")),
            ObjectKey::Secret(id) => state.secret(id).map(|row| format!("{row:?}")),
            ObjectKey::Namespace(name) => state.namespace(name).map(|row| format!("{row:?}")),
        }
    }
}
