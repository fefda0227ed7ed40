//! What a node shows: its key, its certificate and its authority's. Owns that the three belong together, their files, and exchanging them while connections live;
//! must never ask for a new certificate.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use model::id::Timestamp;
use rustls::{
    pki_types::{CertificateDer, pem::PemObject},
    sign::CertifiedKey,
};
use tokio::sync::watch;

use crate::{
    authorities::{Authorities, AuthoritiesError, AuthorityList},
    authority::digest_of,
    certificate::{AuthorityCertificate, CertificateError, Side, Validity},
    digest::KeyDigest,
    files::{self, FileError},
    identity::NodeIdentity,
    key::{KeyError, KeyPair},
    limits::FILE_BYTES_MAX,
    members::Members,
    refusal::Refusal,
    tls,
    verify::{self, Shown},
};

/// The key's file in a node's directory.
const KEY_FILE: &str = "key.pem";

/// The certificate's, with the authority's behind it.
const CHAIN_FILE: &str = "chain.pem";

/// The authorities the node goes by; missing as long as there was never another one than the certificate's.
const AUTHORITIES_FILE: &str = "authorities.json";

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
    /// The set of authorities is none.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The certificate's authority is not in the set.
    #[error("the authority that signed this node's certificate is not one that it is to go by")]
    OtherAuthority,
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
pub struct Credentials(Arc<Whole>);

#[derive(Debug)]
struct Whole {
    identity: NodeIdentity,
    key: KeyPair,
    certificate: CertificateDer<'static>,
    authority: AuthorityCertificate,
    authorities: Authorities,
    validity: Validity,
    certified: Arc<CertifiedKey>,
}

impl Credentials {
    /// Puts them together: a key, the certificate in DER that was issued for it, and the authorities to go by, one of which did.
    ///
    /// # Errors
    /// They do not belong together.
    pub fn new(key: KeyPair, certificate: &[u8], authorities: impl Into<Authorities>) -> Result<Self, CredentialsError> {
        let authorities = authorities.into();
        let certificate = CertificateDer::from(certificate.to_vec());
        if digest_of(&certificate)? != key.digest() {
            return Err(CredentialsError::OtherKey);
        }
        let mut why = None;
        for authority in authorities.trusted().iter().chain(authorities.retired()) {
            match issued(authority, &certificate) {
                Ok((identity, validity)) => return Self::put(key, certificate, (identity, validity), authority, &authorities),
                Err(error) => why = why.or(Some(error)),
            }
        }
        Err(why.unwrap_or(CredentialsError::OtherAuthority))
    }

    fn put(
        key: KeyPair,
        certificate: CertificateDer<'static>,
        (identity, validity): (NodeIdentity, Validity),
        authority: &AuthorityCertificate,
        authorities: &Authorities,
    ) -> Result<Self, CredentialsError> {
        let mut chain = vec![certificate.clone()];
        chain.extend(authorities.behind(authority));
        let certified = CertifiedKey::from_der(chain, key.for_tls(), &tls::provider()).map_err(CredentialsError::Tls)?;
        let (authority, authorities, certified) = (authority.clone(), authorities.clone(), Arc::new(certified));
        Ok(Self(Arc::new(Whole { identity, key, certificate, authority, authorities, validity, certified })))
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
        let authority = AuthorityCertificate::from_der(authority)?;
        let authorities = Authorities::read(&directory.join(AUTHORITIES_FILE))?.filter(|set| set.find(&authority.digest()).is_some());
        Self::new(key, certificate, authorities.unwrap_or_else(|| authority.into()))
    }

    /// Writes the key, then the authorities, and then the certificates, into `directory`, which is made if it is missing; each aside and renamed. A renewal has
    /// the same key, and a set of authorities has that of the certificate before, so a node that stops in between still has what belongs together.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), CredentialsError> {
        fs::create_dir_all(directory).map_err(|source| FileError::Io { attempt: "make", path: directory.to_owned(), source })?;
        self.0.key.write(&directory.join(KEY_FILE))?;
        self.write_authorities(&directory.join(AUTHORITIES_FILE))?;
        let chain = [self.0.certificate.as_ref(), self.0.authority.der()].map(|der| files::pem("CERTIFICATE", der)).concat();
        Ok(files::write_private(&directory.join(CHAIN_FILE), chain.as_bytes())?)
    }

    /// A node that joins anew must not go by what its directory knew of another cluster, or of the same one before it was restored.
    fn write_authorities(&self, path: &Path) -> Result<(), FileError> {
        if self.0.authorities.version() > 0 {
            return self.0.authorities.write(path);
        }
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(FileError::Io { attempt: "remove", path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
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

    /// Who signed the certificate.
    pub fn authority(&self) -> &AuthorityCertificate {
        &self.0.authority
    }

    /// Whom they trust.
    pub fn authorities(&self) -> &Authorities {
        &self.0.authorities
    }

    /// Whether to ask for another certificate at `now`: half of this one's life is over, or another authority signs by now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.0.validity.renew_at() || !self.is_of_the_signing()
    }

    /// Whether the authority that signs by now signed the certificate.
    pub fn is_of_the_signing(&self) -> bool {
        self.0.authority == *self.0.authorities.signing()
    }

    /// When the certificate begins, ends, and should be renewed.
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.0.certified.clone()
    }
}

