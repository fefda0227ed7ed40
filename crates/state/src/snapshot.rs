//! The whole state as a sequence of records, and back. Owns their form, which is on disk and travels between versions: variants are only ever appended, the
//! order is fixed, golden bytes are under test. The hash of a state is over the same records without their sentences, so it covers all that a snapshot holds
//! but how it is worded; of what happened, which is long and changes with every entry, it takes the tallies. Must never leave out what a decision reads.

use std::{borrow::Cow, io, sync::Arc};

use model::id::{Index, NodeId, PlacementId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    ApiTokenRecord, AppRecord, AuditEntry, AuditOutcome, Authorities, ClusterRecord, ConfigRecord, Event, JoinTokenRecord, NamespaceRecord,
    NodeRecord, Placement, Revision, SecretRecord, State,
    changes::Changes,
    limits::{AUDIT_MAX, EVENTS_MAX},
    record::AnswerRecord,
    ring::Ring,
    table::{Row, Table},
    tally::Tallied,
};

/// Why a sequence of records is no state.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It could not be read.
    #[error("reading record {record} of a snapshot")]
    Read {
        /// Which, from 1.
        record: u64,
        /// Why.
        source: io::Error,
    },
    /// It is no record this program knows.
    #[error("record {record} of a snapshot is not one this version of shoal reads")]
    Unknown {
        /// Which, from 1.
        record: u64,
        /// Why.
        source: bincode::error::DecodeError,
    },
    /// It stands where it does not belong, is there twice, or is longer than what it holds.
    #[error("record {record} of a snapshot {what}")]
    Misplaced {
        /// Which, from 1.
        record: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The end is missing.
    #[error("a snapshot ends after {records} records, before its last one")]
    CutOff {
        /// How many there are.
        records: u64,
    },
    /// The records contradict each other.
    #[error("a snapshot of index {index} breaks a rule of the state: {rule}")]
    Broken {
        /// The index it is of.
        index: Index,
        /// Which.
        rule: String,
    },
}

/// Bytes of most records, from which a buffer starts.
const RECORD_BYTES_COMMON: usize = 256;

/// One record, in the version it was written in. Variants are only ever appended.
#[derive(Debug, Serialize, Deserialize)]
enum Record<'a> {
    V1(RecordV1<'a>),
}

