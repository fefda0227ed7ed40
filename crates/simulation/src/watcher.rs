//! Somebody who lists once and then only follows what changed, at one member after the other. Owns what a watcher believes, and says when it is wrong;
//! must never look at a list in between, unless it was told that it missed something.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use consensus::AsyncRuntime;
use openraft_rt_sim::SimRuntime;

use crate::{
    Random, Subject,
    accounts::Account,
    oracle::Oracle,
    scenario::{Became, Changed},
    wires::Wires,
};

/// One watcher.
pub(crate) struct Watcher<S: Subject> {
    wires: Wires<S>,
    oracle: Oracle,
    random: Random,
    /// Up to which index it knows everything; none before its first list.
    at: Option<u64>,
    known: BTreeMap<String, String>,
}

impl<S: Subject> Watcher<S> {
    pub(crate) fn new(wires: Wires<S>, oracle: Oracle, random: Random) -> Self {
        Self { wires, oracle, random, at: None, known: BTreeMap::new() }
    }

    /// Follows until the round is over, then compares what it believes with a list.
    pub(crate) async fn work(mut self, over: Arc<AtomicBool>) -> Self {
        while !over.load(Ordering::Relaxed) {
            if let Some((_, member)) = self.random.pick(&self.wires.running()) {
                self.look(member.state().as_ref());
            }
            SimRuntime::sleep(Duration::from_millis(self.random.between(20, 400))).await;
        }
        if let Some((id, member)) = self.random.pick(&self.wires.running()) {
            self.compare(id, member.state().as_ref());
        }
        self
    }

    /// Takes in what a member has that is new.
    fn look(&mut self, state: &S) {
        let Some(at) = self.at else {
            let list = state.list();
            (self.at, self.known) = (Some(list.index), list.objects);
            return;
        };
        match state.changes(at) {
            Ok(changes) => {
                let mut account = Account { after: at, upto: at, told: Vec::new() };
                for changed in changes {
                    self.take(&mut account, changed);
                }
                self.at = Some(account.upto);
                self.oracle.account(account);
            }
            Err(oldest) => {
                if oldest <= at {
                    self.oracle.violation(format!("a watcher at {at} was sent away, though everything after {oldest} is known"));
                }
                let list = state.list();
                if list.index < at {
                    self.oracle.violation(format!("a member at {} knows nothing older than {oldest}", list.index));
                }
                self.oracle.listed_again();
                (self.at, self.known) = (Some(list.index), list.objects);
            }
        }
    }

    fn take(&mut self, account: &mut Account, changed: Changed) {
        let Changed { index, object, became, now } = changed;
        let Account { after, upto, told } = account;
        if index <= *after || index < *upto {
            self.oracle.violation(format!("a watcher at {after} is told of {object} at {index}, after {upto}"));
        }
        if told.iter().rev().take_while(|(at, ..)| *at == index).any(|(_, other, _)| *other == object) {
            self.oracle.violation(format!("a watcher is told twice of {object} at {index}"));
        }
        *upto = index;
        told.push((index, object.clone(), became));
        let known = self.known.contains_key(&object);
        let fits = match became {
            Became::Added => !known,
            Became::Modified | Became::Deleted => known,
        };
        if !fits {
            self.oracle.violation(format!("a watcher is told at {index} that {object} was {became:?}, which does not fit what it knows"));
        }
        match became {
            Became::Deleted => drop(self.known.remove(&object)),
            // Gone by now: a later change says so.
            Became::Added | Became::Modified => drop(self.known.insert(object, now.unwrap_or_default())),
        }
    }

    /// What it believes is what there is, unless the member is behind.
    pub(crate) fn compare(&mut self, member: u64, state: &S) {
        self.look(state);
        let list = state.list();
        if self.at.is_none_or(|at| at > list.index) {
            return;
        }
        self.oracle.watched();
        let differs = |(object, text): (&String, &String)| self.known.get(object) != Some(text);
        let missing = list.objects.iter().find(|pair| differs(*pair)).map(|(object, _)| object.clone());
        let surplus = self.known.keys().find(|object| !list.objects.contains_key(*object)).cloned();
        if let Some(object) = missing.or(surplus) {
            let index = list.index;
            self.oracle.violation(format!("a watcher that followed up to {index} at member {member} is wrong about {object}"));
        }
    }
}
