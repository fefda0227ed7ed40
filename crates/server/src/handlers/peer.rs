//! What other nodes ask of a control plane: a new certificate, a message of consensus, the cluster's key, an artifact.
//! Owns who may ask for what: a certificate of the role server opens all of it, one of the role worker its own things, none only the door.

use std::sync::Arc;

use api::{
    node::Report,
    peer::{
        AttestRequest, Certified, FORM_PATH, Introduction, JOIN_PATH, MEMBER_PATH, MemberRequest, NodeRole as WireRole, RENEW_PATH,
        RenewRequest, STANDING_PATH, StandingAnswer, StandingRequest,
    },
    v1::{ApiRole, Principal},
};
use axum::{
    Extension,
    body::Bytes,
    extract::State,
    http::{Request, StatusCode},
};
use consensus::Leadership;
use founding::{
    cluster::{names_for, open_authority},
    introduction::{self, renewed},
};
use model::{
    id::{NodeId, Timestamp},
    problem::chain,
};
use state::{
    Command, Refused,
    command::{CommandV1, Deed, UpdateNode},
};
use transport::{Caller as Peer, Issue, NODE_LIFETIME, NodeIdentity, PublicKey, Role};
use wishes::caller::Caller;

use crate::{
    agreement,
    api_error::ApiError,
    audit, authority, clock,
    core::Core,
    extract::{Answer, Json},
    forward::no_leader,
    limits::{ANYBODY_BYTES_MAX, CONSENSUS_BYTES_MAX, HANDLER_MAX},
    peers::Lane,
};

/// Who called on the peer port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From(pub(crate) Peer);

impl From {
    /// The server that calls.
    pub(crate) fn server(self) -> Result<NodeIdentity, ApiError> {
        match self.0 {
            Peer::Node(peer) if peer.identity.role == Role::Server => Ok(peer.identity),
            _ => Err(ApiError::new("E0421", "only servers may ask for this", "").status(StatusCode::FORBIDDEN)),
        }
    }

    /// Whether the caller shows no certificate.
    pub(crate) fn is_stranger(self) -> bool {
        matches!(self.0, Peer::Anonymous)
    }

    /// Whether who calls may call `path` at all: strangers only the door, workers what is theirs. What a path opens beyond that its handler says.
    pub(crate) fn may_call(self, path: &str) -> Result<(), ApiError> {
        const DOOR: [&str; 2] = [JOIN_PATH, STANDING_PATH];
        match self.0 {
            _ if DOOR.contains(&path) => Ok(()),
            // Whoever forms a cluster learns that there is one here, and nothing else.
            _ if path == FORM_PATH => {
                Err(ApiError::new("E0621", "this server belongs to a cluster already", "").status(StatusCode::CONFLICT))
            }
            Peer::Anonymous => self.node().map(drop),
            Peer::Node(_) if path.starts_with("/node/") => self.worker().map(drop),
            Peer::Node(_) if path == RENEW_PATH => Ok(()),
            Peer::Node(_) => self.server().map(drop),
        }
    }

    /// Whether the caller is a node still: its connection may be older than its removal.
    pub(crate) fn still_known(self, core: &Core) -> Result<(), ApiError> {
        match self.0 {
            Peer::Node(peer) if !core.peers.admits(&peer) => {
                let message = format!("{} was removed from the cluster", peer.identity.node);
                Err(ApiError::new("E0421", message, "join again with a token and an empty data directory").status(StatusCode::FORBIDDEN))
            }
            _ => Ok(()),
        }
    }

    /// The worker that calls.
    pub(crate) fn worker(self) -> Result<NodeIdentity, ApiError> {
        match self.0 {
            Peer::Node(peer) if peer.identity.role == Role::Worker => Ok(peer.identity),
            _ => Err(ApiError::new("E0421", "only workers may ask for this", "").status(StatusCode::FORBIDDEN)),
        }
    }

    /// The node that calls.
    pub(crate) fn node(self) -> Result<NodeIdentity, ApiError> {
        match self.0 {
            Peer::Node(peer) => Ok(peer.identity),
            Peer::Anonymous => Err(ApiError::new("E0421", "only nodes may ask for this", "").status(StatusCode::FORBIDDEN)),
        }
    }
}

/// What is known here of a node that asks whether it has its place still. It may have lost it, and so shows no certificate.
pub(crate) async fn standing(
    State(core): State<Arc<Core>>,
    Json(request): Json<StandingRequest, ANYBODY_BYTES_MAX>,
) -> Answer<StandingAnswer> {
    let state = core.state();
    let listed = state.node(request.node).is_some_and(|node| node.keys.roles().any(|(_, key)| key == request.key.0));
    let progress = core.consensus.progress();
    let acknowledged = progress.iter().find(|known| known.id == request.node.0).and_then(|known| known.matched);
    Answer(StandingAnswer { group: core.settings.group.to_string(), index: state.index().0, listed, acknowledged })
}

