//! Everything a caller can get wrong: refused with its code, and nothing written.

use api::{
    client::ClientError,
    v1::{ApplyRequest, ErrorDetail, EventQuery, UndoRequest},
};
use model::id::{Digest, Index};

use super::fixture::{ControlPlane, component, document, id, refusal};

/// The first problem of each refused document, as code and path.
fn told(error: &ErrorDetail) -> Vec<(usize, &str, &str)> {
    error.details.problems.iter().map(|one| (one.document, one.problem.code.as_str(), one.problem.path.as_str())).collect()
}

#[tokio::test]
async fn wrong_documents_are_refused_together_and_nothing_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let digest = plane.upload(&component("one")).await;
    plane.apply(vec![document("owner", &digest, "taken.localhost", 1)]).await.expect("a good app");
    let before = plane.client.apps(None).await.expect("a list");

    let unknown = Digest::of(b"never uploaded");
    let good = document("good", &digest, "good.localhost", 1);
    let error = plane.apply(vec![good.clone(), document("bad", &unknown, "bad.localhost", 1)]).await.expect_err("unknown digest");
    assert_eq!(told(&error), [(1, "E0206", "spec.components.web.source")]);

    let error = plane.apply(vec![good.clone(), document("thief", &digest, "taken.localhost", 1)]).await.expect_err("collision");
    assert_eq!(told(&error), [(1, "E0401", "spec.components.web.routes[0]")]);
    assert!(error.message.contains("owner/web"), "{}", error.message);

    let error = plane.apply(vec![good.clone(), good.clone()]).await.expect_err("twice");
    assert_eq!(told(&error), [(1, "E0104", "metadata.name")]);

    let mut foreign = good.clone();
    foreign["kind"] = "Deployment".into();
    assert_eq!(plane.apply(vec![foreign]).await.expect_err("another kind").code, "E0110");
    let mut typo = good.clone();
    typo["spec"]["componets"] = serde_json::json!({});
    assert_eq!(plane.apply(vec![typo]).await.expect_err("an unknown field").code, "E0103");
    assert_eq!(plane.apply(Vec::new()).await.expect_err("nothing").code, "E0408");

    for (bytes, code) in [(&b"\0asm\x01\0\0\0"[..], "E0202"), (&component("cut")[..20], "E0201"), (b"no wasm", "E0201")] {
        let digest = plane.upload(bytes).await;
        let error = plane.apply(vec![document("odd", &digest, "odd.localhost", 1)]).await.expect_err("no component");
        assert_eq!(told(&error), [(0, code, "spec.components.web.source")], "{error:?}");
    }

    let stale = ApplyRequest {
        documents: vec![document("owner", &digest, "new.localhost", 1)],
        expect: Some(Index(1)),
        by: String::new(),
        accept_permissions: false,
    };
    assert_eq!(refusal(plane.client.apply(&stale).await.expect_err("stale")).code, "E0403");
    assert_eq!(plane.client.apps(None).await.expect("a list").items, before.items, "nothing was written");
    plane.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let code = |error: ClientError| refusal(error).code;
    assert_eq!(code(plane.client.app(&id("none")).await.expect_err("nothing there")), "E0402");
    assert_eq!(code(plane.client.delete(&id("none"), "").await.expect_err("nothing there")), "E0402");
    assert_eq!(code(plane.client.undo(&id("none"), &UndoRequest::default()).await.expect_err("nothing there")), "E0402");
    assert_eq!(code(plane.client.watch_app(&id("none")).await.err().expect("nothing there")), "E0402");
    let foreign = EventQuery { app: Some("NOT A NAME".into()), ..EventQuery::default() };
    assert_eq!(code(plane.client.events(&foreign).await.expect_err("no name")), "E0408");
    assert_eq!(code(plane.client.logs(&Default::default()).await.err().expect("no worker")), "E0407");
    // A worker gets what it is assigned: bytes that are nobody's, or somebody else's, are all one to it.
    for digest in [Digest::of(b"none"), plane.upload(&component("unassigned")).await] {
        assert_eq!(code(plane.node.artifact(&digest).await.err().expect("it is not assigned")), "E0407");
    }
    plane.stop().await;
}

#[tokio::test]
async fn uploads_are_held_against_their_name_and_their_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let path = directory.path().join("file");
    std::fs::write(&path, "bytes").expect("a file of ours");
    let wrong = Digest::of(b"others");
    let error = plane.client.put_artifact(&wrong, &path, |_, _| {}).await.expect_err("another digest");
    assert_eq!(refusal(error).code, "E0209");
    assert!(!plane.client.has_artifact(&wrong).await.expect("an answer"));

    let head = format!("PUT /v1/artifacts/{wrong} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1073741824\r\n\r\n");
    let answer = plane.raw(plane.api, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("E0409"), "refused before a byte of it came: {answer}");
    plane.stop().await;
}

#[tokio::test]
async fn odd_requests_are_answered_with_the_error_body() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let json = "Content-Type: application/json\r\n";
    let check = async |line: &str, headers: &str, body: &str, status: &str, code: &str| {
        let length = body.len();
        let request = format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        let answer = plane.raw(plane.api, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code), "{line} {headers} {body}: {answer}");
    };
    let host = "Host: localhost\r\n";
    check("GET /v1/apps", host, "", "200", "\"items\":[]").await;
    check("GET /v1/apps", "Host: evil.example\r\n", "", "421", "E0410").await;
    check("GET /healthz", "", "", "421", "E0410").await;
    check("POST /v1/apply", &format!("{host}{json}Origin: http://evil.example\r\n"), "{}", "403", "E0410").await;
    check("POST /v1/apply", &format!("{host}{json}"), "{", "400", "E0408").await;
    check("POST /v1/apply", &format!("{host}{json}"), "{\"documents\": 1}", "400", "E0408").await;
    check("POST /v1/apply", host, "{}", "415", "E0408").await;
    check("DELETE /v1/apply", host, "", "405", "E0408").await;
    check("GET /v2/apps", host, "", "404", "E0402").await;
    check("GET /v1/apps?namspace=a", host, "", "400", "E0408").await;
    check("GET /v1/namespaces/a/apps/A_B", host, "", "400", "E0408").await;
    check("GET /v1/why", host, "", "400", "E0408").await;
    check("GET /openapi.json", host, "", "200", "\"openapi\":\"3.1.0\"").await;
    let large = format!("{{\"documents\": [\"{}\"]}}", "x".repeat(api::limits::JSON_BYTES_MAX));
    check("POST /v1/apply", &format!("{host}{json}"), &large, "413", "E0409").await;
    plane.stop().await;
}
