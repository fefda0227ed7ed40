//! The world of one simulation: its members, its disks, its clients, round after round. Owns their life; what goes wrong is chosen by `nemesis`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use consensus::{
    AsyncRuntime, GroupId, Identity, Instant, Peer, Profile, Shape, Storage, Tuning,
    memory_log::{Due, MemoryDisk},
    snapshot::MemoryShelf,
};
use openraft_rt_sim::{SimInstant, SimRuntime};

use crate::{
    Outcome, Random, Scenario, Seams, Subject,
    client::Client,
    members::{POWER_CUT, compare, watch},
    nemesis::CHANGE,
    oracle::Oracle,
    process::Process,
    watcher::Watcher,
    wires::{Member, Wires},
};

/// The group of every simulation.
const GROUP: GroupId = GroupId([5; 16]);

/// Names the first of the writes that found a group.
const FOUNDING: u64 = 1 << 59;

/// How long a group may take to heal once nothing goes wrong any more.
const HEALING: Duration = Duration::from_secs(60);

pub(crate) struct World<S: Subject> {
    pub(crate) seams: Arc<dyn Seams>,
    pub(crate) scenario: Scenario,
    pub(crate) wires: Wires<S>,
    pub(crate) oracle: Oracle,
    pub(crate) random: Random,
    pub(crate) homes: BTreeMap<u64, Home>,
    pub(crate) next_member: u64,
    clients: Vec<Client<S>>,
    watchers: Vec<Watcher<S>>,
}

/// Entries between two snapshots, and how many are kept behind one: few, so that both happen all the time.
pub(crate) const SNAPSHOT_ENTRIES: u64 = 40;
pub(crate) const LOG_ENTRIES_KEPT: u64 = 20;

/// What outlives a member: its disk and its shelf.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) disk: MemoryDisk,
    pub(crate) shelf: MemoryShelf,
    /// By how many thousandths its clock is fast.
    drift_permille: i32,
    /// How long a flush takes at most, in microseconds.
    flush_us_max: Arc<Mutex<u64>>,
}

/// How long a flush takes at most when nothing is wrong.
const QUICK: Duration = Duration::from_millis(1);

impl Home {
    /// From here on a flush takes up to `longest`.
    pub(crate) fn take_time(&self, longest: Duration) {
        *self.flush_us_max.lock().unwrap_or_else(PoisonError::into_inner) = longest.as_micros() as u64;
    }
}

/// Runs `scenario` with everything drawn from `seed`. Equal arguments give equal outcomes.
pub fn run<S: Subject>(seed: u64, scenario: &Scenario, seams: Arc<dyn Seams>) -> Outcome {
    let mut runtime = SimRuntime::with_seed(seed);
    let world = World::<S>::new(seed, scenario.clone(), seams);
    runtime.block_on(world.live())
}

impl<S: Subject> World<S> {
    pub(crate) fn new(seed: u64, scenario: Scenario, seams: Arc<dyn Seams>) -> Self {
        let (mut random, oracle) = (Random::new(seed), Oracle::default());
        let wires = Wires::new(random.fork(), oracle.clone());
        let client = |number: u64| Client {
            wires: wires.clone(),
            oracle: oracle.clone(),
            random: random.fork(),
            reading: seams.reading(),
            next: number << 32,
            open: None,
        };
        let clients = (1..=3).map(client).collect();
        let watchers = (0..2).map(|_| Watcher::new(wires.clone(), oracle.clone(), random.fork())).collect();
        Self { seams, scenario, wires, oracle, random, homes: BTreeMap::new(), next_member: 1, clients, watchers }
    }

    async fn live(mut self) -> Outcome {
        let began = SimInstant::now();
        if self.found().await {
            for _ in 0..self.scenario.rounds {
                self.round().await;
            }
            self.heal().await;
        }
        for (id, member) in self.wires.running() {
            self.wires.unplug(id);
            member.shutdown().await;
        }
        self.oracle.outcome(SimInstant::now() - began)
    }

    /// The first member founds the group, the others join it.
    pub(crate) async fn found(&mut self) -> bool {
        let Some(first) = self.new_member().await else { return false };
        let Some(member) = self.wires.running().into_iter().find(|(id, _)| *id == first) else { return false };
        if let Err(error) = member.1.initialize(peer(first)).await {
            self.oracle.violation(format!("the group could not be founded: {error}"));
            return false;
        }
        for (unique, command) in (FOUNDING..).zip(S::founding(FOUNDING)) {
            if self.write_surely(unique, command).await.is_none() {
                self.oracle.violation("what founds a group could not be written".to_owned());
                return false;
            }
        }
        for _ in 1..self.scenario.members {
            let joined = match self.new_member().await {
                Some(id) => self.join(id).await,
                None => false,
            };
            if !joined {
                self.oracle.violation("one of the first members could not join".to_owned());
                return false;
            }
        }
        true
    }

