//! The judge of histories must not be blind: what no single machine could have answered is refused, what it could is accepted, and an exhaustive search of
//! small histories comes to the same verdict.

use cluster_tests::{
    history::{Action, NEVER, Operation, Outcome, Seen},
    linearizable::check,
};
use proptest::prelude::*;

fn operation(client: u32, called: u64, returned: u64, action: Action, outcome: Outcome) -> Operation {
    Operation { key: 1, client, action, outcome, called, returned }
}

fn write(called: u64, returned: u64, value: u64, version: u64) -> Operation {
    operation(1, called, returned, Action::Write { value, expect: None }, Outcome::Written { version })
}

fn swap(called: u64, returned: u64, expect: u64, value: u64, version: u64) -> Operation {
    operation(2, called, returned, Action::Write { value, expect: Some(expect) }, Outcome::Written { version })
}

fn conflict(called: u64, returned: u64, expect: u64, value: u64) -> Operation {
    operation(2, called, returned, Action::Write { value, expect: Some(expect) }, Outcome::Conflict)
}

fn unknown(called: u64, value: u64) -> Operation {
    operation(3, called, NEVER, Action::Write { value, expect: None }, Outcome::Unknown)
}

fn failed(called: u64, returned: u64, value: u64) -> Operation {
    operation(3, called, returned, Action::Write { value, expect: None }, Outcome::Failed)
}

fn read(called: u64, returned: u64, value: u64, version: u64) -> Operation {
    operation(4, called, returned, Action::Read, Outcome::Read(Some(Seen { value, version })))
}

fn nothing(called: u64, returned: u64) -> Operation {
    operation(4, called, returned, Action::Read, Outcome::Read(None))
}

#[test]
fn what_one_machine_could_have_answered_is_accepted() {
    let accept = |what: &str, history: &[Operation]| assert_eq!(check(history), Ok(()), "{what}");
    accept("nothing", &[]);
    accept("one after the other", &[nothing(0, 1), write(2, 3, 7, 10), read(4, 5, 7, 10), write(6, 7, 8, 11), read(8, 9, 8, 11)]);
    accept("a read beside a write sees it", &[write(0, 9, 7, 10), read(1, 2, 7, 10), read(3, 4, 7, 10)]);
    accept("a read beside a write does not see it", &[write(0, 9, 7, 10), nothing(1, 2), read(3, 4, 7, 10)]);
    accept("a compare-and-set of what is there", &[write(0, 1, 7, 10), swap(2, 3, 10, 8, 11), conflict(4, 5, 10, 9)]);
    accept("one that expects nothing", &[swap(0, 1, 0, 8, 11), conflict(2, 3, 0, 9)]);
    accept("an unknown write that was done late", &[write(2, 3, 7, 10), unknown(0, 8), read(4, 5, 7, 10), read(6, 7, 8, 12)]);
    accept("one that never was", &[write(0, 1, 7, 10), unknown(2, 8), read(3, 4, 7, 10)]);
    accept("one that nobody saw explains a conflict", &[write(0, 1, 7, 10), unknown(2, 8), conflict(3, 4, 10, 9)]);
    accept("a failed write is nothing", &[failed(0, 1, 5), nothing(2, 3)]);
}

#[test]
fn what_no_machine_could_have_answered_is_refused() {
    let refuse = |what: &str, history: &[Operation]| assert!(check(history).is_err(), "{what}");
    refuse("an acknowledged write is lost", &[write(0, 1, 7, 10), nothing(2, 3)]);
    refuse("a stale read", &[write(0, 1, 7, 10), write(2, 3, 8, 11), read(4, 5, 7, 10)]);
    refuse("reads that go back", &[write(0, 9, 7, 10), read(1, 2, 7, 10), nothing(3, 4)]);
    refuse("a value from nowhere", &[read(0, 1, 7, 10)]);
    refuse("a read of what was written later", &[read(0, 1, 7, 10), write(2, 3, 7, 10)]);
    refuse("a read of what failed", &[failed(0, 1, 7), read(2, 3, 7, 10)]);
    refuse("two compare-and-sets of one version", &[write(0, 1, 7, 10), swap(2, 5, 10, 8, 11), swap(3, 4, 10, 9, 12)]);
    refuse("a compare-and-set of an old version", &[write(0, 1, 7, 10), write(2, 3, 8, 11), swap(4, 5, 10, 9, 12)]);
    refuse("a conflict without a cause", &[write(0, 1, 7, 10), conflict(2, 3, 10, 9)]);
    refuse("a conflict before its cause was committed", &[swap(0, 9, 0, 7, 10), conflict(1, 2, 0, 8), nothing(3, 4)]);
    refuse("a version that goes back", &[write(0, 1, 7, 10), write(2, 3, 8, 9)]);
    refuse("a value with two versions", &[write(0, 1, 7, 10), read(2, 3, 7, 11)]);
    refuse("a version with two values", &[write(0, 3, 7, 10), write(1, 2, 8, 10)]);
    refuse("an unknown write that was undone", &[write(0, 1, 7, 10), unknown(2, 8), read(3, 4, 8, 11), read(5, 6, 7, 10)]);
    refuse("an unknown write before its call", &[write(0, 1, 7, 10), read(2, 3, 8, 11), unknown(4, 8)]);
}

#[test]
fn keys_are_judged_by_themselves_and_named() {
    let good = [write(0, 1, 7, 10), read(4, 5, 7, 10)];
    let mut bad = [write(0, 1, 7, 10), nothing(2, 3)];
    bad.iter_mut().for_each(|operation| operation.key = 5);
    let all: Vec<_> = good.into_iter().chain(bad).collect();
    let violation = check(&all).expect_err("key 5 lost a write");
    assert_eq!(violation.key, 5);
    assert!(violation.reason.contains("holds"), "{}", violation.reason);
}

