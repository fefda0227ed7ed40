//! What watchers were told, index by index. Owns the comparison of what two of them were told of the same entries; must never know which of them is right.

use crate::scenario::Became;

/// Everything that somebody was told at once: what changed after one index and up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) after: u64,
    pub(crate) upto: u64,
    /// At which index, which object, and what became of it, as it was told.
    pub(crate) told: Vec<(u64, String, Became)>,
}

impl Account {
    /// What it tells of the entries after `after` and up to `upto`.
    fn between(&self, after: u64, upto: u64) -> impl Iterator<Item = &(u64, String, Became)> {
        self.told.iter().filter(move |(index, ..)| *index > after && *index <= upto)
    }
}

/// Every account there was.
#[derive(Default)]
pub(crate) struct Accounts(Vec<Account>);

impl Accounts {
    /// Adds an account: how many changes it tells as others told them, or where it differs from an earlier one that is of the same entries.
    pub(crate) fn add(&mut self, account: Account) -> Result<usize, String> {
        let overlaps = |other: &&Account| other.after < account.upto && account.after < other.upto;
        let mut alike = 0;
        let mut differs = None;
        for other in self.0.iter().filter(overlaps) {
            let (after, upto) = (account.after.max(other.after), account.upto.min(other.upto));
            let (mut these, mut those) = (account.between(after, upto), other.between(after, upto));
            while differs.is_none() {
                match (these.next(), those.next()) {
                    (None, None) => break,
                    (one, another) if one == another => alike += 1,
                    (one, another) => differs = Some(format!("{another:?} and {one:?} were both told after {after}")),
                }
            }
        }
        self.0.push(account);
        differs.map_or(Ok(alike), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(after: u64, upto: u64, told: &[(u64, &str)]) -> Account {
        Account { after, upto, told: told.iter().map(|(index, object)| (*index, (*object).to_owned(), Became::Modified)).collect() }
    }

    #[test]
    fn two_accounts_of_the_same_entries_are_one() {
        for (second, expected) in [
            (account(0, 4, &[(1, "a"), (2, "b"), (4, "a")]), Some(3)),
            (account(1, 3, &[(2, "b")]), Some(1)),
            (account(4, 9, &[(5, "c")]), Some(0)),
            (account(2, 9, &[(4, "a"), (5, "c")]), Some(1)),
            // The one at 2 is left out, though a later one of the same object is told; told twice; of another object; at an index of which nothing was told.
            (account(0, 4, &[(1, "a"), (4, "a")]), None),
            (account(1, 4, &[(2, "b"), (2, "b"), (4, "a")]), None),
            (account(0, 4, &[(1, "a"), (2, "c"), (4, "a")]), None),
            (account(2, 4, &[(3, "b"), (4, "a")]), None),
            (account(3, 9, &[(5, "c")]), None),
        ] {
            let mut accounts = Accounts::default();
            assert_eq!(accounts.add(account(0, 4, &[(1, "a"), (2, "b"), (4, "a")])), Ok(0));
            assert_eq!(accounts.add(second.clone()).ok(), expected, "{second:?}");
        }
    }
}