    /// Writes `command`, trying again while there is no leader: it must be one that does the same when it is applied twice.
    async fn write_surely(&self, unique: u64, command: S::Command) -> Option<S::Answer> {
        let began = SimInstant::now();
        while SimInstant::now() - began < CHANGE {
            if let Some((_, leader)) = self.leader() {
                let begun = self.oracle.begin();
                if let Ok(Ok((index, answer))) = SimRuntime::timeout(CHANGE / 10, leader.propose(command.clone())).await {
                    self.oracle.acknowledged(unique, begun, index);
                    return Some(answer);
                }
            }
            SimRuntime::sleep(Duration::from_millis(50)).await;
        }
        None
    }

    /// Clients work and watchers follow while something goes wrong.
    async fn round(&mut self) {
        let spare = self.clients.pop();
        let over = Arc::new(AtomicBool::new(false));
        let working: Vec<_> = self.clients.drain(..).map(|client| SimRuntime::spawn(client.work(over.clone()))).collect();
        let watching: Vec<_> = self.watchers.drain(..).map(|watcher| SimRuntime::spawn(watcher.work(over.clone()))).collect();
        self.clients.extend(spare);
        self.misfortune().await;
        over.store(true, Ordering::Relaxed);
        for client in working {
            match client.await {
                Ok(client) => self.clients.insert(0, client),
                Err(error) => self.oracle.violation(format!("a client ended: {error}")),
            }
        }
        for watcher in watching {
            match watcher.await {
                Ok(watcher) => self.watchers.push(watcher),
                Err(error) => self.oracle.violation(format!("a watcher ended: {error}")),
            }
        }
    }

    /// A member that was never there before, running but not yet in the group. None when nobody lets it in.
    pub(crate) async fn new_member(&mut self) -> Option<u64> {
        let count = self.next_member;
        self.next_member += 1;
        let unique = self.wires.errand();
        let id = match S::admission(&format!("server-{count}"), unique).filter(|_| count > 1) {
            None => count,
            Some(command) => {
                let answer = self.write_surely(unique, command).await?;
                let number = S::number(&answer);
                if number.is_none_or(|number| self.homes.contains_key(&number)) {
                    self.oracle.violation(format!("the newcomer server-{count} was given the number {number:?}"));
                }
                number?
            }
        };
        let home = self.new_home();
        self.homes.insert(id, home);
        self.start(id).await;
        Some(id)
    }

    pub(crate) fn new_home(&mut self) -> Home {
        let flush_us_max = Arc::new(Mutex::new(QUICK.as_micros() as u64));
        let (limit, random) = (flush_us_max.clone(), Mutex::new(self.random.fork()));
        let disk = MemoryDisk::slow(move |due: Due| {
            let max = *limit.lock().unwrap_or_else(PoisonError::into_inner);
            let delay = random.lock().unwrap_or_else(PoisonError::into_inner).between(50, max);
            drop(SimRuntime::spawn(async move {
                SimRuntime::sleep(Duration::from_micros(delay)).await;
                due.flush();
            }));
        });
        let max = u64::from(self.scenario.drift_permille_max);
        let drift_permille = self.random.between(0, 2 * max) as i32 - max as i32;
        Home { disk, shelf: self.seams.shelf(), drift_permille, flush_us_max }
    }

    /// Starts `id` from what its disk holds.
    pub(crate) async fn start(&mut self, id: u64) {
        let Some(home) = self.homes.get(&id).cloned() else { return };
        let log = match self.seams.log(&home.disk) {
            Ok(log) => log,
            Err(error) => return self.oracle.violation(format!("member {id} cannot read its log: {error}")),
        };
        let storage = Storage { log, shelf: Arc::new(home.shelf) };
        let identity = Identity { group: GROUP, node_id: id };
        match Member::start(Process::new(home.drift_permille), identity, tuning(), storage, self.wires.of(id)).await {
            Ok(member) => {
                watch(id, &member, &self.oracle);
                compare(id, member.clone(), self.wires.clone(), self.oracle.clone());
                self.wires.plug(id, member);
            }
            Err(error) => self.oracle.violation(format!("member {id} cannot start: {error}")),
        }
    }