/// The first form. The order of the records is that of their ranks, and of the variants but for the end.
#[derive(Debug, Serialize, Deserialize)]
enum RecordV1<'a> {
    Head(Head),
    Cluster(Cow<'a, ClusterRecord>),
    Node(Cow<'a, NodeRecord>),
    JoinToken(Cow<'a, JoinTokenRecord>),
    ApiToken(Cow<'a, ApiTokenRecord>),
    App(Cow<'a, AppRecord>),
    Revision(Cow<'a, Revision>),
    Placement(Cow<'a, Placement>),
    Config(Cow<'a, ConfigRecord>),
    Secret(Cow<'a, SecretRecord>),
    Namespace(Cow<'a, NamespaceRecord>),
    Event(Cow<'a, Event>),
    Audit(Cow<'a, AuditEntry>),
    Answer(Cow<'a, AnswerRecord>),
    Attestation(Index, NodeId, [u8; 32]),
    /// How many records stand before this one.
    End(u64),
    /// Only when the authority was ever rotated.
    Authorities(Cow<'a, Authorities>),
}

/// Where the log is, and the numbers that count on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Head {
    index: Index,
    next_placement: PlacementId,
    newest_event: u64,
    newest_audit: u64,
}

impl State {
    /// The whole state in a fixed order, each record encoded by itself.
    pub fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        Box::new(self.all_records().map(encode))
    }

    fn all_records(&self) -> impl Iterator<Item = RecordV1<'_>> + Send {
        let records = self.objects().chain(self.history()).chain(self.beside());
        let mut count = 0;
        let counted = records.map(Some).chain(std::iter::once(None));
        counted.map(move |record| {
            let end = RecordV1::End(count);
            count += 1;
            record.unwrap_or(end)
        })
    }

    /// What there is.
    fn objects(&self) -> impl Iterator<Item = RecordV1<'_>> + Send {
        let head = Head {
            index: self.index,
            next_placement: self.next_placement,
            newest_event: self.newest_event(),
            newest_audit: self.newest_audit(),
        };
        std::iter::once(RecordV1::Head(head))
            .chain(self.cluster.values().map(|row| RecordV1::Cluster(Cow::Borrowed(row))))
            .chain(self.nodes.values().map(|row| RecordV1::Node(Cow::Borrowed(row))))
            .chain(self.join_tokens.values().map(|row| RecordV1::JoinToken(Cow::Borrowed(row))))
            .chain(self.api_tokens.values().map(|row| RecordV1::ApiToken(Cow::Borrowed(row))))
            .chain(self.apps.values().map(|row| RecordV1::App(Cow::Borrowed(row))))
            .chain(self.revisions.values().map(|row| RecordV1::Revision(Cow::Borrowed(row))))
            .chain(self.placements.values().map(|row| RecordV1::Placement(Cow::Borrowed(row))))
            .chain(self.configs.values().map(|row| RecordV1::Config(Cow::Borrowed(row))))
            .chain(self.secrets.values().map(|row| RecordV1::Secret(Cow::Borrowed(row))))
            .chain(self.namespaces.values().map(|row| RecordV1::Namespace(Cow::Borrowed(row))))
    }

    /// What happened.
    fn history(&self) -> impl Iterator<Item = RecordV1<'_>> + Send {
        let events = self.events.after(0).map(|event| RecordV1::Event(Cow::Borrowed(event)));
        let audit = self.audit.after(0).map(|entry| RecordV1::Audit(Cow::Borrowed(entry)));
        events.chain(audit).chain(self.answers.values().map(|answer| RecordV1::Answer(Cow::Borrowed(answer))))
    }

    /// What stands behind it.
    fn beside(&self) -> impl Iterator<Item = RecordV1<'_>> + Send {
        let attestations = self.attestations.iter().map(|(at, node, hash)| RecordV1::Attestation(at, node, hash));
        attestations.chain(self.rotated().map(|authorities| RecordV1::Authorities(Cow::Borrowed(authorities))))
    }

    fn rotated(&self) -> impl Iterator<Item = &Authorities> {
        Some(&*self.authorities).filter(|authorities| **authorities != Authorities::default()).into_iter()
    }

    /// The state whose [`records`](Self::records) these are.
    ///
    /// # Errors
    /// The first record that cannot be one of these, or the rule of the state that they break together.
    pub fn restore(records: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError> {
        let mut restoring = Restoring { state: Self::empty(), records: 0, rank: 0, ended: false };
        for bytes in records {
            restoring.records += 1;
            let record = restoring.records;
            let bytes = bytes.map_err(|source| RestoreError::Read { record, source })?;
            let (Record::V1(read), used) = bincode::serde::decode_from_slice(&bytes, bincode::config::standard())
                .map_err(|source| RestoreError::Unknown { record, source })?;
            if used != bytes.len() {
                return Err(RestoreError::Misplaced { record, what: "is longer than what it holds" });
            }
            restoring.take(read)?;
        }
        restoring.finish()
    }

    /// The sha256 over all records but for the sentences in them, and over the tallies of what happened. Members that applied the same log have the same one,
    /// whatever words their versions use.
    pub fn hash(&self) -> [u8; 32] {
        let (mut out, mut bytes) = (Sha256::new(), Vec::new());
        for record in self.objects().chain(self.beside()).map(RecordV1::without_words) {
            bytes.clear();
            encode_into(record, &mut bytes);
            // A record says by itself where it ends, but nothing is lost by saying it twice.
            out.update((bytes.len() as u64).to_le_bytes());
            out.update(&bytes);
        }
        for tally in [self.events.tally(), self.audit.tally(), self.answers.tally()] {
            out.update(tally.bytes());
        }
        out.finalize().into()
    }
}

fn encode(record: RecordV1<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD_BYTES_COMMON);
    encode_into(record, &mut bytes);
    bytes
}

fn encode_into(record: RecordV1<'_>, bytes: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(Record::V1(record), bytes, bincode::config::standard())
        .expect("the records hold nothing bincode cannot encode, and memory takes every byte");
}

impl Tallied for Event {
    fn digest(&self) -> [u8; 32] {
        digest(RecordV1::Event(Cow::Borrowed(self)))
    }
}

impl Tallied for AuditEntry {
    fn digest(&self) -> [u8; 32] {
        digest(RecordV1::Audit(Cow::Borrowed(self)))
    }
}

impl Tallied for AnswerRecord {
    fn digest(&self) -> [u8; 32] {
        digest(RecordV1::Answer(Cow::Borrowed(self)))
    }
}

fn digest(record: RecordV1<'_>) -> [u8; 32] {
    Sha256::digest(encode(record.without_words())).into()
}

impl RecordV1<'_> {
    /// Without what `apply` words for people: two versions may word it differently, and nothing is decided by it.
    fn without_words(mut self) -> Self {
        match &mut self {
            Self::Event(event) => event.to_mut().message.clear(),
            Self::Revision(revision) if !revision.note.is_empty() => revision.to_mut().note.clear(),
            Self::Placement(placement) if placement.stopping.is_some() => placement.to_mut().stopping = Some(String::new()),
            Self::Audit(entry) if matches!(entry.outcome, AuditOutcome::Refused { .. }) => {
                if let AuditOutcome::Refused { message, .. } = &mut entry.to_mut().outcome {
                    message.clear();
                }
            }
            _ => {}
        }
        self
    }
}

struct Restoring {
    state: State,
    records: u64,
    /// The place of the last record in the order of kinds.
    rank: u8,
    ended: bool,
}

impl Restoring {
    fn take(&mut self, record: RecordV1<'_>) -> Result<(), RestoreError> {
        self.refuse_disorder(&record)?;
        let state = &mut self.state;
        let twice = match record {
            RecordV1::Head(head) => {
                state.index = head.index;
                state.next_placement = head.next_placement;
                state.events = Ring::empty(EVENTS_MAX, head.newest_event);
                state.audit = Ring::empty(AUDIT_MAX, head.newest_audit);
                state.changes = Changes::since(head.index);
                false
            }
            RecordV1::Cluster(row) => load(&mut state.cluster, row),
            RecordV1::Node(row) => load(&mut state.nodes, row),
            RecordV1::JoinToken(row) => load(&mut state.join_tokens, row),
            RecordV1::ApiToken(row) => load(&mut state.api_tokens, row),
            RecordV1::App(row) => load(&mut state.apps, row),
            RecordV1::Revision(row) => load(&mut state.revisions, row),
            RecordV1::Placement(row) => load(&mut state.placements, row),
            RecordV1::Config(row) => load(&mut state.configs, row),
            RecordV1::Secret(row) => load(&mut state.secrets, row),
            RecordV1::Namespace(row) => load(&mut state.namespaces, row),
            RecordV1::Event(event) => {
                state.events.load(event.sequence, event.into_owned());
                false
            }
            RecordV1::Audit(entry) => {
                state.audit.load(entry.sequence, entry.into_owned());
                false
            }
            RecordV1::Answer(answer) => {
                state.answers.keep(answer.into_owned());
                false
            }
            RecordV1::Attestation(at, node, hash) => {
                state.attestations.load(at, node, hash);
                false
            }
            RecordV1::Authorities(authorities) => {
                let twice = *state.authorities != Authorities::default();
                state.authorities = Arc::new(authorities.into_owned());
                twice
            }
            RecordV1::End(count) => {
                self.ended = true;
                count != self.records - 1
            }
        };
        if twice { Err(self.misplaced("is there twice, or ends more than there is")) } else { Ok(()) }
    }

    fn refuse_disorder(&mut self, record: &RecordV1<'_>) -> Result<(), RestoreError> {
        let rank = rank(record);
        if self.ended {
            return Err(self.misplaced("stands behind the end"));
        }
        if (rank == 0) != (self.records == 1) || rank < self.rank {
            return Err(self.misplaced("does not stand where it belongs"));
        }
        self.rank = rank;
        Ok(())
    }

    fn misplaced(&self, what: &'static str) -> RestoreError {
        RestoreError::Misplaced { record: self.records, what }
    }

    fn finish(self) -> Result<State, RestoreError> {
        if !self.ended {
            return Err(RestoreError::CutOff { records: self.records });
        }
        let mut state = self.state;
        state.derived = state.derive();
        state.check().map_err(|rule| RestoreError::Broken { index: state.index, rule })?;
        Ok(state)
    }
}

/// Puts `row` in; says whether there was one like it.
fn load<R: Row>(table: &mut Table<R>, row: Cow<'_, R>) -> bool {
    let twice = table.contains(&row.key());
    table.load(row.into_owned());
    twice
}

fn rank(record: &RecordV1<'_>) -> u8 {
    match record {
        RecordV1::Head(_) => 0,
        RecordV1::Cluster(_) => 1,
        RecordV1::Node(_) => 2,
        RecordV1::JoinToken(_) => 3,
        RecordV1::ApiToken(_) => 4,
        RecordV1::App(_) => 5,
        RecordV1::Revision(_) => 6,
        RecordV1::Placement(_) => 7,
        RecordV1::Config(_) => 8,
        RecordV1::Secret(_) => 9,
        RecordV1::Namespace(_) => 10,
        RecordV1::Event(_) => 11,
        RecordV1::Audit(_) => 12,
        RecordV1::Answer(_) => 13,
        RecordV1::Attestation(..) => 14,
        RecordV1::Authorities(_) => 15,
        RecordV1::End(_) => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use model::id::Timestamp;

    use super::*;
    use crate::EventKind;

    /// A state in which one event happened and one change was refused, in these words.
    fn worded(message: &str, kind: EventKind, code: &str) -> State {
        let mut state = State::empty();
        let object = "node-1".to_owned();
        state.events.push(|sequence| Event { sequence, at: Timestamp(1), kind, app: None, object, message: message.to_owned() });
        let outcome = AuditOutcome::Refused { code: code.to_owned(), message: message.to_owned() };
        state.audit.push(|sequence| AuditEntry {
            sequence,
            index: Index(0),
            at: Timestamp(1),
            by: "ann".to_owned(),
            token: None,
            from: String::new(),
            verb: "deploy".to_owned(),
            object: "app/hello".to_owned(),
            outcome,
        });
        state
    }

    #[test]
    fn a_state_is_the_same_in_other_words() {
        let first = worded("joined as node-1", EventKind::NodeJoined, "E0402");
        let again = worded("is here, as node-1", EventKind::NodeJoined, "E0402");
        assert_eq!(first.hash(), again.hash());
        assert!(!first.records().eq(again.records()), "a snapshot has the words");
        assert_ne!(first.hash(), worded("joined as node-1", EventKind::NodeChanged, "E0402").hash());
        assert_ne!(first.hash(), worded("joined as node-1", EventKind::NodeJoined, "E0403").hash());
        let restored = State::restore(&mut first.records().map(Ok)).expect("it is a whole state");
        assert_eq!(restored.hash(), first.hash());
    }
}
