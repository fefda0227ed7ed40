//! Certificates read from PEM, and found by the name a client asks for. Owns which one answers: the exact name, then the wildcard above
//! it, then the pair called `default`; pure. Must never touch a file, and never show a key.

use std::{collections::HashMap, fmt, sync::Arc};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};

use crate::validity::{self, Validity};

/// The pair that answers for every name no other one has.
const DEFAULT: &str = "default";

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

/// A pair that can be used.
#[derive(Debug)]
pub struct Certificate {
    name: String,
    hosts: Vec<String>,
    validity: Validity,
    key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads a pair and checks that its halves belong together. An expired certificate is read as well: see [`Certificate::expires`].
    pub fn load(pair: &CertificatePair) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(pair.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| CertificateError::NotPem)?;
        let first = chain.first().ok_or(CertificateError::NoCertificate)?;
        let unreadable = |error: webpki::Error| CertificateError::Certificate(error.to_string());
        let end_entity = webpki::EndEntityCert::try_from(first).map_err(unreadable)?;
        let hosts: Vec<String> = end_entity.valid_dns_names().map(str::to_ascii_lowercase).collect();
        if hosts.is_empty() && pair.name != DEFAULT {
            return Err(CertificateError::NoName);
        }
        let validity = validity::of(first).ok_or_else(|| CertificateError::Certificate("its dates are not dates".to_owned()))?;
        let key = key_of(chain, &pair.key)?;
        Ok(Self { name: pair.name.clone(), hosts, validity, key: Arc::new(key) })
    }

    /// What the pair is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host names it is for, lower case; `*.` stands for one label.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// When it ends, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.validity.not_after
    }

    /// When it begins, in seconds since 1970.
    pub fn begins(&self) -> i64 {
        self.validity.not_before
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

/// Every certificate of a gateway at one time.
#[derive(Debug, Default)]
pub struct CertificateSet {
    certificates: Vec<Arc<Certificate>>,
    exact: HashMap<String, usize>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, usize>,
    default: Option<usize>,
    broken: Vec<String>,
    /// By the host of a route, before all others.
    routes: HashMap<String, Arc<Certificate>>,
}

impl CertificateSet {
    /// This set, and before it the pairs that answer for the hosts of routes: exact ones, and `*.suffix` for every name below. Those that cannot be used are
    /// told; whoever asks for their host gets what the set has.
    pub fn with_hosts(&self, hosts: &[(String, CertificatePair)]) -> (Self, Vec<(String, CertificateError)>) {
        let mut set = Self::new(self.certificates.iter().cloned()).with_broken(self.broken.iter().cloned());
        let mut refused = Vec::new();
        for (host, pair) in hosts {
            match Certificate::load(pair) {
                Ok(certificate) => drop(set.routes.insert(host.to_ascii_lowercase(), Arc::new(certificate))),
                Err(error) => refused.push((pair.name.clone(), error)),
            }
        }
        (set.with_broken(refused.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()), refused)
    }

    /// The pair of the route for `host`, the most exact one first.
    fn of_route(&self, host: &str) -> Option<&Arc<Certificate>> {
        let suffixes =
            std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.')).map(|(_, suffix)| format!("*.{suffix}"));
        self.routes.get(host).or_else(|| suffixes.into_iter().find_map(|wildcard| self.routes.get(&wildcard)))
    }

    /// Puts certificates together. Where two have the same host, the first by name answers for it.
    pub fn new(certificates: impl IntoIterator<Item = Arc<Certificate>>) -> Self {
        let mut certificates: Vec<_> = certificates.into_iter().collect();
        certificates.sort_by(|one, two| one.name.cmp(&two.name));
        let mut set = Self { default: certificates.iter().position(|certificate| certificate.name == DEFAULT), ..Self::default() };
        for (at, host) in certificates.iter().enumerate().flat_map(|(at, certificate)| certificate.hosts.iter().map(move |host| (at, host)))
        {
            let (hosts, host) = match host.strip_prefix("*.") {
                Some(suffix) => (&mut set.wildcard, suffix),
                None => (&mut set.exact, host.as_str()),
            };
            hosts.entry(host.to_owned()).or_insert(at);
        }
        Self { certificates, ..set }
    }

    /// Reads pairs; those that cannot be used are told beside the set, which counts them as broken.
    pub fn load(pairs: &[CertificatePair]) -> (Self, Vec<(String, CertificateError)>) {
        let (mut good, mut broken) = (Vec::new(), Vec::new());
        for pair in pairs {
            match Certificate::load(pair) {
                Ok(certificate) => good.push(Arc::new(certificate)),
                Err(error) => broken.push((pair.name.clone(), error)),
            }
        }
        (Self::new(good).with_broken(broken.iter().map(|(name, _)| name.clone())), broken)
    }

    /// Notes pairs that cannot be used as they are now, so that metrics show them.
    pub fn with_broken(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.broken.extend(names);
        self.broken.sort();
        self.broken.dedup();
        self
    }

    /// In the order of their names.
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    /// The pairs that could not be used when they were last looked at, in order.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// Who answers a client that asks for `host`. A client that names no host gets the default, or the first by name: it must be shown something.
    pub fn find(&self, host: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let at = match host {
            None => self.default.or(if self.certificates.is_empty() { None } else { Some(0) }),
            Some(host) => {
                let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                if let Some(certificate) = self.of_route(&host) {
                    return Some(&certificate.key);
                }
                let above = || host.split_once('.').and_then(|(_, suffix)| self.wildcard.get(suffix));
                self.exact.get(&host).or_else(above).copied().or(self.default)
            }
        };
        at.map(|at| &self.certificates[at].key)
    }
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

    fn set(pairs: &[CertificatePair]) -> CertificateSet {
        let (set, broken) = CertificateSet::load(pairs);
        assert_eq!(broken, []);
        set
    }

    #[test]
    fn the_exact_name_goes_before_the_wildcard_and_the_default_comes_last() {
        let pairs = [
            pair("wild", &["*.example.com"]),
            pair("shop", &["shop.example.com", "Example.com"]),
            pair("again", &["shop.example.com"]),
            pair("other", &["other.example"]),
        ];
        let named = |set: &CertificateSet, host: Option<&str>| {
            let found = set.find(host)?;
            set.certificates().iter().find(|certificate| Arc::ptr_eq(&certificate.key, found)).map(|found| found.name().to_owned())
        };
        let without = set(&pairs);
        let check = |host: Option<&str>, expected: Option<&str>| assert_eq!(named(&without, host).as_deref(), expected, "{host:?}");
        check(Some("shop.example.com"), Some("again"));
        check(Some("SHOP.example.com."), Some("again"));
        check(Some("example.com"), Some("shop"));
        check(Some("x.example.com"), Some("wild"));
        check(Some("x.y.example.com"), None);
        check(Some("unknown.example"), None);
        check(Some("com"), None);
        check(None, Some("again"));
        let with = set(&[pairs.as_slice(), &[pair("default", &[])]].concat());
        assert_eq!(named(&with, Some("unknown.example")).as_deref(), Some("default"));
        assert_eq!(named(&with, Some("other.example")).as_deref(), Some("other"));
        assert_eq!(named(&with, None).as_deref(), Some("default"));
        assert!(CertificateSet::default().find(None).is_none());
    }

    #[test]
    fn the_pair_of_a_route_goes_before_those_of_the_directory() {
        let (directory, exact, below) = (pair("dir", &["a.test", "b.test"]), pair("exact", &["a.test"]), pair("below", &["x.test"]));
        let broken = CertificatePair { chain: "none".into(), ..pair("broken", &["b.test"]) };
        let hosts = [("A.test".to_owned(), exact.clone()), ("*.c.test".to_owned(), below.clone()), ("b.test".to_owned(), broken)];
        let (set, refused) = set(std::slice::from_ref(&directory)).with_hosts(&hosts);
        assert_eq!(refused, [("broken".to_owned(), CertificateError::NoCertificate)]);
        assert_eq!(set.broken(), ["broken"]);
        let first = |pair: &CertificatePair| CertificateDer::from_pem_slice(pair.chain.as_bytes()).expect("a certificate");
        let check = |host: &str, expected: Option<&CertificatePair>| {
            assert_eq!(set.find(Some(host)).map(|key| key.cert[0].clone()), expected.map(first), "{host}");
        };
        check("a.test", Some(&exact));
        check("x.c.test", Some(&below));
        check("x.y.c.test", Some(&below));
        check("c.test", None);
        check("b.test", Some(&directory));
    }

    #[test]
    fn what_cannot_be_used_is_told_apart_and_the_rest_stays() {
        let (good, other) = (pair("good", &["a.example"]), pair("other", &["b.example"]));
        let with = |change: &dyn Fn(&mut CertificatePair)| {
            let mut pair = pair("bad", &["c.example"]);
            change(&mut pair);
            pair
        };
        let check = |change: &dyn Fn(&mut CertificatePair), expected: CertificateError| {
            let (set, broken) = CertificateSet::load(&[good.clone(), with(change)]);
            assert_eq!(broken, [("bad".to_owned(), expected)]);
            assert_eq!((set.certificates().len(), set.broken()), (1, ["bad".to_owned()].as_slice()));
        };
        check(&|pair| pair.key = other.key.clone(), CertificateError::Mismatch);
        check(&|pair| pair.chain.clear(), CertificateError::NoCertificate);
        check(&|pair| pair.chain.truncate(pair.chain.len() / 2), CertificateError::NotPem);
        check(&|pair| pair.key = KeyText::new(String::new()), CertificateError::NoKey);
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        check(&|pair| pair.key = KeyText::new(locked.to_owned()), CertificateError::EncryptedKey);
        let nameless = with(&|pair| *pair = self::pair("bad", &[]));
        assert_eq!(Certificate::load(&nameless).err(), Some(CertificateError::NoName));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let unreadable = with(&|pair| pair.chain = garbage.to_owned());
        assert!(matches!(Certificate::load(&unreadable), Err(CertificateError::Certificate(_))));
    }

    #[test]
    fn a_key_is_never_shown() {
        let pair = pair("a", &["a.example"]);
        let secret = pair.key.0.lines().nth(1).expect("a line of the key").to_owned();
        let shown = format!("{pair:?} {:?}", Certificate::load(&pair));
        assert!(!shown.contains(&secret) && !shown.contains("PRIVATE"), "{shown}");
    }
}
