//! A cluster's own authority: the key that says which node is which. Owns making certificates; must never decide who gets one, and never show its key.

use std::{net::IpAddr, str::FromStr, time::Duration};

use model::id::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, DnsName};
use webpki::EndEntityCert;

use crate::{
    certificate::{AuthorityCertificate, CertificateError},
    digest::{AuthorityDigest, KeyDigest},
    identity::{ClusterId, NodeIdentity, authority_name, is_reserved},
    key::{KeyError, KeyPair, PublicKey},
    limits::{AUTHORITY_LIFETIME, BACKDATE, NAMES_MAX, NODE_LIFETIME, RETIRED_MAX},
    seal::{ClusterKey, Place, SealError, Sealed},
    text,
};

/// Why the authority cannot be used, or issues nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The key is another certificate's.
    #[error("the key does not belong to the authority's certificate")]
    OtherKey,
    /// What was sealed is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key cannot be opened.
    #[error("cannot open the authority's key")]
    Sealed(#[from] SealError),
    /// The node is of another cluster.
    #[error("{identity} is of cluster {theirs}, this authority is that of cluster {ours}", theirs = identity.cluster)]
    OtherCluster {
        /// Who was to get a certificate.
        identity: NodeIdentity,
        /// The authority's cluster.
        ours: ClusterId,
    },
    /// The authority that is to follow is of another cluster.
    #[error("an authority of cluster {theirs} cannot follow that of cluster {ours}")]
    OtherAuthority {
        /// The cluster of the one that is to follow.
        theirs: ClusterId,
        /// This one's.
        ours: ClusterId,
    },
    /// A name that no certificate may have.
    #[error("`{name}` cannot be in a certificate of {identity}: {why}")]
    Name {
        /// The name.
        name: String,
        /// Who was to get it.
        identity: NodeIdentity,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More names than one certificate carries.
    #[error("{identity} asks for {names} names; a certificate has at most {NAMES_MAX}")]
    TooManyNames {
        /// Who was to get it.
        identity: NodeIdentity,
        /// How many there are.
        names: usize,
    },
    /// The library refused.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
}

/// What a certificate is to say.
#[derive(Debug, Clone, Copy)]
pub struct Issue<'a> {
    /// Whose it is.
    pub identity: NodeIdentity,
    /// The key that it is for, from [`PublicKey::from_request`].
    pub key: &'a PublicKey,
    /// Host names and IP addresses by which browsers and other tools call this node besides.
    pub names: &'a [String],
    /// When it is made. It begins [`BACKDATE`] before.
    pub now: Timestamp,
    /// How long it holds from `now` on; [`crate::NODE_LIFETIME`] for nodes.
    pub lifetime: Duration,
}

/// The authority with its key.
#[derive(Debug, Clone)]
pub struct Authority {
    certificate: AuthorityCertificate,
    key: KeyPair,
}

