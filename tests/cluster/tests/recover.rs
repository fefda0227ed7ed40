//! What is left after a disaster, and what is made of it: a snapshot on another machine, one server of three, a server without its log, a machine that is gone.

use cluster_tests::{
    cluster::{Cluster, hello},
    eventually, guest,
    node::{self, Node, Said},
    raw,
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// What no index, id or placement reaches before a group begins anew.
const STEP: u64 = 1_000_000_000;

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

fn said(mut command: Command) -> Said {
    command.stdin(Stdio::null()).output().expect("shoal runs").into()
}

/// `shoal ARGS`, away from every server.
fn offline(args: &[&str]) -> Said {
    let mut command = Command::new(cluster_tests::binary());
    command.args(args).env("SHOAL_CONFIG", "/nonexistent");
    said(command)
}

/// How long a server may take to say that it does not start. It asks the others first; one that starts after all never ends.
const REFUSED_MAX: Duration = Duration::from_secs(60);

/// A server that is expected not to start.
async fn refused(directory: &Path, flags: &[&str]) -> Said {
    let mut command = node::server_command(&directory.join("data"), &directory.join("ready.json"));
    command.args(flags);
    let mut command = tokio::process::Command::from(command);
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let said = Said::from(tokio::time::timeout(REFUSED_MAX, ended).await.expect("it ends by itself").expect("shoal runs"));
    assert_ne!(said.code, 0, "{said:?}");
    said
}

/// Waits until `node` has written down how far its log went, and that there are `others`.
async fn remembers(node: &Node, others: usize) {
    let file = node.data().join("control/reached.json");
    eventually("a note of how far the log went", || {
        let noted = fs::read(&file).ok().and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        async move { (noted?["servers"].as_array()?.len() == others).then_some(()) }
    })
    .await;
}

async fn serves(node: &Node) {
    let answered = async || raw::get(&node.http, "hello.localhost", "/").await.is_ok_and(|answer| answer.status == 200);
    eventually("an answer", || async { answered().await.then_some(()) }).await;
}

/// The ids of the members, in order.
fn members(node: &Node) -> Vec<u64> {
    let view = Cluster::view(node).expect("a server says who its members are");
    let id = |member: &serde_json::Value| {
        let id = &member["id"];
        id.as_u64().or_else(|| id.as_str()?.rsplit('-').next()?.parse().ok()).unwrap_or_else(|| panic!("an id: {member}"))
    };
    view["members"].as_array().expect("members").iter().map(id).collect()
}

fn token_of(node: &Node) -> tempfile::NamedTempFile {
    let made = node.shoal(&["join-token", "create", "server", "-o", "json"]).expect(0).out;
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), made["token"].as_str().expect("a token")).expect("written");
    file
}