    /// Cuts the power of `id`: of what it had not flushed a random part is there afterwards.
    pub(crate) fn crash(&mut self, id: u64) {
        let running = self.wires.running().into_iter().find(|(other, _)| *other == id);
        self.wires.unplug(id);
        let kept = if self.random.chance(300) { 0 } else { self.random.below(2_000) as usize };
        if let Some((_, member)) = running {
            // What stands still has no memory left to go on with either.
            member.process().go_on();
            member.halt(POWER_CUT.to_owned());
            // What is left of it in memory goes in its own time.
            drop(SimRuntime::spawn(async move { member.shutdown().await }));
        }
        if let Some(home) = self.homes.get(&id) {
            home.disk.crash(kept);
            home.shelf.crash();
        }
    }

    /// One write, by a client that tries until it is acknowledged, for at most `patience`.
    pub(crate) async fn until_acknowledged(&mut self, patience: Duration) -> bool {
        let Some(mut client) = self.clients.pop() else { return false };
        let began = SimInstant::now();
        let mut done = false;
        while !done && SimInstant::now() - began < patience {
            done = client.write().await;
            if !done {
                SimRuntime::sleep(Duration::from_millis(5)).await;
            }
        }
        self.clients.push(client);
        done
    }

    /// Nothing goes wrong any more: everybody must agree, soon, on everything that was ever promised.
    async fn heal(&mut self) {
        self.mend_all().await;
        if !self.until_acknowledged(HEALING).await {
            self.oracle.violation(format!("the group does not heal: no write is acknowledged; {}", self.describe()));
            return;
        }
        if !self.fill_seats().await {
            self.oracle.violation(format!(
                "the group does not heal: its {} votes are not there again; {}",
                self.scenario.members,
                self.describe()
            ));
        }
        let began = SimInstant::now();
        let members = loop {
            let members = self.members();
            let applied: Vec<u64> = members.iter().map(|(_, member)| *member.applied().borrow()).collect();
            let whole = members.iter().all(|(_, member)| member.membership().borrow().shape == Shape::Uniform);
            if whole && applied.iter().all(|index| Some(index) == applied.first()) && !applied.is_empty() {
                break members;
            }
            if SimInstant::now() - began > HEALING {
                self.oracle.violation(format!("the group does not heal: its members stand at {applied:?}; {}", self.describe()));
                break members;
            }
            SimRuntime::sleep(Duration::from_millis(50)).await;
        };
        let hashes: Vec<_> = members.iter().map(|(_, member)| member.state().hash()).collect();
        if hashes.iter().any(|hash| Some(hash) != hashes.first()) {
            self.oracle.violation("the members' states differ at the end".to_owned());
        }
        for (id, member) in members {
            let state = member.state();
            self.oracle.last_look(id, state.as_ref());
            self.watchers.iter_mut().for_each(|watcher| watcher.compare(id, state.as_ref()));
        }
    }

    /// Where everybody stands, for people.
    fn describe(&self) -> String {
        let one = |(id, member): (u64, Member<S>)| {
            let (leadership, membership) = (member.leadership().borrow().clone(), member.membership().borrow().clone());
            let numbers = |peers: &[Peer]| peers.iter().map(|peer| peer.id).collect::<Vec<_>>();
            let (voters, learners) = (numbers(&membership.voters), numbers(&membership.learners));
            let applied = *member.applied().borrow();
            format!("member {id}: {leadership:?}, applied {applied}, voters {voters:?}, learners {learners:?}, {:?}", membership.shape)
        };
        self.wires.running().into_iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Everything works, and everybody runs.
    pub(crate) async fn mend_all(&mut self) {
        self.wires.mend();
        self.wires.running().iter().for_each(|(_, member)| member.process().go_on());
        for home in self.homes.values() {
            home.take_time(QUICK);
            home.disk.set_crowded(false);
        }
        let running: Vec<u64> = self.wires.running().into_iter().map(|(id, _)| id).collect();
        for id in self.homes.keys().copied().collect::<Vec<_>>() {
            if !running.contains(&id) {
                self.start(id).await;
            }
        }
    }

    /// Who runs and is in the group, as the leader sees it.
    pub(crate) fn members(&self) -> Vec<(u64, Member<S>)> {
        let running = self.wires.running();
        let Some((_, leader)) = running.iter().find(|(_, member)| member.leadership().borrow().is_leading()) else { return running };
        let membership = leader.membership().borrow().clone();
        running.into_iter().filter(|(id, _)| membership.member(*id).is_some()).collect()
    }
}

pub(crate) fn peer(id: u64) -> Peer {
    Peer { id, address: format!("member{id}") }
}

/// Small figures, so that snapshots, purges and comparisons happen all the time.
fn tuning() -> Tuning {
    Tuning { snapshot_entries: SNAPSHOT_ENTRIES, log_entries_kept: LOG_ENTRIES_KEPT, checkpoint_entries: 10, ..Tuning::from(Profile::Lan) }
}
