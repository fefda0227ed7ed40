//! What is asked again under its key, after the answer to the first try was lost: done once, whatever somebody else did meanwhile.

use serde_json::{Value, json};

use super::fixture::ControlPlane;

/// The status and the body of one call that shows `key`.
async fn call(plane: &ControlPlane, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = plane.raw(plane.api, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

/// A Secret as the command line sends it.
fn secret(value: &str) -> Value {
    let text = "apiVersion: shoal.dev/v1\nkind: Secret\nmetadata: {name: db}\nspec: {data: {password: VALUE}}\n";
    let documents = model::manifest::parse(&text.replace("VALUE", value), "db.yaml", &Default::default()).expect("a manifest");
    documents[0].to_canonical()
}

fn versions(body: &Value) -> Vec<u64> {
    body["items"].as_array().expect("a list").iter().filter_map(|item| item["version"].as_u64()).collect()
}

#[tokio::test]
async fn the_values_of_a_secret_are_set_once() {
    const PATH: &str = "/v1/namespaces/default/secrets/db";
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let (one, two) = (json!({"data": {"password": "b25l"}}), json!({"data": {"password": "dHdv"}}));
    let first = call(&plane, "PUT", PATH, "k1", &one).await;
    assert_eq!(first.0, 200, "{first:?}");
    let second = call(&plane, "PUT", PATH, "k2", &two).await;
    assert_eq!(second.0, 200, "{second:?}");
    let again = call(&plane, "PUT", PATH, "k1", &one).await;
    assert_eq!((again.0, &again.1["version"]), (200, &first.1["version"]), "answered as it was");
    let (_, list) = call(&plane, "GET", "/v1/secrets", "g", &Value::Null).await;
    assert_eq!(Some(versions(&list)), second.1["version"].as_u64().map(|version| vec![version]), "what was written last stays: {list}");
    // The same values under another key are another wish.
    let third = call(&plane, "PUT", PATH, "k3", &one).await;
    assert!(third.0 == 200 && third.1["version"].as_u64() > second.1["version"].as_u64(), "{third:?}");
    plane.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_applied_is_set_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let apply = |value: &str| json!({"documents": [secret(value)], "by": "ana"});
    let first = call(&plane, "POST", "/v1/apply", "k1", &apply("one")).await;
    assert_eq!(first.0, 200, "{first:?}");
    let second = call(&plane, "POST", "/v1/apply", "k2", &apply("two")).await;
    assert_eq!(second.0, 200, "{second:?}");
    let again = call(&plane, "POST", "/v1/apply", "k1", &apply("one")).await;
    assert_eq!((again.0, &again.1["values"]), (200, &first.1["values"]), "answered as it was");
    let (_, list) = call(&plane, "GET", "/v1/secrets", "g", &Value::Null).await;
    assert_eq!(Some(versions(&list)), second.1["values"][0]["version"].as_u64().map(|version| vec![version]), "{list}");
    plane.stop().await;
}
