//! Clients that write and read Configs through every server at once, and write down what they were told. Owns what they ask and how often; must never hide an
//! answer: what is repeated is repeated under the same key and told as one operation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    eventually,
    history::{Action, History, Operation, Outcome, Seen},
    linearizable,
    session::{Answered, Put, Session, Written},
};

/// Longest time one try may take: a server that is stopped answers nobody.
const TRY_MAX: Duration = Duration::from_secs(2);

/// Tries of one operation, each on another server.
const TRIES: usize = 4;

/// Rest after a try that nobody answered: a refused connection must not become a busy loop.
const REST: Duration = Duration::from_millis(25);

/// One write in so many goes to a key of its own, which is never written again.
const KEPT_EVERY: u64 = 8;

/// Keys of their own at most: a cluster has room for 10,000 Configs.
const KEPT_MAX: u32 = 4_000;

/// Bytes of a value.
const VALUE_BYTES: usize = 64;

/// What the clients do.
#[derive(Debug, Clone)]
pub struct Workload {
    /// `127.0.0.1:PORT` of every server's API.
    pub servers: Vec<String>,
    /// Clients at once.
    pub clients: u32,
    /// Keys that they share.
    pub keys: u32,
}

/// Running clients.
pub struct Clients {
    history: Arc<History>,
    stop: Arc<AtomicBool>,
    running: JoinSet<()>,
    servers: watch::Sender<Vec<String>>,
    values: Arc<AtomicU64>,
}

/// What came of it all.
#[derive(Debug)]
pub struct Told {
    /// Every operation.
    pub operations: Vec<Operation>,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Operations whose outcome nobody knows.
    pub unknown: u64,
}

impl Clients {
    /// Starts them.
    pub fn start(workload: &Workload) -> Self {
        let (history, stop) = (Arc::new(History::default()), Arc::new(AtomicBool::new(false)));
        let (values, kept) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
        let (servers, mut running) = (watch::Sender::new(workload.servers.clone()), JoinSet::new());
        for number in 0..workload.clients {
            let mut client = Client {
                number,
                sessions: workload.servers.iter().map(|server| Session::new(server)).collect(),
                servers: servers.subscribe(),
                history: history.clone(),
                values: values.clone(),
                kept: kept.clone(),
                keys: workload.keys,
                // Any odd number spreads over all keys; each client has another.
                dice: u64::from(number) * 2 + 0x9e37_79b9_7f4a_7c15,
                last: vec![None; workload.keys as usize],
            };
            let stop = stop.clone();
            running.spawn(async move {
                while !stop.load(Relaxed) {
                    client.turn().await;
                }
            });
        }
        Self { history, stop, running, servers, values }
    }

    /// The servers are elsewhere from now on: in the same order, `127.0.0.1:PORT` of each.
    pub fn moved(&self, servers: Vec<String>) {
        self.servers.send_replace(servers);
    }

    /// Where answers are written down.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// A value that nobody has written yet.
    pub(crate) fn value(&self) -> u64 {
        self.values.fetch_add(1, Relaxed)
    }

    /// Waits until `more` further writes were acknowledged.
    pub async fn acknowledged(&self, more: u64) {
        let goal = self.history.acknowledged() + more;
        eventually("more acknowledged writes", || async { (self.history.acknowledged() >= goal).then_some(()) }).await;
    }

    /// Writes that were acknowledged so far.
    pub fn written(&self) -> u64 {
        self.history.acknowledged()
    }

    /// Stops the clients for good, and judges nothing yet.
    pub async fn pause(&mut self) {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.running.join_next().await {
            ended.expect("a client never panics");
        }
    }

    /// Stops the clients, waits until all servers hold the same, reads everything once more, and panics unless the history is linearizable: then everything
    /// that was acknowledged is on every server.
    pub async fn finish(mut self) -> Told {
        self.pause().await;
        let called = self.history.call();
        let servers = self.servers.borrow().clone();
        let configs = agreed(&servers).await;
        let mut last: Vec<(u32, Option<Seen>)> = self.history.operations().iter().map(|operation| (operation.key, None)).collect();
        last.sort_by_key(|(key, _)| *key);
        last.dedup_by_key(|(key, _)| *key);
        for (key, seen) in &mut last {
            *seen = configs.iter().find(|(name, _)| *name == config_name(*key)).map(|(_, seen)| *seen);
            self.history.returned(u32::MAX, *key, Action::Read, called, Outcome::Read(*seen));
        }
        assert_eq!(self.history.strangenesses(), Vec::<String>::new(), "answers that no server should give");
        let operations = self.history.operations();
        let violation = tokio::task::spawn_blocking(move || (linearizable::check(&operations), operations)).await;
        let (checked, operations) = violation.expect("the checker ends");
        checked.unwrap_or_else(|violation| panic!("the history is not linearizable: {violation:?}"));
        let unknown = operations.iter().filter(|operation| operation.outcome == Outcome::Unknown).count() as u64;
        let told = Told { acknowledged: self.history.acknowledged(), unknown, operations };
        println!("{} operations, {} writes acknowledged, {} unknown: linearizable", told.operations.len(), told.acknowledged, told.unknown);
        told
    }
}

