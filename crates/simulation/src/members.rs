//! What members say of themselves and of each other: who leads, what their states hash to, that they failed. Owns how the oracle hears of it; must never
//! conclude anything but what the members conclude themselves.

use std::time::Duration;

use consensus::{AsyncRuntime, Checkpoint, Health, Leadership, memory_log::FLUSH_FAILED};
use openraft_rt_sim::SimRuntime;

use crate::{
    Subject,
    oracle::Oracle,
    wires::{Member, Wires},
};

/// What a member that lost its power says of itself.
pub(crate) const POWER_CUT: &str = "the power was cut";

/// Checkpoints a member waits for the others to say something about.
const CHECKPOINTS_OPEN: usize = 4;

/// Tells the oracle what a member says of itself.
pub(crate) fn watch<S: Subject>(id: u64, member: &Member<S>, oracle: &Oracle) {
    let (mut leadership, seen) = (member.leadership(), oracle.clone());
    drop(SimRuntime::spawn(async move {
        loop {
            if let Leadership::Leading { term, .. } = *leadership.borrow_and_update() {
                seen.leads(id, term);
            }
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
                Health::Failed { message } if message != POWER_CUT && !message.contains(FLUSH_FAILED) => Some(message.clone()),
                _ => None,
            };
            if let Some(message) = failed {
                seen.violation(format!("member {id} failed: {message}"));
                return;
            }
        }
    }));
}

/// Members compare themselves through the log, as in the product: each writes what its state was at a checkpoint, and one that differs from the others says so.
pub(crate) fn compare<S: Subject>(id: u64, member: Member<S>, wires: Wires<S>, oracle: Oracle) {
    let process = member.process().clone();
    drop(SimRuntime::spawn(process.run(async move {
        let (mut hashes, mut open) = (member.hashes(), Vec::<Checkpoint>::new());
        while hashes.changed().await.is_ok() {
            let Some(checkpoint) = *hashes.borrow_and_update() else { continue };
            let voters: Vec<u64> = member.membership().borrow().voters.iter().map(|peer| peer.id).collect();
            let state = member.state();
            let reasons = open.iter().filter_map(|before| state.diverged(id, *before, &voters));
            reasons.for_each(|reason| oracle.violation(format!("member {id} finds by the log that its state differs: {reason}")));
            let unique = wires.errand();
            let Some(command) = S::attestation(id, checkpoint, unique) else { continue };
            open.push(checkpoint);
            let surplus = open.len().saturating_sub(CHECKPOINTS_OPEN);
            open.drain(..surplus);
            // Without a leader nothing is said of this checkpoint.
            let Some((_, leader)) = wires.leader() else { continue };
            if let Ok(Ok(_)) = SimRuntime::timeout(Duration::from_secs(1), leader.propose(command)).await {
                oracle.attested();
            }
        }
    })));
}
