//! `cargo xtask demo`: from a clean checkout to an answered request, with one node that keeps running. Uses the binary as a user does and must never
//! reach into it.

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
    let mut node = Node::start(root, once)?;
    node.deploy(root, "hello")?;
    let told = node.ask("hello.localhost")?;
    println!("{told}");
    if !once {
        println!("{}", node.help());
        // Only from here on: whatever is started before must not inherit blocked signals.
        node.watch(&Waiter::new())?;
    }
    node.stop()
}

/// A running server with its data under `target/demo`.
struct Node {
    shoal: PathBuf,
    server: Child,
    log: PathBuf,
    api: String,
    http: String,
}

impl Node {
    fn start(root: &Path, any_port: bool) -> Result<Self> {
        let target = process::target_directory(root);
        let (shoal, directory) = (target.join("debug/shoal"), target.join("demo"));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let (ready, log) = (directory.join("ready.json"), directory.join("server.log"));
        let mut command = Command::new(&shoal);
        command.arg("server").arg("--data-dir").arg(directory.join("data")).arg("--ready-file").arg(&ready);
        command.arg("--api").arg(address(7070, any_port)).arg("--http").arg(address(8080, any_port));
        command.stdin(Stdio::null()).stdout(fs::File::create(&log)?).stderr(fs::File::options().append(true).open(&log)?);
        // A process group of its own: Ctrl-C reaches this program, which then stops the server in order.
        command.process_group(0);
        // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
        unsafe { command.pre_exec(signals::end_with_parent) };
        let server = command.spawn().with_context(|| format!("starting {}", shoal.display()))?;
        let mut node = Self { shoal, server, log, api: String::new(), http: String::new() };
        let said = node.wait_until_ready(&ready)?;
        let url =
            |key: &str| Ok::<_, anyhow::Error>(said[key].as_str().with_context(|| format!("the ready file has no `{key}`"))?.to_owned());
        (node.api, node.http) = (url("api")?, url("http")?);
        Ok(node)
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

    fn deploy(&self, root: &Path, app: &str) -> Result<()> {
        let manifest = root.join(format!("sample-apps/{app}/app.yaml"));
        let mut command = Command::new(&self.shoal);
        command.arg("apply").arg("-f").arg(manifest).env("SHOAL_SERVER", &self.api).stdin(Stdio::null());
        process::run(&mut command)
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

    fn help(&self) -> String {
        let shoal = self.shoal.display();
        let port = self.http.rsplit(':').next().unwrap_or_default().trim_end_matches('/');
        format!(
            "\nAPI      {}\ngateway  {}\nlog      {}\n\nTry, in another terminal:\n  curl http://hello.localhost:{port}/\n  export SHOAL_SERVER={}\n  \
             {shoal} get apps\n  {shoal} logs hello -f --access\n  {shoal} why http://hello.localhost:{port}/\n  \
             {shoal} apply -f sample-apps/echo/app.yaml && curl -T README.md http://echo.localhost:{port}/\n\nCtrl-C stops it.",
            self.api,
            self.http,
            self.log.display(),
            self.api,
        )
    }

    /// Waits for Ctrl-C; an error when the server ends before it.
    fn watch(&mut self, signals: &Waiter) -> Result<()> {
        loop {
            if let Some(status) = self.server.try_wait()? {
                bail!("the server ended with {status}:\n{}", self.last_words());
            }
            if signals.wait() == Wake::Stop {
                return Ok(());
            }
        }
    }

    fn stop(mut self) -> Result<()> {
        signals::terminate(self.server.id());
        let start = Instant::now();
        while start.elapsed() < STOP_MAX {
            if let Some(status) = self.server.try_wait()? {
                ensure!(status.success(), "the server ended with {status}:\n{}", self.last_words());
                println!("stopped");
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
