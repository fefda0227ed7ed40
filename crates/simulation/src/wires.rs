//! The modelled network: every message takes its time, may be lost, late or come twice, and some ways are cut. Owns the model;
//! must never change a message.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use consensus::{
    AsyncRuntime, Consensus, FoundError, Identity, Lane, MemberError, Network, OpenError, Peer, ProposeError, ReadError, Storage,
    TransferError, Tuning,
};
use futures_util::future::BoxFuture;
use openraft_rt_sim::SimRuntime;
use tokio::sync::oneshot;

use crate::{
    Random, Subject,
    oracle::Oracle,
    process::{OwnRuntime, Process},
};

/// A member as it runs in the simulation: consensus, in a process. What may be asked without waiting is asked of consensus itself.
pub(crate) struct Member<S: Subject> {
    consensus: Consensus<S, OwnRuntime>,
    process: Process,
}

impl<S: Subject> Clone for Member<S> {
    fn clone(&self) -> Self {
        Self { consensus: self.consensus.clone(), process: self.process.clone() }
    }
}

impl<S: Subject> Deref for Member<S> {
    type Target = Consensus<S, OwnRuntime>;

    fn deref(&self) -> &Self::Target {
        &self.consensus
    }
}

/// What is done in the process, and waits while that stands still.
impl<S: Subject> Member<S> {
    pub(crate) async fn start(
        process: Process,
        identity: Identity,
        tuning: Tuning,
        storage: Storage,
        way: Arc<dyn Network>,
    ) -> Result<Self, OpenError> {
        let consensus = process.run(Consensus::start(identity, tuning, storage, S::empty(), way)).await?;
        Ok(Self { consensus, process })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) async fn initialize(&self, first: Peer) -> Result<(), FoundError> {
        self.process.run(self.consensus.initialize(first)).await
    }

    pub(crate) async fn propose(&self, command: S::Command) -> Result<(u64, S::Answer), ProposeError> {
        self.process.run(self.consensus.propose(command)).await
    }

    pub(crate) async fn read_barrier(&self, within: Duration) -> Result<u64, ReadError> {
        self.process.run(self.consensus.read_barrier(within)).await
    }

    pub(crate) async fn receive(&self, from: u64, message: Bytes) -> io::Result<Bytes> {
        self.process.run(self.consensus.receive(from, message)).await
    }

    pub(crate) async fn snapshot(&self) -> Option<u64> {
        self.process.run(self.consensus.snapshot()).await
    }

    pub(crate) async fn transfer_leadership(&self, to: Option<u64>, within: Duration) -> Result<(), TransferError> {
        self.process.run(self.consensus.transfer_leadership(to, within)).await
    }

    pub(crate) async fn add_learner(&self, peer: Peer) -> Result<(), MemberError> {
        self.process.run(self.consensus.add_learner(peer)).await
    }

    pub(crate) async fn promote(&self, id: u64) -> Result<(), MemberError> {
        self.process.run(self.consensus.promote(id)).await
    }

    pub(crate) async fn demote(&self, id: u64) -> Result<(), MemberError> {
        self.process.run(self.consensus.demote(id)).await
    }

    pub(crate) async fn remove(&self, id: u64) -> Result<(), MemberError> {
        self.process.run(self.consensus.remove(id)).await
    }

    pub(crate) async fn shutdown(&self) {
        self.process.run(self.consensus.shutdown()).await;
    }
}

/// All ways between members. Clones are the same.
pub(crate) struct Wires<S: Subject>(Arc<Mutex<Net<S>>>);

struct Net<S: Subject> {
    running: BTreeMap<u64, Member<S>>,
    /// Ways on which nothing passes: from, to.
    cut: BTreeSet<(u64, u64)>,
    quality: Quality,
    random: Random,
    oracle: Oracle,
    /// Names the next write that no client makes.
    errand: u64,
}

/// How good the ways are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    pub(crate) lost_permille: u64,
    pub(crate) twice_permille: u64,
    pub(crate) delay_us_max: u64,
}

impl Quality {
    pub(crate) const GOOD: Self = Self { lost_permille: 0, twice_permille: 0, delay_us_max: 2_000 };
    pub(crate) const BAD: Self = Self { lost_permille: 150, twice_permille: 50, delay_us_max: 40_000 };
}

