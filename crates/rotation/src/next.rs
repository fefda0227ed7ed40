//! The authority that is to follow: its key, sealed, and the certificate by which the one of today vouches for it. Must never let a key out unsealed.

use model::id::Timestamp;
use state::{
    State,
    command::{RotateAuthority, Sealed},
};
use transport::{Authority, AuthorityError, ClusterKey, SealError, Sealed as SealedKey};

/// Why there is no next authority.
#[derive(Debug, thiserror::Error)]
pub enum NextError {
    /// There is none of today.
    #[error("the cluster is not founded yet")]
    NotFounded,
    /// The key of today's cannot be opened.
    #[error("the authority's key cannot be opened")]
    Sealed(#[from] SealError),
    /// One of the two cannot be used.
    #[error("the authority of the cluster cannot be used")]
    Authority(#[from] AuthorityError),
}

/// Makes the one that is to follow that of `state`, whose secrets `key` opens.
///
/// # Errors
/// There is none of today, or `key` does not open it.
pub fn make(state: &State, key: &ClusterKey, now: Timestamp) -> Result<RotateAuthority, NextError> {
    let cluster = state.cluster().ok_or(NextError::NotFounded)?;
    let today = Authority::open(&cluster.ca_certificate, &SealedKey::from_bytes(&cluster.ca_key.0)?, key)?;
    let next = Authority::create(today.cluster(), now)?;
    Ok(RotateAuthority {
        after: state.authorities().version,
        certificate: next.certificate().der().to_vec(),
        cross: today.vouch_for(&next, now)?,
        key: Sealed(next.seal(key).to_bytes()),
    })
}
