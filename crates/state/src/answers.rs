//! Answers to changes that came with an idempotency key, so that asking again is answered alike and does nothing. Owns how long and how many are kept, and that
//! none is forgotten while anybody may ask again; must never keep a refusal: it changed nothing, and asking again may fare better.

use model::id::{Index, Timestamp};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};
use sha2::{Digest as _, Sha256};

use crate::{
    limits::{ANSWER_KEPT_MILLIS, ANSWER_SURE_MILLIS, ANSWERS_FORGOTTEN_AT_ONCE, ANSWERS_MAX, ANSWERS_SPARE},
    record::AnswerRecord,
    tally::Tally,
};

/// Kept answers in the order of the log, and which of them is to whom under which key. The latter is never walked through: its order is another on each member.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    by_index: RedBlackTreeMapSync<Index, AnswerRecord>,
    by_key: HashTrieMapSync<[u8; 16], Index>,
    tally: Tally,
}

/// Who asked under which key, in few bytes: one may have many thousands. Nobody can make theirs look like somebody else's.
pub(crate) fn asker(by: &str, key: &str) -> [u8; 16] {
    let mut out = Sha256::new();
    out.update((by.len() as u64).to_le_bytes());
    out.update(by);
    out.update(key);
    let mut short = [0; 16];
    short.copy_from_slice(&out.finalize()[..16]);
    short
}

impl Answers {
    pub(crate) fn empty() -> Self {
        Self { by_index: RedBlackTreeMapSync::new_sync(), by_key: HashTrieMapSync::new_sync(), tally: Tally::default() }
    }

    /// The answer that still stands at `now`.
    pub(crate) fn get(&self, asker: &[u8; 16], now: Timestamp) -> Option<&AnswerRecord> {
        self.known(asker).filter(|known| age(known, now) < ANSWER_KEPT_MILLIS)
    }

    fn known(&self, asker: &[u8; 16]) -> Option<&AnswerRecord> {
        self.by_index.get(self.by_key.get(asker)?)
    }

    /// Forgets some of what nobody asks for any more at `now`; says whether there is room for one more.
    pub(crate) fn make_room(&mut self, now: Timestamp) -> bool {
        for _ in 0..ANSWERS_FORGOTTEN_AT_ONCE {
            let Some(oldest) = self.forgettable(now).cloned() else { break };
            self.forget(&oldest);
        }
        self.by_index.size() < ANSWERS_MAX
    }

    /// Whether there is room for one more at `now`, or will be when it is made.
    pub(crate) fn has_room(&self, now: Timestamp) -> bool {
        self.by_index.size() < ANSWERS_MAX || self.forgettable(now).is_some()
    }

    /// The oldest answer, when nobody asks for it any more at `now`.
    fn forgettable(&self, now: Timestamp) -> Option<&AnswerRecord> {
        let (_, oldest) = self.by_index.first()?;
        let age = age(oldest, now);
        let spare = age >= ANSWER_SURE_MILLIS && self.by_index.size() >= ANSWERS_SPARE;
        Some(oldest).filter(|_| age >= ANSWER_KEPT_MILLIS || spare)
    }

    fn forget(&mut self, answer: &AnswerRecord) {
        self.tally.remove(answer);
        self.by_key.remove_mut(&answer.asker);
        self.by_index.remove_mut(&answer.index);
    }

    /// Puts `answer` in, in the place of one under the same key.
    pub(crate) fn keep(&mut self, answer: AnswerRecord) {
        if let Some(before) = self.known(&answer.asker).cloned() {
            self.forget(&before);
        }
        self.tally.add(&answer);
        self.by_key.insert_mut(answer.asker, answer.index);
        self.by_index.insert_mut(answer.index, answer);
    }

    /// What the kept answers come to.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// All kept answers, oldest first.
    pub(crate) fn values(&self) -> impl Iterator<Item = &AnswerRecord> {
        self.by_index.values()
    }

    /// Whether both sides hold the same answers, their tally is right, and there are not more than may be.
    pub(crate) fn whole(&self) -> bool {
        self.by_key.size() == self.by_index.size()
            && self.by_index.size() <= ANSWERS_MAX
            && self.tally == Tally::of(self.values())
            && self.by_index.iter().all(|(index, answer)| answer.index == *index && self.by_key.get(&answer.asker) == Some(index))
    }
}

/// How far `now` is from when the answer was given, in milliseconds, either way: a leader whose clock ran years ahead must not hold up all forgetting, and one
/// whose clock is a moment behind must forget nothing.
fn age(answer: &AnswerRecord, now: Timestamp) -> u64 {
    now.0.abs_diff(answer.at.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Applied;

    fn answer(number: u64, at: u64) -> AnswerRecord {
        let answer = Applied::Attested { kept: true };
        AnswerRecord { asker: asker("ann", &number.to_string()), at: Timestamp(at), index: Index(number), asked: [0; 32], answer }
    }

    #[test]
    fn an_answer_of_a_clock_that_ran_ahead_does_not_stay_for_ever() {
        let mut answers = Answers::empty();
        answers.keep(answer(1, 5 + 2 * ANSWER_KEPT_MILLIS));
        answers.keep(answer(2, 1_000));
        answers.keep(answer(3, 5));
        assert!(answers.make_room(Timestamp(5)));
        assert_eq!(answers.values().map(|answer| answer.index.0).collect::<Vec<_>>(), [2, 3], "a moment ahead is not years");
        assert!(answers.get(&asker("ann", "2"), Timestamp(5)).is_some());
    }

    #[test]
    fn what_finds_no_room_is_refused_until_the_oldest_are_old_enough() {
        let mut answers = Answers::empty();
        for number in 1..=ANSWERS_MAX as u64 {
            assert!(answers.make_room(Timestamp(5)), "there is room for answer {number}");
            answers.keep(answer(number, 5));
        }
        assert!(!answers.make_room(Timestamp(5 + ANSWER_SURE_MILLIS - 1)), "every one of them may be asked for");
        assert!(answers.make_room(Timestamp(5 + ANSWER_SURE_MILLIS)));
        assert_eq!(answers.values().count(), ANSWERS_MAX - ANSWERS_FORGOTTEN_AT_ONCE);
        assert!(answers.whole());
        while answers.by_index.size() >= ANSWERS_SPARE {
            assert!(answers.make_room(Timestamp(5 + ANSWER_SURE_MILLIS)));
        }
        assert!(answers.make_room(Timestamp(5 + ANSWER_KEPT_MILLIS - 1)));
        assert_eq!(answers.values().count(), ANSWERS_SPARE - 1, "few are kept for a day");
        assert!(answers.make_room(Timestamp(5 + ANSWER_KEPT_MILLIS)));
        assert_eq!(answers.values().count(), ANSWERS_SPARE - 1 - ANSWERS_FORGOTTEN_AT_ONCE);
    }

    #[test]
    fn who_asks_is_not_mistaken() {
        assert_ne!(asker("ann", "k"), asker("an", "nk"));
        assert_eq!(asker("ann", "k"), asker("ann", "k"));
    }
}
