//! Every bad input gets an error that says what was attempted, on what, and how to mend it; and nothing is lost by it.

use std::{fs, path::PathBuf, process::Command};

use cluster_tests::{
    eventually, guest,
    node::{self, Node, Said},
    raw,
};

fn manifest(name: &str, source: &str, host: &str) -> String {
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  components:\n    web:\n      source: {source}\n      \
         routes: [{{host: {host}}}]\n"
    )
}

fn hello(name: &str, host: &str) -> String {
    manifest(name, &guest("hello").display().to_string(), host)
}

/// Applies a component made of `bytes` and expects a refusal that holds every one of `words`.
#[track_caller]
fn refused(node: &Node, bytes: &[u8], words: &[&str]) -> Said {
    let path = node.data().with_file_name("bad.wasm");
    fs::write(&path, bytes).unwrap();
    let said = node.apply(&manifest("bad", &path.display().to_string(), "bad.localhost")).expect(1);
    for word in words {
        assert!(said.err.contains(word), "`{word}` is not in\n{}", said.err);
    }
    assert!(!node.shoal(&["get", "apps"]).expect(0).out.contains("bad"), "nothing was written");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn components_that_cannot_run_are_refused_with_the_remedy() {
    let node = Node::start().await;
    let preview1 = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))) (memory (export "memory") 1) (func (export "_start")))"#,
    )
    .unwrap();
    refused(&node, &preview1, &["E0202", "wasm-tools component new", "--adapt"]);
    let whole = fs::read(guest("hello")).unwrap();
    refused(&node, &whole[..whole.len() / 2], &["E0201"]);
    refused(&node, b"not wasm at all", &["E0201"]);
    let candidate =
        wat::parse_str(r#"(component (import "wasi:http/types@0.3.0-rc-2025-09-16" (instance)) (instance $i) (export "wasi:http/handler@0.3.0-rc-2025-09-16" (instance $i)))"#)
            .unwrap();
    refused(&node, &candidate, &["E0203"]);
    let unknown = wat::parse_str(r#"(component (import "acme:billing/ledger@1.2.0" (instance)))"#).unwrap();
    refused(&node, &unknown, &["E0204", "acme:billing/ledger@1.2.0", "help:"]);
    let silent = wat::parse_str("(component)").unwrap();
    refused(&node, &silent, &["E0205"]);
}

/// Goal: nobody copies a sample that is wrong. Those in other languages may not have been built.
#[test]
fn every_sample_s_manifest_is_in_order() {
    let samples = guest("hello").ancestors().nth(4).unwrap().to_owned();
    let mut checked = 0;
    for sample in fs::read_dir(&samples).unwrap().map(|entry| entry.unwrap().path().join("app.yaml")).filter(|path| path.is_file()) {
        let said = Said::from(Command::new(cluster_tests::binary()).args(["lint", "-f"]).arg(&sample).output().unwrap());
        let errors: Vec<&str> = said.err.lines().filter(|line| line.starts_with("error") && !line.starts_with("error[E0207]")).collect();
        assert!(errors.is_empty(), "{}: {}", sample.display(), said.err);
        checked += 1;
    }
    assert!(checked > 10, "only {checked} samples in {}", samples.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_taken_names_its_owner() {
    let node = Node::start().await;
    node.apply(&hello("first", "same.localhost")).expect(0);
    let said = node.apply(&hello("second", "same.localhost")).expect(1);
    for word in ["E0401", "first/web", "same.localhost"] {
        assert!(said.err.contains(word), "`{word}` is not in\n{}", said.err);
    }
    assert!(!node.shoal(&["get", "apps"]).expect(0).out.contains("second"));
    assert_eq!(raw::get(&node.http, "same.localhost", "/").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_document_of_several_writes_nothing() {
    let node = Node::start().await;
    let said =
        node.apply(&format!("{}---\n{}", hello("good", "good.localhost"), hello("bad", "bad.localhost").replace("routes", "rotues")));
    let said = said.expect(1);
    assert!(said.err.contains("E0102") && said.err.contains("routes"), "{}", said.err);
    assert!(!node.shoal(&["get", "apps"]).expect(0).out.contains("good"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_every_limit_are_refused_and_the_node_serves_on() {
    let node = Node::start().await;
    node.apply(&manifest("echo", &guest("echo").display().to_string(), "echo.localhost")).expect(0);

    let huge = "POST / HTTP/1.1\r\nHost: echo.localhost\r\nContent-Length: 1073741824\r\n\r\n";
    let said = raw::exchange(&node.http, huge.as_bytes(), 1 << 16).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
    assert!(said.contains("E0506"), "{said}");

    let headers: String = (0..10_000).map(|number| format!("X-Header-{number}: value\r\n")).collect();
    let said =
        raw::exchange(&node.http, format!("GET / HTTP/1.1\r\nHost: echo.localhost\r\n{headers}\r\n").as_bytes(), 1 << 16).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");

    let mut endless = b"POST / HTTP/1.1\r\nHost: echo.localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..12 {
        endless.extend_from_slice(b"100000\r\n");
        endless.resize(endless.len() + 0x10_0000, b'x');
        endless.extend_from_slice(b"\r\n");
    }
    let said = raw::exchange(&node.http, &endless, 64 << 20).await.unwrap();
    // The guest streams back what it got until the body passes the limit of 10 MiB: the answer is cut or refused, never finished.
    assert!(said.starts_with("HTTP/1.1 413") || !said.ends_with("0\r\n\r\n"), "an endless body came to an end");

    let upload = "PUT /v1/artifacts/sha256:0000000000000000000000000000000000000000000000000000000000000000 HTTP/1.1\r\nHost: localhost\r\n\
                  Content-Length: 1073741824\r\n\r\n";
    let said = raw::exchange(&node.api, upload.as_bytes(), 1 << 16).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 413") && said.contains("E0409"), "{said}");

    assert_eq!(raw::get(&node.http, "echo.localhost", "/").await.unwrap().status, 200);
    assert_eq!(raw::get(&node.api, "localhost", "/healthz").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_refused_with_the_reason() {
    let node = Node::start().await;
    node.apply(&hello("hello", "hello.localhost")).expect(0);
    let upgrade = "GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let said = raw::exchange(&node.http, upgrade.as_bytes(), 4096).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 501") && said.contains("E0508"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_a_bare_500_with_the_story_in_the_log() {
    let node = Node::start().await;
    node.apply(&manifest("crash", &guest("crash").display().to_string(), "crash.localhost")).expect(0);
    let answer = raw::get(&node.http, "crash.localhost", "/").await.unwrap();
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(!answer.body.contains("wasm") && !answer.body.contains("panicked"), "{answer:?}");
    let request = answer.header("x-request-id").to_owned();
    let log = eventually("the crash in the log", || {
        let said = node.shoal(&["logs", "crash", "--request", &request]);
        async move { said.out.contains("wasm backtrace").then_some(said.out) }
    })
    .await;
    assert!(log.contains("crash"), "a symbolised frame: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_a_second_server_are_told_apart() {
    let node = Node::start().await;
    let other = tempfile::tempdir().unwrap();
    let start = |data: PathBuf, http: &str| -> Said {
        let mut command: Command = node::server_command(&data, &other.path().join("ready.json"));
        command.args(["--http", http]).output().unwrap().into()
    };
    let said = start(other.path().join("data"), &node.http).expect(1);
    assert!(said.err.contains("E0601") && said.err.contains(&node.http) && said.err.contains("--http"), "{}", said.err);
    let said = start(node.data(), "127.0.0.1:0").expect(1);
    assert!(said.err.contains("E0602") && said.err.contains(&node.supervisor().as_raw_nonzero().to_string()), "{}", said.err);
    assert_eq!(raw::get(&node.api, "localhost", "/healthz").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_off_loopback_asks_for_a_token_over_tls() {
    let node = Node::start_in(tempfile::tempdir().unwrap(), &["--api", "0.0.0.0:0"]).await;
    let api = node.ready()["api"].as_str().unwrap().to_owned();
    assert!(api.starts_with("https://"), "{api}");
    let url = api.replace("0.0.0.0", "127.0.0.1");
    let data = node.data();
    let on_the_node = |args: &[&str]| -> Said {
        let mut command = node.command(args);
        command.env_remove("SHOAL_SERVER").arg("--data-dir").arg(&data).output().unwrap().into()
    };
    let cluster = on_the_node(&["member", "list", "-o", "json"]).expect(0).out;
    let digest = serde_json::from_str::<serde_json::Value>(&cluster).unwrap()["authority"].as_str().unwrap().to_owned();
    let token = |role: &str| {
        let made = on_the_node(&["token", "create", role, "--role", role, "--ttl", "1h", "-o", "json"]).expect(0).out;
        serde_json::from_str::<serde_json::Value>(&made).unwrap()["token"].as_str().unwrap().to_owned()
    };
    let from_afar = |token: Option<&str>, digest: &str, args: &[&str]| -> Said {
        let mut command = node.command(args);
        command.env("SHOAL_SERVER", &url).env("SHOAL_CA_DIGEST", digest);
        if let Some(token) = token {
            command.env("SHOAL_TOKEN", token);
        }
        command.output().unwrap().into()
    };
    let refused = from_afar(None, &digest, &["get", "apps"]).expect(7);
    assert!(refused.err.contains("E0423"), "{refused:?}");
    let viewer = token("viewer");
    from_afar(Some(&viewer), &digest, &["get", "apps"]).expect(0);
    assert!(from_afar(Some(&viewer), &digest, &["whoami"]).expect(0).out.contains("viewer"));
    let refused = from_afar(Some(&viewer), &digest, &["join-token", "create", "worker"]).expect(7);
    assert!(refused.err.contains("E0421"), "{refused:?}");
    from_afar(Some(&token("admin")), &digest, &["join-token", "create", "worker"]).expect(0);
    let made = on_the_node(&["token", "create", "ci", "--role", "deployer", "-n", "team", "--ttl", "1h", "-o", "json"]).expect(0).out;
    let bound = serde_json::from_str::<serde_json::Value>(&made).unwrap()["token"].as_str().unwrap().to_owned();
    for args in [&["delete", "app", "hello", "--yes"][..], &["rollout", "history", "app/hello"], &["logs", "hello"], &["why", "hello"]] {
        let elsewhere = [args, &["-n", "default"]].concat();
        let refused = from_afar(Some(&bound), &digest, &elsewhere).expect(7);
        assert!(refused.err.contains("E0421"), "{args:?}: {refused:?}");
        // A token that is bound to a namespace asks there when nobody says where.
        assert_eq!(from_afar(Some(&bound), &digest, args).code, 6, "{args:?}");
    }
    // Of everything there is it sees what lies in its namespace: nothing.
    for args in [&["events"][..], &["get", "instances", "-A"]] {
        let seen = from_afar(Some(&bound), &digest, args);
        assert!(seen.code == 0 && !seen.out.contains("hello"), "{args:?}: {seen:?}");
    }
    let other = Node::start().await;
    let foreign = serde_json::from_str::<serde_json::Value>(&other.shoal(&["member", "list", "-o", "json"]).expect(0).out).unwrap();
    let refused = from_afar(Some(&viewer), foreign["authority"].as_str().unwrap(), &["get", "apps"]);
    assert!(refused.code != 0 && refused.err.contains("E0610"), "{refused:?}");

    // Who has logged in says neither where nor who any more; what did not work is not remembered.
    let at_home = |args: &[&str]| -> Said { node.command(args).env_remove("SHOAL_SERVER").output().unwrap().into() };
    let log_in = |token: &str, name: &str| {
        let file = node.write("login.token", token);
        at_home(&["login", &url, "--ca-digest", &digest, "--token-file", file.to_str().unwrap(), "--name", name])
    };
    let refused = log_in(&viewer.replace(|sign: char| sign.is_ascii_lowercase(), "x"), "wrong");
    assert!(refused.code != 0, "{refused:?}");
    log_in(&viewer, "home").expect(0);
    assert!(at_home(&["whoami"]).expect(0).out.contains("viewer"));
    let contexts = at_home(&["context", "list"]).expect(0).out;
    assert!(contexts.contains("home") && !contexts.contains("wrong"), "{contexts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "shoal-test"]).arg(&data).output().unwrap();
    if !mount.status.success() {
        eprintln!("SKIPPED: a file system of its own needs the right to mount: {}", String::from_utf8_lossy(&mount.stderr));
        return;
    }
    let _unmount = Unmount(data.clone());
    let node = Node::start_in(directory, &[]).await;
    node.apply(&hello("before", "before.localhost")).expect(0);
    let filler = data.join("filler");
    let _ = fs::write(&filler, vec![1_u8; 128 << 20]);
    let said = node.apply(&manifest("during", &guest("echo").display().to_string(), "during.localhost")).expect(1);
    assert!(said.err.contains("E0406") && said.err.contains("space"), "{}", said.err);
    assert_eq!(raw::get(&node.http, "before.localhost", "/").await.unwrap().status, 200);
    fs::remove_file(&filler).unwrap();
    eventually("writes that work again", || {
        let said = node.apply(&manifest("after", &guest("echo").display().to_string(), "after.localhost"));
        async move { (said.code == 0).then_some(()) }
    })
    .await;
    let node = Node::start_in(node.cut_power(), &[]).await;
    let apps = node.shoal(&["get", "apps"]).expect(0).out;
    assert!(apps.contains("before") && apps.contains("after") && !apps.contains("during"), "{apps}");
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
