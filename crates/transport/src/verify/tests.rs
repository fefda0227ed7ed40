//! The rules for certificates as a table, in virtual time. Owns examples; must never open a connection.

use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyUsagePurpose, SanType};

use super::*;
use crate::{
    Authority, ClusterId, Credentials, KeyPair, Role,
    clock::tell,
    fixture::{HOUR, Lab, NOW, after, before, edges, members},
};

const DAYS: Duration = Duration::from_secs(48 * 3600);

fn judged(lab: &Lab, list: &Members, credentials: &Credentials, now: Timestamp) -> Result<Peer, Refusal> {
    alone(lab, list, &credentials.certificate().into(), now)
}

/// Of a cluster with one authority, of which nothing but the peer's certificate is shown.
fn alone(lab: &Lab, list: &Members, certificate: &CertificateDer<'_>, now: Timestamp) -> Result<Peer, Refusal> {
    let authorities = Authorities::from(lab.authority.certificate().clone());
    judge(&authorities, list, Shown { certificate, behind: &[] }, Side::Client, now).map(|judged| judged.peer)
}

fn peer(credentials: &Credentials) -> Peer {
    Peer { identity: credentials.identity(), key: credentials.key_digest() }
}

#[test]
fn who_is_newer_than_the_list_has_only_its_dates() {
    let lab = Lab::new();
    let node = lab.node(7, Role::Server);
    for list in [Members::default(), members(6, &[&lab.node(1, Role::Server)])] {
        for (now, holds) in edges() {
            assert_eq!(judged(&lab, &list, &node, now).is_ok(), holds, "{}", tell(now));
        }
    }
    let identity = node.identity();
    let now = after(NOW, DAYS);
    let ended = Refusal::Expired { identity, not_after: after(NOW, HOUR * 24), now };
    assert_eq!(judged(&lab, &Members::default(), &node, now), Err(ended));
    let now = before(NOW, DAYS);
    let not_begun = Refusal::NotYetValid { identity, not_before: before(NOW, HOUR * 2), now };
    assert_eq!(judged(&lab, &Members::default(), &node, now), Err(not_begun));
}

#[test]
fn a_member_is_let_in_whatever_the_dates_say() {
    let lab = Lab::new();
    let (node, other) = (lab.node(7, Role::Server), lab.node(1, Role::Server));
    let list = members(20, &[&node, &other]);
    for (now, _) in edges() {
        assert_eq!(judged(&lab, &list, &node, now), Ok(peer(&node)), "{}", tell(now));
    }
    for now in [after(NOW, DAYS), before(NOW, DAYS), after(NOW, HOUR), before(NOW, HOUR), after(NOW, DAYS * 2_000)] {
        assert_eq!(judged(&lab, &list, &node, now), Ok(peer(&node)), "{}", tell(now));
    }
}

#[test]
fn a_clock_that_is_an_hour_wrong_stops_nobody_who_joins() {
    let lab = Lab::new();
    for made in [before(NOW, HOUR), NOW, after(NOW, HOUR)] {
        let node = lab.renewed(lab.identity(7, Role::Worker), &KeyPair::generate(), made);
        for now in [before(NOW, HOUR), NOW, after(NOW, HOUR)] {
            assert_eq!(judged(&lab, &Members::default(), &node, now), Ok(peer(&node)), "{} {}", tell(made), tell(now));
        }
    }
}

#[test]
fn who_was_removed_is_refused_however_fresh_the_certificate_is() {
    let lab = Lab::new();
    let (removed, stays) = (lab.node(7, Role::Server), lab.node(1, Role::Server));
    let list = members(20, &[&stays]);
    let identity = removed.identity();
    assert_eq!(judged(&lab, &list, &removed, NOW), Err(Refusal::Removed { identity }));
    assert_eq!(judged(&lab, &list, &removed, after(NOW, DAYS)), Err(Refusal::Removed { identity }));
    // A new certificate for the number of a member, with another key.
    let impostor = lab.node(1, Role::Server);
    assert_eq!(judged(&lab, &list, &impostor, NOW), Err(Refusal::OtherKey { identity: impostor.identity() }));
    // The same key in another role.
    let both = lab.renewed(lab.identity(1, Role::Worker), stays.key(), NOW);
    assert_eq!(judged(&lab, &list, &both, NOW), Err(Refusal::OtherKey { identity: both.identity() }));
}

