//! What is sealed opens only with its key and in its place; anything else is told apart. Owns examples; must never weaken the product for them.

use proptest::prelude::*;

use super::*;

const PLACE: Place<'static> = Place { id: "secret/default/db", version: 3 };

fn key() -> ClusterKey {
    ClusterKey::from_bytes([7; KEY_BYTES])
}

/// Sealed when the layout was frozen; nonces and data key are random, so nothing is sealed twice to the same bytes.
const FROZEN: &str = "AU3S2eiNKiDYBEBZF3topr6KQJ13O1A0Q3r7Ed66+myWZgCPUNTjVCxIPpJaJmJIGeBfrarRA4mhQxpStysOM0WY8sga1Rq/ZVCtqgGBFjKLyAyBwDOED5aQrmG4kx+Jap4RJc4F5Ad61FR8njdWgg==";

#[test]
fn what_was_sealed_once_opens_for_ever() {
    let sealed: Sealed = serde_json::from_str(&format!("\"{FROZEN}\"")).expect("a sealed text");
    assert_eq!(key().open(&sealed, PLACE).expect("opened").as_slice(), b"hunter2");
    assert_eq!(serde_json::to_string(&sealed).expect("text"), format!("\"{FROZEN}\""));
    assert_eq!(sealed.to_bytes().len(), HEAD_BYTES + 7 + TAG_BYTES);
    assert_eq!(key().id().to_string(), "jxjnt2enfiqnq");
}

#[test]
fn each_reason_has_its_own_words() {
    let sealed = key().seal(b"hunter2", PLACE);
    let told = |key: &ClusterKey, sealed: &Sealed, place| key.open(sealed, place).expect_err("refused").to_string();
    let other = ClusterKey::from_bytes([8; KEY_BYTES]);
    let (ours, theirs) = (key().id(), other.id());
    assert_eq!(told(&other, &sealed, PLACE), format!("it was sealed with the cluster key {ours}, this node holds {theirs}"));
    let elsewhere = "it was not sealed for secret/default/db version 4: it is another secret's, or another version";
    assert_eq!(told(&key(), &sealed, Place { version: 4, ..PLACE }), elsewhere);
    assert!(matches!(key().open(&sealed, Place { id: "secret/default/d", ..PLACE }), Err(SealError::OtherPlace { .. })));
    let damaged = "what was sealed for secret/default/db version 3 has been changed since, or is damaged";
    let changed = Sealed { nonce: [0; NONCE_LEN], ..sealed.clone() };
    assert_eq!(told(&key(), &changed, PLACE), damaged);
    // Whoever also changes what says the place and the key gets no further.
    let moved = Sealed { place: Place { version: 4, ..PLACE }.digest(), ..sealed.clone() };
    assert!(matches!(key().open(&moved, Place { version: 4, ..PLACE }), Err(SealError::Damaged { .. })));
    let renamed = Sealed { key_id: theirs, ..sealed };
    assert!(matches!(other.open(&renamed, PLACE), Err(SealError::Damaged { .. })));
}

#[test]
fn nothing_is_shown() {
    let sealed = key().seal(b"hunter2", PLACE);
    let shown = format!("{:?} {sealed:?}", key());
    assert_eq!(shown, format!("ClusterKey({id}) Sealed(7 bytes with {id})", id = key().id()));
}

#[test]
fn a_key_is_the_same_after_its_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cluster.key");
    let key = ClusterKey::random();
    key.write(&path).expect("written");
    assert_eq!(ClusterKey::read(&path).expect("read"), key);
    let text = std::fs::read_to_string(&path).expect("text");
    for changed in [String::new(), text.replace("key-1", "key-2"), text.replace('\n', "a\n"), text[..40].to_owned()] {
        files::write_private(&path, changed.as_bytes()).expect("written");
        assert!(matches!(ClusterKey::read(&path), Err(SealError::NoKey { .. })), "{changed}");
    }
}

proptest! {
    #[test]
    fn what_is_sealed_opens(text: Vec<u8>, id in ".*", version: u64) {
        let place = Place { id: &id, version };
        let sealed = key().seal(&text, place);
        let read = Sealed::from_bytes(&sealed.to_bytes()).expect("the layout");
        prop_assert_eq!(&read, &sealed);
        let opened = key().open(&read, place).expect("opened");
        prop_assert_eq!(opened.as_slice(), text.as_slice());
        prop_assert_ne!(key().seal(&text, place), sealed, "never twice the same");
    }

    #[test]
    fn no_bit_can_be_changed(text in prop::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index, bit in 0_u8..8) {
        let mut bytes = key().seal(&text, PLACE).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let opened = Sealed::from_bytes(&bytes).and_then(|sealed| key().open(&sealed, PLACE));
        prop_assert!(opened.is_err(), "bit {} of byte {}", bit, at);
    }

    #[test]
    fn no_end_can_be_cut_off(text in prop::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index) {
        let bytes = key().seal(&text, PLACE).to_bytes();
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(Sealed::from_bytes(cut).and_then(|sealed| key().open(&sealed, PLACE)).is_err());
    }

    #[test]
    fn no_bytes_are_too_strange(bytes: Vec<u8>) {
        if let Ok(sealed) = Sealed::from_bytes(&bytes) {
            prop_assert_eq!(sealed.to_bytes(), bytes);
            prop_assert!(key().open(&sealed, PLACE).is_err());
        }
    }
}
