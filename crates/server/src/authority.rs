//! The cluster's authorities as this server goes by them: its identity follows the state, and whoever leads sees a rotation to its end. Owns when to look;
//! who has done what is `rotation`'s, and when a rotation steps on the state's.

use std::sync::Arc;

use api::{
    node::HeldAuthorities,
    peer::{MEMBER_PATH, MemberRequest, RotationPhase as WirePhase},
};
use consensus::Leadership;
use model::{
    id::{Index, NodeId, Timestamp},
    problem::chain,
};
use rotation::{
    progress::{Heard, has_done},
    set,
    view::{of_wire, wire},
};
use state::{
    Applied, Command,
    command::{CommandV1, ConfirmAuthority, NodeRole},
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use transport::AuthorityDigest;

use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    limits::{MEMBERS_REST, TICK},
    renewal,
};

/// What tokens carry and tools pin.
pub(crate) fn pinned(core: &Core) -> AuthorityDigest {
    set::pinned(&core.state()).unwrap_or_else(|| core.identity.current().authority().digest())
}

/// Looks until the process stops: at every entry, and now and then.
pub(crate) async fn run(core: Arc<Core>) {
    let (mut applied, mut reported, mut leadership) = (core.consensus.applied(), core.live.changes(), core.consensus.leadership());
    let mut renewed = core.identity.changes();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut leading, mut refused) = (None, 0);
    loop {
        let ended = tokio::select! {
            () = core.stop.cancelled() => return,
            changed = applied.changed() => changed.is_err(),
            changed = reported.changed() => changed.is_err(),
            changed = leadership.changed() => changed.is_err(),
            changed = renewed.changed() => changed.is_err(),
            _ = ticks.tick() => false,
        };
        if ended {
            return;
        }
        follow(&core, &mut refused);
        let leader = leadership.borrow_and_update().clone();
        leading = if leader.is_leading() { leading.or_else(|| Some((Instant::now(), clock::now()))) } else { None };
        if core.state().awaited().is_none() {
            continue;
        }
        if let Err(error) = confirm(&core, &leader, leading).await {
            tracing::debug!(error = error.message(), "what a rotation of the authority waits for cannot be confirmed yet");
        }
        // Most entries and reports have nothing to do with it: they are looked at together.
        tokio::time::sleep(MEMBERS_REST).await;
    }
}

/// Lets this server's identity go by what the state says; what it `refused` once it does not try again.
fn follow(core: &Core, refused: &mut u64) {
    let state = core.state();
    let version = state.authorities().version.0;
    if version <= core.identity.current().authorities().version() || version == *refused {
        return;
    }
    let learned = set::list(&state).map_err(|error| chain(&error)).and_then(|list| match list {
        Some(list) => core.identity.learn(&list, &renewal::directory(core)).map_err(|error| chain(&error)),
        None => Ok(false),
    });
    match learned {
        Ok(true) => tracing::info!(authorities.version = version, "this server goes by other authorities"),
        Ok(false) => {}
        Err(error) => {
            *refused = version;
            tracing::error!(error, authorities.version = version, "this server cannot go by the cluster's authorities");
        }
    }
}

/// Says what this server has done; when it leads, what every node is known to have done.
async fn confirm(core: &Arc<Core>, leader: &Leadership, leading: Option<(Instant, Timestamp)>) -> Result<(), ApiError> {
    let state = core.state();
    match (leader, leading) {
        (Leadership::Leading { .. }, Some(since)) => match heard(core, since).confirms(&state) {
            Some(confirm) => propose(core, confirm).await,
            None => Ok(()),
        },
        (Leadership::Following { leader, .. }, _) => {
            let (Some(awaited), Some(signing)) = (state.awaited(), set::signing(&state)) else { return Ok(()) };
            if !state.unconfirmed().contains(&(core.node, NodeRole::Server)) || !has_done(&held(core), signing, awaited) {
                return Ok(());
            }
            let request = MemberRequest::Confirm { node: core.node, rotation: awaited.0, phase: wire(awaited.1) };
            renewal::ask::<serde_json::Value>(core, leader.id, MEMBER_PATH, &request).await.map(drop)
        }
        _ => Ok(()),
    }
}

fn held(core: &Core) -> HeldAuthorities {
    let current = core.identity.current();
    HeldAuthorities { version: current.authorities().version(), shows: current.authority().digest() }
}

/// What this server, which leads `since` then, has heard of all nodes.
fn heard(core: &Core, (since, leading_at): (Instant, Timestamp)) -> Heard {
    let seen = core.live.reports().seen;
    let progress = core.consensus.progress();
    Heard {
        own: (core.node, held(core)),
        workers: seen.iter().map(|(node, seen)| (*node, (seen.at, seen.authorities.clone()))).collect(),
        servers: progress.iter().map(|known| (NodeId(known.id), known.heard)).collect(),
        leading: Instant::now().saturating_duration_since(since),
        leading_at,
        now: clock::now(),
    }
}

/// Writes that `node` has done as a server what it says.
pub(crate) async fn confirm_server(core: &Core, node: NodeId, rotation: Index, phase: WirePhase) -> Result<(), ApiError> {
    let (state, phase, confirmed) = (core.state(), of_wire(phase), vec![(node, NodeRole::Server)]);
    if state.awaited() != Some((rotation, phase)) || !state.unconfirmed().contains(&(node, NodeRole::Server)) {
        // A server that lags says it again and again.
        return Ok(());
    }
    propose(core, ConfirmAuthority { at: clock::now(), rotation, phase, confirmed, away: Vec::new() }).await
}

async fn propose(core: &Core, confirm: ConfirmAuthority) -> Result<(), ApiError> {
    let phase = confirm.phase;
    let proposed = core.consensus.propose(Command::V1(CommandV1::ConfirmAuthority(confirm))).await?;
    if let Ok(Applied::AuthorityConfirmed { advanced: true, .. }) = proposed.1 {
        tracing::info!(phase = phase.word(), "a rotation of the authority is a step further");
    }
    Ok(())
}
