//! The peer port against callers who are not servers: roles are asked before a byte of a body is read, and strangers send little.

use std::sync::Arc;

use api::peer::{ATTEST_PATH, CLUSTER_KEY_PATH, CONSENSUS_PATH, FORWARD_PATH, JOIN_PATH, MEMBER_PATH, RENEW_PATH, REPORT_PATH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::{Credentials, Pin, Protocol, Role, SystemClock, dial_pinned};

use super::fixture::{ControlPlane, within};

/// Sends `request` as somebody without a certificate and reads until the connection ends.
async fn stranger(plane: &ControlPlane, data: &std::path::Path, request: &[u8]) -> String {
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
