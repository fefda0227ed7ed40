//! Several real nodes that join one cluster on this machine, with real tokens. Owns who is there and what they joined with; must never be needed to know what
//! they answer.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    eventually,
    node::{Node, Said},
    proxy::Network,
    session::{Answered, Session},
};

/// Servers and workers of one cluster, the one that began it first.
pub struct Cluster {
    /// In order of joining.
    pub nodes: Vec<Node>,
    tokens: tempfile::TempDir,
    /// Where the first server is joined.
    pub peer: String,
}

impl Cluster {
    /// `servers` servers, all of which vote where there are three, and `workers` workers.
    pub async fn start(servers: usize, workers: usize) -> Self {
        let mut cluster = Self::found().await;
        for number in 1..servers {
            cluster.join_server(&name(number)).await;
        }
        for number in servers..servers + workers {
            cluster.join_worker(&name(number)).await;
        }
        let voters = if servers >= 3 { 3 } else { 1 };
        cluster.until_members(servers, voters).await;
        cluster
    }

    /// Servers that reach each other through doors only.
    pub async fn behind_doors(servers: usize) -> (Self, Network) {
        let network = Network::default();
        let (peer, door) = door_of(&network).await;
        let mut cluster = Self::found_with(directory(), &["--peer", &peer, "--advertise-peer", &door]).await;
        cluster.peer = door;
        for number in 1..servers {
            let (peer, door) = door_of(&network).await;
            let node = cluster.joining_with(directory(), &name(number), &["--peer", &peer, "--advertise-peer", &door]).await;
            cluster.nodes.push(node);
        }
        cluster.until_members(servers, if servers >= 3 { 3 } else { 1 }).await;
        (cluster, network)
    }

    /// One server on each of `directories`.
    pub async fn start_on(directories: Vec<TempDir>) -> Self {
        let (servers, mut directories) = (directories.len(), directories.into_iter());
        let mut cluster = Self::found_with(directories.next().expect("at least one server"), &[]).await;
        for (number, directory) in (1..).zip(directories) {
            let node = cluster.joining_with(directory, &name(number), &[]).await;
            cluster.nodes.push(node);
        }
        cluster.until_members(servers, if servers >= 3 { 3 } else { 1 }).await;
        cluster
    }

    /// Its first server alone.
    pub async fn found() -> Self {
        Self::found_with(directory(), &[]).await
    }

    /// Servers that are one cluster already, without tokens for further ones.
    pub fn of(nodes: Vec<Node>) -> Self {
        let peer = nodes.first().and_then(|node| node.ready()["peer"].as_str()).unwrap_or_default().to_owned();
        Self { nodes, tokens: directory(), peer }
    }

    async fn found_with(directory: TempDir, flags: &[&str]) -> Self {
        let flags = [&["--name", "node-a"], flags].concat();
        let first = Node::start_in(directory, &flags).await;
        let ready = first.ready();
        let tokens = tempfile::tempdir().expect("a temporary directory");
        for role in ["server", "worker"] {
            let token = ready["join"][role].as_str().expect("a new cluster says how to join it");
            std::fs::write(tokens.path().join(role), token).expect("a token is written");
        }
        let peer = ready["peer"].as_str().expect("a server listens for others").to_owned();
        Self { nodes: vec![first], tokens, peer }
    }

    /// One more server.
    pub async fn join_server(&mut self, name: &str) {
        let node = self.joining_server(name).await;
        self.nodes.push(node);
    }

    /// A server that joins, which is not counted among the nodes yet.
    pub async fn joining_server(&self, name: &str) -> Node {
        self.joining_with(directory(), name, &[]).await
    }

    async fn joining_with(&self, directory: TempDir, name: &str, flags: &[&str]) -> Node {
        let token = self.token("server");
        let own = ["--name", name, "--join", &self.peer, "--token-file", token.to_str().expect("a temporary path is text")];
        let flags = [own.as_slice(), flags].concat();
        Node::start_in(directory, &flags).await
    }

    /// One more worker.
    pub async fn join_worker(&mut self, name: &str) {
        let token = self.token("worker");
        let flags = ["--name", name, "--join", &self.peer, "--token-file", token.to_str().expect("a temporary path is text")];
        let node = Node::start_worker_in(tempfile::tempdir().expect("a temporary directory"), &flags).await;
        self.nodes.push(node);
    }

    /// The file with the token for `role`.
    pub fn token(&self, role: &str) -> PathBuf {
        self.tokens.path().join(role)
    }

    /// What `node` says of the cluster.
    pub fn view(node: &Node) -> Option<Value> {
        let said: Said = node.shoal(&["member", "list", "-o", "json"]);
        if said.code == 0 { serde_json::from_str(&said.out).ok() } else { None }
    }

    /// Waits until there are `members` members, of which `voters` vote and lack nothing.
    pub async fn until_members(&self, members: usize, voters: usize) {
        eventually("the members", || {
            let view = self.nodes.iter().find_map(Self::view);
            async move {
                let view = view?;
                let all = view["members"].as_array()?;
                let votes = all.iter().filter(|member| member["role"] == "voter").count();
                (all.len() == members && votes == voters).then_some(())
            }
        })
        .await;
    }

    /// The place in `nodes` of the server that leads, as any server says.
    pub async fn leader(&self) -> usize {
        let name = eventually("a leader", || {
            let leader = self.nodes.iter().find_map(Self::view).and_then(|view| view["leader"].as_str().map(str::to_owned));
            async move { leader }
        })
        .await;
        self.nodes.iter().position(|node| node.ready()["node"] == name.as_str()).expect("the leader is one of ours")
    }
}

impl Cluster {
    /// Where the API of every server is, in order of joining.
    pub fn apis(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.api.clone()).filter(|api| !api.is_empty()).collect()
    }

    /// Waits until every server answers a read that must be current.
    pub async fn until_all_answer(&self) {
        for api in self.apis() {
            eventually("a current answer of every server", || {
                let mut session = Session::new(&api);
                async move { matches!(session.read("none", ANSWER_MAX).await, Answered::Seen(_)).then_some(()) }
            })
            .await;
        }
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A free address for a server to listen at, and that of a door to it.
async fn door_of(network: &Network) -> (String, String) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").to_string();
    let door = network.door(free.clone()).await;
    (free, door)
}

/// Longest time one answer may take before it is asked for again.
const ANSWER_MAX: Duration = Duration::from_secs(6);

/// `node-a`, `node-b`, …
fn name(number: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(number).expect("fewer than 26 nodes"));
    format!("node-{letter}")
}

/// A manifest of the sample `hello` with the host `hello.localhost`.
pub fn hello(guest: &Path, extra: &str) -> String {
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: hello}}\nspec:\n  components:\n    web:\n      source: {}\n      \
         routes: [{{host: hello.localhost}}]\n{extra}",
        guest.display()
    )
}
