//! The cluster's authority: what it is, how far a rotation is, and beginning one. Owns making the key of the next one; must never let a key out unsealed.

use std::sync::Arc;

use api::v1::{AuthorityView, HolderView, JoinRole, RetiredView, RotationView};
use axum::{Extension, extract::State};
use model::id::NodeId;
use state::{
    State as ClusterState,
    command::{Change, NodeRole, RotateAuthority, Sealed},
    record::authority::Step,
};
use transport::{Authority, AuthorityCertificate};

use crate::{
    admit::Caller,
    api_error::{ApiError, chain},
    authority, clock,
    core::Core,
    extract::Answer,
    forward::no_leader,
    founding::open_authority,
    handlers::tokens::once,
    writer::Wish,
};

pub(crate) async fn read(State(core): State<Arc<Core>>) -> Result<Answer<AuthorityView>, ApiError> {
    view(&core).map(Answer)
}

pub(crate) async fn rotate(State(core): State<Arc<Core>>, Extension(caller): Extension<Caller>) -> Result<Answer<AuthorityView>, ApiError> {
    let (state, now) = (core.state(), clock::now());
    let cluster = state.cluster().ok_or_else(|| no_leader("the cluster is not founded yet"))?;
    let failed = |error: &dyn std::error::Error| {
        ApiError::new("E0407", format!("the authority cannot be rotated: {}", chain(error)), "try again in a moment")
    };
    let old = open_authority(&cluster.ca_certificate, &cluster.ca_key.0, &core.cluster_key).map_err(|error| failed(&error))?;
    let new = Authority::create(old.cluster(), now).map_err(|error| failed(&error))?;
    let cross = old.vouch_for(&new, now).map_err(|error| failed(&error))?;
    let key = Sealed(new.seal(&core.cluster_key).to_bytes());
    let change = RotateAuthority { certificate: new.certificate().der().to_vec(), cross, key };
    core.writer.write(Wish::change(&once(caller), "", now, Change::RotateAuthority(change))).await?;
    view(&core).map(Answer)
}

fn view(core: &Core) -> Result<AuthorityView, ApiError> {
    let state = core.state();
    let cluster = state.cluster().ok_or_else(|| no_leader("the cluster is not founded yet"))?;
    let authorities = state.authorities();
    let unreadable = |error: transport::CertificateError| ApiError::new("E0407", format!("an authority cannot be read: {error}"), "");
    let read = |der: &[u8]| AuthorityCertificate::from_der(der).map_err(unreadable);
    let signing = read(&cluster.ca_certificate)?;
    let rotation = authorities.rotation.as_ref().map(|rotation| {
        let next = match &rotation.step {
            Step::Learning { next, .. } => read(next)?,
            Step::Renewing { .. } => signing.clone(),
        };
        Ok::<_, ApiError>(RotationView {
            by: rotation.by.clone(),
            since: rotation.at.into(),
            phase: authority::wire(rotation.phase()),
            next: next.digest().to_string(),
            waits_for: holders(&state),
        })
    });
    let retired = authorities
        .retired
        .iter()
        .map(|retired| Ok::<_, ApiError>(RetiredView { digest: read(&retired.certificate)?.digest().to_string(), at: retired.at.into() }));
    Ok(AuthorityView {
        digest: authority::pinned(core).to_string(),
        not_after: signing.validity().map_err(unreadable)?.not_after.into(),
        behind: if rotation.is_none() { holders(&state) } else { Vec::new() },
        rotation: rotation.transpose()?,
        retired: retired.collect::<Result<_, _>>()?,
    })
}

/// Who has not confirmed what is awaited.
fn holders(state: &ClusterState) -> Vec<HolderView> {
    let holder = |(id, role): (NodeId, NodeRole)| HolderView {
        id,
        node: state.node(id).map_or_else(|| id.to_string(), |node| node.name.clone()),
        role: match role {
            NodeRole::Server => JoinRole::Server,
            NodeRole::Worker => JoinRole::Worker,
        },
    };
    state.unconfirmed().into_iter().map(holder).collect()
}
