//! The walk of docs/ARCHITECTURE.md with real processes: a manifest is applied, requests are answered, a new revision takes over, everything can be asked about.

use cluster_tests::{guest, load::Load, node::Node, raw};
use std::sync::atomic::Ordering::Relaxed;

fn hello(extra: &str) -> String {
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: hello}}\nspec:\n  components:\n    web:\n      source: {}\n      \
         routes: [{{host: hello.localhost}}]\n{extra}",
        guest("hello").display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_becomes_answers_and_can_be_asked_about() {
    let node = Node::start().await;
    let said = node.apply(&hello("")).expect(0);
    assert!(said.out.contains("hello"), "{said:?}");
    let answer = raw::get(&node.http, "hello.localhost", "/").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let request = answer.header("x-request-id").to_owned();
    assert!(!request.is_empty());

    assert!(node.shoal(&["get", "apps"]).expect(0).out.contains("hello"));
    assert!(node.shoal(&["get", "instances"]).expect(0).out.contains("hello/web.1"));
    assert!(node.shoal(&["describe", "app", "hello"]).expect(0).out.contains("sha256:"));
    assert!(node.shoal(&["events"]).expect(0).out.contains("hello"));
    assert!(node.shoal(&["why", "http://hello.localhost/"]).expect(0).out.contains("hello/web"));
    assert!(node.shoal(&["http", "hello/web", "GET", "/"]).expect(0).out.to_lowercase().contains("hello"));
    cluster_tests::eventually("the request in the access log", || {
        let found = node.shoal(&["logs", "hello", "--access"]).out.contains(&request);
        async move { found.then_some(()) }
    })
    .await;
    let metrics = raw::get(&node.metrics, "localhost", "/metrics").await.unwrap();
    assert!(metrics.body.contains("hello"), "{}", metrics.body);

    let yaml = node.shoal(&["get", "app", "hello", "-o", "yaml"]).expect(0).out;
    let again = node.apply(&yaml).expect(0);
    assert!(format!("{}{}", again.out, again.err).contains("unchanged"), "what get prints can be applied again: {again:?}");

    node.shoal(&["delete", "app", "hello", "--yes"]).expect(0);
    node.shoal(&["wait", "app/hello", "--for", "deleted"]).expect(0);
    let answer = raw::get(&node.http, "hello.localhost", "/").await.unwrap();
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(answer.header("proxy-status").starts_with("shoal;"), "{answer:?}");
    assert_eq!(node.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_takes_over_without_a_failed_request() {
    let node = Node::start().await;
    node.apply(&hello("")).expect(0);
    let load = Load::start(&node.http, "hello.localhost", 8);
    load.answered(200).await;
    for turn in 0..3 {
        node.apply(&hello(&format!("      env: {{TURN: \"{turn}\"}}\n"))).expect(0);
        load.answered(100).await;
    }
    node.shoal(&["rollout", "undo", "app/hello"]).expect(0);
    load.answered(100).await;
    let seen = load.finish().await;
    assert_eq!((seen.bad_status.load(Relaxed), seen.refused.load(Relaxed), seen.broken.load(Relaxed)), (0, 0, 0), "{seen:?}");
    let history = node.shoal(&["rollout", "history", "app/hello"]).expect(0).out;
    assert!(history.lines().count() >= 5, "four revisions and the one that undid: {history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_sandbox_is_set_within_its_bounds() {
    let node = Node::start().await;
    let said = node.apply(&hello("      resources: {memory: 512Ki}\n")).expect(1);
    assert!(said.err.contains("E0106") && said.err.contains("1Mi to 256Mi"), "{said:?}");
    node.apply(&hello("      resources: {memory: 2Mi}\n")).expect(0);
    assert!(node.shoal(&["describe", "app", "hello"]).expect(0).out.contains("2Mi per sandbox"));
    assert_eq!(raw::get(&node.http, "hello.localhost", "/").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_would_change_and_changes_nothing() {
    let node = Node::start().await;
    let path = node.write("plan.yaml", &hello(""));
    let path = path.to_str().unwrap();
    node.shoal(&["plan", "-f", path]).expect(2);
    assert!(!node.shoal(&["get", "apps"]).expect(0).out.contains("hello"));
    node.apply(&hello("")).expect(0);
    node.shoal(&["plan", "-f", path]).expect(0);
    node.shoal(&["diff", "-f", path]).expect(0);
    let path = node.write("plan.yaml", &hello("      env: {A: b}\n"));
    let said = node.shoal(&["diff", "-f", path.to_str().unwrap()]).expect(2);
    assert!(said.out.contains("env"), "{said:?}");
}
