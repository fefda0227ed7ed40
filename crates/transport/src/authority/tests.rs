//! What the authority makes, and what it refuses to. Owns examples; must never judge a peer.

use rustls::pki_types::ServerName;

use super::*;
use crate::{
    Role, SealError,
    fixture::{HOUR, Lab, NOW, after, before},
};

const NAMES: [&str; 4] = ["api.example.com", "10.0.0.7", "::1", "localhost"];

fn names() -> Vec<String> {
    NAMES.map(str::to_owned).to_vec()
}

#[test]
fn a_certificate_says_what_it_was_asked_to_say() {
    let lab = Lab::new();
    let identity = lab.identity(7, Role::Server);
    let key = KeyPair::generate().public();
    let issue = Issue { identity, key: &key, names: &names(), now: Timestamp(NOW.0 + 999), lifetime: HOUR * 24 };
    let der = CertificateDer::from(lab.authority.issue(&issue).expect("a certificate"));
    assert_eq!(digest_of(&der), Ok(key.digest()));
    let validity = lab.authority.certificate().validity_of(&der).expect("dates");
    assert_eq!((validity.not_before, validity.not_after), (before(NOW, HOUR * 2), after(NOW, HOUR * 24)));
    assert_eq!(validity.renew_at(), after(NOW, HOUR * 12));
    let certificate = EndEntityCert::try_from(&der).expect("a certificate");
    for name in NAMES.into_iter().chain([identity.name().as_str()]) {
        let name = ServerName::try_from(name).expect("a name");
        assert!(certificate.verify_is_valid_for_subject_name(&name).is_ok(), "{name:?}");
    }
    let again = lab.authority.issue(&issue).expect("a certificate");
    let again = CertificateDer::from(again);
    assert_ne!(EndEntityCert::try_from(&again).expect("a certificate").serial(), certificate.serial(), "a number per certificate");
}

#[test]
fn names_that_are_identities_are_never_given() {
    let lab = Lab::new();
    let identity = lab.identity(7, Role::Worker);
    let key = KeyPair::generate().public();
    let other = lab.identity(1, Role::Server).name();
    for name in [
        other.as_str(),
        &other.to_uppercase(),
        &format!("{other}."),
        "shoal.internal",
        "x.shoal.internal",
        "*.example.com",
        "",
        "a b",
        "ä.example",
    ] {
        let issue = Issue { identity, key: &key, names: &[name.to_owned()], now: NOW, lifetime: HOUR };
        let error = lab.authority.issue(&issue).expect_err("refused").to_string();
        assert!(error.starts_with(&format!("`{name}` cannot be in a certificate of worker node-7: ")), "{error}");
    }
    let many = vec!["a.example".to_owned(); NAMES_MAX + 1];
    let issue = Issue { identity, key: &key, names: &many, now: NOW, lifetime: HOUR };
    assert!(matches!(lab.authority.issue(&issue), Err(AuthorityError::TooManyNames { names: 33, .. })));
    let stranger = NodeIdentity { cluster: ClusterId::random(), ..identity };
    let issue = Issue { identity: stranger, key: &key, names: &[], now: NOW, lifetime: HOUR };
    assert!(matches!(lab.authority.issue(&issue), Err(AuthorityError::OtherCluster { .. })));
}

#[test]
fn an_authority_comes_back_from_the_log() {
    let lab = Lab::new();
    let (key, other) = (ClusterKey::random(), ClusterKey::random());
    let (certificate, sealed) = (lab.authority.certificate().der(), lab.authority.seal(&key));
    let opened = Authority::open(certificate, &sealed, &key).expect("opened");
    assert_eq!((opened.digest(), opened.cluster()), (lab.authority.digest(), lab.authority.cluster()));
    // What the one signs, the other accepts.
    let node = Lab { authority: opened }.node(7, Role::Server);
    assert!(crate::Credentials::new(node.key().clone(), node.certificate(), lab.authority.certificate().clone()).is_ok());
    assert!(matches!(Authority::open(certificate, &sealed, &other), Err(AuthorityError::Sealed(SealError::OtherKey { .. }))));
    let stranger = Lab::new();
    let found = Authority::open(stranger.authority.certificate().der(), &sealed, &key);
    assert!(matches!(found, Err(AuthorityError::Sealed(SealError::OtherPlace { .. }))));
    let found = Authority::from_parts(stranger.authority.certificate().der(), lab.authority.signer().clone());
    assert!(matches!(found, Err(AuthorityError::OtherKey)));
}
