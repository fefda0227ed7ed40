//! Who is let in by which token and into which directory, and who has a vote then. What is refused leaves no place behind, and a good token works afterwards.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use cluster_tests::{
    DEADLINE,
    cluster::Cluster,
    eventually,
    node::{self, Node, Said},
};
use serde_json::Value;
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

/// What a node that must not start says: `shoal KIND --join` with `token` on `directory`.
async fn refused(kind: &str, directory: &Path, cluster: &Cluster, token: &str) -> Said {
    let file = directory.join("token");
    fs::write(&file, token).expect("a token is written");
    let mut command = node::node_command(kind, &directory.join("data"), &directory.join("ready.json"));
    command.args(["--mesh", "127.0.0.1:0", "--join", &cluster.peer, "--token-file", text(&file)]).stdout(Stdio::piped());
    if kind == "server" {
        command.args(["--peer", "127.0.0.1:0", "--api", "127.0.0.1:0"]);
    }
    let ended = tokio::task::spawn_blocking(move || Said::from(command.output().expect("shoal runs")));
    let said = tokio::time::timeout(DEADLINE, ended).await.expect("it ends in time").expect("it ends");
    said.expect(1)
}

/// A new token, and its id.
fn token(server: &Node, kind: &str, limits: &[&str]) -> (String, String) {
    let made = server.shoal(&[&["join-token", "create", kind, "-o", "json"], limits].concat()).expect(0);
    let made: Value = serde_json::from_str(&made.out).expect("JSON");
    let field = |name: &str| made[name].as_str().expect("a field of a new token").to_owned();
    (field("token"), field("id"))
}

/// The good tokens as `server` lists them, by id.
fn listed(server: &Node) -> BTreeMap<String, Value> {
    let list = server.shoal(&["join-token", "list", "-o", "json"]).expect(0).out;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let items = list["items"].as_array().or(list.as_array()).expect("a list");
    items.iter().map(|token| (token["id"].as_str().expect("an id").to_owned(), token.clone())).collect()
}

/// Names of the nodes there are.
fn nodes(server: &Node) -> Vec<String> {
    server.shoal(&["get", "nodes", "-o", "name"]).expect(0).out.lines().map(str::to_owned).collect()
}

/// Starts `kind` on `directory` with a good token.
async fn joins(kind: &str, directory: TempDir, cluster: &Cluster, name: &str) -> Node {
    let token = cluster.token(kind);
    let flags = ["--name", name, "--join", &cluster.peer, "--token-file", text(&token)];
    if kind == "server" { Node::start_in(directory, &flags).await } else { Node::start_worker_in(directory, &flags).await }
}

