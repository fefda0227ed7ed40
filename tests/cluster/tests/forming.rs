//! Machines with empty disks, the same command line on each: they become one cluster by themselves, also when one comes late or is killed meanwhile, and never two.

use cluster_tests::{
    DEADLINE,
    cluster::Cluster,
    eventually,
    node::{self, Node, Said},
    raw,
};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Machines that are to form a cluster, none of which runs.
struct Machines {
    /// The token's file.
    token: TempDir,
    machines: Vec<Machine>,
}

struct Machine {
    name: String,
    peer: String,
    api: String,
    directory: TempDir,
}

/// A program that was started and is not awaited.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn free() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("a free port").to_string()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

impl Machines {
    /// The first of them is the first of the peers.
    fn new(count: usize) -> Self {
        let token = directory();
        make_token(&token.path().join("token"));
        let mut peers: Vec<String> = (0..count).map(|_| free()).collect();
        peers.sort();
        let names = (b'a'..).map(|letter| format!("node-{}", char::from(letter)));
        let machine = |(name, peer)| Machine { name, peer, api: free(), directory: directory() };
        Self { token, machines: names.zip(peers).map(machine).collect() }
    }

    fn peers(&self) -> String {
        self.machines.iter().map(|machine| machine.peer.clone()).collect::<Vec<_>>().join(",")
    }

    fn flags(&self, number: usize, peers: &str) -> Vec<String> {
        let Machine { name, peer, api, .. } = &self.machines[number];
        let (token, count) = (self.token.path().join("token"), peers.split(',').count().to_string());
        let flags = ["--name", name, "--peer", peer, "--api", api, "--peers", peers, "--expect", &count, "--token-file", text(&token)];
        flags.map(str::to_owned).to_vec()
    }

    /// The program of a machine, which is not waited for.
    fn start(&self, number: usize, peers: &str) -> Started {
        let directory = self.machines[number].directory.path();
        let mut command = node::node_command("server", &directory.join("data"), &directory.join("ready.json"));
        let log = fs::File::create(directory.join("first.log")).expect("a log file");
        command.args(["--mesh", "127.0.0.1:0"]).args(self.flags(number, peers)).stdout(Stdio::null()).stderr(log);
        Started(command.spawn().expect("the node starts"))
    }

    /// What a machine's program has logged that [`Machines::start`] started.
    fn log(&self, number: usize) -> String {
        fs::read_to_string(self.machines[number].directory.path().join("first.log")).unwrap_or_default()
    }

    /// All machines at once, ready.
    async fn start_all(&mut self) -> Cluster {
        let peers = self.peers();
        let flags: Vec<_> = (0..self.machines.len()).map(|number| self.flags(number, &peers)).collect();
        let starts = self.machines.iter_mut().zip(flags).map(|(machine, flags)| {
            let directory = std::mem::replace(&mut machine.directory, directory());
            tokio::spawn(async move { start_in(directory, &flags).await })
        });
        let mut nodes = Vec::new();
        for start in starts.collect::<Vec<_>>() {
            nodes.push(start.await.expect("it starts"));
        }
        Cluster::of(nodes)
    }
}

async fn start_in(directory: TempDir, flags: &[String]) -> Node {
    Node::start_in(directory, &flags.iter().map(String::as_str).collect::<Vec<_>>()).await
}

fn make_token(path: &Path) {
    let said: Said =
        Command::new(cluster_tests::binary()).args(["formation-token", "create", "--out", text(path)]).output().expect("shoal runs").into();
    said.expect(0);
}

/// Waits until the machine whose API is at `api` waits for something with `words`.
async fn waits_for(api: &str, words: &str) {
    eventually(words, || async {
        let answer = raw::get(api, "localhost", "/readyz").await.ok()?;
        (answer.status == 503 && answer.body.contains(words)).then_some(())
    })
    .await;
}

