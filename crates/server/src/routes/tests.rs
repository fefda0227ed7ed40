//! What the table of endpoints promises of each of them: what a late answer says, and whether it leaves an entry in the audit log.

use std::collections::BTreeMap;

use api::{openapi, peer::DEADLINE_HEADER};
use http_body_util::BodyExt;

use super::*;

async fn code_when_late(method: Method, path: &'static str) -> String {
    let handler = || std::future::pending::<&str>();
    let handler = get(handler).post(handler).delete(handler).layer(from_fn(deadline));
    let router: Router = Router::new().route("/v1/plan", handler.clone()).route("/v1/apps/{app}", handler);
    let request = Request::builder().method(method).uri(path).header(DEADLINE_HEADER, 0).body(Body::empty()).expect("a request");
    let answer = router.oneshot(request).await.expect("it answers");
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    let body = answer.into_body().collect().await.expect("an answer has a body").to_bytes();
    serde_json::from_slice::<v1::ErrorBody>(&body).expect("an error").error.code
}

#[tokio::test]
async fn a_change_that_is_given_up_is_in_doubt_and_a_question_is_not() {
    assert_eq!(code_when_late(Method::DELETE, "/v1/apps/hello").await, "E0431");
    assert_eq!(code_when_late(Method::POST, "/v1/apps/hello").await, "E0431");
    assert_eq!(code_when_late(Method::GET, "/v1/apps/hello").await, "E0407");
    assert_eq!(code_when_late(Method::POST, "/v1/plan").await, "E0407");
}

/// What an endpoint leaves in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// An entry per change, in the same entry of the log as the change.
    Change,
    /// An entry that says `begun`, before it is done.
    Deed,
    /// None, for this reason.
    Nothing(&'static str),
}

/// Every endpoint that is no mere question.
const AUDITED: [(&str, &str, Leaves); 21] = [
    ("DELETE", "/v1/namespaces/{namespace}/apps/{app}", Leaves::Change),
    ("POST", "/v1/namespaces/{namespace}/apps/{app}/undo", Leaves::Change),
    (
        "PUT",
        "/v1/artifacts/{digest}",
        Leaves::Nothing("bytes that no app names are served to nobody; the apply that names them has an entry"),
    ),
    ("POST", "/v1/plan", Leaves::Nothing("it is a question with a body")),
    ("POST", "/v1/apply", Leaves::Change),
    ("POST", "/v1/members/{name}/promote", Leaves::Deed),
    ("DELETE", "/v1/members/{name}", Leaves::Deed),
    ("DELETE", "/v1/nodes/{name}", Leaves::Deed),
    ("POST", "/v1/leader", Leaves::Deed),
    ("POST", "/v1/authority/rotate", Leaves::Change),
    ("POST", "/v1/join-tokens", Leaves::Change),
    ("DELETE", "/v1/join-tokens/{id}", Leaves::Change),
    ("POST", "/v1/tokens", Leaves::Change),
    ("DELETE", "/v1/tokens/{id}", Leaves::Change),
    ("PUT", "/v1/namespaces/{namespace}/configs/{name}", Leaves::Change),
    ("DELETE", "/v1/namespaces/{namespace}/configs/{name}", Leaves::Change),
    ("PUT", "/v1/namespaces/{namespace}/secrets/{name}", Leaves::Change),
    ("DELETE", "/v1/namespaces/{namespace}/secrets/{name}", Leaves::Change),
    ("DELETE", "/v1/namespaces/{name}", Leaves::Change),
    ("GET", "/v1/snapshot", Leaves::Deed),
    ("GET", "/v1/secrets", Leaves::Nothing("it shows no value")),
];

#[test]
fn every_endpoint_that_changes_something_says_what_it_leaves_in_the_audit_log() {
    let known: BTreeMap<_, _> = AUDITED.into_iter().map(|(method, path, leaves)| ((method, path), leaves)).collect();
    let endpoints = public_endpoints();
    for Endpoint { operation: Operation { method, path, .. }, .. } in &endpoints {
        let leaves = known.get(&(method.as_str(), *path));
        assert!(method.is_safe() || leaves.is_some(), "{method} {path} leaves an entry in the audit log, or says here why it leaves none");
        let unwritten = matches!(leaves, Some(Leaves::Nothing(_))) && !method.is_safe();
        // What changes the state goes to the leader, which writes it; what stays here cannot have an entry.
        assert!(
            !unwritten || *path == "/v1/artifacts/{digest}" || !forward::changes(method, path),
            "{method} {path} is passed on like a change"
        );
    }
    for (method, path) in known.keys() {
        let is_there = endpoints.iter().any(|endpoint| endpoint.operation.method.as_str() == *method && endpoint.operation.path == *path);
        assert!(is_there, "{method} {path} is no endpoint any more");
    }
}

#[test]
fn every_endpoint_and_every_reference_is_there() {
    let endpoints = public_endpoints();
    let document = openapi::document(endpoints.iter().map(|endpoint| &endpoint.operation));
    for Endpoint { operation: asked, .. } in &endpoints {
        let operation = &document["paths"][asked.path][asked.method.as_str().to_lowercase()];
        assert_eq!(operation["summary"], asked.summary, "{} {}", asked.method, asked.path);
    }
    let text = document.to_string();
    for (at, _) in text.match_indices("#/components/schemas/") {
        let name = text[at + "#/components/schemas/".len()..].split('"').next().expect("a reference ends");
        assert!(document["components"]["schemas"][name].is_object(), "{name} is referred to and not there");
    }
    let asked = document["paths"]["/v1/logs"]["get"]["parameters"].as_array().expect("a list");
    assert!(asked.iter().any(|parameter| parameter["name"] == "follow"), "{asked:?}");
    let answer = |path: &str| document["paths"][path]["get"]["responses"]["2XX"]["content"]["application/json"]["schema"].clone();
    assert_ne!(answer("/v1/apps"), answer("/v1/nodes"), "lists of different things are different schemas");
}