/// Every file below `directory` that says who a node is and what it knows, with its bytes.
fn place(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![directory.join("control/identity"), directory.join("worker/identity")];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { left.push(path) } else { drop(files.insert(path.clone(), fs::read(path).expect("a file"))) }
        }
    }
    for name in ["node.json", "control/cluster.key"] {
        files.insert(directory.join(name), fs::read(directory.join(name)).expect("a server has it"));
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_lets_nobody_in_and_a_good_one_does_on_the_same_directory() {
    let cluster = Cluster::start(1, 0).await;
    for (kind, name) in [("server", "node-b"), ("worker", "node-c")] {
        let (expired, id) = token(&cluster.nodes[0], kind, &["--ttl", "1s"]);
        eventually("the token's end", || async { (!listed(&cluster.nodes[0]).contains_key(&id)).then_some(()) }).await;
        let (before, directory) = (nodes(&cluster.nodes[0]), directory());
        let said = refused(kind, directory.path(), &cluster, &expired).await;
        assert!(said.err.contains("E0609") && said.err.contains("its join token has expired"), "{said:?}");
        assert!(said.err.contains("shoal join-token create"), "{said:?}");
        assert!(!directory.path().join("data/node.json").exists(), "it has no place");
        assert_eq!(nodes(&cluster.nodes[0]), before, "nobody knows it");
        let joined = joins(kind, directory, &cluster, name).await;
        assert_eq!(nodes(&cluster.nodes[0]).len(), before.len() + 1);
        // It keeps its place without any token.
        let flags = ["--name", name, "--join", &cluster.peer];
        let back = joined.cut_power();
        drop(if kind == "server" { Node::start_in(back, &flags).await } else { Node::start_worker_in(back, &flags).await });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_use_lets_one_in() {
    let cluster = Cluster::start(1, 0).await;
    let (once, id) = token(&cluster.nodes[0], "worker", &["--uses", "1"]);
    assert_eq!(listed(&cluster.nodes[0])[&id]["usesLeft"], 1);
    let first = directory();
    fs::write(first.path().join("token"), &once).expect("a token is written");
    let file = first.path().join("token");
    let first = Node::start_worker_in(first, &["--name", "node-b", "--join", &cluster.peer, "--token-file", text(&file)]).await;
    assert_eq!(listed(&cluster.nodes[0])[&id]["usesLeft"], 0);
    let directory = directory();
    let said = refused("worker", directory.path(), &cluster, &once).await;
    assert!(said.err.contains("E0609") && said.err.contains("its join token is used up"), "{said:?}");
    assert!(!directory.path().join("data/node.json").exists());
    assert_eq!(nodes(&cluster.nodes[0]).len(), 2);
    // Who was let in comes back with the token it used, and uses nothing up.
    let flags = ["--name", "node-b", "--join", &cluster.peer, "--token-file", text(&file)];
    let back = Node::start_worker_in(first.cut_power(), &flags).await;
    let joined = joins("worker", directory, &cluster, "node-c").await;
    assert_eq!(nodes(&cluster.nodes[0]).len(), 3);
    drop((back, joined));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_cluster_is_refused_and_stays_as_it_is() {
    let (cluster, other) = (Cluster::start(1, 0).await, Cluster::start(1, 1).await);
    let mut other_nodes = other.nodes;
    let name = |node: &Node| node.ready()["node"].as_str().expect("a name").to_owned();
    let worker = other_nodes.pop().expect("two nodes");
    let worker_name = name(&worker);
    let worker = worker.cut_power();
    let server = other_nodes.pop().expect("one node");
    let (server_name, server_flags) = (name(&server), server.flags().to_vec());
    let server = server.cut_power();
    let before = place(&server.path().join("data"));
    let worker_place = || fs::read(worker.path().join("data/node.json")).expect("it has a place");
    let worker_before = worker_place();
    for (kind, directory) in [("server", &server), ("worker", &worker)] {
        let good = fs::read_to_string(cluster.token(kind)).expect("a token");
        let said = refused(kind, directory.path(), &cluster, &good).await;
        assert!(said.err.contains("E0609") && said.err.contains("and the token is for another"), "{said:?}");
    }
    assert_eq!((place(&server.path().join("data")), worker_place()), (before, worker_before));
    assert_eq!(nodes(&cluster.nodes[0]).len(), 1, "nobody came");

    // Both go on where they were.
    let server_flags: Vec<&str> = server_flags.iter().map(String::as_str).collect();
    let server = Node::start_in(server, &server_flags).await;
    let peer = server.ready()["peer"].as_str().expect("a server listens for others").to_owned();
    let worker = Node::start_worker_in(worker, &["--name", &worker_name, "--join", &peer]).await;
    assert_eq!((name(&server), name(&worker)), (server_name, worker_name));
    assert_eq!(nodes(&server).len(), 2);
}

/// What the members are, in order of id.
fn roles(server: &Node) -> Option<Vec<String>> {
    let view = Cluster::view(server)?;
    view["members"].as_array()?.iter().map(|member| Some(member["role"].as_str()?.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_server_votes_when_it_is_told_to() {
    let cluster = Cluster::start(4, 1).await;
    assert_eq!(roles(&cluster.nodes[0]).expect("a list"), ["voter", "voter", "voter", "learner"]);
    let asked = |place: usize, name: &str| cluster.nodes[place].shoal(&["member", "promote", name]);
    // Whichever server is asked, also the one it is about.
    let said = asked(1, "nobody").expect(6);
    assert!(said.err.contains("E0402") && said.err.contains("`nobody`"), "{said:?}");
    let said = asked(1, "node-e").expect(6);
    assert!(said.err.contains("E0402"), "a worker is no member: {said:?}");
    let promoted = || {
        let audit = cluster.nodes[0].shoal(&["audit", "-o", "json"]).expect(0).out;
        audit.matches("\"promote\"").count()
    };
    let before = promoted();
    let said = asked(2, "node-b").expect(0);
    assert!(said.out.contains("node-b votes already"), "{said:?}");
    assert_eq!(promoted(), before, "nothing was done");

    let said = asked(3, "member/node-d").expect(0);
    assert!(said.out.contains("member/node-d: node-d votes") && !said.out.contains("already"), "{said:?}");
    cluster.until_members(4, 4).await;
    // Once for every try: a learner that was not heard of for a moment is asked for again.
    assert!(promoted() > before, "who gave it is written down");
    let said = cluster.nodes[0].shoal(&["member", "list"]).expect(0);
    assert!(said.err.contains("tolerates the loss of 1 member"), "four votes survive one loss: {said:?}");
    assert!(asked(0, "node-d").expect(0).out.contains("node-d votes already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_says_how_to_join_it_and_keeps_the_tokens_to_itself() {
    let node = Node::start().await;
    let log = eventually("how to join", || {
        let log = node.log();
        async move { log.contains("shoal join-token create server").then_some(log) }
    })
    .await;
    assert!(log.contains("shoal join-token create worker"), "{log}");
    assert!(node.ready()["join"]["server"].as_str().is_some_and(|token| token.starts_with("SHOAL1-s-")));
    assert!(!log.contains("SHOAL1-"), "a token is in the log: {log}");
    let said = node.shoal(&["member", "list"]).expect(0);
    assert!(said.err.contains("next: shoal join-token create server"), "{said:?}");

    // It says so once: who comes back has joined already, or is joined.
    let back = Node::start_in(node.cut_power(), &[]).await;
    assert_eq!(back.log().matches("shoal join-token create server").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_port_for_others_does_not_invite_them() {
    let directory = directory();
    let (data, log) = (directory.path().join("data"), directory.path().join("log"));
    let file = fs::File::create(&log).expect("a log file");
    let mut dev = std::process::Command::new(cluster_tests::binary());
    dev.args(["dev", "--data-dir", text(&data), "--http", "127.0.0.1:0", "--api", "127.0.0.1:0"]);
    let mut dev = dev.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("shoal runs");
    let supervisor = rustix::process::Pid::from_child(&dev);
    let said = eventually("the members", || async {
        let said: Said = std::process::Command::new(cluster_tests::binary())
            .args(["member", "list", "--data-dir", text(&data)])
            .env("XDG_CONFIG_HOME", directory.path())
            .output()
            .expect("shoal runs")
            .into();
        (said.code == 0).then_some(said)
    })
    .await;
    rustix::process::kill_process(supervisor, rustix::process::Signal::TERM).expect("it lives");
    tokio::task::spawn_blocking(move || dev.wait()).await.expect("it ends").expect("it is reaped");
    assert!(said.err.contains("no other server can join") && said.err.contains("shoal server"), "{said:?}");
    let log = fs::read_to_string(log).expect("its log");
    assert!(!said.err.contains("join-token") && !log.contains("join-token"), "{said:?}\n{log}");
}