fn state_in(said: &str) -> String {
    let at = said.find("sha256:").unwrap_or_else(|| panic!("a state hash in: {said}"));
    said[at..].chars().take(71).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_becomes_the_same_cluster_on_another_machine() {
    let before = Node::start_in(tempfile::tempdir().expect("a directory"), &["--name", "node-a"]).await;
    before.apply(&hello(&guest("hello"), "")).expect(0);
    let place = tempfile::tempdir().expect("a directory");
    let (file, bare, data) = (place.path().join("all"), place.path().join("bare"), place.path().join("data"));
    let saved = before
        .shoal(&["snapshot", "save", text(&file), "--with-artifacts", "--with-keys", "--data-dir", text(&before.data())])
        .expect(0)
        .out;
    before.shoal(&["snapshot", "save", text(&bare)]).expect(0);
    let key = place.path().join("cluster.key");
    fs::copy(before.data().join("control/cluster.key"), &key).expect("copied");
    drop(before);

    let whole = fs::read(&file).expect("readable");
    let torn = place.path().join("torn");
    fs::write(&torn, &whole[..whole.len() - 7]).expect("written");
    let restore = |file: &Path, more: &[&str]| offline(&[&["snapshot", "restore", text(file), "--data-dir", text(&data)], more].concat());
    let error = restore(&torn, &[]).expect(1).err;
    assert!(error.contains("E0612") && error.contains("torn"), "{error}");
    let error = restore(&bare, &[]).expect(1).err;
    assert!(error.contains("E0612") && error.contains("--key-file"), "{error}");
    let restored = restore(&bare, &["--key-file", text(&key)]).expect(0);
    assert!(restored.err.contains("1 artifacts"), "what apps lack is said: {restored:?}");
    fs::remove_dir_all(&data).expect("removed");
    let restored = restore(&file, &[]).expect(0).out;
    assert_eq!(state_in(&restored), state_in(&saved), "the state is the same");
    let error = restore(&file, &[]).expect(1).err;
    assert!(error.contains("is not empty"), "{error}");

    let mut after = Node::start_in(place, &["--name", "node-a"]).await;
    serves(&after).await;
    let id = members(&after);
    assert!(id.len() == 1 && id[0] >= STEP, "{id:?}");
    after.apply(&hello(&guest("hello"), "      env: {TURN: \"2\"}\n")).expect(0);
    let token = token_of(&after);
    let peer = after.ready()["peer"].as_str().expect("a peer port").to_owned();
    let flags = ["--name", "node-b", "--join", &peer, "--token-file", text(token.path())];
    let joined = Node::start_in(tempfile::tempdir().expect("a directory"), &flags).await;
    serves(&joined).await;
    let ids = members(&after);
    assert!(ids.iter().all(|id| *id >= STEP), "{ids:?}");
    // The second start finds nothing to do but to go on.
    after = Node::start_in(after.cut_power(), &["--name", "node-a", "--peer", &peer]).await;
    serves(&after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_of_three_begins_anew_and_the_lost_ones_are_refused() {
    let mut cluster = Cluster::start(3, 0).await;
    cluster.nodes[0].apply(&hello(&guest("hello"), "")).expect(0);
    serves(&cluster.nodes[2]).await;
    for node in &cluster.nodes {
        remembers(node, 2).await;
    }
    let left = cluster.nodes.pop().expect("three");
    let data = left.data();
    let peer = left.ready()["peer"].as_str().expect("a peer port").to_owned();
    let recover = |data: &Path, yes: &str| offline(&["recover", "--data-dir", text(data), "--yes", yes]);
    let running = recover(&data, "node-c");
    assert!(running.code == 1 && running.err.contains("E0602"), "{running:?}");
    let directory = left.cut_power();
    let data = directory.path().join("data");
    let needless = recover(&data, "node-c");
    assert!(needless.code == 1 && needless.err.contains("E0613") && needless.err.contains("a majority"), "{needless:?}");

    let lost: Vec<_> = cluster.nodes.drain(..).map(Node::cut_power).collect();
    let other = recover(&data, "node-b");
    assert!(other.code == 1 && other.err.contains("nothing was changed"), "{other:?}");
    let done = recover(&data, "node-c").expect(0);
    assert!(done.err.contains("log ends at entry") && done.err.contains("node-a at"), "{done:?}");

    let flags = ["--name", "node-c", "--peer", &peer];
    let left = Node::start_in(directory, &flags).await;
    serves(&left).await;
    assert_eq!(members(&left).len(), 1);
    left.apply(&hello(&guest("hello"), "      env: {TURN: \"2\"}\n"));
    let token = token_of(&left);
    let mut joined = Vec::new();
    for name in ["node-d", "node-e"] {
        let flags = ["--name", name, "--join", &peer, "--token-file", text(token.path())];
        joined.push(Node::start_in(tempfile::tempdir().expect("a directory"), &flags).await);
    }
    cluster.nodes = joined;
    cluster.nodes.push(left);
    cluster.until_members(3, 3).await;
    let ids = members(&cluster.nodes[2]);
    assert!(ids.iter().filter(|id| **id > STEP).count() == 2, "{ids:?}");
    let said = refused(lost[0].path(), &["--name", "node-a"]).await;
    assert!(
        said.err.contains("E0611") && said.err.contains("began anew without this server") && said.err.contains("--replace node-a"),
        "{said:?}"
    );
    let flags = ["--join", &peer, "--token-file", text(token.path()), "--replace", "node-a"];
    let back = Node::start_in(lost.into_iter().next().expect("two"), &flags).await;
    assert_eq!(back.ready()["node"], "node-a");
    serves(&back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lost_ones_are_refused_when_they_are_sent_to_where_the_group_began_anew() {
    let mut cluster = Cluster::start(3, 0).await;
    for node in &cluster.nodes {
        remembers(node, 2).await;
    }
    let mut lost: Vec<_> = cluster.nodes.drain(..).map(Node::cut_power).collect();
    let directory = lost.pop().expect("three");
    let data = directory.path().join("data");
    offline(&["recover", "--data-dir", text(&data), "--yes", "node-c"]).expect(0);
    // Another address than the lost ones remember.
    let left = Node::start_in(directory, &["--name", "node-c"]).await;
    let peer = left.ready()["peer"].as_str().expect("a peer port").to_owned();
    for (directory, name) in lost.iter().zip(["node-a", "node-b"]) {
        let said = refused(directory.path(), &["--name", name, "--join", &peer]).await;
        assert!(said.err.contains("E0611") && said.err.contains("began anew without this server"), "{said:?}");
    }
    assert_eq!(members(&left).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_log_is_refused_and_comes_back_under_another_id() {
    let mut cluster = Cluster::start(3, 0).await;
    cluster.nodes[0].apply(&hello(&guest("hello"), "")).expect(0);
    let leader = cluster.leader().await;
    let wiped = cluster.nodes.remove((leader + 1) % 3);
    remembers(&wiped, 2).await;
    let name = wiped.ready()["node"].as_str().expect("a name").to_owned();
    let directory = wiped.cut_power();
    let control = directory.path().join("data/control");
    fs::remove_dir_all(control.join("log")).expect("removed");
    let said = refused(directory.path(), &["--name", &name]).await;
    assert!(said.err.contains("E0611") && said.err.contains("older than what it had acknowledged: it is empty"), "{said:?}");
    // Its own word is gone too: the leader has one still.
    fs::remove_file(control.join("reached.json")).expect("removed");
    let said = refused(directory.path(), &["--name", &name]).await;
    assert!(said.err.contains("E0611") && said.err.contains("says the leader at") || said.err.contains("it is empty"), "{said:?}");
    for node in &cluster.nodes {
        serves(node).await;
    }
    let leader = cluster.leader().await;
    let peer = cluster.nodes[leader].ready()["peer"].as_str().expect("a peer port").to_owned();
    let token = cluster.token("server");
    let flags = ["--join", &peer, "--token-file", text(&token), "--replace", &name];
    let before = members(&cluster.nodes[leader]);
    let back = Node::start_in(directory, &flags).await;
    assert_eq!(back.ready()["node"], name.as_str());
    cluster.nodes.push(back);
    cluster.until_members(3, 3).await;
    let after = members(&cluster.nodes[2]);
    assert!(after.iter().filter(|id| before.contains(id)).count() == 2 && after.iter().max() > before.iter().max(), "{before:?} {after:?}");
    serves(&cluster.nodes[2]).await;

    // The same for a machine that is gone with its disk.
    let leader = cluster.leader().await;
    let gone = cluster.nodes.remove((leader + 1) % 3);
    let name = gone.ready()["node"].as_str().expect("a name").to_owned();
    drop(gone.cut_power());
    let leader = cluster.leader().await;
    let peer = cluster.nodes[leader].ready()["peer"].as_str().expect("a peer port").to_owned();
    let flags = ["--join", &peer, "--token-file", text(&token), "--replace", &name];
    cluster.nodes.push(Node::start_in(tempfile::tempdir().expect("a directory"), &flags).await);
    cluster.until_members(3, 3).await;
    serves(&cluster.nodes[2]).await;
}
