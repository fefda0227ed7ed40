//! Configs, Secrets and Namespaces with the real binary: how values reach guests, how they change, and where a secret must never be found.

use std::{fs, path::Path};

use bytes::Bytes;
use cluster_tests::{
    eventually, guest,
    node::{Node, Said, kill},
    raw,
    tls::{Authority, connect, send_h1},
};
use http::Request;
use http_body_util::Full;
use rustix::process::{Signal, kill_process};

/// What nothing but a guest may ever show.
const CANARY: &str = "canary-4c1f0b7e";

/// An App that names what stands below it.
fn app() -> String {
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: settings}}\nspec:\n  components:\n    web:\n      source: {}\n      \
         env: {{PLACE: here}}\n      config: {{config: colors}}\n      secrets: {{PASSWORD: {{secret: db, key: password}}}}\n      \
         routes: [{{host: settings.localhost}}]\n",
        guest("settings").display()
    )
}

fn config(color: &str) -> String {
    format!("apiVersion: shoal.dev/v1\nkind: Config\nmetadata: {{name: colors}}\nspec: {{data: {{color: {color}}}}}\n")
}

fn secret(password: &str) -> String {
    format!("apiVersion: shoal.dev/v1\nkind: Secret\nmetadata: {{name: db}}\nspec: {{data: {{password: {password}}}}}\n")
}

async fn told(node: &Node) -> Option<String> {
    raw::get(&node.http, "settings.localhost", "/").await.ok().filter(|answer| answer.status == 200).map(|answer| answer.body)
}

async fn until_told(node: &Node, line: &str) {
    eventually(line, || async { told(node).await.filter(|body| body.lines().any(|found| found == line)) }).await;
}

fn run(node: &Node, command: &str, manifest: &str) -> Said {
    let path = node.write("values.yaml", manifest);
    node.shoal(&[command, "-f", path.to_str().unwrap()])
}

