//! Credentials belong together, before and after their files. Owns examples; must never open a connection.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::{
    Role,
    authorities::AuthorityParts,
    fixture::{HOUR, Lab, NOW, after},
};

#[test]
fn credentials_are_the_same_after_their_files() {
    let lab = Lab::new();
    let node = lab.node(7, Role::Server);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server");
    node.write(&path).expect("written");
    let read = Credentials::read(&path).expect("read");
    assert_eq!((read.identity(), read.key_digest(), read.validity()), (node.identity(), node.key_digest(), node.validity()));
    assert_eq!((read.certificate(), read.authority().digest()), (node.certificate(), lab.authority.digest()));
    for file in [KEY_FILE, CHAIN_FILE] {
        assert_eq!(fs::metadata(path.join(file)).expect("there").permissions().mode() & 0o777, 0o600, "{file}");
    }
    // A renewal that got no further than the key, which is the same.
    let renewed = lab.renewed(node.identity(), node.key(), after(NOW, HOUR * 12));
    renewed.key().write(&path.join(KEY_FILE)).expect("written");
    assert_eq!(Credentials::read(&path).expect("read").certificate(), node.certificate());
    renewed.write(&path).expect("written");
    assert_eq!(Credentials::read(&path).expect("read").certificate(), renewed.certificate());
}

#[test]
fn what_does_not_belong_together_is_told() {
    let (lab, other) = (Lab::new(), Lab::new());
    let node = lab.node(7, Role::Server);
    let new = |key: &KeyPair, certificate: &[u8], lab: &Lab| {
        Credentials::new(key.clone(), certificate, lab.authority.certificate().clone()).err()
    };
    assert!(new(node.key(), node.certificate(), &lab).is_none());
    assert!(matches!(new(&KeyPair::generate(), node.certificate(), &lab), Some(CredentialsError::OtherKey)));
    assert!(matches!(new(node.key(), node.certificate(), &other), Some(CredentialsError::Refused(Refusal::OtherCluster { .. }))));
    assert!(matches!(new(node.key(), b"none", &lab), Some(CredentialsError::Certificate(_))));
    let directory = tempfile::tempdir().expect("a directory");
    node.write(directory.path()).expect("written");
    let chain = directory.path().join(CHAIN_FILE);
    let text = fs::read_to_string(&chain).expect("text");
    for broken in [String::new(), text[..text.len() / 2].to_owned(), format!("{text}{text}")] {
        fs::write(&chain, broken).expect("written");
        assert!(matches!(Credentials::read(directory.path()), Err(CredentialsError::Chain { .. })));
    }
}

#[test]
fn a_node_that_joins_anew_does_not_go_by_what_its_directory_knew_before() {
    let lab = Lab::new();
    let (next, cross) = lab.successor();
    let (old, new) = (lab.authority.certificate().der(), next.authority.certificate().der());
    let set = Authorities::new(&AuthorityParts { version: 7, trusted: &[new], retired: &[old], crosses: &[&cross] }).expect("a set");
    let node = next.node(7, Role::Server);
    let directory = tempfile::tempdir().expect("a directory");
    let rotated = Credentials::new(node.key().clone(), node.certificate(), set).expect("they belong together");
    rotated.write(directory.path()).expect("written");
    assert_eq!(Credentials::read(directory.path()).expect("read").authorities().version(), 7);
    // The cluster was restored from before the rotation: the old authority signs again, and nobody knows of another one.
    lab.node(9, Role::Server).write(directory.path()).expect("written");
    let read = Credentials::read(directory.path()).expect("read");
    assert_eq!((read.authorities().version(), read.authorities().signing().digest()), (0, lab.authority.digest()));
    assert!(read.authorities().retired().is_empty());
}