#[test]
fn another_cluster_s_certificate_is_refused_even_of_a_member() {
    let (lab, other) = (Lab::new(), Lab::new());
    let node = other.node(7, Role::Server);
    let (theirs, ours) = (other.authority.cluster(), lab.authority.cluster());
    for list in [Members::default(), members(20, &[&node])] {
        for now in [NOW, after(NOW, DAYS)] {
            assert_eq!(judged(&lab, &list, &node, now), Err(Refusal::OtherCluster { theirs, ours }));
        }
    }
    // An authority of the same cluster id and name, with another key.
    let forged = Lab { authority: Authority::create(ours, NOW).expect("an authority") };
    let node = forged.node(7, Role::Server);
    assert_eq!(judged(&lab, &members(20, &[&node]), &node, NOW), Err(Refusal::NotSigned { ours }));
}

/// A certificate that our authority's key signed, but not as the authority makes them.
fn odd(lab: &Lab, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> rcgen::Certificate {
    let mut parameters = CertificateParams::default();
    parameters.not_before = rcgen::date_time_ymd(2026, 11, 1);
    parameters.not_after = rcgen::date_time_ymd(2026, 12, 1);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let name = lab.identity(7, Role::Server).name();
    parameters.subject_alt_names = vec![SanType::DnsName(name.try_into().expect("a name"))];
    change(&mut parameters);
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = crate::authority::subject(lab.authority.cluster());
    issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters.signed_by(key, &Issuer::new(issuer, lab.authority.signer())).expect("a certificate")
}

#[test]
fn a_certificate_that_is_not_one_node_s_is_refused() {
    let lab = Lab::new();
    let key = KeyPair::generate();
    let check = |change: &dyn Fn(&mut CertificateParams), expected: &dyn Fn(&Result<Peer, Refusal>) -> bool| {
        let certificate = odd(&lab, &key, change);
        let found = alone(&lab, &Members::default(), certificate.der(), NOW);
        assert!(expected(&found), "{found:?}");
    };
    let name = |node, role| SanType::DnsName(lab.identity(node, role).name().try_into().expect("a name"));
    check(&|_| {}, &Result::is_ok);
    check(&|made| made.subject_alt_names.clear(), &|found| *found == Err(Refusal::NoIdentity));
    check(&|made| made.subject_alt_names.push(name(8, Role::Server)), &|found| *found == Err(Refusal::NoIdentity));
    check(&|made| made.subject_alt_names.push(name(7, Role::Worker)), &|found| *found == Err(Refusal::NoIdentity));
    let only_servers = vec![ExtendedKeyUsagePurpose::ServerAuth];
    check(&|made| made.extended_key_usages.clone_from(&only_servers), &|found| matches!(found, Err(Refusal::Purpose(_))));
    check(&|made| made.extended_key_usages.clear(), &|found| matches!(found, Err(Refusal::Purpose(_))));
    let authority = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    check(&|made| made.is_ca = authority, &|found| matches!(found, Err(Refusal::Purpose(_))));
    let other = crate::NodeIdentity { cluster: ClusterId::from_bytes([9; 16]), ..lab.identity(7, Role::Server) };
    let other = SanType::DnsName(other.name().try_into().expect("a name"));
    check(&|made| made.subject_alt_names = vec![other.clone()], &|found| matches!(found, Err(Refusal::OtherCluster { .. })));
}

#[test]
fn who_signed_for_themselves_is_refused() {
    let lab = Lab::new();
    let key = KeyPair::generate();
    let identity = lab.identity(7, Role::Server);
    let mut parameters = CertificateParams::new(vec![identity.name()]).expect("a name");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let list = Members { complete_to: identity.node, keys: [(key.digest(), identity)].into() };
    for subject in [parameters.distinguished_name.clone(), crate::authority::subject(lab.authority.cluster())] {
        parameters.distinguished_name = subject;
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let found = alone(&lab, &list, certificate.der(), NOW);
        assert_eq!(found, Err(Refusal::NotSigned { ours: lab.authority.cluster() }));
    }
}

#[test]
fn no_byte_of_a_certificate_can_be_changed() {
    let lab = Lab::new();
    let node = lab.node(7, Role::Server);
    // Even a member's, whose dates do not matter.
    let list = members(20, &[&node]);
    for at in 0..node.certificate().len() {
        let mut changed = node.certificate().to_vec();
        changed[at] ^= 1;
        let found = alone(&lab, &list, &changed.into(), NOW);
        assert!(found.is_err(), "byte {at}: {found:?}");
    }
    for length in 0..node.certificate().len() {
        let cut = node.certificate()[..length].to_vec();
        assert!(alone(&lab, &list, &cut.into(), NOW).is_err(), "cut at {length}");
    }
}