/// Every file below `directory` whose bytes hold `text`.
fn holding(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes())) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn values_reach_guests_and_change_without_a_revision_and_secrets_are_found_nowhere_else() {
    let node = Node::start().await;
    let first = format!("{CANARY}-1");
    let all = format!("{}---\n{}---\n{}", app(), config("blue"), secret(&first));
    run(&node, "plan", &all).expect(2);
    run(&node, "apply", &all).expect(0);
    let body = told(&node).await.expect("an answer");
    for line in ["config color=blue", &format!("config PASSWORD={first}"), &format!("env PASSWORD={first}"), "env PLACE=here"] {
        assert!(body.lines().any(|found| found == line), "`{line}` is not in\n{body}");
    }
    assert!(run(&node, "diff", &all).expect(0).out.is_empty(), "what is so already is no difference");

    let second = format!("{CANARY}-2");
    let planned = run(&node, "plan", &secret(&second)).expect(2);
    assert!(planned.out.contains("data.password: (another value)") && !planned.out.contains(CANARY), "{}", planned.out);
    let applied = run(&node, "apply", &secret(&second)).expect(0);
    assert!(applied.out.contains("secret/db changed"), "{}", applied.out);
    until_told(&node, &format!("env PASSWORD={second}")).await;
    run(&node, "apply", &config("green")).expect(0);
    until_told(&node, "config color=green").await;
    let revisions = node.shoal(&["get", "revisions", "settings", "-o", "name"]).expect(0).out;
    assert_eq!(revisions.lines().count(), 1, "{revisions}");

    // The next worker serves with what the one before had, though no server speaks to it.
    let control_plane = node.child("control-plane").expect("a control plane");
    kill_process(control_plane, Signal::STOP).unwrap();
    kill(node.child("worker").expect("a worker"));
    until_told(&node, &format!("env PASSWORD={second}")).await;
    kill_process(control_plane, Signal::CONT).unwrap();

    let refused = node.shoal(&["delete", "secret", "db", "--yes"]).expect(7);
    assert!(refused.err.contains("E0417") && refused.err.contains("settings"), "{}", refused.err);
    let mut said = refused.err;
    for question in [
        &["get", "secret", "db", "-o", "yaml"][..],
        &["get", "app", "settings", "-o", "json"],
        &["describe", "secret", "db"],
        &["secret", "list"],
        &["events"],
        &["audit"],
        &["logs", "settings", "--access"],
    ] {
        let Said { out, err, .. } = node.shoal(question).expect(0);
        said += &format!("{out}{err}");
    }
    assert!(said.contains("password") && !said.contains(CANARY), "{said}");
    let metrics = raw::get(&node.metrics, "localhost", "/metrics").await.expect("metrics").body;
    let shown = format!("{}{metrics}", node.log());
    assert!(!shown.contains(CANARY), "a secret is in a log or a metric");
    assert_eq!(holding(&node.data(), CANARY), Vec::<String>::new());

    // After a power cut there is no memory left, and a server sends them again.
    let directory = node.cut_power();
    let node = Node::start_in(directory, &[]).await;
    until_told(&node, &format!("env PASSWORD={second}")).await;
    assert_eq!(holding(&node.data(), CANARY), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_version_stays_and_an_undo_keeps_the_newest() {
    let node = Node::start().await;
    run(&node, "apply", &format!("{}---\n{}---\n{}", app(), config("blue"), secret("one"))).expect(0);
    run(&node, "apply", &app().replace("PLACE: here", "PLACE: there").replace("key: password", "key: password, version: 1")).expect(0);
    run(&node, "apply", &secret("two")).expect(0);
    let version = node.shoal(&["get", "secret", "db", "-o", "json"]).expect(0).out;
    assert!(version.contains("\"number\": 2"), "{version}");
    until_told(&node, "env PLACE=there").await;
    assert!(told(&node).await.expect("an answer").contains("env PASSWORD=one\n"), "a fixed version");
    node.shoal(&["rollout", "undo", "app/settings"]).expect(0);
    until_told(&node, "env PLACE=here").await;
    assert!(told(&node).await.expect("an answer").contains("env PASSWORD=two\n"), "the newest, whatever the revision had");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_served_with_the_certificate_of_its_secret_and_with_the_new_one() {
    let (directory, old, new, other) = (Authority::new(), Authority::new(), Authority::new(), Authority::new());
    let place = tempfile::tempdir().unwrap();
    let certificates = place.path().join("certificates");
    fs::create_dir(&certificates).unwrap();
    directory.write(&certificates, "hello.localhost");
    let path = certificates.to_str().unwrap().to_owned();
    let node = Node::start_in(place, &["--https", "127.0.0.1:0", "--cert-dir", &path]).await;
    let files = node.data().with_file_name("pair");
    fs::create_dir(&files).unwrap();
    let tls = "apiVersion: shoal.dev/v1\nkind: Secret\nmetadata: {name: web}\nspec:\n  type: tls\n  data:\n    \
               tls.crt: {fromFile: ./pair/hello.localhost.crt}\n    tls.key: {fromFile: ./pair/hello.localhost.key}\n";
    let app = |tls: &str| {
        let hello = guest("hello");
        format!(
            "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: hello}}\nspec:\n  components:\n    web:\n      source: {}\n      \
             routes: [{{host: hello.localhost{tls}}}]\n",
            hello.display()
        )
    };
    run(&node, "apply", &app("")).expect(0);
    connect(&node.https, "hello.localhost", &directory.client(&[])).await.expect("the directory's");

    old.write(&files, "hello.localhost");
    other.write(&certificates.with_file_name("data").with_file_name("pair"), "other");
    fs::copy(files.join("other.key"), files.join("hello.localhost.key")).unwrap();
    let refused = run(&node, "apply", tls).expect(1);
    assert!(refused.err.contains("E0513") && refused.err.contains("the key does not belong"), "{}", refused.err);
    assert!(!format!("{}{}", refused.err, node.log()).contains("PRIVATE KEY"));

    old.write(&files, "hello.localhost");
    run(&node, "apply", &format!("{}---\n{tls}", app(", tls: {secret: web}"))).expect(0);
    eventually("the certificate of the secret", || async { connect(&node.https, "hello.localhost", &old.client(&[])).await.ok() }).await;
    new.write(&files, "hello.localhost");
    run(&node, "apply", tls).expect(0);
    let stream =
        eventually("the new certificate", || async { connect(&node.https, "hello.localhost", &new.client(&["http/1.1"])).await.ok() })
            .await;
    let request = Request::get("https://hello.localhost/").header("host", "hello.localhost").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(send_h1(stream, request).await.unwrap().status, 200);
    // The worker's own key is its identity; that of the Secret is nowhere.
    let held = holding(&node.data(), "PRIVATE KEY");
    let of_worker: Vec<_> = held.iter().filter(|path| path.contains("/worker/") && !path.contains("/worker/identity/")).collect();
    assert!(of_worker.is_empty(), "{of_worker:?}");

    run(&node, "apply", &app("")).expect(0);
    eventually("the directory's again", || async { connect(&node.https, "hello.localhost", &directory.client(&[])).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_holds_apps_back_and_can_be_applied_as_it_is_printed() {
    let node = Node::start().await;
    let ceilings =
        "apiVersion: shoal.dev/v1\nkind: Namespace\nmetadata: {name: team}\nspec: {hosts: [\"*.team.test\"], quota: {apps: 1}}\n";
    let app = |name: &str, host: &str| {
        let hello = guest("hello");
        format!(
            "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}, namespace: team}}\nspec:\n  components:\n    web:\n      \
             source: {}\n      routes: [{{host: {host}}}]\n",
            hello.display()
        )
    };
    // The Namespace stands below the App, and holds for it.
    let refused = run(&node, "apply", &format!("{}---\n{ceilings}", app("one", "elsewhere.test"))).expect(7);
    for word in ["E0418", "team", "elsewhere.test"] {
        assert!(refused.err.contains(word), "`{word}` is not in {}", refused.err);
    }
    assert_eq!(node.shoal(&["get", "namespace", "team"]).code, 6, "all or nothing");
    run(&node, "apply", &format!("{}---\n{ceilings}", app("one", "one.team.test"))).expect(0);
    let second = run(&node, "apply", &app("two", "two.team.test")).expect(7);
    assert!(second.err.contains("E0418") && second.err.contains("quota"), "{}", second.err);

    let printed = node.shoal(&["get", "namespace", "team", "-o", "yaml"]).expect(0).out;
    assert!(run(&node, "apply", &printed).expect(0).out.contains("namespace/team unchanged"));
    let wider = printed.replace("apps: 1", "apps: 2");
    run(&node, "apply", &wider).expect(0);
    let stale = run(&node, "apply", &wider.replace("apps: 2", "apps: 3")).expect(9);
    assert!(stale.err.contains("E0403"), "{}", stale.err);
    run(&node, "apply", &app("two", "two.team.test")).expect(0);
    let in_use = node.shoal(&["delete", "namespace", "team", "--yes"]).expect(7);
    assert!(in_use.err.contains("E0417") && in_use.err.contains("team/one"), "{}", in_use.err);
    for name in ["one", "two"] {
        node.shoal(&["-n", "team", "delete", "app", name, "--yes"]).expect(0);
        node.shoal(&["-n", "team", "wait", &format!("app/{name}"), "--for", "deleted"]).expect(0);
    }
    node.shoal(&["delete", "namespace", "team", "--yes"]).expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_its_namespaces_unless_an_admin_shares_it() {
    let node = Node::start().await;
    let app = |namespace: &str, host: &str, path: &str| {
        let hello = guest("hello");
        format!(
            "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: web, namespace: {namespace}}}\nspec:\n  components:\n    web:\n      \
             source: {}\n      routes: [{{host: {host}, path: {path}}}]\n",
            hello.display()
        )
    };
    run(&node, "apply", &app("bank", "\"*.bank.test\"", "/")).expect(0);
    for command in ["plan", "apply"] {
        let refused = run(&node, command, &app("team", "pay.bank.test", "/login")).expect(7);
        for word in ["E0419", "pay.bank.test", "*.bank.test", "`bank`"] {
            assert!(refused.err.contains(word), "`{word}` is not in {}", refused.err);
        }
    }
    let shared = "apiVersion: shoal.dev/v1\nkind: Namespace\nmetadata: {name: team}\nspec: {hosts: [pay.bank.test]}\n";
    run(&node, "apply", &format!("{}---\n{shared}", app("team", "pay.bank.test", "/login"))).expect(0);
    run(&node, "apply", &app("bank", "\"*.bank.test\"", "/new")).expect(0);
    let answer = eventually("both are served", || async {
        let theirs = raw::get(&node.http, "pay.bank.test", "/login").await.ok().filter(|answer| answer.status == 200);
        let own = raw::get(&node.http, "shop.bank.test", "/new").await.ok().filter(|answer| answer.status == 200);
        theirs.zip(own)
    })
    .await;
    assert_eq!((answer.0.status, answer.1.status), (200, 200));
}