impl<S: Subject> Clone for Wires<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Subject> Wires<S> {
    pub(crate) fn new(random: Random, oracle: Oracle) -> Self {
        let net = Net { running: BTreeMap::new(), cut: BTreeSet::new(), quality: Quality::GOOD, random, oracle, errand: 1 << 60 };
        Self(Arc::new(Mutex::new(net)))
    }

    /// The way out of member `own`.
    pub(crate) fn of(&self, own: u64) -> Arc<dyn Network> {
        Arc::new(Way { wires: self.clone(), own })
    }

    pub(crate) fn plug(&self, id: u64, member: Member<S>) {
        self.net().running.insert(id, member);
    }

    pub(crate) fn unplug(&self, id: u64) {
        self.net().running.remove(&id);
    }

    /// Everybody who runs, in order of number.
    pub(crate) fn running(&self) -> Vec<(u64, Member<S>)> {
        self.net().running.iter().map(|(id, member)| (*id, member.clone())).collect()
    }

    /// A name for a write that no client makes.
    pub(crate) fn errand(&self) -> u64 {
        let mut net = self.net();
        net.errand += 1;
        net.errand
    }

    /// Who leads, as far as anybody knows.
    pub(crate) fn leader(&self) -> Option<(u64, Member<S>)> {
        self.running().into_iter().find(|(_, member)| member.leadership().borrow().is_leading())
    }

    pub(crate) fn cut(&self, from: u64, to: u64) {
        self.net().cut.insert((from, to));
    }

    pub(crate) fn set_quality(&self, quality: Quality) {
        self.net().quality = quality;
    }

    /// Every way is open and good again.
    pub(crate) fn mend(&self) {
        let mut net = self.net();
        net.cut.clear();
        net.quality = Quality::GOOD;
    }

    fn net(&self) -> MutexGuard<'_, Net<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a message takes from one to the other; none when it never arrives.
    fn leg(&self, from: u64, to: u64) -> Option<Duration> {
        let mut net = self.net();
        net.oracle.message();
        let Quality { lost_permille, delay_us_max, .. } = net.quality;
        let lost = net.random.chance(lost_permille) || net.cut.contains(&(from, to));
        let delay = Duration::from_micros(net.random.between(100, delay_us_max));
        (!lost).then_some(delay)
    }

    fn comes_twice(&self) -> bool {
        let mut net = self.net();
        let permille = net.quality.twice_permille;
        net.random.chance(permille)
    }

    fn at(&self, id: u64) -> Option<Member<S>> {
        self.net().running.get(&id).cloned()
    }

    /// Whoever says in a message that it leads was elected, whether or not it ever gets to write anything.
    fn overhear(&self, message: &[u8]) {
        let net = self.net();
        match consensus::leader_in(message) {
            Ok(Some((term, leader))) => net.oracle.leads(leader, term),
            Ok(None) => {}
            Err(error) => net.oracle.violation(format!("a message cannot be read: {error}")),
        }
    }

    /// Takes a message there and the answer back.
    async fn carry(&self, from: u64, to: u64, message: Bytes, within: Duration) -> io::Result<Bytes> {
        self.overhear(&message);
        let silence = || async move {
            SimRuntime::sleep(within).await;
            Err(io::Error::from(io::ErrorKind::TimedOut))
        };
        let Some(there) = self.leg(from, to) else { return silence().await };
        SimRuntime::sleep(there).await;
        let Some(receiver) = self.at(to) else { return Err(io::ErrorKind::ConnectionRefused.into()) };
        if self.comes_twice() {
            drop(deliver(receiver.clone(), from, message.clone()));
        }
        // The receiver goes on with it when the sender has given up.
        let answer = deliver(receiver, from, message).await.map_err(io::Error::other)??;
        let Some(back) = self.leg(to, from) else { return silence().await };
        SimRuntime::sleep(back).await;
        Ok(answer)
    }
}

fn deliver<S: Subject>(receiver: Member<S>, from: u64, message: Bytes) -> oneshot::Receiver<io::Result<Bytes>> {
    let (answer, answered) = oneshot::channel();
    // Whoever asked may have given up.
    drop(SimRuntime::spawn(async move { drop(answer.send(receiver.receive(from, message).await)) }));
    answered
}

struct Way<S: Subject> {
    wires: Wires<S>,
    own: u64,
}

impl<S: Subject> Network for Way<S> {
    fn call(&self, to: &Peer, _: Lane, message: Bytes, within: Duration) -> BoxFuture<'_, io::Result<Bytes>> {
        let to = to.id;
        Box::pin(async move { self.wires.carry(self.own, to, message, within).await })
    }
}
