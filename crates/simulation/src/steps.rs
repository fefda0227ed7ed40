//! A small group, step by step: who may be added and removed, who leads, who may read. Owns what callers of a healthy group rely on.

use std::{sync::Arc, time::Duration};

use consensus::{AsyncRuntime, Leadership, MemberError, ProposeError, ReadError, TransferError};
use openraft_rt_sim::SimRuntime;

use crate::{
    Honest, Ledger, Scenario, Subject, Write,
    wires::Member,
    world::{World, peer},
};

const SOON: Duration = Duration::from_secs(5);

/// A group of `members`, all with a vote.
fn group(members: u64, steps: impl AsyncFnOnce(&mut World<Ledger>)) {
    let mut world = World::<Ledger>::new(members, Scenario::of(members, 0), Arc::new(Honest));
    SimRuntime::with_seed(members).block_on(async {
        assert!(world.found().await, "{:?}", world.oracle.outcome(SOON));
        steps(&mut world).await;
        assert_eq!(world.oracle.outcome(SOON).violations, Vec::<String>::new());
    });
}

impl World<Ledger> {
    fn leads(&self) -> (u64, Member<Ledger>) {
        self.leader().expect("somebody leads")
    }

    fn follows(&self) -> (u64, Member<Ledger>) {
        let leader = self.leads().0;
        self.wires.running().into_iter().find(|(id, _)| *id != leader).expect("somebody follows")
    }

    fn isolate_now(&self, id: u64) {
        for (other, _) in self.wires.running() {
            self.wires.cut(id, other);
            self.wires.cut(other, id);
        }
    }
}

async fn write(member: &Member<Ledger>, unique: u64) -> Result<(u64, u64), ProposeError> {
    member.propose(Write { unique, key: unique % 8 }).await
}

#[test]
fn a_follower_says_who_leads_and_reads_what_was_acknowledged() {
    group(3, async |world| {
        let ((id, leader), (_, follower)) = (world.leads(), world.follows());
        let refused = write(&follower, 1).await.expect_err("it does not lead");
        assert!(matches!(&refused, ProposeError::NotLeader { leader: Some(leader) } if *leader == peer(id)), "{refused:?}");
        let (index, _) = write(&leader, 2).await.expect("accepted");
        assert!(follower.read_barrier(SOON).await.expect("the leader answers") >= index);
        assert!(follower.state().holds(2) && !follower.state().holds(1));
        assert!(leader.read_barrier(SOON).await.expect("a majority answers") >= index);
    });
}

#[test]
fn nobody_reads_or_writes_without_a_majority() {
    group(3, async |world| {
        let (id, leader) = world.leads();
        world.isolate_now(id);
        let read = leader.read_barrier(Duration::from_secs(1)).await.expect_err("nobody answers");
        assert!(matches!(read, ReadError::NoLeader { .. }), "{read:?}");
        let written = write(&leader, 1).await;
        assert!(matches!(written, Err(ProposeError::NotLeader { .. } | ProposeError::Unknown)), "{written:?}");
        assert!(world.until_acknowledged(SOON).await, "the others go on");
    });
}

#[test]
fn a_read_does_not_wait_for_a_leader_that_is_gone() {
    group(3, async |world| {
        let ((id, _), (_, follower)) = (world.leads(), world.follows());
        world.isolate_now(id);
        // The others elect within a second; the question to the one that is gone would hang for all the time it has.
        let read = SimRuntime::timeout(Duration::from_secs(2), follower.read_barrier(Duration::from_secs(60))).await;
        assert!(matches!(read, Ok(Ok(_))), "{read:?}");
    });
}

#[test]
fn leadership_is_not_given_to_whoever_does_not_answer() {
    group(3, async |world| {
        let ((_, leader), (to, _)) = (world.leads(), world.follows());
        world.isolate_now(to);
        SimRuntime::sleep(SOON).await;
        let refused = leader.transfer_leadership(Some(to), SOON).await.expect_err("it does not answer");
        assert!(matches!(refused, TransferError::Silent { id } if id == to), "{refused:?}");
        write(&leader, 1).await.expect("it leads still");
    });
}

#[test]
fn whoever_was_cut_off_comes_back_and_unseats_nobody() {
    group(3, async |world| {
        let ((leader, leads), (id, follower)) = (world.leads(), world.follows());
        let Leadership::Leading { term, .. } = *leads.leadership().borrow() else { panic!("it leads") };
        world.isolate_now(id);
        // Long enough for many elections, of which it can win none.
        SimRuntime::sleep(Duration::from_secs(5)).await;
        world.wires.mend();
        let (index, _) = write(&leads, 1).await.expect("it leads still");
        let (mut applied, mut leadership) = (follower.applied(), follower.leadership());
        SimRuntime::timeout(SOON, applied.wait_for(|applied| *applied >= index)).await.expect("in time").expect("it hears of it");
        // Whatever it would try on coming back it has tried by then.
        SimRuntime::sleep(Duration::from_secs(5)).await;
        assert!(matches!(*leads.leadership().borrow(), Leadership::Leading { term: now, .. } if now == term), "{:?}", leads.leadership());
        let follows = leadership.borrow_and_update().clone();
        assert!(matches!(&follows, Leadership::Following { leader: peer, term: now } if (peer.id, *now) == (leader, term)), "{follows:?}");
    });
}

