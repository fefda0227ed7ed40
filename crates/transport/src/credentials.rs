//! What a node shows: its key, its certificate and its authority's. Owns that the three belong together, their files, and exchanging them while connections live;
//! must never ask for a new certificate.

use std::{fs, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    pki_types::{CertificateDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::{
    authority::digest_of,
    certificate::{AuthorityCertificate, CertificateError, Side, Validity},
    digest::KeyDigest,
    files::{self, FileError},
    identity::NodeIdentity,
    key::{KeyError, KeyPair},
    limits::FILE_BYTES_MAX,
    members::Members,
    refusal::Refusal,
    tls, verify,
};

/// The key's file in a node's directory.
const KEY_FILE: &str = "key.pem";

/// The certificate's, with the authority's behind it.
const CHAIN_FILE: &str = "chain.pem";

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The chain's file is not what is written there.
    #[error("{path} does not hold a node's certificate and its authority's, as PEM")]
    Chain {
        /// The file.
        path: String,
    },
    /// The key is another certificate's.
    #[error("the key does not belong to the certificate")]
    OtherKey,
    /// The certificate is not what the authority makes.
    #[error("this node's own certificate cannot be used: {0}")]
    Refused(#[source] Refusal),
    /// They are another node's.
    #[error("the new certificate is for {theirs}, this is {ours}")]
    OtherIdentity {
        /// Who the certificate says.
        theirs: NodeIdentity,
        /// Who this is.
        ours: NodeIdentity,
    },
    /// The library refused.
    #[error("the key cannot be used for TLS")]
    Tls(#[source] rustls::Error),
}

/// A key with its certificate and its authority's. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    identity: NodeIdentity,
    key: KeyPair,
    certificate: CertificateDer<'static>,
    authority: AuthorityCertificate,
    validity: Validity,
    certified: Arc<CertifiedKey>,
}

impl Credentials {
    /// Puts them together: a key, the certificate in DER that was issued for it, and the authority that did.
    ///
    /// # Errors
    /// They do not belong together.
    pub fn new(key: KeyPair, certificate: &[u8], authority: AuthorityCertificate) -> Result<Self, CredentialsError> {
        let certificate = CertificateDer::from(certificate.to_vec());
        if digest_of(&certificate)? != key.digest() {
            return Err(CredentialsError::OtherKey);
        }
        let validity = authority.validity_of(&certificate)?;
        // Whether it has ended is for its users to say; that it was issued is checked at a time at which it holds.
        let judged = verify::judge(&authority, &Members::default(), &certificate, Side::Server, validity.not_after);
        let identity = judged.map_err(CredentialsError::Refused)?.identity;
        let chain = vec![certificate.clone(), authority.for_tls().clone()];
        let certified = CertifiedKey::from_der(chain, key.for_tls(), &tls::provider()).map_err(CredentialsError::Tls)?;
        Ok(Self(Arc::new(Shown { identity, key, certificate, authority, validity, certified: Arc::new(certified) })))
    }

    /// Reads what [`Credentials::write`] wrote.
    ///
    /// # Errors
    /// A file cannot be read, others may read the key, or they do not belong together.
    pub fn read(directory: &Path) -> Result<Self, CredentialsError> {
        let key = KeyPair::read(&directory.join(KEY_FILE))?;
        let path = directory.join(CHAIN_FILE);
        let text = files::read(&path, FILE_BYTES_MAX)?;
        let broken = || CredentialsError::Chain { path: path.display().to_string() };
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().map_err(|_| broken())?;
        let [certificate, authority] = chain.as_slice() else { return Err(broken()) };
        Self::new(key, certificate, AuthorityCertificate::from_der(authority)?)
    }

    /// Writes the key, and then the certificates, into `directory`, which is made if it is missing; each aside and renamed. A renewal has the same key, so a
    /// node that stops between the two still has a pair that belongs together.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), CredentialsError> {
        fs::create_dir_all(directory).map_err(|source| FileError::Io { attempt: "make", path: directory.to_owned(), source })?;
        self.0.key.write(&directory.join(KEY_FILE))?;
        let chain = [self.0.certificate.as_ref(), self.0.authority.der()].map(|der| files::pem("CERTIFICATE", der)).concat();
        Ok(files::write_private(&directory.join(CHAIN_FILE), chain.as_bytes())?)
    }

    /// Who they show.
    pub fn identity(&self) -> NodeIdentity {
        self.0.identity
    }

    /// The key, which stays over renewals.
    pub fn key(&self) -> &KeyPair {
        &self.0.key
    }

    /// What the key is called.
    pub fn key_digest(&self) -> KeyDigest {
        self.0.key.digest()
    }

    /// The certificate in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.0.certificate
    }

    /// Whom they trust.
    pub fn authority(&self) -> &AuthorityCertificate {
        &self.0.authority
    }

    /// When the certificate begins, ends, and should be renewed.
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.0.certified.clone()
    }
}

/// The credentials in use: every new connection shows the newest, those that are open live on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity(Arc<ArcSwap<Credentials>>);

impl Identity {
    /// Starts with these.
    pub fn new(credentials: Credentials) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(credentials)))
    }

    /// Those in use.
    pub fn current(&self) -> Credentials {
        Credentials::clone(&self.0.load())
    }

    /// Exchanges them after a renewal.
    ///
    /// # Errors
    /// They are another node's.
    pub fn replace(&self, credentials: Credentials) -> Result<(), CredentialsError> {
        let (theirs, ours) = (credentials.identity(), self.0.load().identity());
        if theirs != ours {
            return Err(CredentialsError::OtherIdentity { theirs, ours });
        }
        self.0.store(Arc::new(credentials));
        Ok(())
    }
}

#[cfg(test)]
impl Credentials {
    /// These certificates with a key that is not theirs, as a thief has them who got no key.
    pub(crate) fn without_key(&self) -> Self {
        let key = KeyPair::generate();
        let signer = rustls::crypto::ring::sign::any_ecdsa_type(&key.for_tls()).expect("a key");
        let certified = Arc::new(CertifiedKey::new(self.0.certified.cert.clone(), signer));
        let Shown { identity, certificate, authority, validity, .. } = &*self.0;
        let (identity, certificate, authority, validity) = (*identity, certificate.clone(), authority.clone(), *validity);
        Self(Arc::new(Shown { identity, key, certificate, authority, validity, certified }))
    }
}

#[cfg(test)]
mod tests;
