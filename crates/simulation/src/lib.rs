//! A whole group from a seed: members on modelled disks, a modelled network and virtual time, so that years of faults pass in minutes and any of them can be
//! had again. Owns the world, what goes wrong in it and what must hold all the same; generic over the state machine. Must never look at a real clock, a real
//! disk or a real network.
//!
//! Start with [`run`]; [`Scenario`] says how much goes wrong, [`Seams`] is where a test plants a bug, [`Subject`] is what a state machine must offer:
//! [`Replica`] is the product's state, [`Ledger`] the smallest one.

mod accounts;
mod client;
mod commands;
mod ledger;
mod members;
mod nemesis;
mod oracle;
mod process;
mod random;
mod replica;
mod scenario;
mod seats;
#[cfg(test)]
mod steps;
mod watcher;
mod wires;
mod world;

pub use crate::{
    ledger::{Ledger, Write},
    oracle::Outcome,
    random::Random,
    replica::{Numbered, Replica},
    scenario::{Became, Changed, Fault, Honest, Listing, Made, Reading, Replacement, Scenario, Seams, Subject},
    world::run,
};
