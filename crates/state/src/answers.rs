//! Answers to changes that came with an idempotency key, so that asking again is answered alike and does nothing. Owns how long and how many are kept; must
//! never keep a refusal: it changed nothing, and asking again may fare better.

use model::id::{Index, Timestamp};
use rpds::RedBlackTreeMapSync;

use crate::{
    limits::{ANSWER_KEPT_MILLIS, ANSWERS_MAX},
    record::AnswerRecord,
};

/// Kept answers by who asked under which key, and in the order of the log.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    by_key: RedBlackTreeMapSync<(String, String), AnswerRecord>,
    by_index: RedBlackTreeMapSync<Index, (String, String)>,
}

impl Answers {
    pub(crate) fn empty() -> Self {
        Self { by_key: RedBlackTreeMapSync::new_sync(), by_index: RedBlackTreeMapSync::new_sync() }
    }

    /// The answer that still stands at `now`.
    pub(crate) fn get(&self, by: &str, key: &str, now: Timestamp) -> Option<&AnswerRecord> {
        let known = self.by_key.get(&(by.to_owned(), key.to_owned()));
        known.filter(|known| !expired(known, now))
    }

    /// Keeps `answer`, and forgets those that are too old by then, and the oldest past the bound.
    pub(crate) fn keep(&mut self, answer: AnswerRecord) {
        let now = answer.at;
        self.load(answer);
        while let Some((index, key)) = self.by_index.first().map(|(index, key)| (*index, key.clone())) {
            let old = self.by_key.get(&key).is_none_or(|oldest| expired(oldest, now));
            if !old && self.by_index.size() <= ANSWERS_MAX {
                return;
            }
            self.by_key.remove_mut(&key);
            self.by_index.remove_mut(&index);
        }
    }

    /// Puts `answer` in, in the place of one under the same key.
    pub(crate) fn load(&mut self, answer: AnswerRecord) {
        let key = (answer.by.clone(), answer.key.clone());
        if let Some(before) = self.by_key.get(&key) {
            self.by_index.remove_mut(&before.index);
        }
        self.by_index.insert_mut(answer.index, key.clone());
        self.by_key.insert_mut(key, answer);
    }

    /// All kept answers, oldest first.
    pub(crate) fn values(&self) -> impl Iterator<Item = &AnswerRecord> {
        self.by_index.values().filter_map(|key| self.by_key.get(key))
    }

    /// Whether both sides hold the same answers, and not more than may be.
    pub(crate) fn whole(&self) -> bool {
        let paired = self.values().count() == self.by_key.size() && self.by_key.size() == self.by_index.size();
        paired
            && self.by_key.size() <= ANSWERS_MAX
            && self.by_index.iter().all(|(index, key)| self.by_key.get(key).is_some_and(|row| row.index == *index))
    }
}

fn expired(answer: &AnswerRecord, now: Timestamp) -> bool {
    now.millis_since(answer.at) >= ANSWER_KEPT_MILLIS
}
