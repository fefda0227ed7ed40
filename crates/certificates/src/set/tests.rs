//! Which certificate answers for a name, and what becomes of those that cannot be used.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::*;
use crate::certificate::KeyText;

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
        set.certificates().iter().find(|certificate| Arc::ptr_eq(certificate.key(), found)).map(|found| found.name().to_owned())
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
    assert_eq!(set.of_routes().map(|certificate| certificate.name()).collect::<Vec<_>>(), ["below", "exact"]);
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
