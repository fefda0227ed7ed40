//! The peer port against callers who are not servers: roles are asked before a byte of a body is read, strangers send little, and a worker has its own things only.

use std::{path::Path, sync::Arc, time::Duration};

use api::{
    node::{self, Report},
    peer::{
        ARTIFACTS_PATH, ATTEST_PATH, CLUSTER_KEY_PATH, CONSENSUS_PATH, CertificateRequest, FORWARD_PATH, JOIN_PATH, MEMBER_PATH, NodeRole,
        RENEW_PATH, REPORT_PATH, RenewRequest,
    },
    v1::ErrorBody,
};
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use model::id::{Digest, Generation, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::{
    Channel, ChannelConfig, Credentials, Dialer, Expected, Identity, Known, Members, Pin, Protocol, Role, SystemClock, dial_pinned,
};

use super::fixture::{ControlPlane, within};
use crate::FOUNDER;

/// Long enough for a slow machine.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Sends `request` as somebody without a certificate and reads until the connection ends.
async fn stranger(plane: &ControlPlane, data: &Path, request: &[u8]) -> String {
    let credentials = Credentials::read(&founding::cluster::identity_of(data, Role::Server)).expect("it was founded");
    let authority = credentials.authority().digest();
    let pin = Pin { authority, clock: Arc::new(SystemClock), protocol: Protocol::Http1, connect_max: transport::HANDSHAKE_MAX };
    let mut stream = dial_pinned(&plane.peer.to_string(), &pin).await.expect("a handshake").stream;
    // It may be refused before all of it is sent.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sends_a_body_before_the_role_is_known() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let forwarded = format!("{FORWARD_PATH}/v1/apply");
    let closed = [CONSENSUS_PATH, REPORT_PATH, MEMBER_PATH, ATTEST_PATH, RENEW_PATH, CLUSTER_KEY_PATH, &forwarded, "/node/v1/report"];
    for path in closed {
        // The body is announced and never comes: whoever reads it says E0408 in the end.
        let head = "host: a\r\ncontent-type: application/json\r\ncontent-length: 4000000\r\nconnection: close\r\n\r\n";
        let answer = stranger(&plane, directory.path(), format!("POST {path} HTTP/1.1\r\n{head}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("E0421"), "{path}: {answer}");
    }
    let body = format!("{{\"token\": \"{}\"}}", "x".repeat(100_000));
    let head = format!("host: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let answer = stranger(&plane, directory.path(), format!("POST {JOIN_PATH} HTTP/1.1\r\n{head}{body}").as_bytes()).await;
    assert!(answer.contains("E0408") && answer.contains("length limit"), "{answer}");
    plane.stop().await;
}

/// A connection to the peer port of whoever holds the certificate of `role` in `data`.
fn dial(plane: &ControlPlane, data: &Path, role: Role) -> Channel {
    let credentials = Credentials::read(&founding::cluster::identity_of(data, role)).expect("it was founded");
    let (identity, known) = (Identity::new(credentials), Known::new(Members::default()));
    let dialer = Dialer { identity, known, clock: Arc::new(SystemClock), connect_max: ANSWER_MAX };
    Channel::new(ChannelConfig::new(dialer, plane.peer.to_string(), Expected::AnyServer))
}

/// The status of the answer, and its code when it is a refusal.
async fn asked(channel: &Channel, method: Method, path: &str, body: Vec<u8>) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let answer = channel.request(request.body(transport::body(body)).expect("a request"), ANSWER_MAX).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = within(answer.into_body().collect()).await.expect("a whole answer").to_bytes();
    (status, serde_json::from_slice::<ErrorBody>(&body).map(|body| body.error.code).unwrap_or_default())
}

fn report_of(node: NodeId) -> Vec<u8> {
    let report =
        Report { node, generation: Generation(0), pid: 1, sequence: 0, placements: Vec::new(), events: Vec::new(), authorities: None };
    serde_json::to_vec(&report).expect("wire types have string keys only")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_the_cluster_is_no_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let worker = dial(&plane, directory.path(), Role::Worker);
    let artifact = format!("{ARTIFACTS_PATH}/{}", Digest([1; 32]));
    let (read, written) = (format!("{FORWARD_PATH}/v1/apps"), format!("{FORWARD_PATH}/v1/tokens"));
    for (method, path) in [
        (Method::POST, CONSENSUS_PATH),
        (Method::GET, CLUSTER_KEY_PATH),
        (Method::POST, ATTEST_PATH),
        (Method::POST, MEMBER_PATH),
        (Method::POST, REPORT_PATH),
        (Method::GET, artifact.as_str()),
        (Method::POST, artifact.as_str()),
        (Method::GET, read.as_str()),
        (Method::POST, written.as_str()),
        (Method::GET, "/v1/apps"),
    ] {
        assert_eq!(asked(&worker, method.clone(), path, b"{}".to_vec()).await, (403, "E0421".to_owned()), "{method} {path}");
    }
    // It is let in: what is its own, and nobody else's, it has.
    assert_eq!(asked(&worker, Method::POST, node::REPORT_PATH, report_of(FOUNDER)).await.0, 200);
    assert_eq!(asked(&worker, Method::POST, node::REPORT_PATH, report_of(NodeId(7))).await, (409, "E0403".to_owned()));
    let renew = |node, role| {
        let request = CertificateRequest { role, request: Vec::new() };
        serde_json::to_vec(&RenewRequest { node, request }).expect("wire types have string keys only")
    };
    for (node, role) in [(Some(NodeId(7)), NodeRole::Worker), (None, NodeRole::Server), (Some(FOUNDER), NodeRole::Server)] {
        let refused = asked(&worker, Method::POST, RENEW_PATH, renew(node, role)).await;
        assert_eq!(refused, (403, "E0421".to_owned()), "{node:?} {role:?}");
    }
    // The same questions of a server are answered, so that it is the role that they are refused for.
    let server = dial(&plane, directory.path(), Role::Server);
    assert_eq!(asked(&server, Method::GET, CLUSTER_KEY_PATH, Vec::new()).await.0, 200);
    assert_eq!(asked(&server, Method::POST, node::REPORT_PATH, report_of(FOUNDER)).await, (403, "E0421".to_owned()));
    plane.stop().await;
}
