//! Machines with empty disks, the same command line on each: they become one cluster by themselves, also when one comes late, is killed meanwhile or is not heard by
//! another, and never two.

use cluster_tests::{
    DEADLINE,
    cluster::Cluster,
    eventually,
    node::{self, Node, Said},
    proxy::Network,
    raw,
};
use std::{
    fs,
    net::TcpListener,
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
    /// Where the others reach it.
    peer: String,
    /// Where it listens, when that is elsewhere.
    behind: Option<String>,
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

/// Addresses that are free, each of them another one, as long as they are held.
fn free(count: usize) -> Vec<TcpListener> {
    (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect()
}

fn address(listener: &TcpListener) -> String {
    listener.local_addr().expect("it is bound").to_string()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

impl Machines {
    /// The first of them is the first of the peers.
    fn new(count: usize) -> Self {
        let held = free(2 * count);
        let mut peers: Vec<String> = held[..count].iter().map(address).collect();
        peers.sort();
        Self::at(peers.into_iter().map(|peer| (peer, None)).zip(held[count..].iter().map(address)))
    }

    /// The same, reached through doors only; says the number of each one's door in the network.
    async fn behind_doors(count: usize) -> (Self, Network, Vec<usize>) {
        let (network, mut doors, held) = (Network::default(), Vec::new(), free(2 * count));
        for (number, listen) in held[..count].iter().map(address).enumerate() {
            doors.push((network.door(listen.clone()).await, listen, number));
        }
        doors.sort();
        let numbers = doors.iter().map(|(.., number)| *number).collect();
        let places = doors.into_iter().map(|(door, listen, _)| (door, Some(listen)));
        (Self::at(places.zip(held[count..].iter().map(address))), network, numbers)
    }

    fn at(places: impl Iterator<Item = ((String, Option<String>), String)>) -> Self {
        let token = directory();
        make_token(&token.path().join("token"));
        let names = (b'a'..).map(|letter| format!("node-{}", char::from(letter)));
        let machine = |(name, ((peer, behind), api))| Machine { name, peer, behind, api, directory: directory() };
        Self { token, machines: names.zip(places).map(machine).collect() }
    }

    fn peers(&self) -> String {
        self.machines.iter().map(|machine| machine.peer.clone()).collect::<Vec<_>>().join(",")
    }

    fn flags(&self, number: usize, peers: &str) -> Vec<String> {
        let Machine { name, peer, behind, api, .. } = &self.machines[number];
        let (token, count) = (self.token.path().join("token"), peers.split(',').count().to_string());
        let listen = behind.as_ref().unwrap_or(peer);
        let flags = ["--name", name, "--peer", listen, "--api", api, "--peers", peers, "--expect", &count, "--token-file", text(&token)];
        let advertised = behind.iter().flat_map(|_| ["--advertise-peer", peer]);
        flags.into_iter().chain(advertised).map(str::to_owned).collect()
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

/// When nothing passes from one machine to another any more, and what the three do meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// From the start; all wait, and nobody begins a cluster.
    EarlyAndAwaited,
    /// From the start; they become the cluster as if nothing was.
    EarlyAndUnnoticed,
    /// Once the first has made the cluster's authority; what is done by then is done, and the rest waits.
    Late,
}

/// Three machines become one cluster although machine `silent` is not heard by machine `deaf` for a while, which it hears itself.
async fn forms(silent: usize, deaf: usize, when: Cut) {
    let (mut machines, network, doors) = Machines::behind_doors(3).await;
    let peers: Vec<String> = machines.machines.iter().map(|machine| machine.peer.clone()).collect();
    let apis: Vec<String> = machines.machines.iter().map(|machine| machine.api.clone()).collect();
    let data: Vec<_> = machines.machines.iter().map(|machine| machine.directory.path().join("data")).collect();
    let cut = || network.hold(doors[silent], doors[deaf]);
    if when != Cut::Late {
        cut();
    }
    let forming = tokio::spawn(async move { machines.start_all().await });
    match when {
        Cut::EarlyAndAwaited => {
            // The one asks in vain, and the other one's questions are answered in vain.
            waits_for(&apis[silent], &format!("{} to answer", peers[deaf])).await;
            waits_for(&apis[deaf], &format!("{} to answer", peers[silent])).await;
            let third = 3 - silent - deaf;
            waits_for(&apis[third], &format!("{}, the first of the peers, to found", peers[0])).await;
            for data in &data {
                assert!(!data.join("node.json").exists() && !data.join("control/formation.json").exists(), "{}", data.display());
            }
        }
        Cut::Late => {
            let begun = || ["control/formation.json", "node.json"].iter().any(|name| data[0].join(name).exists());
            eventually("the beginning", || async { begun().then_some(()) }).await;
            cut();
            eventually("a machine that waits, or the cluster", || async {
                let answer = raw::get(&apis[0], "localhost", "/readyz").await.ok()?;
                (answer.status == 200 || answer.body.contains("to answer") || answer.body.contains("to bind itself")).then_some(())
            })
            .await;
        }
        Cut::EarlyAndUnnoticed => {
            for api in &apis {
                eventually("the cluster", || async { (raw::get(api, "localhost", "/readyz").await.ok()?.status == 200).then_some(()) })
                    .await;
            }
        }
    }
    network.heal();
    let cluster = forming.await.expect("they start");
    cluster.until_members(3, 3).await;
    cluster.until_all_answer().await;
    let ids: Vec<_> = cluster.nodes.iter().map(|node| Cluster::view(node).expect("it answers")["id"].to_string()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "more than one cluster: {ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_not_heard_by_the_founder_is_waited_for() {
    forms(1, 0, Cut::EarlyAndAwaited).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_is_not_heard_by_another_machine_waits() {
    forms(0, 2, Cut::EarlyAndAwaited).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_hears_no_more_once_the_cluster_is_begun_founds_no_second_one() {
    forms(0, 1, Cut::Late).await;
    forms(2, 0, Cut::Late).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_found_nothing_need_not_hear_each_other() {
    forms(1, 2, Cut::EarlyAndUnnoticed).await;
}