pub(crate) async fn renew(
    State(core): State<Arc<Core>>,
    Extension(from): Extension<From>,
    Json(request): Json<RenewRequest>,
) -> Result<Answer<Certified>, ApiError> {
    let caller = from.node()?;
    let role = transport_role(request.request.role);
    // A server may pass on what a worker asked of it; a worker asks for itself alone.
    let node = request.node.unwrap_or(caller.node);
    if caller.role != Role::Server && (node != caller.node || role != caller.role) {
        return Err(ApiError::new("E0421", "a worker renews its own certificate only", "").status(StatusCode::FORBIDDEN));
    }
    renew_of(&core, RenewRequest { node: Some(node), ..request }).await.map(Answer)
}

/// A certificate for the node that `request` names, from whoever leads.
pub(crate) async fn renew_of(core: &Arc<Core>, request: RenewRequest) -> Result<Certified, ApiError> {
    let (role, key) = (transport_role(request.request.role), public_key(&request.request.request)?);
    let node = request.node.unwrap_or(core.node);
    if let Some(leader) = elsewhere(core)? {
        return ask_leader(core, leader, RENEW_PATH, &request).await;
    }
    let state = core.state();
    let record = state.node(node).ok_or_else(|| ApiError::not_found(&format!("{node}")))?;
    let listed = match role {
        Role::Server => record.keys.server,
        Role::Worker => record.keys.worker,
    };
    if listed != Some(key.digest().to_bytes()) {
        let message = format!("{node} asks for a certificate over a key that is not its own");
        return Err(ApiError::new("E0421", message, "").status(StatusCode::FORBIDDEN));
    }
    let node_introduction = introduction::of(&state, node).unwrap_or_else(|| core.settings.introduction.clone());
    certify(core, node, role, &key, &node_introduction, clock::now())
}

/// A certificate for this server itself, which leads.
pub(crate) fn renew_own(core: &Core, request: &api::peer::CertificateRequest) -> Result<Certified, ApiError> {
    let known = introduction::of(&core.state(), core.node).unwrap_or_else(|| core.settings.introduction.clone());
    certify(core, core.node, transport_role(request.role), &public_key(&request.request)?, &known, clock::now())
}

pub(crate) async fn consensus(
    State(core): State<Arc<Core>>,
    Extension(from): Extension<From>,
    body: axum::body::Body,
) -> Result<Bytes, ApiError> {
    let caller = from.server()?;
    let message = axum::body::to_bytes(body, CONSENSUS_BYTES_MAX).await;
    let message = message.map_err(|error| ApiError::new("E0408", format!("a message of consensus broke off: {error}"), ""))?;
    let answer = core.consensus.receive(caller.node.0, message).await;
    answer.map_err(|error| ApiError::new("E0408", format!("a message of {} is refused: {error}", caller.node), ""))
}

pub(crate) async fn cluster_key(State(core): State<Arc<Core>>, Extension(from): Extension<From>) -> Result<Bytes, ApiError> {
    let caller = from.server()?;
    tracing::info!(node.id = caller.node.0, "the key of the cluster goes to a server");
    Ok(Bytes::copy_from_slice(&*core.cluster_key.to_bytes()))
}