impl Authority {
    /// A new one for a new cluster.
    ///
    /// # Errors
    /// The library refused.
    pub fn create(cluster: ClusterId, now: Timestamp) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate();
        let mut parameters = of_an_authority(cluster, now);
        parameters.subject_alt_names = vec![dns(authority_name(cluster)).map_err(AuthorityError::Make)?];
        let certificate = parameters.self_signed(&key).map_err(AuthorityError::Make)?;
        Self::from_parts(certificate.der(), key)
    }

    /// One that was stored: its certificate in DER and its key.
    ///
    /// # Errors
    /// It is no authority's certificate, or another key's.
    pub fn from_parts(certificate: &[u8], key: KeyPair) -> Result<Self, AuthorityError> {
        let read = AuthorityCertificate::from_der(certificate)?;
        if digest_of(read.for_tls())? != key.digest() {
            return Err(AuthorityError::OtherKey);
        }
        Ok(Self { certificate: read, key })
    }

    /// One whose key comes out of the replicated log, with its certificate in DER.
    ///
    /// # Errors
    /// The cluster's key does not open it, or the key is another certificate's.
    pub fn open(certificate: &[u8], sealed: &Sealed, cluster_key: &ClusterKey) -> Result<Self, AuthorityError> {
        let id = place_of(AuthorityDigest::of(certificate));
        let pkcs8 = cluster_key.open(sealed, Place { id: &id, version: 1 })?;
        Self::from_parts(certificate, KeyPair::from_pkcs8(&pkcs8)?)
    }

    /// Its key, sealed for the replicated log.
    pub fn seal(&self, cluster_key: &ClusterKey) -> Sealed {
        let id = place_of(self.digest());
        cluster_key.seal(&self.key.to_pkcs8(), Place { id: &id, version: 1 })
    }

    /// Its certificate: what nodes trust.
    pub fn certificate(&self) -> &AuthorityCertificate {
        &self.certificate
    }

    /// The SHA-256 of its whole certificate.
    pub fn digest(&self) -> AuthorityDigest {
        self.certificate.digest()
    }

    /// The cluster it speaks for.
    pub fn cluster(&self) -> ClusterId {
        self.certificate.cluster()
    }

    /// Vouches for the authority that takes this one's place: a certificate over the key of `next`, in DER, by which whoever trusts this one alone finds the
    /// way to what the next one signs.
    ///
    /// # Errors
    /// `next` is another cluster's, or the library refused.
    pub fn vouch_for(&self, next: &Self, now: Timestamp) -> Result<Vec<u8>, AuthorityError> {
        let (ours, theirs) = (self.cluster(), next.cluster());
        if ours != theirs {
            return Err(AuthorityError::OtherAuthority { theirs, ours });
        }
        let mut parameters = of_an_authority(ours, now);
        // A link of a chain must be made for what the chain's end is used for.
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        // Older than anything it stands behind, even when the clock of the server that signs next is hours behind this one's.
        parameters.not_before -= NODE_LIFETIME;
        let certificate = parameters.signed_by(&next.key.public(), &self.issuer()).map_err(AuthorityError::Make)?;
        Ok(certificate.der().to_vec())
    }

    /// Makes a certificate for a node, in DER.
    ///
    /// # Errors
    /// The node is of another cluster, or one of the names cannot be.
    pub fn issue(&self, issue: &Issue<'_>) -> Result<Vec<u8>, AuthorityError> {
        let Issue { identity, key, names, now, lifetime } = *issue;
        let ours = self.cluster();
        if identity.cluster != ours {
            return Err(AuthorityError::OtherCluster { identity, ours });
        }
        if names.len() > NAMES_MAX {
            return Err(AuthorityError::TooManyNames { identity, names: names.len() });
        }
        let mut parameters = parameters(now, lifetime);
        parameters.distinguished_name.push(DnType::CommonName, identity.to_string());
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Either side of a connection may be a node.
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        parameters.subject_alt_names = vec![dns(identity.name()).map_err(AuthorityError::Make)?];
        for name in names {
            let wrong = |why| AuthorityError::Name { name: name.clone(), identity, why };
            parameters.subject_alt_names.push(alternative(name).map_err(wrong)?);
        }
        let certificate = parameters.signed_by(key, &self.issuer()).map_err(AuthorityError::Make)?;
        Ok(certificate.der().to_vec())
    }

    /// Everything of an issuer that goes into what it signs follows from the cluster and the key.
    fn issuer(&self) -> Issuer<'static, &KeyPair> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = subject(self.cluster());
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Issuer::new(parameters, &self.key)
    }
}

/// The digest of the key in a certificate.
pub(crate) fn digest_of(certificate: &CertificateDer<'_>) -> Result<KeyDigest, CertificateError> {
    let read = EndEntityCert::try_from(certificate).map_err(|error| CertificateError::Malformed(error.to_string()))?;
    Ok(KeyDigest::of(&read.subject_public_key_info()))
}

/// Where an authority's key is sealed.
fn place_of(digest: AuthorityDigest) -> String {
    format!("authority/{digest}")
}

fn parameters(now: Timestamp, lifetime: Duration) -> CertificateParams {
    // Certificates count seconds.
    let seconds = Duration::from_secs(now.0 / 1000);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut parameters = CertificateParams::default();
    parameters.not_before = epoch + seconds.saturating_sub(BACKDATE);
    parameters.not_after = epoch + seconds + lifetime;
    // A number per certificate; rcgen would make one per key.
    parameters.serial_number = Some(SerialNumber::from_slice(&text::random::<16>()));
    parameters.distinguished_name = DistinguishedName::new();
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

/// An authority may vouch for the next one, so that a chain has as many links as authorities are remembered.
fn of_an_authority(cluster: ClusterId, now: Timestamp) -> CertificateParams {
    const LINKS_MAX: u8 = RETIRED_MAX as u8;
    let mut parameters = parameters(now, AUTHORITY_LIFETIME);
    parameters.distinguished_name = subject(cluster);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(LINKS_MAX));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

/// The authority's name: tools show it, and certificates refer to it.
pub(crate) fn subject(cluster: ClusterId) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Shoal");
    subject.push(DnType::CommonName, format!("cluster {cluster}"));
    subject
}

fn dns(name: String) -> Result<SanType, rcgen::Error> {
    Ok(SanType::DnsName(name.try_into()?))
}

/// A host name or an IP address that is no identity's.
fn alternative(name: &str) -> Result<SanType, &'static str> {
    if let Ok(address) = IpAddr::from_str(name) {
        return Ok(SanType::IpAddress(address));
    }
    if is_reserved(name) {
        return Err("names below shoal.internal are for identities");
    }
    DnsName::try_from(name).map_err(|_| "it is neither a host name nor an IP address")?;
    dns(name.to_owned()).map_err(|_| "it is no host name")
}

#[cfg(test)]
impl Authority {
    pub(crate) fn signer(&self) -> &KeyPair {
        &self.key
    }
}

#[cfg(test)]
mod tests;
