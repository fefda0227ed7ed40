//! A server that is killed at random moments of a run of writes has everything it acknowledged when it is there again; a server whose log is damaged has
//! everything, or says which file is damaged and ends.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use cluster_tests::{
    eventually,
    node::{self, Node, server_command},
    raw,
};
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

/// Kills in one run: of the control plane alone, and every third time of the whole node.
const KILLS: u64 = 21;

/// Clients that write at the same time.
const WRITERS: u64 = 4;

/// Acknowledged writes after which a kill comes, at most.
const WRITES_PER_KILL_MAX: u64 = 60;

/// Copies of a log that are damaged.
const DAMAGED: u64 = 6;

/// What was acknowledged: the version of each Config by name.
type Acknowledged = Arc<Mutex<BTreeMap<String, u64>>>;

/// SplitMix64 over `seed`: the same moments in every run, as far as a real machine allows.
fn random(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

/// Writes one Config and gives its version once it is acknowledged.
async fn put(api: &str, name: &str) -> Option<u64> {
    let body = serde_json::json!({"data": {"value": name}}).to_string();
    let request = Request::put(format!("/v1/namespaces/default/configs/{name}"))
        .header("host", api)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let answer = raw::send(api, request).await.ok().filter(|answer| answer.status == 200)?;
    serde_json::from_str::<Value>(&answer.body).ok()?["version"].as_u64()
}

/// Writes Configs nobody else writes, one after the other, until one is not acknowledged.
async fn write(api: String, prefix: String, acknowledged: Acknowledged, count: Arc<watch::Sender<u64>>) {
    for number in 0.. {
        let name = format!("{prefix}-{number}");
        let Some(version) = put(&api, &name).await else { return };
        acknowledged.lock().expect("nobody panics with it").insert(name, version);
        count.send_modify(|count| *count += 1);
    }
}

/// Every Config there is, as the server tells it.
async fn configs(node: &Node) -> BTreeMap<String, Value> {
    let list = eventually("the configs", || async {
        let answer = raw::get(&node.api, &node.api, "/v1/configs").await.ok().filter(|answer| answer.status == 200)?;
        serde_json::from_str::<Value>(&answer.body).ok()
    })
    .await;
    let items = list["items"].as_array().expect("a list has items").clone();
    items.into_iter().map(|item| (item["name"].as_str().expect("a Config has a name").to_owned(), item)).collect()
}

/// Every Config that was acknowledged is there, as it was acknowledged.
fn expect_all(acknowledged: &Acknowledged, there: &BTreeMap<String, Value>, when: &str) {
    for (name, version) in acknowledged.lock().expect("nobody panics with it").iter() {
        let found = there.get(name).unwrap_or_else(|| panic!("{when}: `{name}` was acknowledged and is lost"));
        assert_eq!((found["version"].as_u64(), found["data"]["value"].as_str()), (Some(*version), Some(name.as_str())), "{when}: {found}");
    }
}

/// A server under writes, killed at the `round`th random moment and there again.
async fn killed(node: Node, round: u64, acknowledged: &Acknowledged) -> Node {
    let (count, mut counted) = watch::channel(0);
    let (count, mut writers) = (Arc::new(count), JoinSet::new());
    for writer in 0..WRITERS {
        writers.spawn(write(node.api.clone(), format!("round-{round}-{writer}"), acknowledged.clone(), count.clone()));
    }
    let enough = 1 + random(round) % WRITES_PER_KILL_MAX;
    eventually("writes", || {
        let reached = *counted.borrow_and_update() >= enough;
        async move { reached.then_some(()) }
    })
    .await;
    let node = if round.is_multiple_of(3) {
        Node::start_in(node.cut_power(), &[]).await
    } else {
        let before = node.child("control-plane").expect("a control plane runs");
        node::kill(before);
        eventually("another control plane", || async { node.child("control-plane").filter(|pid| *pid != before) }).await;
        node
    };
    // A writer whose connection waited for the next control plane would go on for ever.
    writers.shutdown().await;
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_random_moments_loses_nothing_it_acknowledged() {
    let (mut node, acknowledged) = (Node::start().await, Acknowledged::default());
    for round in 0..KILLS {
        node = killed(node, round, &acknowledged).await;
        expect_all(&acknowledged, &configs(&node).await, &format!("after kill {round}"));
    }
    let written = acknowledged.lock().expect("nobody panics with it").len() as u64;
    assert!(written >= KILLS, "{written} writes were acknowledged");
    // What is there now is what is there after one more cut, to the last field, and nothing came back from the dead.
    let before = configs(&node).await;
    assert!(before.len() as u64 <= written + KILLS * WRITERS, "{} are there, {written} were acknowledged", before.len());
    let node = Node::start_in(node.cut_power(), &[]).await;
    assert_eq!(configs(&node).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_byte_of_the_log_is_no_loss_or_a_refusal_that_names_the_file() {
    let (node, acknowledged) = (Node::start().await, Acknowledged::default());
    for number in 0..20 {
        let version = put(&node.api, &format!("config-{number}")).await.expect("acknowledged");
        acknowledged.lock().expect("nobody panics with it").insert(format!("config-{number}"), version);
    }
    let directory = node.cut_power();
    let copies: Vec<Copy> = (0..DAMAGED).map(|number| Copy::damaged(directory.path(), number)).collect();
    let mut refused = 0;
    for mut copy in copies {
        let ready = eventually("a server that is ready or ends", || {
            let (ended, ready) = (copy.server.try_wait().expect("a child can be waited for"), copy.ready().exists());
            async move { ended.map(|status| (false, status.code())).or(ready.then_some((true, None))) }
        })
        .await;
        match ready {
            (true, _) => {
                let said = fs::read_to_string(copy.ready()).expect("the ready file");
                let said: Value = serde_json::from_str(&said).expect("the ready file is whole once it is there");
                let Some(api) = said["api"].as_str().map(|api| api.trim_start_matches("http://").to_owned()) else {
                    // Its gateway serves; its control plane says again and again why it does not.
                    assert!(said["http"].is_string(), "{said}");
                    copy.names_the_file("E0617");
                    refused += 1;
                    continue;
                };
                let answer = raw::get(&api, &api, "/v1/configs").await.expect("it answers");
                let list: Value = serde_json::from_str(&answer.body).expect("a list");
                let items = list["items"].as_array().expect("a list has items");
                let there = items.iter().map(|item| (item["name"].as_str().unwrap_or_default().to_owned(), item.clone())).collect();
                expect_all(&acknowledged, &there, &copy.what);
            }
            (false, code) => {
                assert_ne!(code, Some(0), "{}", copy.log());
                copy.names_the_file("");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "a byte in the middle of a log cannot be another without a checksum that says so");
}

/// A server on a copy of a data directory, in whose log one byte is another.
struct Copy {
    directory: tempfile::TempDir,
    server: Child,
    /// Which file was damaged.
    file: String,
    /// What was done to it, for people.
    what: String,
}

impl Copy {
    fn damaged(original: &Path, number: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        copy_all(&original.join("data"), &directory.path().join("data"));
        let path = newest_log_file(&directory.path().join("data/control/log"));
        let mut bytes = fs::read(&path).expect("the log is read");
        let (at, bit) = (random(number) as usize % bytes.len(), random(!number) % 8);
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).expect("the log is written");
        let log = fs::File::create(directory.path().join("stderr.log")).expect("a log file");
        let mut command = server_command(&directory.path().join("data"), &directory.path().join("ready.json"));
        let server = command.stdout(Stdio::null()).stderr(log).spawn().expect("the server starts");
        let file = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        Self { directory, server, what: format!("bit {bit} of byte {at} of {file} is another"), file }
    }

    fn ready(&self) -> PathBuf {
        self.directory.path().join("ready.json")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr.log")).expect("it wrote something")
    }

    /// Checks that it complained of the damaged file, and said `code`.
    #[track_caller]
    fn names_the_file(&self, code: &str) {
        let log = self.log();
        let sentence = log.lines().find(|line| line.starts_with("error: ") && line.contains(&self.file));
        assert!(sentence.is_some() && log.contains(code), "{}: nothing names {} and {code}:\n{log}", self.what, self.file);
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Its children see that it is gone and end.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Copies the files and directories under `from`; sockets are made anew.
fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory is made");
    fs::set_permissions(to, fs::metadata(from).expect("it is there").permissions()).expect("permissions are set");
    for entry in fs::read_dir(from).expect("a readable directory") {
        let entry = entry.expect("a readable entry");
        let kind = entry.file_type().expect("it has a type");
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_all(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn newest_log_file(directory: &Path) -> PathBuf {
    let entries = fs::read_dir(directory).expect("the log's directory").map(|entry| entry.expect("a readable entry").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).max().expect("the log has a file")
}
