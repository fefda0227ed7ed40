//! Several real nodes that join one cluster on this machine, with real tokens. Owns who is there and what they joined with; must never be needed to know what
//! they answer.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    eventually,
    node::{Node, Said},
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
        let first = Node::start_in(tempfile::tempdir().expect("a temporary directory"), &["--name", "node-a"]).await;
        let ready = first.ready();
        let tokens = tempfile::tempdir().expect("a temporary directory");
        for role in ["server", "worker"] {
            let token = ready["join"][role].as_str().expect("a new cluster says how to join it");
            std::fs::write(tokens.path().join(role), token).expect("a token is written");
        }
        let peer = ready["peer"].as_str().expect("a server listens for others").to_owned();
        let mut cluster = Self { nodes: vec![first], tokens, peer };
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

    /// One more server.
    pub async fn join_server(&mut self, name: &str) {
        let token = self.token("server");
        let flags = ["--name", name, "--join", &self.peer, "--token-file", token.to_str().expect("a temporary path is text")];
        let node = Node::start_in(tempfile::tempdir().expect("a temporary directory"), &flags).await;
        self.nodes.push(node);
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