/// A report that came to another server: everybody who may lead must know it.
pub(crate) async fn report(
    State(core): State<Arc<Core>>,
    Extension(from): Extension<From>,
    Json(report): Json<Report>,
) -> Result<StatusCode, ApiError> {
    from.server()?;
    core.live.report(report, clock::now());
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn member(
    State(core): State<Arc<Core>>,
    Extension(from): Extension<From>,
    Json(request): Json<MemberRequest>,
) -> Result<StatusCode, ApiError> {
    let caller = from.server()?;
    let (node, introduction) = match &request {
        MemberRequest::Introduce { node, introduction } => (node, introduction),
        // Of itself alone, and to the leader alone: it is said again until the state shows it.
        MemberRequest::Confirm { node, rotation, phase } => {
            if *node != caller.node || elsewhere(&core)?.is_some() {
                return Err(no_leader("a server confirms for itself, to the server that leads"));
            }
            return authority::confirm_server(&core, *node, *rotation, *phase).await.map(|()| StatusCode::OK);
        }
        MemberRequest::GiveKey => {
            return match elsewhere(&core)? {
                Some(_) => Err(no_leader("the server that was asked does not lead")),
                None => witness_key(&core, caller.node).await.map(|()| StatusCode::OK),
            };
        }
    };
    if let Some(leader) = elsewhere(&core)? {
        let _: serde_json::Value = ask_leader(&core, leader, MEMBER_PATH, &request).await?;
        return Ok(StatusCode::OK);
    }
    tracing::debug!(by = caller.node.0, node.id = node.0, "a node introduces itself anew");
    introduce(&core, *node, introduction).await.map(|()| StatusCode::OK)
}

/// Has it written down that the owner of this server gets the cluster's key, by whoever leads: the key itself never leaves this machine.
pub(super) async fn tell_of_key(core: &Core) -> Result<(), ApiError> {
    match elsewhere(core)? {
        Some(leader) => ask_leader::<serde_json::Value>(core, leader, MEMBER_PATH, &MemberRequest::GiveKey).await.map(drop),
        None => witness_key(core, core.node).await,
    }
}

async fn witness_key(core: &Core, node: NodeId) -> Result<(), ApiError> {
    let name = core.state().node(node).map_or_else(|| node.to_string(), |node| node.name.clone());
    let principal = Principal { name: format!("owner of {name}"), role: ApiRole::Admin, namespace: None };
    let caller = Caller { principal, by_token: false, token: None, from: String::new(), key: None };
    audit::witness(core, &caller, Deed::GiveKey, "cluster/key".to_owned()).await
}

pub(crate) async fn attest(
    State(core): State<Arc<Core>>,
    Extension(from): Extension<From>,
    Json(request): Json<AttestRequest>,
) -> Result<StatusCode, ApiError> {
    // Of itself alone, and to the leader alone: the next checkpoint says it again.
    let node = from.server()?.node;
    if elsewhere(&core)?.is_some() {
        return Err(no_leader("the server that was asked does not lead"));
    }
    let attest = agreement::read(node, &request).ok_or_else(|| ApiError::new("E0408", "the hash of a state is not 32 bytes", ""))?;
    agreement::say(&core, attest).await.map(|()| StatusCode::NO_CONTENT)
}

/// Writes what a node says of itself by now, when it is news.
pub(crate) async fn introduce(core: &Core, node: NodeId, introduction: &Introduction) -> Result<(), ApiError> {
    let state = core.state();
    let record = state.node(node).ok_or_else(|| ApiError::not_found(&format!("{node}")))?;
    let facts = renewed(record, introduction);
    if record.facts() == facts {
        return Ok(());
    }
    let update = UpdateNode { at: clock::now(), node, facts };
    match core.consensus.propose(Command::V1(CommandV1::UpdateNode(update))).await?.1 {
        Ok(_) => Ok(()),
        Err(refused) => Err(refusal(&refused)),
    }
}

pub(super) fn public_key(request: &[u8]) -> Result<PublicKey, ApiError> {
    PublicKey::from_request(request)
        .map_err(|error| ApiError::new("E0408", format!("the certificate request cannot be used: {}", chain(&error)), ""))
}

pub(super) fn transport_role(role: WireRole) -> Role {
    match role {
        WireRole::Server => Role::Server,
        WireRole::Worker => Role::Worker,
    }
}

pub(super) fn certify(
    core: &Core,
    node: NodeId,
    role: Role,
    key: &PublicKey,
    introduction: &Introduction,
    now: Timestamp,
) -> Result<Certified, ApiError> {
    let failed = |why: String| ApiError::new("E0407", format!("no certificate can be made for {node}: {why}"), "try again in a moment");
    let state = core.state();
    let cluster = state.cluster().ok_or_else(|| failed("the cluster is not founded yet".into()))?;
    let authority = open_authority(&cluster.ca_certificate, &cluster.ca_key.0, &core.cluster_key).map_err(|error| failed(chain(&error)))?;
    let identity = NodeIdentity { cluster: authority.cluster(), node, role };
    let issue = Issue { identity, key, names: &names_for(role, introduction), now, lifetime: NODE_LIFETIME };
    let certificate = authority.issue(&issue).map_err(|error| failed(chain(&error)))?;
    let role = match role {
        Role::Server => WireRole::Server,
        Role::Worker => WireRole::Worker,
    };
    let authorities = rotation::set::list(&state).map_err(|error| failed(chain(&error)))?;
    Ok(Certified { role, certificate, authorities })
}

/// The leader, when it is another server.
pub(super) fn elsewhere(core: &Core) -> Result<Option<u64>, ApiError> {
    match &*core.consensus.leadership().borrow() {
        Leadership::Leading { .. } => Ok(None),
        Leadership::Following { leader, .. } => Ok(Some(leader.id)),
        Leadership::Unknown => Err(no_leader("no server leads at the moment")),
    }
}

pub(super) async fn ask_leader<A: serde::de::DeserializeOwned>(
    core: &Core,
    leader: u64,
    path: &str,
    question: &impl serde::Serialize,
) -> Result<A, ApiError> {
    let body = serde_json::to_vec(question).expect("wire types have string keys only");
    let request = Request::post(path).header("content-type", "application/json").body(axum::body::Body::from(body));
    let request = request.map_err(|error| ApiError::new("E0408", error.to_string(), ""))?;
    core.peers.json(leader, Lane::Calls, request, HANDLER_MAX).await
}

/// A join that the state refuses, in the words of its reason.
pub(super) fn refusal(refused: &Refused) -> ApiError {
    let problem = refused.problem();
    ApiError::new(&problem.code, problem.message, problem.help)
}
