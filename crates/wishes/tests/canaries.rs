//! A request that carries the value of a secret shows none of it where it is printed, also when it is refused.

use serde_json::{Value, json};
use wishes::documents;

const CANARY: &str = "canary-in-the-mine";

fn check(document: Value) {
    assert!(document.to_string().contains(CANARY));
    let read = documents::read(vec![document]).expect("one document");
    let printed = format!("{read:?} {read:#?}");
    assert!(!printed.contains(CANARY), "a secret is shown: {printed}");
}

#[test]
fn no_document_prints_the_value_of_a_secret() {
    let secret = |spec: Value| json!({"apiVersion": "shoal.dev/v1", "kind": "Secret", "metadata": {"name": "s"}, "spec": spec});
    check(secret(json!({"type": "opaque", "data": {"key": CANARY}})));
    // Refused, and the reasons do not quote it.
    check(secret(json!({"type": "opaque", "data": {"not a key": CANARY}})));
    check(secret(json!({"type": "opaque", "data": {"key": [CANARY]}})));
    check(secret(json!({"type": "opaque", "data": CANARY})));
    check(secret(json!({"type": "nothing-known", "data": {"key": CANARY}})));
}
