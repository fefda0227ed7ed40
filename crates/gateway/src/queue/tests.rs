//! First come, first served, with places coming and going.

use futures_util::FutureExt as _;

use super::*;
use crate::stack::Target;

struct Bench {
    component: Arc<ComponentState>,
}

const R1: RevisionNumber = RevisionNumber(1);
const R2: RevisionNumber = RevisionNumber(2);

impl Bench {
    fn new(sets: &[(RevisionNumber, u32)]) -> Self {
        let bench = Self { component: Arc::new(ComponentState::new("a/b".parse().expect("a valid id"))) };
        bench.update(sets);
        bench
    }

    fn update(&self, sets: &[(RevisionNumber, u32)]) -> Vec<Arc<EndpointSet>> {
        let set = |&(revision, capacity): &(RevisionNumber, u32)| {
            let target = Target { component: self.component.id.clone(), revision, ordinal: 1 };
            (revision, Arc::new(EndpointSet::new(vec![Arc::new(EndpointState::new(target, capacity, true))])))
        };
        let sets: Vec<_> = sets.iter().map(set).collect();
        self.component.update(sets.clone());
        sets.into_iter().map(|(_, set)| set).collect()
    }

    fn now(&self, revision: RevisionNumber) -> Permit {
        match self.component.enter(revision, 0) {
            Entry::Now(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn wait(&self, revision: RevisionNumber) -> Ticket {
        match self.component.enter(revision, 10) {
            Entry::Wait(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_freed_place_goes_to_whoever_waits_longest() {
    let bench = Bench::new(&[(R1, 1)]);
    let first = bench.now(R1);
    let (mut two, mut three) = (bench.wait(R1), bench.wait(R1));
    assert!(two.turn().now_or_never().is_none());
    drop(first);
    assert!(three.turn().now_or_never().is_none());
    let second = two.turn().now_or_never().expect("two is first");
    assert_eq!(bench.component.waiting(), 1);
    drop(second);
    assert!(three.turn().now_or_never().is_some());
    assert_eq!(bench.component.waiting(), 0);
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let bench = Bench::new(&[(R1, 0)]);
    let _waiting = bench.wait(R1);
    let set = bench.update(&[(R2, 0)]).remove(0);
    set.all()[0].update(1, true);
    assert!(bench.component.try_enter(&set).is_none());
    assert!(matches!(bench.component.enter(R2, 1), Entry::Full));
}

#[test]
fn the_queue_is_bounded() {
    let bench = Bench::new(&[(R1, 1)]);
    let _first = bench.now(R1);
    let _tickets: Vec<_> = (0..10).map(|_| bench.wait(R1)).collect();
    assert!(matches!(bench.component.enter(R1, 10), Entry::Full));
    assert_eq!(bench.component.waiting(), 10);
}

#[test]
fn who_leaves_gives_up_place_and_turn() {
    let bench = Bench::new(&[(R1, 1)]);
    let first = bench.now(R1);
    let (left, given, mut last) = (bench.wait(R1), bench.wait(R1), bench.wait(R1));
    drop(left);
    assert_eq!(bench.component.waiting(), 2);
    drop(first);
    assert!(last.turn().now_or_never().is_none());
    drop(given);
    drop(last.turn().now_or_never().expect("the turn that was not taken goes on to the last"));
    assert_eq!(bench.component.metrics.in_flight.load(Ordering::Relaxed), 0);
    drop(bench.now(R1));
}

#[test]
fn a_new_table_lets_in_whom_it_has_room_for() {
    let bench = Bench::new(&[]);
    let mut tickets: Vec<_> = (0..3).map(|_| bench.wait(R1)).collect();
    bench.update(&[(R2, 2)]);
    let turns: Vec<_> = tickets.iter_mut().map(|ticket| ticket.turn().now_or_never()).collect();
    let revisions: Vec<_> = turns.iter().map(|turn| turn.as_ref().map(|permit| permit.endpoint().target.revision)).collect();
    assert_eq!(revisions, [Some(R2), Some(R2), None]);
}

#[test]
fn beside_another_revision_one_waits_for_its_own() {
    let bench = Bench::new(&[(R1, 0), (R2, 1)]);
    let (mut one, mut two) = (bench.wait(R1), bench.wait(R1));
    assert!(one.turn().now_or_never().is_none());
    two.retarget(R2);
    assert!(one.turn().now_or_never().is_none());
    assert!(two.turn().now_or_never().is_some());
}
