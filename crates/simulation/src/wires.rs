//! The modelled network: every message takes its time, may be lost, late or come twice, and some ways are cut. Owns the model;
//! must never change a message.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use consensus::{AsyncRuntime, Consensus, Lane, Network, Peer};
use futures_util::future::BoxFuture;
use openraft_rt_sim::SimRuntime;
use tokio::sync::oneshot;

use crate::{Random, Subject, oracle::Oracle};

/// A member as it runs in the simulation.
pub(crate) type Member<S> = Consensus<S, SimRuntime>;

/// All ways between members. Clones are the same.
pub(crate) struct Wires<S: Subject>(Arc<Mutex<Net<S>>>);

struct Net<S: Subject> {
    running: BTreeMap<u64, Member<S>>,
    /// Ways on which nothing passes: from, to.
    cut: BTreeSet<(u64, u64)>,
    quality: Quality,
    random: Random,
    oracle: Oracle,
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
        let net = Net { running: BTreeMap::new(), cut: BTreeSet::new(), quality: Quality::GOOD, random, oracle };
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

    /// Takes a message there and the answer back.
    async fn carry(&self, from: u64, to: u64, message: Bytes, within: Duration) -> io::Result<Bytes> {
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
