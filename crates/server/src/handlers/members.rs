//! Members: who they are, promote, remove, hand leadership over; and the removal of nodes. Owns the order of the steps that a removal is.

use std::sync::Arc;

use api::v1::{ClusterView, MemberAnswer, MemberRole, MemberView, TransferRequest};
use axum::{
    Extension,
    extract::{Path, State},
    http::Method,
};
use consensus::{Leadership, MemberError, Peer, TransferError};
use model::{id::NodeId, problem::chain, quantity::Millis};
use serde::Deserialize;
use state::{
    NodeRecord, State as ClusterState,
    command::{Change, Deed, RemoveNode},
};
use utoipa::ToSchema;
use wishes::{caller::Caller, decision::Wish};

use crate::{
    api_error::ApiError,
    audit, authority, clock,
    core::Core,
    extract::{Answer, Json, Query},
    forward::{self, no_leader},
    limits::{HANDLER_MAX, TRANSFER_MAX},
};

/// How a node is removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Removal {
    /// It will not come back: nobody waits for it.
    #[serde(default)]
    lost: bool,
}

pub(crate) async fn cluster(State(core): State<Arc<Core>>) -> Result<Answer<ClusterView>, ApiError> {
    let state = core.state();
    let record = state.cluster().ok_or_else(|| no_leader("the cluster is not founded yet"))?;
    let (membership, leadership) = (core.consensus.membership().borrow().clone(), core.consensus.leadership().borrow().clone());
    let (leader, term) = match leadership {
        Leadership::Leading { term, .. } => (Some(core.node.0), term),
        Leadership::Following { leader, term } => (Some(leader.id), term),
        Leadership::Unknown => (None, 0),
    };
    let progress = core.consensus.progress();
    let last = *core.consensus.applied().borrow();
    let member = |peer: &Peer, role| {
        let id = NodeId(peer.id);
        let known = progress.iter().find(|known| known.id == peer.id);
        MemberView {
            id,
            name: state.node(id).map_or_else(|| id.to_string(), |node| node.name.clone()),
            role,
            leader: leader == Some(peer.id),
            address: state
                .node(id)
                .map(|node| node.addresses.peer.clone())
                .filter(|at| !at.is_empty())
                .unwrap_or_else(|| peer.address.clone()),
            behind: known.and_then(|known| known.matched).map(|matched| last.saturating_sub(matched)),
            heard: known.and_then(|known| known.heard).map(|heard| Millis(u64::try_from(heard.as_millis()).unwrap_or(u64::MAX))),
        }
    };
    // Only the leader hears of all of them; who is asked because nobody leads knows of none.
    let is_heard =
        |id: u64| progress.iter().any(|known| known.id == id && known.heard.is_some_and(|heard| heard <= core.consensus.patience()));
    let answering = match leader {
        Some(id) if id == core.node.0 => membership.voters.iter().filter(|peer| peer.id == id || is_heard(peer.id)).count(),
        _ => 0,
    };
    let voters = membership.voters.iter().map(|peer| member(peer, MemberRole::Voter));
    let mut members: Vec<_> = voters.chain(membership.learners.iter().map(|peer| member(peer, MemberRole::Learner))).collect();
    members.sort_by_key(|member| member.id);
    Ok(Answer(ClusterView {
        id: transport::ClusterId::from_bytes(record.id).to_string(),
        authority: authority::pinned(&core).to_string(),
        leader: leader.map(|id| state.node(NodeId(id)).map_or_else(|| NodeId(id).to_string(), |node| node.name.clone())),
        term,
        index: state.index(),
        members,
        tolerates: tolerated(membership.voters.len(), answering),
    }))
}

/// How many more of `voters` may be lost while a majority of them answers, of which `answering` do now.
fn tolerated(voters: usize, answering: usize) -> usize {
    answering.saturating_sub(voters / 2 + 1)
}