/// That `authority` issued `certificate`, to whom, and its dates.
fn issued(authority: &AuthorityCertificate, certificate: &CertificateDer<'_>) -> Result<(NodeIdentity, Validity), CredentialsError> {
    let validity = authority.validity_of(certificate)?;
    // Whether it has ended is for its users to say; that it was issued is checked at a time at which it holds.
    let (shown, only) = (Shown { certificate, behind: &[] }, Authorities::from(authority.clone()));
    let judged = verify::judge(&only, &Members::default(), shown, Side::Server, validity.not_after);
    Ok((judged.map_err(CredentialsError::Refused)?.peer.identity, validity))
}

/// The credentials in use: every new connection shows the newest, those that are open live on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Holder>);

#[derive(Debug)]
struct Holder {
    current: ArcSwap<Credentials>,
    /// Held while what is new is put together from what is there.
    changing: Mutex<()>,
    /// Counts the exchanges.
    changes: watch::Sender<u64>,
}

impl Identity {
    /// Starts with these.
    pub fn new(credentials: Credentials) -> Self {
        let current = ArcSwap::from_pointee(credentials);
        Self(Arc::new(Holder { current, changing: Mutex::default(), changes: watch::Sender::new(0) }))
    }

    /// Those in use.
    pub fn current(&self) -> Credentials {
        Credentials::clone(&self.0.current.load())
    }

    /// Grows with every exchange.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Exchanges them after a renewal.
    ///
    /// # Errors
    /// They are another node's.
    pub fn replace(&self, credentials: Credentials) -> Result<(), CredentialsError> {
        let (theirs, ours) = (credentials.identity(), self.0.current.load().identity());
        if theirs != ours {
            return Err(CredentialsError::OtherIdentity { theirs, ours });
        }
        self.0.current.store(Arc::new(credentials));
        self.0.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Goes by `list` from now on when it is newer than what is there, in memory and below `directory`. Says whether it was.
    ///
    /// # Errors
    /// It is no set of authorities of this cluster with that of the certificate in it, or a file cannot be written.
    pub fn learn(&self, list: &AuthorityList, directory: &Path) -> Result<bool, CredentialsError> {
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        if list.version <= current.authorities().version() {
            return Ok(false);
        }
        let (key, authorities) = (current.key().clone(), Authorities::from_list(list)?);
        self.exchange(Credentials::new(key, current.certificate(), authorities)?, directory).map(|()| true)
    }

    /// Shows `certificate` from now on, a new one over the same key, and goes by the authorities in `list` when they are newer; in memory and below `directory`.
    ///
    /// # Errors
    /// They do not belong together, or a file cannot be written.
    pub fn renew(&self, certificate: &[u8], list: Option<&AuthorityList>, directory: &Path) -> Result<(), CredentialsError> {
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        let authorities = match list.filter(|list| list.version > current.authorities().version()) {
            Some(list) => Authorities::from_list(list)?,
            None => current.authorities().clone(),
        };
        self.exchange(Credentials::new(current.key().clone(), certificate, authorities)?, directory)
    }

    fn exchange(&self, credentials: Credentials, directory: &Path) -> Result<(), CredentialsError> {
        credentials.write(directory)?;
        self.replace(credentials)
    }
}

#[cfg(test)]
impl Credentials {
    /// These certificates with a key that is not theirs, as a thief has them who got no key.
    pub(crate) fn without_key(&self) -> Self {
        let key = KeyPair::generate();
        let signer = rustls::crypto::ring::sign::any_ecdsa_type(&key.for_tls()).expect("a key");
        let certified = Arc::new(CertifiedKey::new(self.0.certified.cert.clone(), signer));
        let Whole { identity, certificate, authority, authorities, validity, .. } = &*self.0;
        let (identity, certificate, validity) = (*identity, certificate.clone(), *validity);
        let (authority, authorities) = (authority.clone(), authorities.clone());
        Self(Arc::new(Whole { identity, key, certificate, authority, authorities, validity, certified }))
    }
}

#[cfg(test)]
mod tests;
