//! What each member has acknowledged to this one while it leads: a member that takes its word back has lost a part of its log. Owns holding members to it; must
//! never decide what becomes of such a member.
//!
//! A member whose log ends before what it acknowledged may have voted, and may have been counted, for what it does not have any more. It is neither fed nor
//! counted: the leader treats it like one that cannot be reached.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    log::{LogId, Vote},
    message::Appended,
};

/// What a member acknowledged under one vote.
#[derive(Debug, Clone, Copy)]
struct Word {
    vote: Vote,
    upto: LogId,
    broken: bool,
}

/// The words of all members. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words(Arc<Mutex<BTreeMap<u64, Word>>>);

impl Words {
    /// Holds what member `id` says to entries up to `last`, which follow `previous`, against what it said before to the same leader.
    pub(crate) fn hold(&self, id: u64, vote: Vote, (previous, last): (Option<LogId>, Option<LogId>), said: &Appended) -> io::Result<()> {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = words.get_mut(&id).filter(|word| word.vote == vote);
        let upto = match said {
            Appended::Whole => last,
            Appended::Upto(upto) => *upto,
            Appended::Higher(_) => return Ok(()),
            Appended::Conflict => {
                let Some((word, asked)) = known.zip(previous).filter(|(word, asked)| word.upto.index >= asked.index) else { return Ok(()) };
                let (missing, acknowledged) = (asked.index, word.upto.index);
                if !std::mem::replace(&mut word.broken, true) {
                    let message = "a member has lost a part of its log: it is not fed any more, and must join anew";
                    tracing::error!(member.id = id, entry.missing = missing, entry.acknowledged = acknowledged, "{message}");
                }
                let why = format!("member {id} does not have entry {missing}, and it had acknowledged all up to {acknowledged}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        };
        let Some(upto) = upto else { return Ok(()) };
        match known {
            Some(word) if word.broken => {
                let why = format!("member {id} had lost a part of its log before it acknowledged entry {}", upto.index);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            Some(word) => word.upto = word.upto.max(upto),
            None => drop(words.insert(id, Word { vote, upto, broken: false })),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTE: Vote = Vote { term: 2, committed: true, node: 1 };

    fn at(index: u64) -> Option<LogId> {
        Some(LogId { term: 2, index })
    }

    #[test]
    fn a_member_is_held_to_what_it_acknowledged() {
        let words = Words::default();
        let hold = |vote, previous, last, said| words.hold(7, vote, (at(previous), at(last)), &said);
        hold(VOTE, 5, 5, Appended::Conflict).expect("nothing was acknowledged yet");
        hold(VOTE, 3, 9, Appended::Whole).expect("it has them now");
        hold(VOTE, 12, 14, Appended::Conflict).expect("it never said that it had entry 12");
        let error = hold(VOTE, 9, 9, Appended::Conflict).expect_err("it had said so");
        assert!(error.to_string().contains("does not have entry 9") && error.to_string().contains("up to 9"), "{error}");
        assert!(hold(VOTE, 0, 1, Appended::Whole).is_err(), "what it says from now on does not count");
        assert!(words.hold(8, VOTE, (at(9), at(9)), &Appended::Conflict).is_ok(), "another member is another matter");
        let next = Vote { term: 3, ..VOTE };
        hold(next, 9, 9, Appended::Conflict).expect("another leader may have written over it");
    }
}
