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
    AsyncRuntime, Consensus, GroupId, Health, Identity, Instant, Peer, Profile, Storage, Tuning,
    memory_log::{Due, MemoryDisk},
    snapshot::MemoryShelf,
};
use openraft_rt_sim::{SimInstant, SimRuntime};

use crate::{
    Ledger, Outcome, Random, Scenario, Seams, Subject,
    client::Client,
    oracle::Oracle,
    wires::{Member, Wires},
};

/// What a member that lost its power says of itself.
const POWER_CUT: &str = "the power was cut";

/// The group of every simulation.
const GROUP: GroupId = GroupId([5; 16]);

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
}

/// What outlives a member: its disk and its shelf.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) disk: MemoryDisk,
    pub(crate) shelf: MemoryShelf,
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

/// [`run`] with the smallest machine.
pub fn run_ledger(seed: u64, scenario: &Scenario, seams: Arc<dyn Seams>) -> Outcome {
    run::<Ledger>(seed, scenario, seams)
}

impl<S: Subject> World<S> {
    pub(crate) fn new(seed: u64, scenario: Scenario, seams: Arc<dyn Seams>) -> Self {
        let (mut random, oracle) = (Random::new(seed), Oracle::default());
        let wires = Wires::new(random.fork(), oracle.clone());
        let client = |number: u64| Client { wires: wires.clone(), oracle: oracle.clone(), random: random.fork(), next: number << 32 };
        let clients = (1..=3).map(client).collect();
        Self { seams, scenario, wires, oracle, random, homes: BTreeMap::new(), next_member: 1, clients }
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
        let first = self.new_member().await;
        let Some(member) = self.wires.running().into_iter().find(|(id, _)| *id == first) else { return false };
        if let Err(error) = member.1.initialize(peer(first)).await {
            self.oracle.violation(format!("the group could not be founded: {error}"));
            return false;
        }
        for _ in 1..self.scenario.members {
            let id = self.new_member().await;
            if !self.join(id).await {
                self.oracle.violation(format!("member {id} could not join"));
                return false;
            }
        }
        true
    }

    /// Clients work while something goes wrong.
    async fn round(&mut self) {
        let spare = self.clients.pop();
        let over = Arc::new(AtomicBool::new(false));
        let working: Vec<_> = self.clients.drain(..).map(|client| SimRuntime::spawn(client.work(over.clone()))).collect();
        self.clients.extend(spare);
        self.misfortune().await;
        over.store(true, Ordering::Relaxed);
        for client in working {
            match client.await {
                Ok(client) => self.clients.insert(0, client),
                Err(error) => self.oracle.violation(format!("a client ended: {error}")),
            }
        }
    }

    /// A member that was never there before, running but not yet in the group.
    pub(crate) async fn new_member(&mut self) -> u64 {
        let id = self.next_member;
        self.next_member += 1;
        let home = self.new_home();
        self.homes.insert(id, home);
        self.start(id).await;
        id
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
        Home { disk, shelf: MemoryShelf::new(), flush_us_max }
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
        match Consensus::start(identity, tuning(), storage, S::empty(), self.wires.of(id)).await {
            Ok(member) => {
                watch(id, &member, &self.oracle);
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
            member.halt(POWER_CUT.to_owned());
            // What is left of it in memory goes in its own time.
            drop(SimRuntime::spawn(async move { member.shutdown().await }));
        }
        if let Some(home) = self.homes.get(&id) {
            home.disk.crash(kept);
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
        let began = SimInstant::now();
        let members = loop {
            let members = self.members();
            let applied: Vec<u64> = members.iter().map(|(_, member)| *member.applied().borrow()).collect();
            if applied.iter().all(|index| Some(index) == applied.first()) && !applied.is_empty() {
                break members;
            }
            if SimInstant::now() - began > HEALING {
                self.oracle.violation(format!("the group does not heal: its members stand at {applied:?}"));
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
            self.oracle.last_look(id, |unique| state.holds(unique));
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
    Tuning { snapshot_entries: 40, log_entries_kept: 20, checkpoint_entries: 10, ..Tuning::from(Profile::Lan) }
}

/// Tells the oracle what a member says of itself.
fn watch<S: Subject>(id: u64, member: &Member<S>, oracle: &Oracle) {
    let (mut leadership, seen) = (member.leadership(), oracle.clone());
    drop(SimRuntime::spawn(async move {
        loop {
            seen.leads(id, &leadership.borrow_and_update().clone());
            if leadership.changed().await.is_err() {
                return;
            }
        }
    }));
    let (mut hashes, seen) = (member.hashes(), oracle.clone());
    drop(SimRuntime::spawn(async move {
        while hashes.changed().await.is_ok() {
            let checkpoint = *hashes.borrow_and_update();
            if let Some(checkpoint) = checkpoint {
                seen.hashed(id, checkpoint);
            }
        }
    }));
    let (mut health, seen) = (member.health(), oracle.clone());
    drop(SimRuntime::spawn(async move {
        while health.changed().await.is_ok() {
            let failed = match &*health.borrow_and_update() {
                Health::Failed { message } if message != POWER_CUT => Some(message.clone()),
                _ => None,
            };
            if let Some(message) = failed {
                seen.violation(format!("member {id} failed: {message}"));
                return;
            }
        }
    }));
}
