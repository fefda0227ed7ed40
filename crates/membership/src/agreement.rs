//! Whether this member has the state that the others have. Owns what follows from what all of them said at checkpoints, and the sentences for it; who is right
//! is decided by `state::State::verdict`. A member that differs from most voters halts: whatever it would answer or propose from here on could be wrong.

use std::collections::{BTreeMap, BTreeSet};

use consensus::Checkpoint;
use data_encoding::HEXLOWER;
use model::id::{Index, NodeId};
use state::{State, Verdict, limits::CHECKPOINTS_KEPT};

/// What a comparison comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing yet, or agreement.
    Nothing,
    /// Members differ, and nobody can say which of them is right.
    Unsettled(String),
    /// This member must not go on.
    Halt(String),
}

/// What this member's state hashed to at checkpoints on which the others have not all spoken.
#[derive(Debug, Default)]
pub struct Own(BTreeMap<Index, [u8; 32]>);

impl Own {
    /// Takes over what the state hashed to at a checkpoint.
    pub fn add(&mut self, Checkpoint { index, hash }: Checkpoint) {
        self.0.insert(Index(index), hash);
        while self.0.len() > CHECKPOINTS_KEPT {
            self.0.pop_first();
        }
    }

    /// Whether anything is open.
    pub fn waits(&self) -> bool {
        !self.0.is_empty()
    }

    /// Compares every open checkpoint, and forgets those that are settled.
    pub fn judge(&mut self, state: &State, me: NodeId, voters: &BTreeSet<NodeId>) -> Finding {
        let mut finding = Finding::Nothing;
        self.0.retain(|at, hash| match state.verdict(me, (*at, *hash), voters) {
            Verdict::Agree => false,
            Verdict::Wait => true,
            Verdict::Diverged { majority: false, at, .. } => {
                if finding == Finding::Nothing {
                    finding = Finding::Unsettled(unsettled(at));
                }
                false
            }
            Verdict::Diverged { majority: true, at, mine, theirs } => {
                finding = Finding::Halt(halt(me, at, &mine, &theirs));
                false
            }
        });
        finding
    }
}

fn halt(me: NodeId, at: Index, mine: &[u8], theirs: &[u8]) -> String {
    let short = |hash: &[u8]| HEXLOWER.encode(&hash[..8]);
    format!(
        "{me} has another state than most members after entry {at} of the log: its own hashes to {}…, theirs to {}…. It must not go on. If it says so again \
         after a restart, take its data directory away and join it anew with `shoal server --join SERVER --replace NODE`",
        short(mine),
        short(theirs)
    )
}

fn unsettled(at: Index) -> String {
    format!(
        "members have different states after entry {at} of the log, and none of these states is that of most of them: nobody can say which is right. \
         Take a `shoal snapshot save` from each server, compare them, and take the wrong one out with `shoal node remove`"
    )
}

#[cfg(test)]
mod tests {
    use model::id::Timestamp;
    use state::{
        Command,
        command::{Addresses, Admission, Attest, Change, CommandV1, CreateJoinToken, Found, Join, NodeFacts, NodeKeys, NodeRole, Sealed},
    };

    use super::*;

    /// A cluster of `servers`, each of which says at entry 1,000 what `hashes` has for it.
    fn said(servers: &[&str], hashes: &[Option<u8>]) -> (State, Vec<NodeId>) {
        let mut state = State::empty();
        let found =
            Found { at: Timestamp(1), cluster: [7; 16], ca_certificate: Vec::new(), ca_key: Sealed(Vec::new()), node: facts(servers[0]) };
        let mut ask = |command| state.apply(state.index().next(), &Command::V1(command)).expect("it is in order");
        ask(CommandV1::Found(found));
        let token = CreateJoinToken {
            id: "t".parse().expect("an id"),
            secret_hash: [1; 32],
            role: NodeRole::Server,
            expires_at: Timestamp(9),
            uses: None,
            note: String::new(),
        };
        let Command::V1(create) = Command::user(Timestamp(1), "ann", Change::CreateJoinToken(token));
        ask(create);
        for name in &servers[1..] {
            let admission = Some(Admission { token: "t".parse().expect("an id"), secret_hash: [1; 32] });
            ask(CommandV1::Join(Join { at: Timestamp(1), admission, node: facts(name) }));
        }
        let ids: Vec<NodeId> = state.servers().map(|node| node.id).collect();
        for (offset, (node, hash)) in (1_000..).zip(ids.iter().zip(hashes)) {
            if let Some(hash) = hash {
                let attest = Attest { node: *node, index: Index(1_000), hash: [*hash; 32] };
                state.apply(Index(offset), &Command::V1(CommandV1::Attest(attest))).expect("always");
            }
        }
        (state, ids)
    }

    fn facts(name: &str) -> NodeFacts {
        NodeFacts {
            name: name.into(),
            keys: NodeKeys { server: Some([name.as_bytes()[0]; 32]), worker: None },
            addresses: Addresses::default(),
            place: Default::default(),
            labels: Default::default(),
            memory_bytes: 1,
            cpu_millis: 1,
            release: "0.1.0".into(),
            schema: 1,
        }
    }

    /// What the last of `servers` finds when its state hashes to `mine` at entry 1,000.
    fn found(servers: &[&str], hashes: &[Option<u8>], mine: u8) -> Finding {
        let (state, ids) = said(servers, hashes);
        let mut own = Own::default();
        own.add(Checkpoint { index: 1_000, hash: [mine; 32] });
        own.judge(&state, *ids.last().expect("there is one"), &ids.iter().copied().collect())
    }

    #[test]
    fn whoever_differs_from_most_halts_and_says_what_to_do() {
        let three = ["a", "b", "c"];
        assert_eq!(found(&three, &[Some(1), Some(1), None], 1), Finding::Nothing);
        assert_eq!(found(&three, &[Some(1), None, None], 2), Finding::Nothing, "one other is not most of three");
        let Finding::Halt(sentence) = found(&three, &[Some(1), Some(1), None], 2) else { panic!("it differs from two of three") };
        assert!(sentence.contains("after entry 1000 of the log") && sentence.contains("--replace"), "{sentence}");
        assert!(matches!(found(&["a", "b"], &[Some(1), None], 2), Finding::Unsettled(_)), "of two, nobody can say who is right");
        assert!(matches!(found(&three, &[Some(1), Some(2), None], 3), Finding::Unsettled(_)));
    }

    #[test]
    fn what_is_settled_is_not_looked_at_again() {
        let (state, ids) = said(&["a", "b", "c"], &[Some(1), Some(1), None]);
        let voters = ids.iter().copied().collect();
        let mut own = Own::default();
        (1..=10).for_each(|number| own.add(Checkpoint { index: number * 1_000, hash: [1; 32] }));
        assert_eq!(own.0.len(), CHECKPOINTS_KEPT);
        own.0.insert(Index(1_000), [1; 32]);
        assert_eq!(own.judge(&state, ids[2], &voters), Finding::Nothing);
        assert!(!own.0.contains_key(&Index(1_000)) && own.waits());
    }

    #[test]
    fn both_sides_count_checkpoints_alike() {
        assert_eq!(consensus::limits::CHECKPOINT_ENTRIES, state::limits::CHECKPOINT_EVERY);
    }
}
