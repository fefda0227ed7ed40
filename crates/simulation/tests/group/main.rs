//! Groups of three and five under everything that can go wrong: nothing acknowledged is lost, and they heal. Any seed can be run again alone.

mod planted;
mod retold;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use simulation::{Fault, Honest, Ledger, Outcome, Replica, Scenario, Subject, run};

/// Worlds of the long test, of ten rounds each, from the seeds 0 to one less: about a minute on two cores.
const WORLDS: u64 = 300;

#[test]
fn clusters_keep_their_promises_for_three_thousand_rounds() {
    let (next, all) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < WORLDS) {
            let outcome = lives::<Replica>(seed, &Scenario::of(if seed % 4 == 0 { 5 } else { 3 }, 10));
            all.lock().expect("nobody panics with it").push(outcome);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("every world keeps its promises"));
    });
    let all = all.into_inner().expect("nobody panics with it");
    let sum = |count: fn(&Outcome) -> usize| all.iter().map(count).sum::<usize>();
    assert!(sum(|outcome| outcome.acknowledged) > 60_000, "hardly anything was acknowledged");
    assert!(sum(|outcome| outcome.reads) > 15_000, "hardly anything was read");
    assert!(sum(|outcome| outcome.compared) > 6_000, "hardly any states were compared");
    assert!(sum(|outcome| outcome.attested) > 3_000, "hardly any states were compared by the members");
    assert!(sum(|outcome| outcome.watched) > 3_000, "hardly anything was watched");
    assert!(sum(|outcome| outcome.told_alike) > 15_000, "hardly any change was told to two watchers");
    assert!(sum(|outcome| outcome.listed_again) > 150, "hardly any member was sent a snapshot or started from one");
    assert!(sum(|outcome| outcome.newcomers) > 150, "hardly anybody joined");
}

#[test]
fn the_smallest_machine_keeps_its_promises() {
    for seed in 0..4 {
        lives::<Ledger>(seed, &Scenario::of(3, 15));
    }
}

#[test]
fn a_group_without_its_leader_goes_on_within_a_second_or_so() {
    let scenario = Scenario { faults: vec![Fault::CrashLeader], ..Scenario::of(3, 15) };
    let mut failovers = lives::<Ledger>(7, &scenario).failovers;
    failovers.sort();
    let median = failovers[failovers.len() / 2];
    assert!(median < Duration::from_millis(850), "{failovers:?}");
}

#[test]
fn a_seed_is_a_whole_world() {
    let scenario = Scenario::of(3, 6);
    assert_eq!(lives::<Replica>(42, &scenario), lives::<Replica>(42, &scenario));
}

fn lives<S: Subject>(seed: u64, scenario: &Scenario) -> Outcome {
    let outcome = run::<S>(seed, scenario, Arc::new(Honest));
    assert!(outcome.violations.is_empty(), "seed {seed}: {outcome:#?}");
    outcome
}
