//! What becomes of certificates that change, break and go away.

use std::{fs, path::Path};

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// Writes a pair for `host` that ends on the first of January of `year`.
fn write(directory: &Path, name: &str, host: &str, year: i32) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    fs::write(directory.join(format!("{name}.crt")), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

fn names(keeper: &Keeper) -> (Vec<String>, Vec<String>) {
    let bundle = keeper.subscribe().borrow().clone();
    (bundle.pairs.iter().map(|pair| pair.name.clone()).collect(), bundle.broken.clone())
}

#[test]
fn a_broken_pair_keeps_the_last_good_one_and_a_mended_one_replaces_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(path, "one", "one.example", 2100);
    write(path, "two", "two.example", 2100);
    let keeper = Keeper::open(path.to_owned()).unwrap();
    let mut changes = keeper.subscribe();
    let first = changes.borrow_and_update().clone();
    assert_eq!(names(&keeper), (vec!["one".into(), "two".into()], vec![]));
    keeper.look();
    assert!(!changes.has_changed().unwrap(), "nothing is sent when nothing changed");

    // The key of another pair: what is served stays, and says so.
    fs::copy(path.join("two.key"), path.join("one.key")).unwrap();
    keeper.look();
    let broken = changes.borrow_and_update().clone();
    assert_eq!((&broken.pairs, broken.broken.as_slice()), (&first.pairs, ["one".to_owned()].as_slice()));
    fs::remove_file(path.join("one.key")).unwrap();
    keeper.look();
    assert_eq!(changes.borrow_and_update().pairs, first.pairs);

    write(path, "one", "one.example", 2101);
    keeper.look();
    let mended = changes.borrow_and_update().clone();
    assert!(mended.broken.is_empty() && mended.pairs[0] != first.pairs[0] && mended.pairs[1] == first.pairs[1]);

    fs::remove_file(path.join("two.key")).unwrap();
    fs::remove_file(path.join("two.crt")).unwrap();
    keeper.look();
    assert_eq!(names(&keeper), (vec!["one".into()], vec![]));
    drop(directory);
    keeper.look();
    assert_eq!(names(&keeper).0, ["one"], "a directory that is gone takes nothing away");
}

#[test]
fn a_directory_without_a_usable_pair_is_refused_at_the_start_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let check = |path: &Path, words: &str| {
        let error = Keeper::open(path.to_owned()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(words), "`{words}` is not in {text}");
    };
    check(&directory.path().join("absent"), "No such file");
    check(directory.path(), "no certificate with its key");
    fs::write(directory.path().join("a.crt"), "nonsense").unwrap();
    check(directory.path(), "there is no a.key for a.crt");
    write(directory.path(), "b", "b.example", 2100);
    let keeper = Keeper::open(directory.path().to_owned()).expect("one good pair is enough");
    assert_eq!(names(&keeper), (vec!["b".into()], vec!["a".into()]));
}

#[test]
fn an_expired_certificate_is_used() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "old", "old.example", 2001);
    let keeper = Keeper::open(directory.path().to_owned()).unwrap();
    assert_eq!(names(&keeper), (vec!["old".into()], vec![]));
}

#[test]
fn no_key_is_in_what_could_be_logged() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "one", "one.example", 2100);
    let keeper = Keeper::open(directory.path().to_owned()).unwrap();
    let key = fs::read_to_string(directory.path().join("one.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    let bundle = keeper.subscribe().borrow().clone();
    assert!(!format!("{keeper:?} {bundle:?}").contains(secret));
    assert!(serde_json::to_string(&bundle.pairs).unwrap().contains(secret), "whoever serves needs it");
}
