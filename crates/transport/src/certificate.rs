//! What stands in a certificate: the authority's own, and the dates of any. Owns reading them; must never judge whether a node may be trusted.

use std::{sync::Arc, time::Duration};

use model::id::Timestamp;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::{
    digest::{AuthorityDigest, KeyDigest},
    identity::{ClusterId, parse_authority},
    limits::BACKDATE,
};

/// What TLS servers are for (RFC 5280, `id-kp-serverAuth`); required, while webpki's own constant takes certificates without any purpose too.
const FOR_SERVERS: &[u8] = &[43, 6, 1, 5, 5, 7, 3, 1];

/// What TLS clients are for (`id-kp-clientAuth`).
const FOR_CLIENTS: &[u8] = &[43, 6, 1, 5, 5, 7, 3, 2];

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is none.
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    /// It is no cluster's authority.
    #[error("the certificate is not that of a Shoal cluster's authority")]
    NoAuthority,
    /// Its dates are none.
    #[error("the certificate's dates cannot be read")]
    NoDates,
}

/// Which side of a connection shows the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

impl Side {
    pub(crate) fn usage(self) -> KeyUsage {
        match self {
            Self::Server => KeyUsage::required(FOR_SERVERS),
            Self::Client => KeyUsage::required(FOR_CLIENTS),
        }
    }
}

/// When a certificate begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last moment.
    pub not_after: Timestamp,
}

impl Validity {
    /// When to ask for the next one: after half of its life, counted from when it was made rather than from when it begins.
    pub fn renew_at(&self) -> Timestamp {
        let backdate = u64::try_from(BACKDATE.as_millis()).unwrap_or(u64::MAX);
        let made = self.not_before.0.saturating_add(backdate).min(self.not_after.0);
        Timestamp(made + (self.not_after.0 - made) / 2)
    }
}

/// The certificate of a cluster's authority: what every node trusts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuthorityCertificate(Arc<Anchor>);

#[derive(Debug)]
struct Anchor {
    der: CertificateDer<'static>,
    trust: TrustAnchor<'static>,
    cluster: ClusterId,
    digest: AuthorityDigest,
}

/// By every byte.
impl PartialEq for AuthorityCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for AuthorityCertificate {}

impl AuthorityCertificate {
    /// Reads one in DER. Whether it can be trusted is known only from where it comes, or by its digest.
    ///
    /// # Errors
    /// It is no certificate, or not that of a cluster's authority.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let der = CertificateDer::from(der.to_vec());
        let malformed = |error: webpki::Error| CertificateError::Malformed(error.to_string());
        let trust = webpki::anchor_from_trusted_cert(&der).map_err(malformed)?.to_owned();
        let cluster = {
            let certificate = EndEntityCert::try_from(&der).map_err(malformed)?;
            certificate.valid_dns_names().find_map(parse_authority).ok_or(CertificateError::NoAuthority)?
        };
        let digest = AuthorityDigest::of(&der);
        Ok(Self(Arc::new(Anchor { der, trust, cluster, digest })))
    }

    /// In DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The SHA-256 of the whole certificate: what join tokens carry and command lines pin.
    pub fn digest(&self) -> AuthorityDigest {
        self.0.digest
    }

    /// The cluster it speaks for.
    pub fn cluster(&self) -> ClusterId {
        self.0.cluster
    }

    /// When it begins and ends. Nobody is refused because an authority has ended; it is for people to see in time.
    ///
    /// # Errors
    /// Its dates cannot be read.
    pub fn validity(&self) -> Result<Validity, CertificateError> {
        self.validity_of(&self.0.der)
    }

    pub(crate) fn for_tls(&self) -> &CertificateDer<'static> {
        &self.0.der
    }

    /// Checks that this authority signed `certificate` for that side, and that it holds at `at`.
    pub(crate) fn check(&self, certificate: &EndEntityCert<'_>, side: Side, at: Timestamp) -> Result<(), webpki::Error> {
        self.check_at(certificate, side, unix_time(at))
    }

    /// The key of whoever signed `certificate`, when this authority vouches for it by way of `between`.
    pub(crate) fn vouched(
        &self,
        certificate: &EndEntityCert<'_>,
        between: &[CertificateDer<'_>],
        side: Side,
        at: UnixTime,
    ) -> Result<KeyDigest, webpki::Error> {
        let trusted = [self.0.trust.clone()];
        let path = certificate.verify_for_usage(&[webpki::ring::ECDSA_P256_SHA256], &trusted, between, at, side.usage(), None, None)?;
        let signer = path.intermediate_certificates().next().ok_or(webpki::Error::UnknownIssuer)?;
        Ok(KeyDigest::of(&signer.subject_public_key_info()))
    }

    pub(crate) fn check_at(&self, certificate: &EndEntityCert<'_>, side: Side, at: UnixTime) -> Result<(), webpki::Error> {
        let trusted = [self.0.trust.clone()];
        certificate.verify_for_usage(&[webpki::ring::ECDSA_P256_SHA256], &trusted, &[], at, side.usage(), None, None).map(|_| ())
    }

    /// The dates of a certificate. webpki tells them only when it refuses, so it is asked at the beginning and at the end of time.
    pub(crate) fn validity_of(&self, certificate: &CertificateDer<'_>) -> Result<Validity, CertificateError> {
        let certificate = EndEntityCert::try_from(certificate).map_err(|error| CertificateError::Malformed(error.to_string()))?;
        let ask = |seconds| self.check_at(&certificate, Side::Server, UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        match (ask(0), ask(u64::MAX)) {
            (Err(webpki::Error::CertNotValidYet { not_before, .. }), Err(webpki::Error::CertExpired { not_after, .. })) => {
                Ok(Validity { not_before: timestamp(not_before), not_after: timestamp(not_after) })
            }
            _ => Err(CertificateError::NoDates),
        }
    }
}

pub(crate) fn timestamp(at: UnixTime) -> Timestamp {
    Timestamp(at.as_secs().saturating_mul(1000))
}

pub(crate) fn unix_time(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(at.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_half_its_life() {
        let hour = 3_600_000;
        let check = |not_before: u64, not_after: u64, expected: u64| {
            let validity = Validity { not_before: Timestamp(not_before * hour), not_after: Timestamp(not_after * hour) };
            assert_eq!(validity.renew_at(), Timestamp(expected * hour), "{not_before}..{not_after}");
        };
        check(98, 124, 112);
        check(100, 104, 103);
        // Shorter than what it is back-dated by: at once.
        check(100, 101, 101);
        check(0, 0, 0);
    }

    #[test]
    fn what_is_no_authority_is_told() {
        assert!(matches!(AuthorityCertificate::from_der(b"no certificate"), Err(CertificateError::Malformed(_))));
        let key = rcgen::KeyPair::generate().expect("a key");
        let other = rcgen::CertificateParams::new(vec!["api.example.com".to_owned()]).expect("a name").self_signed(&key).expect("signed");
        assert_eq!(AuthorityCertificate::from_der(other.der()).err(), Some(CertificateError::NoAuthority));
    }
}
