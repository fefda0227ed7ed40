//! Whether a certificate is that of a node of this cluster. Owns the rules; pure: certificate, list of members and time come in, an identity or a refusal comes
//! out. Must never do a handshake or read a clock.

use model::id::Timestamp;
use rustls::pki_types::CertificateDer;
use webpki::{EndEntityCert, Error};

use crate::{
    certificate::{AuthorityCertificate, Side, timestamp},
    digest::KeyDigest,
    identity::NodeIdentity,
    members::{Members, Standing},
    refusal::Refusal,
    tls::Peer,
};

/// How a certificate's dates stand to the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dates {
    Hold,
    Ended(Timestamp),
    NotBegun(Timestamp),
}

/// Judges the certificate that a peer showed. That the peer holds its key is for the handshake to prove.
///
/// The authority's signature, the purpose and the identity must be right in any case. After that the list of members has the word: who is on it is let in
/// whatever the dates say, because a cluster that was switched off for days, or one machine with a wrong clock, must find together again; who was removed is
/// not, whatever the dates say; and who is newer than the list has only its dates.
pub(crate) fn judge(
    authority: &AuthorityCertificate,
    members: &Members,
    shown: &CertificateDer<'_>,
    side: Side,
    now: Timestamp,
) -> Result<Peer, Refusal> {
    let certificate = EndEntityCert::try_from(shown).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let dates = signed(authority, &certificate, side, now)?;
    let identity = identity(&certificate).ok_or(Refusal::NoIdentity)?;
    let ours = authority.cluster();
    if identity.cluster != ours {
        return Err(Refusal::OtherCluster { theirs: identity.cluster, ours });
    }
    let key = KeyDigest::of(&certificate.subject_public_key_info());
    match (members.standing(&identity, &key), dates) {
        (Standing::Removed, _) => Err(Refusal::Removed { identity }),
        (Standing::OtherKey, _) => Err(Refusal::OtherKey { identity }),
        (Standing::Member, _) | (Standing::Newer, Dates::Hold) => Ok(Peer { identity, key }),
        (Standing::Newer, Dates::Ended(not_after)) => Err(Refusal::Expired { identity, not_after, now }),
        (Standing::Newer, Dates::NotBegun(not_before)) => Err(Refusal::NotYetValid { identity, not_before, now }),
    }
}

/// Checks everything that does not depend on the time, and tells the dates.
fn signed(authority: &AuthorityCertificate, certificate: &EndEntityCert<'_>, side: Side, now: Timestamp) -> Result<Dates, Refusal> {
    // webpki looks at the dates first: what else is wrong shows at a time at which they hold.
    let (dates, result) = match authority.check(certificate, side, now) {
        Err(Error::CertExpired { not_after, .. }) => (Dates::Ended(timestamp(not_after)), authority.check_at(certificate, side, not_after)),
        Err(Error::CertNotValidYet { not_before, .. }) => {
            (Dates::NotBegun(timestamp(not_before)), authority.check_at(certificate, side, not_before))
        }
        result => (Dates::Hold, result),
    };
    let ours = authority.cluster();
    result.map(|()| dates).map_err(|error| match error {
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => match identity(certificate) {
            Some(identity) if identity.cluster != ours => Refusal::OtherCluster { theirs: identity.cluster, ours },
            _ => Refusal::NotSigned { ours },
        },
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Refusal::NotSigned { ours }
        }
        Error::CaUsedAsEndEntity | Error::RequiredEkuNotFoundContext(_) => Refusal::Purpose(error.to_string()),
        other => Refusal::Malformed(other.to_string()),
    })
}

/// The one node that the certificate names.
fn identity(certificate: &EndEntityCert<'_>) -> Option<NodeIdentity> {
    let mut identities = certificate.valid_dns_names().filter_map(NodeIdentity::parse);
    let only = identities.next()?;
    identities.next().is_none().then_some(only)
}

#[cfg(test)]
mod tests;
