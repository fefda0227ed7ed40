//! The members of the group follow the servers of the state: whoever leads looks, takes one step, and looks again. Owns when to look; which step is
//! the crate `membership`'s, and how it is taken is consensus'.

use std::{collections::BTreeSet, sync::Arc};

use consensus::Peer;
use membership::votes::{Group, Step, Told, next_step, remember};
use model::{id::NodeId, problem::chain};
use state::State;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    core::Core,
    limits::{MEMBERS_LOOK_EVERY, MEMBERS_REST},
};

/// Runs until the process stops.
pub(crate) async fn run(core: Arc<Core>) {
    let (mut applied, mut membership, mut leadership) =
        (core.consensus.applied(), core.consensus.membership(), core.consensus.leadership());
    let mut ticks = interval(MEMBERS_LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut refused) = (None, BTreeSet::new());
    loop {
        let ended = tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            changed = leadership.changed() => changed.is_err(),
            changed = membership.changed() => changed.is_err(),
            changed = applied.changed() => changed.is_err(),
            _ = ticks.tick() => false,
        };
        if ended {
            return;
        }
        core.reign.saw(&leadership.borrow(), Instant::now());
        let state = core.state();
        let voters: BTreeSet<u64> = membership.borrow().voters.iter().map(|peer| peer.id).collect();
        let nodes = Some((state.nodes().count(), state.nodes().map(|node| node.version).max(), voters));
        if seen != nodes {
            seen = nodes;
            core.peers.learn(&state);
            core.live.keep_only(&state);
            core.spread.forget();
        }
        let leads = leadership.borrow().is_leading();
        if let Some(step) = leads.then(|| group(&core, &state, &refused)).as_ref().and_then(next_step) {
            let taken = take(&core, &state, step).await;
            remember(&mut refused, step, taken);
        }
        // Most entries have nothing to do with nodes: they are looked at together.
        tokio::time::sleep(MEMBERS_REST).await;
    }
}

/// The group as consensus knows it here.
fn group(core: &Core, state: &State, refused: &BTreeSet<NodeId>) -> Group {
    let (membership, progress) = (core.consensus.membership(), core.consensus.progress());
    let (applied, patience) = (*core.consensus.applied().borrow(), core.consensus.patience());
    let told = Told { membership: &membership.borrow(), progress: &progress, applied, patience };
    Group::of(state, &told, refused)
}

/// Takes the step; says whether it was taken.
async fn take(core: &Core, state: &State, step: Step) -> bool {
    let name = |id: NodeId| state.node(id).map_or_else(|| id.to_string(), |node| node.name.clone());
    let (what, id, outcome) = match step {
        Step::Add(id) => {
            let address = state.node(id).map(|node| node.addresses.peer.clone()).unwrap_or_default();
            ("a server follows", id, core.consensus.add_learner(Peer { id: id.0, address }).await)
        }
        Step::Promote(id) => ("a server votes", id, core.consensus.promote(id.0).await),
        Step::Remove(id) => ("a server is no member any more", id, core.consensus.remove(id.0).await),
    };
    match &outcome {
        Ok(()) => tracing::info!(node.id = id.0, node.name = name(id), "{what}"),
        Err(error) => tracing::warn!(node.id = id.0, step = what, error = %chain(error), "the members cannot be changed yet"),
    }
    outcome.is_ok()
}
