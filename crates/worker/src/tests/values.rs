//! Secrets of a worker: waited for, given to the guest, replaced while it answers, and on no disk.

use api::node::{AssignedSecret, SecretText, SecretUse};

use super::*;

/// `hello/web` with a secret value of this version, which comes along when there is one.
fn with_secret(generation: u64, version: u64, value: Option<&str>) -> AssignmentPart {
    let wanted = SecretUse { name: "PASSWORD".into(), secret: "db".parse().unwrap(), version, key: "password".into() };
    let program = AssignedProgram { secrets: vec![wanted], ..place("hello/web", 1, 1, Wanted::Run) };
    let mut part = AssignmentPart::from(serving(generation, vec![program], 1));
    let values = |value: &str| [("password".to_owned(), SecretText::new(value.to_owned()))].into();
    part.apps[0].secrets =
        value.into_iter().map(|value| AssignedSecret { secret: "db".parse().unwrap(), version, values: values(value) }).collect();
    part
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_waits_for_its_secrets_and_gets_newer_ones_while_it_answers() {
    let directory = tempfile::tempdir().unwrap();
    let mut control = Control::listen(directory.path());
    let worker = Fixture::start(directory.path(), Arc::default()).await;
    control.assign.send_replace(Some(with_secret(1, 1, None)));
    control.phase(1, Phase::Waiting { message: "waits for the secret `db` from a server".into() }).await;
    control.assign.send_replace(Some(with_secret(2, 1, Some("canary-one"))));
    control.phase(1, Phase::Ready).await;
    assert_eq!(worker.get("hello.localhost").await.1, "hello/web r1 PASSWORD=canary-one");
    control.assign.send_replace(Some(with_secret(3, 2, Some("canary-two"))));
    timeout(DEADLINE, async { while worker.get("hello.localhost").await.1 != "hello/web r1 PASSWORD=canary-two" {} })
        .await
        .expect("the newer value");
    let report = control.reports.borrow().clone().expect("a report");
    assert_eq!(report.placements[0].phase, Phase::Ready, "the instance stayed as it was");
    worker.end().await;
    let saved = std::fs::read_to_string(directory.path().join("worker/assignment.json")).unwrap();
    assert!(saved.contains("PASSWORD") && !saved.contains("canary"), "{saved}");
}