/// The Configs, once every server by itself has the same as all of them together.
async fn agreed(servers: &[String]) -> Vec<(String, Seen)> {
    eventually("the same on every server", || async {
        let (index, configs) = Session::new(&servers[0]).list(false, TRY_MAX).await?;
        for server in servers {
            let (reached, there) = Session::new(server).list(true, TRY_MAX).await?;
            if reached < index || there != configs {
                return None;
            }
        }
        Some(configs)
    })
    .await
}

struct Client {
    number: u32,
    /// One per server.
    sessions: Vec<Session>,
    servers: watch::Receiver<Vec<String>>,
    history: Arc<History>,
    values: Arc<AtomicU64>,
    kept: Arc<AtomicU64>,
    keys: u32,
    dice: u64,
    /// The version each key had when this client saw it last.
    last: Vec<Option<u64>>,
}

impl Client {
    async fn turn(&mut self) {
        if self.servers.has_changed().unwrap_or_default() {
            self.sessions = self.servers.borrow_and_update().iter().map(|server| Session::new(server)).collect();
        }
        let (dice, key) = (self.roll(), self.key());
        match dice % 4 {
            0 | 1 => self.read(key).await,
            2 if dice / 4 % KEPT_EVERY == 0 && self.kept.load(Relaxed) < u64::from(KEPT_MAX) => {
                let own = u32::try_from(self.kept.fetch_add(1, Relaxed)).expect("keys are few");
                self.write(self.keys + own, Some(0)).await;
            }
            2 => self.write(key, None).await,
            _ => self.write(key, Some(self.last[key as usize].unwrap_or(0))).await,
        }
    }

    async fn read(&mut self, key: u32) {
        let at = self.server();
        let called = self.history.call();
        let outcome = match self.sessions[at].read(&config_name(key), TRY_MAX).await {
            Answered::Seen(seen) => {
                self.last[key as usize] = seen.map(|seen| seen.version);
                Outcome::Read(seen)
            }
            Answered::No(_) => {
                tokio::time::sleep(REST).await;
                Outcome::Failed
            }
            Answered::Strange(what) => {
                self.history.strange(what);
                Outcome::Failed
            }
        };
        self.history.returned(self.number, key, Action::Read, called, outcome);
    }

    async fn write(&mut self, key: u32, expect: Option<u64>) {
        let value = self.values.fetch_add(1, Relaxed);
        let (name, once) = (config_name(key), format!("write-{value}"));
        let called = self.history.call();
        let (mut outcome, first) = (Outcome::Failed, self.server());
        for attempt in 0..TRIES {
            let at = (first + attempt) % self.sessions.len();
            let put = Put { name: &name, value, bytes: VALUE_BYTES, expect, key: &once };
            match self.sessions[at].put(put, TRY_MAX).await {
                Written::Done(version) => {
                    outcome = Outcome::Written { version };
                    if let Some(last) = self.last.get_mut(key as usize) {
                        *last = Some(version);
                    }
                    break;
                }
                // An earlier try may still take effect, or be why.
                Written::Conflict => {
                    outcome = if outcome == Outcome::Unknown { Outcome::Unknown } else { Outcome::Conflict };
                    break;
                }
                Written::No(_) => {}
                Written::Perhaps(_) => outcome = Outcome::Unknown,
                Written::Strange(what) => {
                    self.history.strange(what);
                    outcome = Outcome::Unknown;
                    break;
                }
            }
            tokio::time::sleep(REST).await;
        }
        self.history.returned(self.number, key, Action::Write { value, expect }, called, outcome);
    }

    /// Any server.
    fn server(&mut self) -> usize {
        usize::try_from(self.roll() % self.sessions.len() as u64).expect("servers are few")
    }

    fn key(&mut self) -> u32 {
        u32::try_from(self.roll() % u64::from(self.keys)).expect("keys are few")
    }

    /// The next of a row of numbers that looks random and is the same each time (splitmix64).
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.dice ^ (self.dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) >> 8
    }
}

/// The Config that holds `key`.
pub fn config_name(key: u32) -> String {
    format!("key-{key}")
}
