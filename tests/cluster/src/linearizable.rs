//! Whether clients could have seen what they saw if there were one machine that does one thing after the other. Owns the search for such an order; must never
//! know where a history comes from.
//!
//! The search is that of Wing and Gong with a memory of what was tried, key by key. A key is a register with a version that only grows. Values are unique, so
//! whoever saw a value with its version fixed the version of its write, and a compare-and-set is one over values.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Action, NEVER, Operation, Outcome, Seen};

/// Steps after which a search gives up: far more than a history of thousands of operations by dozens of clients needs.
const STEPS_MAX: usize = 2_000_000;

/// Why a history is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// On which key.
    pub key: u32,
    /// What does not fit, in one sentence.
    pub reason: String,
}

/// Looks for an order of `history` that explains every answer: each operation takes effect at one moment between its call and its return. One whose outcome is
/// unknown may take effect at any moment after its call, or never; one that failed has none.
///
/// # Errors
/// There is no such order.
pub fn check(history: &[Operation]) -> Result<(), Violation> {
    let mut keys = BTreeMap::<u32, Vec<Operation>>::new();
    for operation in history {
        keys.entry(operation.key).or_default().push(*operation);
    }
    keys.into_iter().try_for_each(|(key, operations)| check_key(&operations).map_err(|reason| Violation { key, reason }))
}

fn check_key(operations: &[Operation]) -> Result<(), String> {
    let versions = versions(operations)?;
    let conflicts = operations.iter().any(|operation| operation.outcome == Outcome::Conflict);
    // A write that nobody was told of and nobody saw only matters where it could explain a conflict.
    let matters = |operation: &&Operation| match (operation.outcome, operation.action) {
        (Outcome::Failed, _) | (Outcome::Unknown, Action::Read) => false,
        (Outcome::Unknown, Action::Write { value, .. }) => conflicts || versions.contains_key(&value),
        _ => true,
    };
    let (mut open, mut closed): (Vec<_>, Vec<_>) =
        operations.iter().filter(matters).copied().partition(|operation| operation.returned == NEVER);
    open.sort_by_key(|operation| operation.called);
    closed.sort_by_key(|operation| operation.called);
    Search { open, closed, versions }.run()
}

/// The version of every value that anybody saw or was told.
fn versions(operations: &[Operation]) -> Result<HashMap<u64, u64>, String> {
    let (mut versions, mut values) = (HashMap::new(), HashMap::new());
    let told = operations.iter().filter_map(|operation| match (operation.action, operation.outcome) {
        (_, Outcome::Read(Some(seen))) => Some(seen),
        (Action::Write { value, .. }, Outcome::Written { version }) => Some(Seen { value, version }),
        _ => None,
    });
    for Seen { value, version } in told {
        let known = *versions.entry(value).or_insert(version);
        if known != version {
            return Err(format!("the value {value} has the version {known} and the version {version}"));
        }
        let known = *values.entry(version).or_insert(value);
        if known != value {
            return Err(format!("the version {version} is one of the value {known} and of the value {value}"));
        }
    }
    Ok(versions)
}

/// The operations on one key.
struct Search {
    /// Those that may never have taken effect, by their call.
    open: Vec<Operation>,
    /// The others, by their call.
    closed: Vec<Operation>,
    versions: HashMap<u64, u64>,
}

/// What is in order so far, and what the key holds after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Prefix {
    /// Every closed operation before this place is in it.
    next: usize,
    /// And these behind it, ascending.
    ahead: Vec<usize>,
    /// And these open ones, ascending.
    open: Vec<usize>,
    register: Register,
}

/// What a key holds. Values are above 0, which means that it is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Register {
    value: u64,
    /// Its version, or the last known one before it.
    version: u64,
}

impl Search {
    fn run(&self) -> Result<(), String> {
        let (mut tried, mut stack, mut furthest) = (HashSet::new(), vec![Prefix::default()], Prefix::default());
        while let Some(prefix) = stack.pop() {
            if prefix.next == self.closed.len() {
                return Ok(());
            }
            if prefix.next >= furthest.next {
                furthest = prefix.clone();
            }
            if tried.len() > STEPS_MAX {
                return Err(format!("undecided after {STEPS_MAX} steps"));
            }
            for next in self.steps(&prefix) {
                if tried.insert(next.clone()) {
                    stack.push(next);
                }
            }
        }
        Err(self.explain(&furthest))
    }

