//! Whether a write that was acknowledged is ever lost while leaders are killed. Every client has a Config of its own and writes each version on top of the one
//! that was acknowledged before: when that one is not there the write is a conflict. Owns the counting; must never take a write in doubt for a lost one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use cluster_tests::{
    cluster::Cluster,
    eventually, node,
    session::{Answered, Put, Session, Written},
};
use tokio::task::JoinSet;

use crate::Table;

/// Clients that write.
const CLIENTS: usize = 64;

/// Writes to be acknowledged in all.
const WRITES: u64 = 100_000;

/// Longest time one try may take.
const TRY_MAX: Duration = Duration::from_secs(5);

/// Rest of a client that was refused before it asks again.
const REST: Duration = Duration::from_millis(5);

/// What all clients have seen.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: AtomicU64,
    doubtful: AtomicU64,
    lost: AtomicU64,
    stop: AtomicBool,
}

/// One client and what it knows of its Config.
struct Client {
    name: String,
    sessions: Vec<Session>,
    /// Counts the servers asked.
    turn: usize,
    value: u64,
    version: Option<u64>,
}

/// Kills the leader `kills` times while at least [`WRITES`] writes are acknowledged.
pub async fn measure(kills: u32) -> Table {
    let cluster = Cluster::start(3, 0).await;
    let (seen, mut clients) = (Arc::new(Seen::default()), JoinSet::new());
    for number in 0..CLIENTS {
        let sessions = cluster.apis().iter().map(|api| Session::new(api)).collect();
        let client = Client { name: format!("lost-{number}"), sessions, turn: number, value: 0, version: None };
        clients.spawn(client.run(seen.clone()));
    }
    let until = |goal: u64| {
        let seen = seen.clone();
        async move { eventually("more acknowledged writes", || async { (seen.acknowledged.load(Relaxed) >= goal).then_some(()) }).await }
    };
    for kill in 1..=u64::from(kills) {
        until(WRITES * kill / (u64::from(kills) + 1)).await;
        let leader = cluster.leader().await;
        let pid = cluster.nodes[leader].child("control-plane").expect("it runs");
        node::kill(pid);
        eventually("another control plane", || async { cluster.nodes[leader].child("control-plane").filter(|found| *found != pid) }).await;
        cluster.until_all_answer().await;
        eprintln!("kill {kill}: {} writes acknowledged so far", seen.acknowledged.load(Relaxed));
    }
    until(WRITES).await;
    seen.stop.store(true, Relaxed);
    let mut whole = Vec::new();
    while let Some(client) = clients.join_next().await {
        whole.push(client.expect("a client never panics"));
    }
    for client in &mut whole {
        client.read_everywhere(&seen).await;
    }
    for node in cluster.nodes {
        node.stop().await;
    }
    let counts = [&seen.acknowledged, &seen.doubtful, &seen.lost].map(|count| count.load(Relaxed).to_string());
    Table {
        title: "Acknowledged writes while the leader is killed",
        how: format!(
            "three servers, the leader's control plane killed with -9 again and again; {CLIENTS} clients, each of which writes a Config of its own on top of the \
             version that was acknowledged last, over all three servers; at the end everything is read from every server. A write in doubt is one that broke off \
             and was asked for again under its key"
        ),
        head: &["kills", "acknowledged", "in doubt meanwhile", "lost"],
        rows: vec![[&[kills.to_string()][..], &counts].concat()],
    }
}

impl Client {
    async fn run(mut self, seen: Arc<Seen>) -> Self {
        while !seen.stop.load(Relaxed) {
            self.write(&seen).await;
        }
        self
    }

    /// Writes the next value until it is known to be there.
    async fn write(&mut self, seen: &Seen) {
        self.value += 1;
        let key = format!("{}-{}", self.name, self.value);
        let mut in_doubt = false;
        loop {
            let put = Put { name: &self.name, value: self.value, bytes: 20, expect: self.version, key: &key };
            let (turn, count) = (self.turn, self.sessions.len());
            match self.sessions[turn % count].put(put, TRY_MAX).await {
                Written::Done(version) => {
                    self.version = Some(version);
                    seen.acknowledged.fetch_add(1, Relaxed);
                    return;
                }
                Written::Conflict => return self.look(in_doubt, seen).await,
                Written::Strange(what) => panic!("a strange answer: {what}"),
                Written::No(_) => {}
                Written::Perhaps(_) => {
                    seen.doubtful.fetch_add(u64::from(!in_doubt), Relaxed);
                    in_doubt = true;
                }
            }
            self.turn += 1;
            tokio::time::sleep(REST).await;
        }
    }

    /// Something else is there than what was acknowledged last: this very write, when it was in doubt; or that one is lost.
    async fn look(&mut self, in_doubt: bool, seen: &Seen) {
        let found = self.read(self.turn).await;
        if !in_doubt || found.is_none_or(|found| found.value != self.value) {
            seen.lost.fetch_add(1, Relaxed);
        }
        self.version = found.map(|found| found.version);
    }

    /// What a server says once it knows everything that was acknowledged.
    async fn read(&mut self, mut turn: usize) -> Option<cluster_tests::history::Seen> {
        loop {
            let count = self.sessions.len();
            match self.sessions[turn % count].read(&self.name, TRY_MAX).await {
                Answered::Seen(found) => return found,
                Answered::Strange(what) => panic!("a strange answer: {what}"),
                Answered::No(_) => turn += 1,
            }
            tokio::time::sleep(REST).await;
        }
    }

    async fn read_everywhere(&mut self, seen: &Seen) {
        for server in 0..self.sessions.len() {
            let found = self.read(server).await;
            seen.lost.fetch_add(u64::from(found.is_none_or(|found| found.value != self.value)), Relaxed);
        }
    }
}
