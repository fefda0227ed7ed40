//! One certificate with its key, read from PEM: what it is for, until when, and whether its halves belong together. Pure. Must never touch a file, and never
//! show a key.

use std::{fmt, sync::Arc};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};

use crate::validity;

/// The pair that answers for every name no other one has.
pub(crate) const DEFAULT: &str = "default";

/// A certificate chain with its key, as files hold them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificatePair {
    /// What the pair is called: its file's or directory's name.
    pub name: String,
    /// PEM, the server's own certificate first.
    pub chain: String,
    /// PEM; never in a log or a message.
    pub key: KeyText,
}

/// The PEM text of a private key. It has no way into a log: its debug form is empty.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyText(String);

impl KeyText {
    /// Takes over the text.
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyText(…)")
    }
}

/// Why a pair cannot be used. None of these words comes out of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The chain's text is not PEM.
    #[error("the certificate is not PEM")]
    NotPem,
    /// The chain's text holds no certificate.
    #[error("there is no certificate in the file")]
    NoCertificate,
    /// The key's text holds no key that can be used.
    #[error("there is no unencrypted private key in the file (PKCS#8, PKCS#1 or SEC1, as PEM)")]
    NoKey,
    /// The key is locked.
    #[error("the private key is encrypted; nobody is there to type its passphrase")]
    EncryptedKey,
    /// A kind of key that no client would accept.
    #[error("the private key is of a kind that is not supported (RSA of 2048 bits and more, ECDSA P-256, P-384 and Ed25519 are)")]
    Key,
    /// The key is another certificate's.
    #[error("the key does not belong to the first certificate of the chain")]
    Mismatch,
    /// The first certificate is not one.
    #[error("the first certificate cannot be read: {0}")]
    Certificate(String),
    /// Nobody could ask for it.
    #[error("the certificate names no host (subject alternative name); only the pair `default` may do without")]
    NoName,
}

/// What a certificate says of itself: no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The host names it is for, lower case; `*.` stands for one label.
    pub hosts: Vec<String>,
    /// When it begins, in seconds since 1970.
    pub begins: i64,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

impl Facts {
    /// Of the first certificate of a chain in PEM; its key is not needed.
    ///
    /// # Errors
    /// There is no certificate, or it cannot be read.
    pub fn of(chain: &str) -> Result<Self, CertificateError> {
        Self::of_first(&parse(chain)?)
    }

    fn of_first(chain: &[CertificateDer<'_>]) -> Result<Self, CertificateError> {
        let first = chain.first().ok_or(CertificateError::NoCertificate)?;
        let unreadable = |error: webpki::Error| CertificateError::Certificate(error.to_string());
        let end_entity = webpki::EndEntityCert::try_from(first).map_err(unreadable)?;
        let hosts = end_entity.valid_dns_names().map(str::to_ascii_lowercase).collect();
        let dates = validity::of(first).ok_or_else(|| CertificateError::Certificate("its dates are not dates".to_owned()))?;
        Ok(Self { hosts, begins: dates.not_before, expires: dates.not_after })
    }

    /// Whether clients that ask for `host` accept it, whatever its dates. Of `*.suffix` that is asked: whether it has that wildcard.
    pub fn names(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let wildcard = host.split_once('.').map(|(_, suffix)| format!("*.{suffix}"));
        self.hosts.iter().any(|known| *known == host || Some(known) == wildcard.as_ref())
    }
}

fn parse(chain: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().map_err(|_| CertificateError::NotPem)
}

/// A pair that can be used.
#[derive(Debug)]
pub struct Certificate {
    name: String,
    facts: Facts,
    key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads a pair and checks that its halves belong together. An expired certificate is read as well: see [`Facts::expires`].
    ///
    /// # Errors
    /// What is wrong with a half, or that they do not belong together.
    pub fn load(pair: &CertificatePair) -> Result<Self, CertificateError> {
        let chain = parse(&pair.chain)?;
        let facts = Facts::of_first(&chain)?;
        if facts.hosts.is_empty() && pair.name != DEFAULT {
            return Err(CertificateError::NoName);
        }
        Ok(Self { name: pair.name.clone(), facts, key: Arc::new(key_of(chain, &pair.key)?) })
    }

    /// What the pair is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What a handshake is made with.
    pub(crate) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

fn key_of(chain: Vec<CertificateDer<'static>>, key: &KeyText) -> Result<CertifiedKey, CertificateError> {
    let text = key.0.as_bytes();
    let parsed = PrivateKeyDer::from_pem_slice(text);
    let is_locked = key.0.contains("ENCRYPTED");
    let key = parsed.map_err(|_| if is_locked { CertificateError::EncryptedKey } else { CertificateError::NoKey })?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => CertificateError::Mismatch,
        rustls::Error::InvalidCertificate(_) => CertificateError::Certificate(error.to_string()),
        _ => CertificateError::Key,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair(name: &str, hosts: &[&str]) -> CertificatePair {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
        let chain = params.self_signed(&key).expect("a certificate").pem();
        CertificatePair { name: name.to_owned(), chain, key: KeyText::new(key.serialize_pem()) }
    }

    #[test]
    fn a_key_is_never_shown() {
        let pair = pair("a", &["a.example"]);
        let secret = pair.key.0.lines().nth(1).expect("a line of the key").to_owned();
        let shown = format!("{pair:?} {:?}", Certificate::load(&pair));
        assert!(!shown.contains(&secret) && !shown.contains("PRIVATE"), "{shown}");
    }

    #[test]
    fn what_a_certificate_says_is_read_without_its_key() {
        let facts = Facts::of(&pair("a", &["Shop.example", "*.shop.example"]).chain).expect("a certificate");
        let check = |host: &str, expected: bool| assert_eq!(facts.names(host), expected, "{host}");
        check("shop.example", true);
        check("SHOP.example", true);
        check("a.shop.example", true);
        check("a.b.shop.example", false);
        check("*.shop.example", true);
        check("*.example", false);
        check("other.example", false);
        check("example", false);
        assert!(facts.begins < facts.expires);
        assert_eq!(Facts::of(""), Err(CertificateError::NoCertificate));
    }
}
