//! `cargo xtask demo`: from a clean checkout to answered requests, with a cluster of three nodes that keeps running. Uses the binary as a user does and must
//! never reach into it.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    guests, process,
    signals::{self, Waiter, Wake},
};

const USAGE: &str = "usage: cargo xtask demo [--once]
  --once   stop as soon as the requests were answered";

/// How long the server may take until it says it is ready, on a slow and busy machine.
const READY_MAX: Duration = Duration::from_secs(60);

/// A little more than the server gives requests in flight when it is asked to end.
const STOP_MAX: Duration = Duration::from_secs(40);

/// Enough requests to see that they are answered every time.
const REQUESTS: usize = 50;

/// Builds, starts, deploys, asks, and waits for Ctrl-C.
///
/// # Errors
/// A build fails, the server does not come up or ends by itself, or a request is not answered as it should be.
pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let once = match arguments {
        [] => false,
        [flag] if flag == "--once" => true,
        _ => bail!(USAGE),
    };
    guests::run(root)?;
    process::run(Command::new(process::cargo()).args(["build", "--package", "shoal"]).current_dir(root))?;
    let mut cluster = Cluster::start(root, once)?;
    cluster.deploy(root, "hello")?;
    for node in &cluster.nodes {
        println!("{}: {}", node.name, node.ask("hello.localhost")?);
    }
    if !once {
        println!("{}", cluster.help());
        // Only from here on: whatever is started before must not inherit blocked signals.
        cluster.watch(&Waiter::new())?;
    }
    cluster.stop()
}

/// Three servers that joined one cluster with real tokens, their data under `target/demo`.
struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    fn start(root: &Path, any_port: bool) -> Result<Self> {
        let directory = process::target_directory(root).join("demo");
        let _ = fs::remove_dir_all(&directory);
        let start = Instant::now();
        let first = Node::start(root, &directory.join("node-1"), &[("--api", 7070), ("--http", 8080)], any_port, None)?;
        let token = directory.join("token");
        fs::write(&token, first.said("join", "server")?).context("keeping the join token for the other nodes")?;
        let peer = first.text("peer")?;
        let mut nodes = vec![first];
        for (number, api, http) in [(2, 7170, 8180), (3, 7270, 8280)] {
            let place = directory.join(format!("node-{number}"));
            nodes.push(Node::start(root, &place, &[("--api", api), ("--http", http)], any_port, Some((&peer, &token)))?);
        }
        let cluster = Self { nodes };
        cluster.wait_for_votes()?;
        println!("three nodes are one cluster after {:.1} s, and all of them vote", start.elapsed().as_secs_f64());
        Ok(cluster)
    }

    /// Waits until every node votes: then the loss of any one is survived.
    fn wait_for_votes(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < READY_MAX {
            let said = self.nodes[0].shoal(&["member", "list", "-o", "json"]).output().context("asking for the members")?;
            let view: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
            let votes = view["members"].as_array().map_or(0, |all| all.iter().filter(|member| member["role"] == "voter").count());
            if votes == self.nodes.len() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("not every node voted after {READY_MAX:?}:\n{}", self.nodes[0].last_words())
    }

    /// Applies through the last node: what any of them is told all of them do.
    fn deploy(&self, root: &Path, app: &str) -> Result<()> {
        let manifest = root.join(format!("sample-apps/{app}/app.yaml"));
        let last = self.nodes.last().context("a demo has nodes")?;
        process::run(last.shoal(&["apply", "-f"]).arg(manifest))
    }

    fn help(&self) -> String {
        let (shoal, mut text) = (self.nodes[0].shoal.display(), String::new());
        for node in &self.nodes {
            text += &format!("\n{}   API {}   gateway {}   log {}", node.name, node.api, node.http, node.log.display());
        }
        let port = |node: &Node| node.http.rsplit(':').next().unwrap_or_default().trim_end_matches('/').to_owned();
        let (first, second) = (&self.nodes[0], &self.nodes[1]);
        format!(
            "{text}\n\nTry, in another terminal:\n  curl http://hello.localhost:{}/\n  export SHOAL_SERVER={}\n  {shoal} member list\n  \
             {shoal} get instances\n  {shoal} logs hello -f --access\n  {shoal} why http://hello.localhost:{}/\n\n\
             Then break it: every gateway goes on answering.\n  \
             pkill -9 -f 'internal control-plane'      kill every control plane; they are back at once\n  \
             kill -9 {}                             kill the first node's supervisor; the others elect a leader\n  \
             SHOAL_SERVER={} {shoal} member remove {} --yes     take it out for good\n\nCtrl-C stops everything.",
            port(first),
            second.api,
            port(second),
            first.server.id(),
            second.api,
            first.name,
        )
    }

    /// Waits for Ctrl-C. A node that ends before it was killed by whoever tries the demo; the last one to end is an error.
    fn watch(&mut self, signals: &Waiter) -> Result<()> {
        loop {
            let mut ended = Vec::new();
            for node in &mut self.nodes {
                ended.extend(node.server.try_wait()?.map(|status| (node.name.clone(), status)));
            }
            for (name, status) in &ended {
                println!("{name} ended with {status}; the others go on");
            }
            self.nodes.retain(|node| ended.iter().all(|(name, _)| *name != node.name));
            ensure!(!self.nodes.is_empty(), "every node has ended");
            if signals.wait() == Wake::Stop {
                return Ok(());
            }
        }
    }

    /// The newest first, so that the leader has somebody to hand over to as long as possible.
    fn stop(mut self) -> Result<()> {
        while let Some(node) = self.nodes.pop() {
            node.stop()?;
        }
        println!("stopped");
        Ok(())
    }
}