#[test]
fn leadership_goes_where_it_is_sent() {
    group(3, async |world| {
        let ((from, leader), (to, _)) = (world.leads(), world.follows());
        let nobody = leader.transfer_leadership(Some(from), SOON).await.expect_err("it leads already");
        assert!(matches!(nobody, TransferError::NotAVoter { .. }), "{nobody:?}");
        leader.transfer_leadership(Some(to), SOON).await.expect("it takes over");
        assert!(matches!(&*leader.leadership().borrow(), Leadership::Following { leader, .. } if leader.id == to));
        assert!(world.until_acknowledged(SOON).await);
        let again = leader.transfer_leadership(None, SOON).await.expect_err("it leads no more");
        assert!(matches!(again, TransferError::NotLeader { leader: Some(leader) } if leader.id == to));
        world.leads().1.transfer_leadership(None, SOON).await.expect("somebody takes over");
    });
}

#[test]
fn the_last_vote_is_not_given_away() {
    group(1, async |world| {
        let (id, leader) = world.leads();
        assert!(matches!(leader.remove(id).await, Err(MemberError::LastVoter { id: 1 })));
        assert!(matches!(leader.demote(id).await, Err(MemberError::LastVoter { id: 1 })));
        assert!(matches!(leader.remove(9).await, Err(MemberError::NoSuchMember { id: 9 })));
        assert!(matches!(leader.transfer_leadership(None, SOON).await, Err(TransferError::NobodyElse)));
        write(&leader, 1).await.expect("it goes on");
    });
}

#[test]
fn a_leader_that_is_removed_leaves_a_group_that_works() {
    group(3, async |world| {
        let (id, leader) = world.leads();
        let handed = leader.remove(id).await.expect_err("it hands over first");
        assert!(matches!(handed, MemberError::NotLeader { leader: Some(ref next) } if next.id != id), "{handed:?}");
        assert!(world.until_acknowledged(SOON).await, "the next one leads");
        world.leads().1.remove(id).await.expect("two are left");
        world.crash(id);
        world.homes.remove(&id);
        assert!(world.until_acknowledged(SOON).await, "the others elect one");
        let membership = world.leads().1.membership().borrow().clone();
        assert!(membership.voters.len() == 2 && membership.member(id).is_none(), "{membership:?}");
    });
}

#[test]
fn a_vote_is_only_taken_while_enough_others_answer() {
    group(3, async |world| {
        let ((_, leader), (one, _)) = (world.leads(), world.follows());
        let own = leader.identity().node_id;
        let other = world.wires.running().into_iter().map(|(id, _)| id).find(|id| *id != own && *id != one).expect("three");
        world.isolate_now(one);
        SimRuntime::sleep(Duration::from_secs(2)).await;
        let refused = leader.remove(other).await.expect_err("one of two would answer");
        assert!(matches!(refused, MemberError::NoQuorumAfter { voters: 2, heard: 1, needed: 2 }), "{refused:?}");
        leader.remove(one).await.expect("the one that is gone may go");
    });
}

#[test]
fn a_learner_that_does_not_answer_gets_no_vote() {
    group(1, async |world| {
        let (_, leader) = world.leads();
        let id = world.new_member().await.expect("it starts");
        leader.add_learner(peer(id)).await.expect("it is new");
        let has_all = || leader.progress().iter().any(|progress| progress.id == id && progress.matched.is_some());
        let waits = async {
            while !has_all() {
                SimRuntime::sleep(Duration::from_millis(10)).await;
            }
        };
        SimRuntime::timeout(SOON, waits).await.expect("it catches up");
        world.isolate_now(id);
        SimRuntime::sleep(2 * leader.patience()).await;
        let refused = leader.promote(id).await.expect_err("it is not heard of");
        assert!(matches!(refused, MemberError::Silent { .. }), "{refused:?}");
        world.wires.mend();
        assert!(world.join(id).await);
    });
}

#[test]
fn a_learner_gets_a_vote_once_it_has_caught_up_by_a_snapshot() {
    group(1, async |world| {
        let (_, leader) = world.leads();
        for unique in 0..200 {
            write(&leader, unique).await.expect("accepted");
        }
        assert!(leader.snapshot().await.is_some());
        let id = world.new_member().await.expect("it starts");
        world.isolate_now(id);
        leader.add_learner(peer(id)).await.expect("it is new");
        leader.add_learner(peer(id)).await.expect("asking twice changes nothing");
        let elsewhere = consensus::Peer { address: "elsewhere".to_owned(), ..peer(id) };
        assert!(matches!(leader.add_learner(elsewhere).await, Err(MemberError::Taken { .. })));
        let refused = leader.promote(id).await.expect_err("it heard nothing yet");
        assert!(matches!(refused, MemberError::Lagging { behind, .. } if behind > 100), "{refused:?}");
        world.wires.mend();
        assert!(world.join(id).await);
        let member = world.wires.running().into_iter().find(|(other, _)| *other == id).expect("it runs").1;
        assert!((0..200).all(|unique| member.state().holds(unique)));
        assert_eq!(leader.progress().iter().map(|progress| progress.id).collect::<Vec<_>>(), [1, id]);
        leader.demote(id).await.expect("one vote is left");
        leader.remove(id).await.expect("a learner may go");
        assert_eq!(leader.membership().borrow().voters, [peer(1)]);
    });
}
