//! What goes wrong, round after round. Owns the choice and how each misfortune is brought about and ended; must never know what must hold all the same.

use std::time::Duration;

use consensus::{AsyncRuntime, Instant, MemberError, Shape};
use openraft_rt_sim::{SimInstant, SimRuntime};

use crate::{
    Fault, Replacement, Subject,
    wires::{Member, Quality},
    world::{LOG_ENTRIES_KEPT, SNAPSHOT_ENTRIES, World, peer},
};

/// How long a change of the membership is tried.
pub(crate) const CHANGE: Duration = Duration::from_secs(20);

/// Entries after which nobody has those before in the log any more: a snapshot's worth, what is kept behind it, and some.
const ENTRIES_MISSED: u64 = SNAPSHOT_ENTRIES + LOG_ENTRIES_KEPT + 20;

impl<S: Subject> World<S> {
    /// One fault, sometimes with bad ways on top, and its end.
    pub(crate) async fn misfortune(&mut self) {
        let Some(fault) = self.random.pick(&self.scenario.faults) else { return };
        if self.scenario.faults.contains(&Fault::Lossy) && self.random.chance(150) {
            self.wires.set_quality(Quality::BAD);
        }
        match fault {
            Fault::CrashLeader => self.crash_leader().await,
            Fault::CrashOne => self.crash_one().await,
            Fault::CrashAll => self.crash_all().await,
            Fault::Isolate => self.isolate().await,
            Fault::OneWay => self.one_way().await,
            Fault::Bridge => self.bridge().await,
            Fault::Lossy => {
                self.wires.set_quality(Quality::BAD);
                self.pause(200, 3_000).await;
            }
            Fault::Pause => self.stand_still().await,
            Fault::Transfer => self.transfer().await,
            Fault::Snapshot => self.take_snapshot().await,
            Fault::Laggard => self.laggard().await,
            Fault::Replace => self.replace().await,
            Fault::Rotate => self.rotate().await,
            Fault::Demote => self.demote().await,
            Fault::SlowDisk => self.slow_disk().await,
            Fault::FullDisk => self.full_disk().await,
            Fault::FailedFlush => self.failed_flush().await,
        }
        self.mend_all().await;
    }

    async fn crash_leader(&mut self) {
        let Some((id, _)) = self.leader() else { return };
        let began = SimInstant::now();
        self.crash(id);
        if self.until_acknowledged(Duration::from_secs(10)).await {
            self.oracle.failover(SimInstant::now() - began);
        }
        self.pause(0, 2_000).await;
        self.start(id).await;
    }

    async fn crash_one(&mut self) {
        let Some(id) = self.anybody() else { return };
        self.crash(id);
        self.pause(0, 3_000).await;
        self.start(id).await;
    }

    async fn crash_all(&mut self) {
        if self.random.chance(600) {
            // Much is under way then that is not flushed.
            self.homes.values().for_each(|home| home.take_time(Duration::from_millis(150)));
        }
        self.pause(50, 600).await;
        let all: Vec<u64> = self.homes.keys().copied().collect();
        all.iter().for_each(|id| self.crash(*id));
        for id in all {
            self.pause(0, 100).await;
            self.start(id).await;
        }
    }

    async fn isolate(&mut self) {
        let Some(id) = self.anybody() else { return };
        self.cut_off(id);
        self.pause(200, 3_000).await;
    }

    fn cut_off(&self, id: u64) {
        for other in self.others(id) {
            self.wires.cut(id, other);
            self.wires.cut(other, id);
        }
    }

    async fn one_way(&mut self) {
        let Some(id) = self.anybody() else { return };
        let deaf = self.random.chance(500);
        for other in self.others(id) {
            if deaf { self.wires.cut(other, id) } else { self.wires.cut(id, other) }
        }
        self.pause(200, 3_000).await;
    }

