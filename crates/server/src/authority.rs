//! The cluster's authorities as this server goes by them: its identity follows the state, and whoever leads sees a rotation to its end. Owns when to look and who
//! counts as away; what a rotation is and when it steps on is the state's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{
    node::HeldAuthorities,
    peer::{MEMBER_PATH, MemberRequest, RotationPhase as WirePhase},
};
use consensus::Leadership;
use model::id::{Index, NodeId, Timestamp};
use state::{
    Applied, Command, State,
    command::{CommandV1, ConfirmAuthority, NodeRole, RotationPhase},
    record::authority::Step,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use transport::{Authorities, AuthoritiesError, AuthorityDigest, AuthorityList, AuthorityParts, Credentials};

use crate::{
    api_error::{ApiError, chain},
    clock,
    core::Core,
    limits::{AWAY_AFTER, MEMBERS_REST, TICK},
    renewal,
};

/// The authorities that nodes go by according to `state`; none as long as there was never another one than that of the beginning.
pub(crate) fn list_of(state: &State) -> Result<Option<AuthorityList>, AuthoritiesError> {
    let (Some(cluster), authorities) = (state.cluster(), state.authorities()) else { return Ok(None) };
    if authorities.version == Index(0) {
        return Ok(None);
    }
    let mut trusted = vec![cluster.ca_certificate.as_slice()];
    let mut crosses: Vec<&[u8]> = Vec::new();
    if let Some(rotation) = &authorities.rotation {
        trusted.push(match &rotation.step {
            Step::Learning { next, .. } => next,
            Step::Renewing { last } => last,
        });
        crosses.push(&rotation.cross);
    }
    let retired: Vec<&[u8]> = authorities.retired.iter().map(|retired| retired.certificate.as_slice()).collect();
    crosses.extend(authorities.retired.iter().map(|retired| retired.cross.as_slice()));
    let parts = AuthorityParts { version: authorities.version.0, trusted: &trusted, retired: &retired, crosses: &crosses };
    Authorities::new(&parts).map(|set| Some(set.to_list()))
}

/// What tokens carry and tools pin: while a rotation is under way the old authority, which every server shows or is vouched for by.
pub(crate) fn pinned(core: &Core) -> AuthorityDigest {
    let state = core.state();
    let old = state.authorities().rotation.as_ref().and_then(|rotation| match &rotation.step {
        Step::Learning { .. } => None,
        Step::Renewing { last } => transport::AuthorityCertificate::from_der(last).ok(),
    });
    let signing = || state.cluster().and_then(|cluster| transport::AuthorityCertificate::from_der(&cluster.ca_certificate).ok());
    old.or_else(signing).map_or_else(|| core.identity.current().authority().digest(), |authority| authority.digest())
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
    let learned = list_of(&state).map_err(|error| chain(&error)).and_then(|list| match list {
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
    let Some((rotation, phase)) = state.awaited() else { return Ok(()) };
    let unconfirmed = state.unconfirmed();
    let own = unconfirmed.contains(&(core.node, NodeRole::Server)) && has_done(&core.identity.current(), (rotation, phase));
    match (leader, leading) {
        (Leadership::Leading { .. }, Some((since, since_at))) => {
            let seen = core.live.seen();
            let workers: BTreeMap<NodeId, (Timestamp, Option<HeldAuthorities>)> =
                seen.iter().map(|(node, seen)| (*node, (seen.at, seen.authorities.clone()))).collect();
            let progress = core.consensus.progress();
            let servers = progress.iter().map(|known| (NodeId(known.id), known.heard)).collect();
            let signing = core.identity.current().authorities().signing().digest();
            let now = (Instant::now().saturating_duration_since(since), clock::now());
            let known =
                Known { own: own.then_some(core.node), workers, servers, signing, leading: now.0, leading_at: since_at, now: now.1 };
            let confirmed = unconfirmed.iter().filter(|holder| known.has_done(**holder, (rotation, phase))).copied().collect::<Vec<_>>();
            let away: Vec<_> = unconfirmed.iter().filter(|holder| known.is_away(**holder)).copied().collect();
            let whole = unconfirmed.iter().all(|holder| confirmed.contains(holder) || away.contains(holder));
            let is_under_way = state.authorities().rotation.is_some();
            if confirmed.is_empty() && !(whole && is_under_way) {
                return Ok(());
            }
            propose(core, ConfirmAuthority { at: clock::now(), rotation, phase, confirmed, away }).await
        }
        (Leadership::Following { leader, .. }, _) if own => {
            let request = MemberRequest::Confirm { node: core.node, rotation, phase: wire(phase) };
            renewal::ask::<serde_json::Value>(core, leader.id, MEMBER_PATH, &request).await.map(drop)
        }
        _ => Ok(()),
    }
}

/// Writes that `node` has done as a server what it says.
pub(crate) async fn confirm_server(core: &Core, node: NodeId, rotation: Index, phase: WirePhase) -> Result<(), ApiError> {
    let phase = match phase {
        WirePhase::Learning => RotationPhase::Learning,
        WirePhase::Renewing => RotationPhase::Renewing,
    };
    let (state, confirmed) = (core.state(), vec![(node, NodeRole::Server)]);
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

/// Whether this server has done what `phase` of the rotation waits for.
fn has_done(credentials: &Credentials, (rotation, phase): (Index, RotationPhase)) -> bool {
    let learned = credentials.authorities().version() >= rotation.0;
    match phase {
        RotationPhase::Learning => learned,
        RotationPhase::Renewing => learned && credentials.is_of_the_signing(),
    }
}

pub(crate) fn wire(phase: RotationPhase) -> WirePhase {
    match phase {
        RotationPhase::Learning => WirePhase::Learning,
        RotationPhase::Renewing => WirePhase::Renewing,
    }
}

/// What the leader knows of all nodes.
#[derive(Debug, Clone)]
struct Known {
    /// This server, when it has done what is awaited.
    own: Option<NodeId>,
    /// When each worker reported last, and what.
    workers: BTreeMap<NodeId, (Timestamp, Option<HeldAuthorities>)>,
    /// How long ago each server was heard of.
    servers: BTreeMap<NodeId, Option<Duration>>,
    /// The authority that signs.
    signing: AuthorityDigest,
    /// For how long this server leads: whoever led before heard others.
    leading: Duration,
    leading_at: Timestamp,
    now: Timestamp,
}

impl Known {
    fn has_done(&self, (node, role): (NodeId, NodeRole), (rotation, phase): (Index, RotationPhase)) -> bool {
        let held = match role {
            NodeRole::Server => return self.own == Some(node),
            NodeRole::Worker => self.workers.get(&node).and_then(|(_, held)| held.as_ref()),
        };
        held.is_some_and(|held| held.version >= rotation.0 && (phase == RotationPhase::Learning || held.shows == self.signing))
    }

    fn is_away(&self, (node, role): (NodeId, NodeRole)) -> bool {
        let silent = match role {
            NodeRole::Server => self.servers.get(&node).copied().flatten().unwrap_or(self.leading),
            NodeRole::Worker => {
                let last = self.workers.get(&node).map_or(self.leading_at, |(at, _)| *at).max(self.leading_at);
                Duration::from_millis(self.now.millis_since(last))
            }
        };
        silent.min(self.leading) > AWAY_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;

    fn known() -> Known {
        let digest = AuthorityDigest::from_bytes([1; 32]);
        let held = |version, byte| Some(HeldAuthorities { version, shows: AuthorityDigest::from_bytes([byte; 32]) });
        let now = 1_000 * SECOND;
        let at = |seconds: u64| Timestamp(now - seconds * SECOND);
        Known {
            own: Some(NodeId(1)),
            workers: [
                (NodeId(1), (at(1), held(20, 1))),
                (NodeId(2), (at(2), held(20, 2))),
                (NodeId(3), (at(40), held(9, 2))),
                (NodeId(4), (at(3), None)),
            ]
            .into(),
            servers: [(NodeId(1), Some(Duration::ZERO)), (NodeId(2), Some(Duration::from_secs(31))), (NodeId(3), None)].into(),
            signing: digest,
            leading: Duration::from_secs(60),
            leading_at: at(60),
            now: Timestamp(now),
        }
    }

    #[test]
    fn what_a_node_has_done_is_what_it_holds() {
        let check = |node: u64, role, phase, expected: bool| {
            assert_eq!(known().has_done((NodeId(node), role), (Index(10), phase)), expected, "{node} {role} {phase:?}");
        };
        for phase in [RotationPhase::Learning, RotationPhase::Renewing] {
            check(1, NodeRole::Server, phase, true);
            check(2, NodeRole::Server, phase, false);
            check(1, NodeRole::Worker, phase, true);
            check(3, NodeRole::Worker, phase, false);
            check(4, NodeRole::Worker, phase, false);
            check(5, NodeRole::Worker, phase, false);
        }
        check(2, NodeRole::Worker, RotationPhase::Learning, true);
        check(2, NodeRole::Worker, RotationPhase::Renewing, false);
    }

    #[test]
    fn who_is_not_heard_of_is_away_once_a_leader_has_listened_long_enough() {
        let away = |known: &Known, node: u64, role| known.is_away((NodeId(node), role));
        let old = known();
        assert!(!away(&old, 1, NodeRole::Server) && away(&old, 2, NodeRole::Server) && away(&old, 3, NodeRole::Server));
        assert!(away(&old, 9, NodeRole::Server), "not even a member");
        assert!(!away(&old, 1, NodeRole::Worker) && !away(&old, 4, NodeRole::Worker) && away(&old, 3, NodeRole::Worker));
        assert!(away(&old, 9, NodeRole::Worker));
        let fresh = Known { leading: Duration::from_secs(5), leading_at: Timestamp(995 * SECOND), ..known() };
        for node in [1, 2, 3, 4, 9] {
            assert!(!away(&fresh, node, NodeRole::Server) && !away(&fresh, node, NodeRole::Worker), "{node}");
        }
    }
}