/// A running server.
struct Node {
    name: String,
    shoal: PathBuf,
    server: Child,
    log: PathBuf,
    ready: serde_json::Value,
    api: String,
    http: String,
}

impl Node {
    /// Starts a server in `place` that listens on `ports` where they are free, and joins where `join` says so.
    fn start(root: &Path, place: &Path, ports: &[(&str, u16)], any_port: bool, join: Option<(&str, &Path)>) -> Result<Self> {
        let shoal = process::target_directory(root).join("debug/shoal");
        fs::create_dir_all(place).with_context(|| format!("making {}", place.display()))?;
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (ready, log) = (place.join("ready.json"), place.join("server.log"));
        let mut command = Command::new(&shoal);
        command.args(["server", "--name", &name, "--peer", "127.0.0.1:0", "--mesh", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(place.join("data")).arg("--ready-file").arg(&ready);
        for (flag, port) in ports {
            command.arg(flag).arg(address(*port, any_port));
        }
        if let Some((peer, token)) = join {
            command.args(["--join", peer, "--token-file"]).arg(token);
        }
        command.stdin(Stdio::null()).stdout(fs::File::create(&log)?).stderr(fs::File::options().append(true).open(&log)?);
        // A process group of its own: Ctrl-C reaches this program, which then stops the server in order.
        command.process_group(0);
        // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
        unsafe { command.pre_exec(signals::end_with_parent) };
        let server = command.spawn().with_context(|| format!("starting {}", shoal.display()))?;
        let none = serde_json::Value::Null;
        let mut node = Self { name, shoal, server, log, ready: none, api: String::new(), http: String::new() };
        node.ready = node.wait_until_ready(&ready)?;
        (node.api, node.http) = (node.text("api")?, node.text("http")?);
        Ok(node)
    }

    fn text(&self, key: &str) -> Result<String> {
        Ok(self.ready[key].as_str().with_context(|| format!("the ready file has no `{key}`"))?.to_owned())
    }

    fn said(&self, key: &str, inner: &str) -> Result<String> {
        Ok(self.ready[key][inner].as_str().with_context(|| format!("the ready file has no `{key}.{inner}`"))?.to_owned())
    }

    /// The command line against this node.
    fn shoal(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.shoal);
        command.args(words).env("SHOAL_SERVER", &self.api).stdin(Stdio::null());
        command
    }

    fn wait_until_ready(&mut self, ready: &Path) -> Result<serde_json::Value> {
        let start = Instant::now();
        while start.elapsed() < READY_MAX {
            if let Some(said) = fs::read_to_string(ready).ok().and_then(|text| serde_json::from_str(&text).ok()) {
                return Ok(said);
            }
            if let Some(status) = self.server.try_wait()? {
                bail!("the server ended with {status} before it was ready:\n{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the server was not ready after {READY_MAX:?}:\n{}", self.last_words())
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(20).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Sends requests to `host` and says how it went.
    fn ask(&self, host: &str) -> Result<String> {
        let mut millis = Vec::new();
        let mut body = String::new();
        for _ in 0..REQUESTS {
            let start = Instant::now();
            let answer = get(&self.http, host, "/demo")?;
            millis.push(start.elapsed().as_secs_f64() * 1e3);
            ensure!(answer.status == 200, "{host} answered {}: {}", answer.status, answer.body);
            ensure!(answer.body.contains("Hello"), "{host} answered 200, but said: {}", answer.body);
            body = answer.body;
        }
        millis.sort_by(f64::total_cmp);
        let middle = millis[REQUESTS / 2];
        Ok(format!(
            "{host} says: {}\n{REQUESTS} of {REQUESTS} requests answered, each on a new connection, half of them within {middle:.1} ms",
            body.trim()
        ))
    }

    fn stop(mut self) -> Result<()> {
        signals::terminate(self.server.id());
        let start = Instant::now();
        while start.elapsed() < STOP_MAX {
            if let Some(status) = self.server.try_wait()? {
                ensure!(status.success(), "{} ended with {status}:\n{}", self.name, self.last_words());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the server still ran {STOP_MAX:?} after it was asked to end:\n{}", self.last_words())
    }
}

impl Drop for Node {
    /// On the way out after an error nothing may stay behind.
    fn drop(&mut self) {
        if matches!(self.server.try_wait(), Ok(None)) {
            let _ = self.server.kill();
            let _ = self.server.wait();
        }
    }
}

/// `port` on loopback when it is free, else any.
fn address(port: u16, any: bool) -> String {
    let free = !any && TcpListener::bind(("127.0.0.1", port)).is_ok();
    format!("127.0.0.1:{}", if free { port } else { 0 })
}

struct Answer {
    status: u16,
    body: String,
}

/// `GET path` for `host` from the server at `url`, on a connection of its own.
fn get(url: &str, host: &str, path: &str) -> Result<Answer> {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(READY_MAX))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(|| format!("reading the answer of {host}"))?;
    parse_answer(&text).with_context(|| format!("{host} answered with something that is not HTTP: {text:.80}"))
}

fn parse_answer(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}