    async fn bridge(&mut self) {
        let Some(bridge) = self.anybody() else { return };
        let (left, right): (Vec<u64>, Vec<u64>) = self.others(bridge).into_iter().partition(|_| self.random.chance(500));
        for (one, other) in left.iter().flat_map(|one| right.iter().map(move |other| (*one, *other))) {
            self.wires.cut(one, other);
            self.wires.cut(other, one);
        }
        self.pause(200, 3_000).await;
    }

    /// What others think of it meanwhile is out of date when it goes on, and so is what it thinks of itself.
    async fn stand_still(&mut self) {
        let leader = if self.random.chance(600) { self.leader() } else { None };
        let Some((_, member)) = leader.or_else(|| self.random.pick(&self.wires.running())) else { return };
        member.process().stand_still();
        self.pause(100, 3_000).await;
        member.process().go_on();
        self.pause(0, 500).await;
    }

    /// One is cut off until the entries it lacks are gone from the others' logs.
    async fn laggard(&mut self) {
        let Some(id) = self.anybody() else { return };
        self.cut_off(id);
        let others = || self.wires.running().into_iter().filter(move |(other, _)| *other != id);
        let newest = || others().map(|(_, member)| *member.applied().borrow()).max().unwrap_or(0);
        let (before, began) = (newest(), SimInstant::now());
        while newest() < before + ENTRIES_MISSED && SimInstant::now() - began < CHANGE {
            SimRuntime::sleep(Duration::from_millis(100)).await;
        }
        for (_, member) in others() {
            member.snapshot().await;
        }
        self.pause(0, 500).await;
    }

    async fn transfer(&mut self) {
        let Some((_, leader)) = self.leader() else { return };
        self.pause(0, 300).await;
        // It may well be too late, or nobody may answer.
        let _ = leader.transfer_leadership(None, Duration::from_secs(2)).await;
        self.pause(0, 300).await;
    }

    async fn take_snapshot(&mut self) {
        let Some((_, member)) = self.random.pick(&self.wires.running()) else { return };
        self.pause(0, 300).await;
        member.snapshot().await;
    }

    async fn slow_disk(&mut self) {
        let Some(home) = self.anybody().and_then(|id| self.homes.get(&id).cloned()) else { return };
        home.take_time(Duration::from_millis(400));
        self.pause(200, 3_000).await;
    }

    async fn full_disk(&mut self) {
        let Some(home) = self.anybody().and_then(|id| self.homes.get(&id).cloned()) else { return };
        home.disk.set_crowded(true);
        self.pause(200, 3_000).await;
        home.disk.set_crowded(false);
    }

    /// A flush fails, which is the end of the process. Its supervisor starts another one, over what it then reads; the power may be cut later.
    async fn failed_flush(&mut self) {
        let Some((id, member)) = self.random.pick(&self.wires.running()) else { return };
        let Some(home) = self.homes.get(&id).cloned() else { return };
        home.disk.set_failing(true);
        let ended = SimRuntime::timeout(CHANGE / 10, member.failed()).await.is_ok();
        home.disk.set_failing(false);
        if !ended {
            return;
        }
        self.wires.unplug(id);
        if self.random.chance(500) {
            member.shutdown().await;
            self.start(id).await;
        } else {
            // Killed: by the time it would close its log another one has it.
            self.start(id).await;
            drop(SimRuntime::spawn(async move { member.shutdown().await }));
        }
        self.pause(0, 1_000).await;
        if self.random.chance(700) {
            self.crash(id);
            self.pause(0, 1_000).await;
            self.start(id).await;
        }
    }

