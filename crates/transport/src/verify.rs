//! Whether a certificate is that of a node of this cluster. Owns the rules; pure: certificate, list of members and time come in, an identity or a refusal comes
//! out. Must never do a handshake or read a clock.

use model::id::Timestamp;
use rustls::pki_types::CertificateDer;
use webpki::{EndEntityCert, Error};

use crate::{
    authorities::Authorities,
    authority::digest_of,
    certificate::{AuthorityCertificate, Side, timestamp, unix_time},
    digest::KeyDigest,
    identity::NodeIdentity,
    limits::CHAIN_MAX,
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

/// What a peer shows: its own certificate, and what came behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) certificate: &'a CertificateDer<'a>,
    pub(crate) behind: &'a [CertificateDer<'a>],
}

/// A peer that is who it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) peer: Peer,
    /// Whose signature says so.
    pub(crate) authority: AuthorityCertificate,
}

/// Who signed a certificate, and how its dates stand.
struct Signed {
    authority: AuthorityCertificate,
    dates: Dates,
    /// Whether the cluster has replaced that authority.
    is_retired: bool,
}

/// Judges the certificate that a peer showed. That the peer holds its key is for the handshake to prove.
///
/// An authority's signature, the purpose and the identity must be right in any case. After that the list of members has the word: who is on it is let in
/// whatever the dates say, because a cluster that was switched off for days, or one machine with a wrong clock, must find together again; who was removed is
/// not, whatever the dates say; and who is newer than the list has only its dates. The word of an authority that was replaced counts for members alone: they
/// are known by their keys, which no signature can change, while with its stolen key anybody could make a node that is new.
pub(crate) fn judge(authorities: &Authorities, members: &Members, shown: Shown<'_>, side: Side, now: Timestamp) -> Result<Judged, Refusal> {
    let certificate = EndEntityCert::try_from(shown.certificate).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let Signed { authority, dates, is_retired } = signer(authorities, &certificate, shown.behind, side, now)?;
    let identity = identity(&certificate).ok_or(Refusal::NoIdentity)?;
    let ours = authorities.cluster();
    if identity.cluster != ours {
        return Err(Refusal::OtherCluster { theirs: identity.cluster, ours });
    }
    let key = KeyDigest::of(&certificate.subject_public_key_info());
    match (members.standing(&identity, &key), dates) {
        (Standing::Removed, _) => Err(Refusal::Removed { identity }),
        (Standing::OtherKey, _) => Err(Refusal::OtherKey { identity }),
        (Standing::Newer, _) if is_retired => Err(Refusal::Retired { identity }),
        (Standing::Member, _) | (Standing::Newer, Dates::Hold) => Ok(Judged { peer: Peer { identity, key }, authority }),
        (Standing::Newer, Dates::Ended(not_after)) => Err(Refusal::Expired { identity, not_after, now }),
        (Standing::Newer, Dates::NotBegun(not_before)) => Err(Refusal::NotYetValid { identity, not_before, now }),
    }
}

/// Finds who signed `certificate`: an authority that is trusted, one that a trusted one vouches for, or one that was trusted before.
fn signer(
    authorities: &Authorities,
    certificate: &EndEntityCert<'_>,
    behind: &[CertificateDer<'_>],
    side: Side,
    now: Timestamp,
) -> Result<Signed, Refusal> {
    let mut why = None;
    for authority in authorities.trusted() {
        match signed(authority, certificate, side, now) {
            Ok(dates) => return Ok(Signed { authority: authority.clone(), dates, is_retired: false }),
            Err(refusal) => why = why.or(Some(refusal)),
        }
    }
    if let Some(signed) = authorities.trusted().iter().find_map(|authority| vouched(authority, certificate, behind, side, now)) {
        return Ok(signed);
    }
    for authority in authorities.retired() {
        if let Ok(dates) = signed(authority, certificate, side, now) {
            return Ok(Signed { authority: authority.clone(), dates, is_retired: true });
        }
    }
    Err(why.unwrap_or(Refusal::NotSigned { ours: authorities.cluster() }))
}

/// Finds the authority that signed `certificate` among what came behind it, when `trusted` vouches for it.
fn vouched(
    trusted: &AuthorityCertificate,
    certificate: &EndEntityCert<'_>,
    behind: &[CertificateDer<'_>],
    side: Side,
    now: Timestamp,
) -> Option<Signed> {
    let behind = behind.get(..CHAIN_MAX).unwrap_or(behind);
    let at = |time| trusted.vouched(certificate, behind, side, time);
    let (dates, key) = match at(unix_time(now)) {
        Ok(key) => (Dates::Hold, key),
        Err(Error::CertExpired { not_after, .. }) => (Dates::Ended(timestamp(not_after)), at(not_after).ok()?),
        Err(Error::CertNotValidYet { not_before, .. }) => (Dates::NotBegun(timestamp(not_before)), at(not_before).ok()?),
        Err(_) => return None,
    };
    let mut shown = behind.iter().filter_map(|other| AuthorityCertificate::from_der(other).ok());
    let authority = shown.find(|one| digest_of(one.for_tls()).is_ok_and(|found| found == key))?;
    Some(Signed { authority, dates, is_retired: false })
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
