//! What an app may do is not widened without a word, and files of guests are there before anything is written.

use api::v1::{ApplyRequest, ArtifactFacts, Direction, PlanRequest};
use model::id::Digest;
use serde_json::{Value, json};

use super::fixture::{ControlPlane, component, document, refusal};

fn with(mut document: Value, field: &str, value: Value) -> Value {
    document["spec"]["components"]["web"][field] = value;
    document
}

async fn gained(plane: &ControlPlane, document: &Value) -> Vec<(Direction, String)> {
    let request = PlanRequest { documents: vec![document.clone()], expect: None, artifacts: Vec::new() };
    let plan = plane.client.plan(&request).await.expect("a plan");
    plan.objects[0].permissions.iter().map(|change| (change.direction, change.what.clone())).collect()
}

#[tokio::test]
async fn what_an_app_gains_must_be_accepted() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let digest = plane.upload(&component("one")).await;
    let plain = document("hello", &digest, "hello.localhost", 1);
    let rules = |rules: &[&str]| with(plain.clone(), "egress", json!({"allow": rules}));
    let reach = |rule: &str| format!("reach {rule}");

    let first = rules(&["https://*.example:443"]);
    assert_eq!(gained(&plane, &first).await, [(Direction::Gained, reach("https://*.example:443"))]);
    plane.apply(vec![first]).await.expect("a first apply needs no word");
    plane.apply(vec![rules(&["https://api.example:443"])]).await.expect("less needs none either");

    let more = rules(&["http://10.0.0.0/8:80", "https://api.example:443"]);
    assert_eq!(gained(&plane, &more).await, [(Direction::Gained, reach("http://10.0.0.0/8:80"))]);
    let error = plane.apply(vec![more.clone()]).await.expect_err("nobody accepted it");
    let problem = &error.details.problems[0].problem;
    assert_eq!((error.code.as_str(), problem.path.as_str()), ("E0211", "spec.components.web.egress.allow"));
    assert!(problem.message.contains("reach http://10.0.0.0/8:80") && problem.help.contains("--accept-permissions"), "{problem:?}");
    assert_eq!(gained(&plane, &more).await.len(), 1, "nothing was written");

    let accepted = ApplyRequest { documents: vec![more.clone()], expect: None, by: String::new(), accept_permissions: true };
    plane.client.apply(&accepted).await.map_err(refusal).expect("somebody accepted it");
    plane.apply(vec![more.clone()]).await.expect("what it has it does not gain");
    plane.apply(vec![plain.clone()]).await.expect("losing needs no word");

    let shared = with(plain.clone(), "reuse", json!({"mode": "serial", "maxConcurrent": 16, "maxRequests": 128}));
    let error = plane.apply(vec![shared]).await.expect_err("a shared sandbox is more than a fresh one");
    assert_eq!(error.details.problems[0].problem.path, "spec.components.web.reuse");

    let mut added = plain.clone();
    added["spec"]["components"]["other"] = more["spec"]["components"]["web"].clone();
    added["spec"]["components"]["other"]["routes"] = json!([]);
    let error = plane.apply(vec![added]).await.expect_err("a new component of an app that is there");
    assert_eq!(error.details.problems.len(), 2, "{error:?}");
    plane.stop().await;
}

#[tokio::test]
async fn files_are_bytes_that_must_be_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let digest = plane.upload(&component("one")).await;
    let plain = document("hello", &digest, "hello.localhost", 1);
    let files = |files: &[(&str, &Digest)]| {
        let entry = |(to, digest): &(&str, &Digest)| json!({"source": {"digest": {"digest": digest, "from": digest}}, "to": to});
        with(plain.clone(), "files", files.iter().map(entry).collect())
    };
    let (text, missing) = (plane.upload(b"no component at all").await, Digest::of(b"never uploaded"));
    let empty = plane.upload(b"").await;

    plane.apply(vec![files(&[("/etc/a", &text), ("/etc/b", &empty)])]).await.expect("bytes of any kind");
    let refused = async |document: Value| {
        let error = plane.apply(vec![document]).await.expect_err("it cannot be used");
        let found = error.details.problems.into_iter().map(|found| (found.problem.code, found.problem.path));
        found.collect::<Vec<_>>()
    };
    let at = |code: &str, rest: &str| vec![(code.to_owned(), format!("spec.components.web.{rest}"))];
    assert_eq!(refused(files(&[("/a", &text), ("/b", &missing)])).await, at("E0206", "files[1]"));
    assert_eq!(refused(files(&[("/a", &text), ("/a/b", &text)])).await, at("E0106", "files[1].to"));
    assert_eq!(refused(files(&[("/a/../b", &text)])).await, at("E0106", "files[0].to"));
    assert_eq!(refused(files(&[("/", &text)])).await, at("E0106", "files[0].to"));

    let large = plane.upload(&vec![0; 16 * 1024 * 1024 + 1]).await;
    assert_eq!(refused(files(&[("/a", &large)])).await, at("E0212", "files[0]"));
    let told = ArtifactFacts { digest: missing, size: u64::MAX / 2, language: None, imports: Vec::new(), exports: Vec::new() };
    let plan = |artifacts| PlanRequest { documents: vec![files(&[("/a", &missing)])], expect: None, artifacts };
    assert!(plane.client.plan(&plan(vec![told])).await.is_err(), "a plan believes what it is told");
    assert!(plane.client.plan(&plan(Vec::new())).await.is_ok(), "and what will be uploaded it need not see");
    plane.stop().await;
}

/// Goal: being on the machine is no proof of anything: neither another user nor whoever has gone is the owner.
#[tokio::test(flavor = "multi_thread")]
async fn another_user_of_the_machine_needs_a_token() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let ask = |path: &'static str, user: u32| {
        let api = plane.api;
        let asking = move || {
            use std::io::{Read, Write};
            // A socket is of the user of the thread that makes it.
            let user = rustix::thread::Uid::from_raw(user);
            rustix::thread::set_thread_res_uid(user, user, user).expect("root may");
            let mut stream = std::net::TcpStream::connect(api).expect("it listens");
            write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers");
            answer
        };
        // A thread of its own, which ends with the user it became.
        tokio::task::spawn_blocking(move || std::thread::spawn(asking).join().expect("an answer"))
    };
    let answer = ask("/v1/apps", 60_773).await.expect("asked");
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("E0423") && answer.contains("user 60773"), "{answer}");
    assert!(answer.contains("shoal login") && answer.contains("sudo") && answer.contains("--data-dir"), "{answer}");
    let answer = ask("/healthz", 60_773).await.expect("asked");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = ask("/v1/apps", 0).await.expect("asked");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = ask("/v1/snapshot?keys=true", 0).await.expect("asked");
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("E0421"), "the key goes over the socket alone: {answer}");
    plane.stop().await;
}