    /// Every prefix that is longer by one, the most promising last.
    fn steps(&self, prefix: &Prefix) -> Vec<Prefix> {
        let (candidates, until) = self.candidates(prefix);
        let mut steps = Vec::new();
        if candidates.iter().any(|place| self.is_past(prefix.register, &self.closed[*place])) {
            return steps;
        }
        let unexplained = candidates.iter().any(|place| self.is_unexplained(prefix.register, &self.closed[*place]));
        for (place, operation) in self.open.iter().enumerate().rev() {
            let Err(at) = prefix.open.binary_search(&place) else { continue };
            // One that nobody saw can only be why there is a conflict: it stands right before it, or need not stand anywhere.
            if operation.called < until
                && (unexplained || self.is_seen(operation))
                && let Some(register) = self.apply(prefix.register, operation)
            {
                let mut next = Prefix { register, ..prefix.clone() };
                next.open.insert(at, place);
                steps.push(next);
            }
        }
        for place in candidates.into_iter().rev() {
            if let Some(register) = self.apply(prefix.register, &self.closed[place]) {
                let mut next = Prefix { register, ..prefix.clone() };
                let at = next.ahead.partition_point(|one| *one < place);
                next.ahead.insert(at, place);
                while next.ahead.first() == Some(&next.next) {
                    next.ahead.remove(0);
                    next.next += 1;
                }
                steps.push(next);
            }
        }
        steps
    }

    fn is_seen(&self, operation: &Operation) -> bool {
        matches!(operation.action, Action::Write { value, .. } if self.versions.contains_key(&value))
    }

    /// Whether the operation is about a version that the key has left behind: versions only grow.
    fn is_past(&self, register: Register, operation: &Operation) -> bool {
        match operation.outcome {
            Outcome::Read(Some(seen)) => seen.version < register.version,
            Outcome::Read(None) => register.value != 0,
            Outcome::Written { version } => version < register.version,
            Outcome::Conflict | Outcome::Failed | Outcome::Unknown => false,
        }
    }

    fn is_unexplained(&self, register: Register, operation: &Operation) -> bool {
        operation.outcome == Outcome::Conflict && self.apply(register, operation).is_none()
    }

    /// Closed operations that may come next, the first to return first, and the moment before which everything that comes next was called.
    fn candidates(&self, prefix: &Prefix) -> (Vec<usize>, u64) {
        let (mut found, mut until) = (Vec::new(), NEVER);
        for (place, operation) in self.closed.iter().enumerate().skip(prefix.next) {
            if operation.called > until {
                break;
            }
            if prefix.ahead.binary_search(&place).is_err() {
                until = until.min(operation.returned);
                found.push(place);
            }
        }
        found.sort_by_key(|place| self.closed[*place].returned);
        (found, until)
    }

    /// What the key holds after `operation`; `None` when it could not have been answered as it was.
    fn apply(&self, register: Register, operation: &Operation) -> Option<Register> {
        // Nobody can expect a version that nobody saw.
        let version = if register.value == 0 { Some(0) } else { self.versions.get(&register.value).copied() };
        match (operation.action, operation.outcome) {
            (Action::Read, Outcome::Read(seen)) => (seen.map_or(0, |seen| seen.value) == register.value).then_some(register),
            (Action::Write { expect: Some(expected), .. }, Outcome::Conflict) => (version != Some(expected)).then_some(register),
            (Action::Write { value, expect }, Outcome::Written { .. } | Outcome::Unknown) => {
                let expected = expect.is_none() || expect == version;
                let becomes = self.versions.get(&value).copied();
                let grows = becomes.is_none_or(|becomes| becomes > register.version);
                (expected && grows).then(|| Register { value, version: becomes.unwrap_or(register.version) })
            }
            _ => None,
        }
    }

    fn explain(&self, furthest: &Prefix) -> String {
        let (candidates, _) = self.candidates(furthest);
        let stuck: Vec<_> = candidates.iter().take(8).map(|place| format!("{:?}", self.closed[*place])).collect();
        format!(
            "after {} of {} operations the key holds {:?}, and none of these can come next: {}",
            furthest.next + furthest.ahead.len(),
            self.closed.len(),
            furthest.register,
            stuck.join(", ")
        )
    }
}
