//! What carries a secret over the wire shows none of it where it is printed: a log has no other way to learn of it. Owns the list of these types.

use api::{
    client::Token,
    node::{AssignedApp, AssignmentPart},
    peer::JoinRequest,
    v1::{ApplyRequest, NewApiToken, NewJoinToken, PlanRequest, SecretRequest},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const CANARY: &str = "canary-in-the-mine";

/// What `T`, read from `wire`, prints in both forms, which must be without the secret that `wire` has.
fn shown<T: DeserializeOwned + std::fmt::Debug>(wire: Value) -> String {
    assert!(wire.to_string().contains(CANARY), "there is no canary in {wire}");
    let read: T = serde_json::from_value(wire).unwrap_or_else(|error| panic!("{}: {error}", std::any::type_name::<T>()));
    let printed = format!("{read:?} {read:#?}");
    assert!(!printed.contains(CANARY), "{} shows its secret: {printed}", std::any::type_name::<T>());
    printed
}

fn secret() -> Value {
    json!({"apiVersion": "shoal.dev/v1", "kind": "Secret", "metadata": {"name": "s"}, "spec": {"type": "opaque", "data": {"k": CANARY}}})
}

#[test]
fn nothing_that_carries_a_secret_prints_it() {
    shown::<SecretRequest>(json!({"type": "opaque", "data": {"key": CANARY}}));
    shown::<ApplyRequest>(json!({"documents": [secret()], "by": "ana"}));
    shown::<PlanRequest>(json!({"documents": [secret()]}));
    let node = json!({"name": "two", "memoryBytes": 1, "cpuMillis": 1});
    let joins = shown::<JoinRequest>(json!({"token": CANARY, "node": node, "requests": []}));
    assert!(joins.contains("two"), "who asks is no secret: {joins}");
    let command = format!("SHOAL_JOIN_TOKEN={CANARY} shoal worker");
    let made = json!({"token": CANARY, "id": "k3v9", "expiresAt": "2026-01-01T00:00:00Z", "command": command});
    assert!(shown::<NewJoinToken>(made.clone()).contains("k3v9"), "the id is for lists and logs");
    assert!(shown::<NewApiToken>(made).contains("k3v9"));
    let assigned = json!({"secret": "s", "version": 1, "values": {"key": CANARY}});
    let app = json!({"app": "hello", "programs": [], "routes": [], "secrets": [assigned]});
    shown::<AssignedApp>(app.clone());
    shown::<AssignmentPart>(json!({"generation": 1, "node": 1, "apps": [app], "gone": [], "more": false}));
    let token: Token = CANARY.parse().expect("it has the letters of one");
    assert!(!format!("{token:?}").contains(CANARY));
}
