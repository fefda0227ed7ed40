//! Groups of three and five under everything that can go wrong: nothing acknowledged is lost, and they heal. Any seed can be run again alone.

mod planted;

use std::{sync::Arc, time::Duration};

use simulation::{Fault, Honest, Outcome, Scenario, run_ledger};

#[test]
fn three_members_keep_their_promises() {
    let all: Vec<Outcome> = (0..10).map(|seed| lives(seed, &Scenario::of(3, 15))).collect();
    assert!(all.iter().map(|outcome| outcome.acknowledged).sum::<usize>() > 1_500, "hardly anything was acknowledged");
    assert!(all.iter().map(|outcome| outcome.compared).sum::<usize>() > 100, "hardly any states were compared");
    assert!(all.iter().map(|outcome| outcome.reads).sum::<usize>() > 300, "hardly anything was read");
}

#[test]
fn five_members_keep_their_promises() {
    for seed in 100..106 {
        lives(seed, &Scenario::of(5, 15));
    }
}

#[test]
fn a_group_without_its_leader_goes_on_within_a_second_or_so() {
    let scenario = Scenario { faults: vec![Fault::CrashLeader], ..Scenario::of(3, 15) };
    let mut failovers = lives(7, &scenario).failovers;
    failovers.sort();
    let median = failovers[failovers.len() / 2];
    assert!(median < Duration::from_millis(850), "{failovers:?}");
}

#[test]
fn a_seed_is_a_whole_world() {
    let scenario = Scenario::of(3, 6);
    assert_eq!(lives(42, &scenario), lives(42, &scenario));
}

fn lives(seed: u64, scenario: &Scenario) -> Outcome {
    let outcome = run_ledger(seed, scenario, Arc::new(Honest));
    assert!(outcome.violations.is_empty(), "seed {seed}: {outcome:#?}");
    outcome
}
