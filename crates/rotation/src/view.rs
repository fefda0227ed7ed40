//! What a user is shown of the authorities. Must never show a key.

use api::{
    peer::RotationPhase as WirePhase,
    v1::{AuthorityView, HolderView, JoinRole, RetiredView, RotationView},
};
use model::id::NodeId;
use state::{
    ClusterRecord, State,
    command::{NodeRole, RotationPhase},
    record::authority::Step,
};
use transport::{AuthorityCertificate, CertificateError};

use crate::set;

/// The authority of `cluster`, which is that of `state`, and how far replacing it is.
///
/// # Errors
/// The state holds something else than certificates of authorities.
pub fn authority(state: &State, cluster: &ClusterRecord) -> Result<AuthorityView, CertificateError> {
    let authorities = state.authorities();
    let signing = AuthorityCertificate::from_der(&cluster.ca_certificate)?;
    let rotation = authorities.rotation.as_ref().map(|rotation| {
        let next = match &rotation.step {
            Step::Learning { next, .. } => AuthorityCertificate::from_der(next)?,
            Step::Renewing { .. } => signing.clone(),
        };
        Ok::<_, CertificateError>(RotationView {
            by: rotation.by.clone(),
            since: rotation.at.into(),
            phase: wire(rotation.phase()),
            next: next.digest().to_string(),
            waits_for: holders(state),
        })
    });
    let retired = authorities.retired.iter().map(|retired| {
        let digest = AuthorityCertificate::from_der(&retired.certificate)?.digest();
        Ok::<_, CertificateError>(RetiredView { digest: digest.to_string(), at: retired.at.into() })
    });
    Ok(AuthorityView {
        digest: set::pinned(state).unwrap_or_else(|| signing.digest()).to_string(),
        not_after: signing.validity()?.not_after.into(),
        behind: if rotation.is_none() { holders(state) } else { Vec::new() },
        rotation: rotation.transpose()?,
        retired: retired.collect::<Result<_, _>>()?,
    })
}

/// Who has not confirmed what is awaited.
fn holders(state: &State) -> Vec<HolderView> {
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

/// The phase as messages have it.
pub fn wire(phase: RotationPhase) -> WirePhase {
    match phase {
        RotationPhase::Learning => WirePhase::Learning,
        RotationPhase::Renewing => WirePhase::Renewing,
    }
}

/// The phase as the log has it.
pub fn of_wire(phase: WirePhase) -> RotationPhase {
    match phase {
        WirePhase::Learning => RotationPhase::Learning,
        WirePhase::Renewing => RotationPhase::Renewing,
    }
}