/// Whether some order of some of `rest` explains everything that must be explained: no memory, no cleverness.
fn exhaustive(rest: &[Operation], value: u64, version: u64) -> bool {
    if rest.iter().all(|operation| operation.returned == NEVER) {
        return true;
    }
    let until = rest.iter().map(|operation| operation.returned).min().unwrap_or(NEVER);
    (0..rest.len()).filter(|place| rest[*place].called < until).any(|place| {
        let mut others = rest.to_vec();
        let operation = others.remove(place);
        let after = match (operation.action, operation.outcome) {
            (Action::Read, Outcome::Read(seen)) => (seen.map_or((0, 0), |seen| (seen.value, seen.version))
                == if value == 0 { (0, 0) } else { (value, version) })
            .then_some((value, version)),
            (Action::Write { expect, .. }, Outcome::Conflict) => (expect != Some(version)).then_some((value, version)),
            (Action::Write { value: next, expect }, Outcome::Written { version: becomes }) => {
                (becomes > version && expect.is_none_or(|expected| expected == version)).then_some((next, becomes))
            }
            _ => None,
        };
        after.is_some_and(|(value, version)| exhaustive(&others, value, version))
    })
}

/// Up to six operations of any kind at any time, with values and versions that often meet. The version of a value is ten times it.
fn small() -> impl Strategy<Value = Vec<Operation>> {
    let one = (0u64..12, 1u64..8, 0u8..5, 1u64..5, 0u64..5);
    proptest::collection::vec(one, 1..7).prop_map(|parts| {
        let mut unused = vec![1u64, 2, 3, 4, 5, 6];
        let moment = |at: u64, part: usize| at * 100 + part as u64;
        parts
            .into_iter()
            .enumerate()
            .map(|(part, (called, span, kind, value, expect))| {
                let (called, returned) = (moment(called, part), moment(called + span, part + 50));
                match kind {
                    0 => nothing(called, returned),
                    1 | 2 => read(called, returned, value, value * 10),
                    3 => {
                        let value = unused.remove(0);
                        write(called, returned, value, value * 10)
                    }
                    _ => {
                        let value = unused.remove(0);
                        if expect % 2 == 0 {
                            swap(called, returned, expect * 10, value, value * 10)
                        } else {
                            conflict(called, returned, expect * 10, value)
                        }
                    }
                }
            })
            .collect()
    })
}

/// A history as one machine makes it: every operation takes effect in turn, and is called and returns at most a few turns away from that.
fn true_history() -> impl Strategy<Value = Vec<Operation>> {
    proptest::collection::vec((0u8..6, 0u64..6, 0u64..6), 1..120).prop_map(|turns| {
        let (mut held, mut told, mut history) = (None::<Seen>, true, Vec::new());
        for (turn, (kind, early, late)) in (1u64..).zip(turns) {
            // Ten ticks per turn; the moment of the effect lies between the two.
            let (called, returned) = ((turn * 10).saturating_sub(early * 10 + 1), turn * 10 + late * 10 + 1);
            let version = held.map_or(0, |held| held.version);
            let (action, outcome) = match kind {
                0 | 1 => (Action::Read, Outcome::Read(held)),
                // Nobody can expect a version before anybody was told of it.
                3 if !told => (Action::Read, Outcome::Read(held)),
                2 => (Action::Write { value: turn, expect: Some(version + 1) }, Outcome::Conflict),
                3 => (Action::Write { value: turn, expect: Some(version) }, Outcome::Written { version: turn }),
                4 => (Action::Write { value: turn, expect: None }, Outcome::Unknown),
                _ => (Action::Write { value: turn, expect: None }, Outcome::Written { version: turn }),
            };
            told |= outcome != Outcome::Unknown && outcome != Outcome::Conflict;
            // Half of the unknown ones are done.
            if matches!(outcome, Outcome::Written { .. }) || (outcome == Outcome::Unknown && early % 2 == 0) {
                held = Some(Seen { value: turn, version: turn });
                told = outcome != Outcome::Unknown;
            }
            let returned = if outcome == Outcome::Unknown { NEVER } else { returned };
            history.push(operation(kind.into(), called, returned, action, outcome));
        }
        history
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn small_histories_are_judged_as_an_exhaustive_search_does(history in small()) {
        let told = |operation: &Operation| matches!(operation.outcome, Outcome::Read(_) | Outcome::Written { .. });
        prop_assume!(history.iter().any(told));
        prop_assert_eq!(check(&history).is_ok(), exhaustive(&history, 0, 0), "{:#?}", history);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_a_machine_did_is_accepted_and_a_lost_write_in_it_is_not(history in true_history()) {
        prop_assert_eq!(check(&history), Ok(()));
        // The last write that was acknowledged after everything else began: a later read that has not heard of it must be refused.
        let end = history.iter().map(|operation| if operation.returned == NEVER { operation.called } else { operation.returned }).max().unwrap_or(0);
        let last = 1_000_000;
        let mut lost = history;
        let before = lost.iter().rev().find_map(|operation| match operation.outcome {
            Outcome::Written { version } => Some(version),
            _ => None,
        });
        lost.push(write(end + 1, end + 2, last, last));
        let stale = before.map_or_else(|| nothing(end + 3, end + 4), |before| read(end + 3, end + 4, before, before));
        lost.push(stale);
        prop_assert!(check(&lost).is_err());
    }
}