/// A program that is expected not to start.
async fn refused(command: Command) -> Said {
    let mut command = command;
    let said = tokio::task::spawn_blocking(move || Said::from(command.stdin(Stdio::null()).output().expect("shoal runs")));
    let said = tokio::time::timeout(DEADLINE, said).await.expect("it ends in time").expect("it ends");
    assert_ne!(said.code, 0, "{said:?}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn three_empty_machines_become_one_cluster_and_an_emptied_one_founds_no_second() {
    let mut machines = Machines::new(3);
    let peers = machines.peers();
    let flags: Vec<_> = (0..3).map(|number| machines.flags(number, &peers)).collect();
    let mut cluster = machines.start_all().await;
    cluster.until_members(3, 3).await;
    cluster.until_all_answer().await;
    for node in &cluster.nodes {
        assert!(!node.data().join("control/formation.json").exists() && !node.data().join("control/invitation.json").exists());
    }
    // Every use of the token is used up.
    let tokens = cluster.nodes[1].shoal(&["join-token", "list", "-o", "json"]).expect(0).out;
    let tokens: serde_json::Value = serde_json::from_str(&tokens).expect("JSON");
    let items = tokens["items"].as_array().or(tokens.as_array()).expect("a list").clone();
    let formed = items.iter().find(|token| token["by"] == "formation").expect("the founder made one");
    assert_eq!((&formed["usesLeft"], &formed["role"]), (&serde_json::json!(0), &serde_json::json!("server")), "{formed}");

    // The same command line again: the machine is back, whatever it says.
    let stopped = cluster.nodes.pop().expect("three").cut_power();
    let back = start_in(stopped, &flags[2]).await;
    assert!(back.log().contains("belongs to a cluster already: --expect and --peers are not looked at"), "{}", back.log());
    cluster.nodes.push(back);
    cluster.until_members(3, 3).await;

    // The founder and another one are emptied, one after the other: neither founds, neither gets in.
    for (number, flags) in [(0, &flags[0]), (2, &flags[2])] {
        let node = cluster.nodes.remove(usize::from(number == 2));
        drop(node.cut_power());
        let empty = directory();
        let mut command = node::node_command("server", &empty.path().join("data"), &empty.path().join("ready.json"));
        command.args(["--mesh", "127.0.0.1:0"]).args(flags);
        let said = refused(command).await;
        assert!(said.err.contains("E0621") && said.err.contains("shoal join-token create server"), "{said:?}");
        assert!(!empty.path().join("data/node.json").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_comes_late_and_one_is_killed_meanwhile() {
    let mut machines = Machines::new(3);
    let peers = machines.peers();
    let (first, late) = (machines.start(0, &peers), machines.machines[2].peer.clone());
    let second = machines.start(1, &peers);
    let apis: Vec<String> = machines.machines.iter().map(|machine| machine.api.clone()).collect();
    for api in &apis[..2] {
        waits_for(api, &format!("{late} to answer")).await;
    }
    let socket = machines.machines[0].directory.path().join("data");
    let said: Said =
        Command::new(cluster_tests::binary()).args(["get", "nodes", "--data-dir", text(&socket)]).output().expect("shoal runs").into();
    assert!(said.code == 10 && said.err.contains("E0622") && said.err.contains(&late), "{said:?}");
    drop(first);
    waits_for(&apis[1], &format!("{} to answer", machines.machines[0].peer)).await;
    drop(second);
    let cluster = machines.start_all().await;
    cluster.until_members(3, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_with_their_code_and_mended_one_by_one() {
    let mut machines = Machines::new(3);
    let peers = machines.peers();
    let two = peers.rsplit_once(',').expect("three").0.to_owned();
    let api = machines.machines[0].api.clone();
    let first = machines.start(0, &peers);
    let second = machines.start(1, &two);
    waits_for(&api, "to have the same --peers: it was told").await;
    let right = fs::read_to_string(machines.token.path().join("token")).expect("a token");
    fs::remove_file(machines.token.path().join("token")).expect("removed");
    make_token(&machines.token.path().join("token"));
    let third = machines.start(2, &peers);
    waits_for(&api, "to have the same formation token").await;
    let log = eventually("both codes in the log", || {
        let log = machines.log(0);
        async move { (log.contains("E0619") && log.contains("E0620")).then_some(log) }
    })
    .await;
    assert!(log.contains("the cluster cannot be formed like this"), "{log}");
    drop((first, second, third));
    fs::write(machines.token.path().join("token"), right).expect("written");
    machines.start_all().await.until_members(3, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_ends_at_once() {
    let machines = Machines::new(2);
    let token = machines.token.path().join("token");
    let run = async |flags: &[&str]| {
        let empty = directory();
        let mut command = node::server_command(&empty.path().join("data"), &empty.path().join("ready.json"));
        command.args(flags);
        refused(command).await
    };
    let said = run(&["--expect", "2", "--peers", "127.0.0.1:1,127.0.0.1:2"]).await;
    assert!(said.err.contains("E0619") && said.err.contains("shoal formation-token create"), "{said:?}");
    let said = run(&["--join", "127.0.0.1:1", "--token-file", text(&token)]).await;
    assert!(said.err.contains("E0609") && said.err.contains("it goes with --expect and --peers"), "{said:?}");
}