pub(crate) async fn promote(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Answer<MemberAnswer>, ApiError> {
    let node = server(&core.state(), &name)?;
    if core.consensus.membership().borrow().is_voter(node.id.0) {
        return Ok(Answer(MemberAnswer { message: format!("{name} votes already"), node: name }));
    }
    audit::witness(&core, &caller, Deed::Promote, format!("member/{name}")).await?;
    core.consensus.promote(node.id.0).await.map_err(|error| refused(&name, "promoted", &error))?;
    Ok(Answer(MemberAnswer { message: format!("{name} votes"), node: name }))
}

pub(crate) async fn remove(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Answer<MemberAnswer>, ApiError> {
    let node = server(&core.state(), &name)?;
    if let Some(answer) = leave(&core, &caller, &node, false, &format!("/v1/members/{name}")).await? {
        return Ok(Answer(answer));
    }
    Ok(Answer(MemberAnswer { message: format!("{name} is no member any more; {STOPS}"), node: name }))
}

pub(crate) async fn remove_node(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(removal): Query<Removal>,
) -> Result<Answer<MemberAnswer>, ApiError> {
    let state = core.state();
    let node = state.node_named(&name).cloned().ok_or_else(|| ApiError::not_found(&format!("node `{name}`")))?;
    if let Some(answer) = leave(&core, &caller, &node, removal.lost, &format!("/v1/nodes/{name}?lost={}", removal.lost)).await? {
        return Ok(Answer(answer));
    }
    let stops = if removal.lost { "if it comes back, it stops" } else { STOPS };
    Ok(Answer(MemberAnswer { message: format!("{name} is gone from the cluster; {stops}"), node: name }))
}

/// What a node that was removed does.
const STOPS: &str = "it stops within seconds, unless it cannot reach a server";

/// First its vote goes, so that nobody waits for it; then the node with everything on it. Breaking off in between leaves a node that can be removed again.
/// A leader that is to go lets another one lead, which is asked the same by `path`: its answer.
async fn leave(core: &Core, caller: &Caller, node: &NodeRecord, lost: bool, path: &str) -> Result<Option<MemberAnswer>, ApiError> {
    let membership = core.consensus.membership().borrow().clone();
    if node.is_server() && core.state().servers().count() == 1 {
        let message = format!("{} is the last server: without it the cluster is gone", node.name);
        return Err(ApiError::new("E0413", message, "join another server first, or stop this one and delete its data directory"));
    }
    if membership.member(node.id.0).is_some() {
        let leads = node.id == core.node;
        if !leads {
            // The entry that removes the node comes after it has lost its vote, and may never come.
            audit::witness(core, caller, Deed::RemoveMember, format!("node/{}", node.name)).await?;
        }
        match core.consensus.remove(node.id.0).await {
            Err(MemberError::NotLeader { leader: Some(next) }) if leads => {
                let request = forward::in_the_name_of(caller, Method::DELETE, path)?;
                return core.peers.change(next.id, request, HANDLER_MAX).await.map(Some);
            }
            removed => removed.map_err(|error| refused(&node.name, "removed", &error))?,
        }
    }
    let change = Change::RemoveNode(RemoveNode { node: node.id, lost });
    core.writer.write(Wish::change(caller, "", clock::now(), change)).await.map(|_| None)
}

pub(crate) async fn transfer(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<TransferRequest>,
) -> Result<Answer<MemberAnswer>, ApiError> {
    let to = request.to.as_deref().map(|name| server(&core.state(), name)).transpose()?.map(|node| node.id.0);
    if let Some(name) = request.to.as_ref().filter(|_| to == Some(core.node.0)) {
        return Ok(Answer(MemberAnswer { message: format!("{name} leads already"), node: name.clone() }));
    }
    let object = request.to.as_ref().map_or_else(|| "leadership".to_owned(), |name| format!("member/{name}"));
    audit::witness(&core, &caller, Deed::Transfer, object).await?;
    let outcome = core.consensus.transfer_leadership(to, TRANSFER_MAX).await;
    outcome.map_err(|error| match error {
        TransferError::NotLeader { .. } | TransferError::Failed { .. } => no_leader(&chain(&error)),
        TransferError::Late { .. } => ApiError::in_doubt(&format!("{}; whoever answers elects a leader", chain(&error))),
        TransferError::NobodyElse | TransferError::NotAVoter { .. } | TransferError::Silent { .. } => {
            ApiError::new("E0407", format!("leadership stays where it is: {}", chain(&error)), "`shoal member list` shows who could lead")
        }
    })?;
    let leadership = core.consensus.leadership().borrow().clone();
    let leader = match leadership {
        Leadership::Following { leader, .. } => Some(NodeId(leader.id)),
        Leadership::Leading { .. } | Leadership::Unknown => None,
    };
    let state = core.state();
    let name = leader.and_then(|id| state.node(id)).map(|node| node.name.clone()).or(request.to);
    let name = name.unwrap_or_else(|| "another server".to_owned());
    Ok(Answer(MemberAnswer { message: format!("{name} leads"), node: name }))
}

fn server(state: &ClusterState, name: &str) -> Result<NodeRecord, ApiError> {
    let node = state.node_named(name).filter(|node| node.is_server());
    node.cloned().ok_or_else(|| ApiError::not_found(&format!("server `{name}`")))
}

/// Why consensus does not change its members.
fn refused(name: &str, what: &str, error: &MemberError) -> ApiError {
    let message = format!("{name} cannot be {what}: {}", chain(error));
    match error {
        MemberError::NotLeader { .. } => no_leader(&chain(error)),
        MemberError::LastVoter { .. } => {
            ApiError::new("E0413", message, "join another server first and wait until it votes: `shoal member list`")
        }
        MemberError::NoQuorumAfter { .. } => {
            ApiError::new("E0407", message, "bring the other members back first; `shoal member list` shows them")
        }
        MemberError::Leads { .. } => ApiError::new("E0407", message, "nothing was changed; `shoal member list` shows who could lead"),
        MemberError::NoSuchMember { .. } => ApiError::new("E0402", message, ""),
        MemberError::Unknown | MemberError::Failed { .. } => ApiError::in_doubt(&message),
        _ => ApiError::new("E0407", message, "try again in a moment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_lost_already() {
        for (voters, answering, expected) in [(1, 1, 0), (3, 3, 1), (3, 2, 0), (3, 1, 0), (5, 5, 2), (5, 4, 1), (4, 4, 1), (3, 0, 0)] {
            assert_eq!(tolerated(voters, answering), expected, "{answering} of {voters}");
        }
    }
}