    /// A member's disk is gone for good. Whoever runs a group does not throw away a second disk before the first is replaced.
    async fn replace(&mut self) {
        let Some((_, leader)) = self.leader() else { return };
        let membership = leader.membership().borrow().clone();
        let voters: Vec<u64> = membership.voters.iter().map(|peer| peer.id).collect();
        let (there, lost): (Vec<u64>, Vec<u64>) = voters.into_iter().partition(|id| self.homes.contains_key(id));
        if self.seams.replacement() == Replacement::SameNumber {
            let Some(id) = self.random.pick(&there) else { return };
            self.crash(id);
            let home = self.new_home();
            self.homes.insert(id, home);
            return self.start(id).await;
        }
        let lost = match lost.first() {
            Some(lost) => *lost,
            None if membership.shape == Shape::Joint || there.len() < 3 => return,
            None => {
                let Some(lost) = self.random.pick(&there) else { return };
                self.crash(lost);
                self.homes.remove(&lost);
                lost
            }
        };
        if self.leave(lost).await {
            self.newcomer().await;
        }
    }

    /// Somebody new joins the group. One that cannot be given a vote follows without; nobody counts on it.
    pub(crate) async fn newcomer(&mut self) -> bool {
        let Some(id) = self.new_member().await else { return false };
        self.oracle.newcomer();
        self.join(id).await
    }

    /// The group grows by one that learns and gets a vote, then gives up another, the leader perhaps.
    async fn rotate(&mut self) {
        let Some((_, leader)) = self.leader() else { return };
        let membership = leader.membership().borrow().clone();
        let all_there = membership.voters.iter().all(|peer| self.homes.contains_key(&peer.id));
        if !all_there || membership.shape == Shape::Joint || !self.newcomer().await {
            return;
        }
        self.pause(0, 500).await;
        let voters: Vec<u64> = membership.voters.iter().map(|peer| peer.id).collect();
        let Some(leaves) = self.random.pick(&voters) else { return };
        if self.leave(leaves).await {
            self.crash(leaves);
            self.homes.remove(&leaves);
        }
    }

    /// A vote is taken away and given back.
    async fn demote(&mut self) {
        let Some((_, leader)) = self.leader() else { return };
        let voters: Vec<u64> = leader.membership().borrow().voters.iter().map(|peer| peer.id).collect();
        let Some(id) = self.random.pick(&voters).filter(|id| self.homes.contains_key(id) && voters.len() > 2) else { return };
        // Refused when too few of the others answer; a leader hands over, and its successor is asked.
        let mut demoted = leader.demote(id).await;
        if let Err(MemberError::NotLeader { .. }) = demoted
            && let Some((_, next)) = self.leader()
        {
            demoted = next.demote(id).await;
        }
        if demoted.is_ok() {
            self.pause(0, 1_500).await;
            self.join(id).await;
        }
    }

    /// Takes a lost member out, trying again while there is no leader.
    pub(crate) async fn leave(&mut self, id: u64) -> bool {
        let began = SimInstant::now();
        while SimInstant::now() - began < CHANGE {
            if let Some((_, leader)) = self.leader() {
                match leader.remove(id).await {
                    Ok(()) | Err(MemberError::NoSuchMember { .. }) => return true,
                    Err(_) => {}
                }
            }
            SimRuntime::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    /// Adds a member and gives it a vote once it has caught up.
    pub(crate) async fn join(&mut self, id: u64) -> bool {
        let began = SimInstant::now();
        while SimInstant::now() - began < CHANGE {
            if let Some((_, leader)) = self.leader()
                && leader.add_learner(peer(id)).await.is_ok()
                && leader.promote(id).await.is_ok()
            {
                return true;
            }
            SimRuntime::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    pub(crate) fn leader(&self) -> Option<(u64, Member<S>)> {
        self.wires.leader()
    }

    fn anybody(&mut self) -> Option<u64> {
        let all: Vec<u64> = self.homes.keys().copied().collect();
        self.random.pick(&all)
    }

    fn others(&self, id: u64) -> Vec<u64> {
        self.homes.keys().copied().filter(|other| *other != id).collect()
    }

    async fn pause(&mut self, low_ms: u64, high_ms: u64) {
        let pause = self.random.between(low_ms, high_ms);
        SimRuntime::sleep(Duration::from_millis(pause)).await;
    }
}
