//! Rows of one kind by their key, which remember what was touched since they were asked last. Owns that nothing changes unnoticed: rows are reached for
//! writing only through here. Must never know what a row means.

use std::{collections::BTreeMap, fmt::Debug, ops::RangeBounds};

use rpds::RedBlackTreeMapSync;

use crate::changes::{ObjectKey, Op};

/// One row.
pub(crate) trait Row: Clone + Debug {
    /// By what it is found.
    type Key: Ord + Clone + Debug;

    /// Its key, which never changes.
    fn key(&self) -> Self::Key;

    /// Its name among all objects.
    fn object(&self) -> ObjectKey;
}

/// Rows by key. A clone shares all but what changes afterwards.
#[derive(Debug, Clone)]
pub(crate) struct Table<R: Row> {
    rows: RedBlackTreeMapSync<R::Key, R>,
    /// What was touched, and whether it was there before.
    touched: BTreeMap<ObjectKey, (R::Key, bool)>,
}

impl<R: Row> Table<R> {
    pub(crate) fn empty() -> Self {
        Self { rows: RedBlackTreeMapSync::new_sync(), touched: BTreeMap::new() }
    }

    pub(crate) fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(key)
    }

    pub(crate) fn contains(&self, key: &R::Key) -> bool {
        self.rows.contains_key(key)
    }

    /// The row to be changed, which counts as changed from here on.
    pub(crate) fn get_mut(&mut self, key: &R::Key) -> Option<&mut R> {
        let object = self.rows.get(key)?.object();
        self.touched.entry(object).or_insert_with(|| (key.clone(), true));
        self.rows.get_mut(key)
    }

    /// Puts `row` in, in the place of one with the same key.
    pub(crate) fn insert(&mut self, row: R) {
        let key = row.key();
        let known = self.rows.contains_key(&key);
        self.touched.entry(row.object()).or_insert_with(|| (key.clone(), known));
        self.rows.insert_mut(key, row);
    }

    /// Puts in what a snapshot held: nothing anybody is told of.
    pub(crate) fn load(&mut self, row: R) {
        self.rows.insert_mut(row.key(), row);
    }

    pub(crate) fn remove(&mut self, key: &R::Key) {
        let Some(row) = self.rows.get(key) else { return };
        self.touched.entry(row.object()).or_insert_with(|| (key.clone(), true));
        self.rows.remove_mut(key);
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &R> {
        self.rows.values()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&R::Key, &R)> {
        self.rows.iter()
    }

    pub(crate) fn range(&self, bounds: impl RangeBounds<R::Key>) -> impl DoubleEndedIterator<Item = (&R::Key, &R)> {
        self.rows.range(bounds)
    }

    pub(crate) fn size(&self) -> usize {
        self.rows.size()
    }

    /// What became of everything that was touched since the last time, in order of object.
    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = (ObjectKey, Op)> + use<R> {
        // Most entries touch one table of ten.
        let touched = (!self.touched.is_empty()).then(|| (std::mem::take(&mut self.touched), self.rows.clone()));
        touched.into_iter().flat_map(|(touched, rows)| {
            touched.into_iter().filter_map(move |(object, (key, before))| {
                let op = match (before, rows.contains_key(&key)) {
                    (false, true) => Op::Added,
                    (true, true) => Op::Modified,
                    (true, false) => Op::Deleted,
                    (false, false) => return None,
                };
                Some((object, op))
            })
        })
    }
}
