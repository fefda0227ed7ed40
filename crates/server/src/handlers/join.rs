//! Being let in: a node without a certificate shows a join token. Owns what is asked of it, in which order, before anything is written: what the state would
//! refuse never reaches the log, so that whoever invents tokens costs a look at memory. Must never sign for a node that no entry let in.

use std::sync::Arc;

use api::peer::{Introduction, JOIN_PATH, JoinAnswer, JoinRequest};
use axum::extract::State;
use founding::{
    introduction::{facts, servers},
    reach,
};
use membership::joining::{self, Heard};
use model::{
    id::{InvalidId, NodeId, TokenId},
    problem::chain,
};
use state::{
    Applied, Command, NodeRecord,
    command::{Admission, CommandV1, Join, NodeKeys},
};
use tokio::time::Instant;
use transport::{JoinToken, PublicKey, Role};

use super::peer::{ask_leader, certify, elsewhere, public_key, refusal, transport_role};
use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    extract::{Answer, Json},
    forward::no_leader,
    limits::{ANYBODY_BYTES_MAX, READ_BARRIER_MAX},
};

pub(crate) async fn join(
    State(core): State<Arc<Core>>,
    Json(request): Json<JoinRequest, ANYBODY_BYTES_MAX>,
) -> Result<Answer<JoinAnswer>, ApiError> {
    if let Some(leader) = elsewhere(&core)? {
        return ask_leader(&core, leader, JOIN_PATH, &request).await.map(Answer);
    }
    let admission = admission(&core, &request.token)?;
    let keys = keys(&request)?;
    let now = clock::now();
    let join = Join { at: now, admission: Some(admission), node: facts(&request.node, keys_of(&keys)) };
    // One whose place is gone already, because it was removed, takes nobody's.
    let command = Command::V1(match request.replaces.as_ref().filter(|name| core.state().node_named(name).is_some()) {
        Some(_) => CommandV1::Replace(join.clone()),
        None => CommandV1::Join(join.clone()),
    });
    refuse_in_vain(&core, &command).await?;
    if let Some(name) = &request.replaces {
        refuse_alive(&core, &request.node, name, join.node.keys)?;
    }
    reach::check(&core.state(), &request.node, request.source)?;
    let node = match core.consensus.propose(command).await?.1 {
        Ok(Applied::Joined { node, .. }) => node,
        Ok(other) => unreachable!("a join is answered by `Joined`, not {other:?}"),
        Err(refused) => return Err(refusal(&refused)),
    };
    let certificates = keys.iter().map(|(role, key)| certify(&core, node, *role, key, &request.node, now)).collect::<Result<_, _>>()?;
    tracing::info!(node.id = node.0, node.name = request.node.name, "a node joined");
    let cluster = core.identity.current().identity().cluster.to_string();
    let group = core.settings.group.to_string();
    let state = core.state();
    let unreadable = |error| no_leader(&format!("an authority cannot be read: {}", chain(&error)));
    let authorities = rotation::set::list(&state).map_err(unreadable)?;
    Ok(Answer(JoinAnswer { cluster, group, node, certificates, servers: servers(&state), authorities }))
}

/// What of the token `text` the state compares.
fn admission(core: &Core, text: &str) -> Result<Admission, ApiError> {
    let wrong = |why: String| {
        tell(core, &why);
        ApiError::new("E0423", why, "make another token with   shoal join-token create server|worker")
    };
    let token: JoinToken = text.parse().map_err(|error| wrong(format!("the join token cannot be read: {error}")))?;
    let id: TokenId = token.id.to_string().parse().map_err(|error: InvalidId| wrong(error.to_string()))?;
    Ok(Admission { token: id, secret_hash: token.hash().to_bytes() })
}

/// Turns away whom the state would, without an entry: it is tried on what this server knows, and once more on what everybody does before the answer is no.
/// A node that is known with its keys is let through by the state itself: its answer got lost.
async fn refuse_in_vain(core: &Core, command: &Command) -> Result<(), ApiError> {
    if joining::try_out(&core.state(), command).is_ok() {
        return Ok(());
    }
    core.consensus.read_barrier(READ_BARRIER_MAX).await.map_err(|error| no_leader(&chain(&error)))?;
    joining::try_out(&core.state(), command).map(drop).map_err(|refused| {
        tell(core, &refused.to_string());
        refusal(&refused)
    })
}

/// A node that may be heard is not lost: nobody takes its place.
fn refuse_alive(core: &Core, newcomer: &Introduction, name: &str, keys: NodeKeys) -> Result<(), ApiError> {
    if *name != newcomer.name {
        let message = format!("{} cannot take the place of {name}: it takes over its name too", newcomer.name);
        return Err(ApiError::new("E0408", message, "leave --name out, or give the name of the lost server"));
    }
    let state = core.state();
    // One that has these keys is the newcomer itself, whose answer got lost.
    let Some(node) = state.node_named(name).filter(|node| node.keys != keys) else { return Ok(()) };
    match joining::may_live(node, heard(core, node)) {
        Some(why) => {
            let message = format!("{name} cannot be replaced: {why}");
            Err(ApiError::new("E0407", message, "stop the node whose place is taken; it is tried again by itself"))
        }
        None => Ok(()),
    }
}

fn heard(core: &Core, node: &NodeRecord) -> Heard {
    let of = |id: NodeId| core.consensus.progress().iter().find(|known| known.id == id.0).and_then(|known| known.heard);
    Heard {
        server: of(node.id),
        led: core.reign.lasts(&core.consensus.leadership().borrow(), Instant::now()),
        worker: core.live.state_of(node.id, clock::now()),
    }
}

/// Counts somebody who is turned away. Nothing is written about them: what anybody can cause without end would push out what people did.
fn tell(core: &Core, why: &str) {
    core.metrics.joins_refused.inc();
    if let Some(times) = core.turned_away.count(Instant::now()) {
        tracing::warn!(times, reason = why, "nodes that ask to join are turned away; the last of them for this reason");
    }
}

fn keys(request: &JoinRequest) -> Result<Vec<(Role, PublicKey)>, ApiError> {
    let read = request.requests.iter().take(3).map(|one| Ok((transport_role(one.role), public_key(&one.request)?)));
    let keys: Vec<_> = read.collect::<Result<_, ApiError>>()?;
    let distinct = keys.len() == 1 || (keys.len() == 2 && keys[0].0 != keys[1].0);
    if distinct { Ok(keys) } else { Err(ApiError::new("E0408", "a node joins with one key for each of its roles", "")) }
}

fn keys_of(keys: &[(Role, PublicKey)]) -> NodeKeys {
    let of = |role| keys.iter().find(|(found, _)| *found == role).map(|(_, key)| key.digest().to_bytes());
    NodeKeys { server: of(Role::Server), worker: of(Role::Worker) }
}
