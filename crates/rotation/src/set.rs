//! The authorities as nodes are told of them. Owns the way from the state to the set, and which of them is pinned.

use model::id::Index;
use state::{State, record::authority::Step};
use transport::{Authorities, AuthoritiesError, AuthorityCertificate, AuthorityDigest, AuthorityList, AuthorityParts};

/// The authorities that nodes go by according to `state`; none as long as there was never another one than that of the beginning.
///
/// # Errors
/// The state holds something else than certificates of authorities.
pub fn list(state: &State) -> Result<Option<AuthorityList>, AuthoritiesError> {
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

/// The authority that signs.
pub fn signing(state: &State) -> Option<AuthorityDigest> {
    state.cluster().and_then(|cluster| digest(&cluster.ca_certificate))
}

/// What tokens carry and tools pin: while a rotation is under way the old authority, which every server shows or is vouched for by.
pub fn pinned(state: &State) -> Option<AuthorityDigest> {
    let old = state.authorities().rotation.as_ref().and_then(|rotation| match &rotation.step {
        Step::Learning { .. } => None,
        Step::Renewing { last } => digest(last),
    });
    old.or_else(|| signing(state))
}

fn digest(certificate: &[u8]) -> Option<AuthorityDigest> {
    AuthorityCertificate::from_der(certificate).ok().map(|read| read.digest())
}
