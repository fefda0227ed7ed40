//! One real `shoal server` with a data directory of its own. Owns its life and its command line; must never be needed to know what it answers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::{binary, eventually};

/// A running server on ports the kernel chose. Killed when dropped.
pub struct Node {
    supervisor: Child,
    directory: tempfile::TempDir,
    /// `127.0.0.1:PORT` of the gateway.
    pub http: String,
    /// `127.0.0.1:PORT` of the gateway's TLS; empty when it has none.
    pub https: String,
    /// `127.0.0.1:PORT` of the API.
    pub api: String,
    /// `127.0.0.1:PORT` of the metrics.
    pub metrics: String,
    ready: Value,
    flags: Vec<String>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// Panics with everything that was said unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }
}

impl Node {
    /// A server on an empty directory.
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary directory"), &[]).await
    }

    /// A server on `directory` with more flags, ready for requests.
    pub async fn start_in(directory: tempfile::TempDir, flags: &[&str]) -> Self {
        let mut command = node_command("server", &directory.path().join("data"), &directory.path().join("ready.json"));
        command.args(["--api", "127.0.0.1:0", "--mesh", "127.0.0.1:0"]).args(flags);
        if !flags.contains(&"--peer") {
            command.args(["--peer", "127.0.0.1:0"]);
        }
        let mut node = Self::spawn(directory, command).await;
        node.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        node
    }

    /// The flags it was started with.
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// A worker without a control plane on `directory`, ready for requests.
    pub async fn start_worker_in(directory: tempfile::TempDir, flags: &[&str]) -> Self {
        let mut command = node_command("worker", &directory.path().join("data"), &directory.path().join("ready.json"));
        command.args(["--mesh", "127.0.0.1:0"]).args(flags);
        Self::spawn(directory, command).await
    }

    async fn spawn(directory: tempfile::TempDir, mut command: Command) -> Self {
        let ready = directory.path().join("ready.json");
        let _ = fs::remove_file(&ready);
        let log = fs::OpenOptions::new().create(true).append(true).open(directory.path().join("stderr.log")).expect("a log file");
        let mut supervisor = command.stdout(Stdio::null()).stderr(log).spawn().expect("the node starts");
        let said: Value = eventually("the ready file", || {
            if let Ok(Some(status)) = supervisor.try_wait() {
                let log = fs::read_to_string(directory.path().join("stderr.log")).unwrap_or_default();
                panic!("the node ended with {status}:\n{log}");
            }
            let text = fs::read_to_string(&ready).ok();
            async move { serde_json::from_str(&text?).ok() }
        })
        .await;
        let address = |key: &str| {
            let text = said[key].as_str().unwrap_or_default();
            text.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches("/metrics").to_owned()
        };
        let (http, https, api, metrics) = (address("http"), address("https"), address("api"), address("metrics"));
        Self { http, https, api, metrics, supervisor, directory, ready: said, flags: Vec::new() }
    }

    /// What it said when it was ready.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Runs `shoal ARGS` against this server, without a terminal.
    pub fn shoal(&self, args: &[&str]) -> Said {
        self.command(args).output().expect("shoal runs").into()
    }

    /// `shoal ARGS` against this server, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(args)
            .env("SHOAL_SERVER", format!("http://{}", self.api))
            .env("XDG_CONFIG_HOME", self.directory.path())
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Writes `text` as `name` beside the data directory and returns the path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("a manifest is written");
        path
    }

    /// Applies a manifest and waits for its verdict.
    pub fn apply(&self, manifest: &str) -> Said {
        let path = self.write("app.yaml", manifest);
        self.shoal(&["apply", "-f", path.to_str().expect("a temporary path is text")])
    }

    /// The same, and accepts what the app gains.
    pub fn accept(&self, manifest: &str) -> Said {
        let path = self.write("app.yaml", manifest);
        self.shoal(&["apply", "-f", path.to_str().expect("a temporary path is text"), "--accept-permissions"])
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What the server wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr.log")).unwrap_or_default()
    }

    /// The process id of the supervisor.
    pub fn supervisor(&self) -> Pid {
        Pid::from_child(&self.supervisor)
    }

    /// The process id of the child started as `shoal internal ROLE`, when it runs.
    pub fn child(&self, role: &str) -> Option<Pid> {
        children_of(self.supervisor()).into_iter().find(|pid| command_line(*pid).contains(&format!("internal\0{role}")))
    }

    /// All children of the supervisor.
    pub fn children(&self) -> Vec<Pid> {
        children_of(self.supervisor())
    }

    /// Kills the supervisor with -9 and hands back the directory to start on again.
    pub fn kill_supervisor(mut self) -> tempfile::TempDir {
        self.supervisor.kill().expect("the supervisor is killed");
        self.supervisor.wait().expect("the supervisor is reaped");
        self.take_directory()
    }

    /// Kills the supervisor and every child with -9 at once, as a power cut would, and hands back the directory.
    pub fn cut_power(mut self) -> tempfile::TempDir {
        let children = self.children();
        self.supervisor.kill().expect("the supervisor is killed");
        children.into_iter().for_each(kill);
        self.supervisor.wait().expect("the supervisor is reaped");
        self.take_directory()
    }

    /// Sends SIGTERM and waits for the end; returns the exit code.
    pub async fn stop(mut self) -> i32 {
        self.terminate();
        self.ended().await
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        rustix::process::kill_process(self.supervisor(), Signal::TERM).expect("the supervisor lives");
    }

    /// Waits for the end; returns the exit code.
    pub async fn ended(&mut self) -> i32 {
        let supervisor = &mut self.supervisor;
        eventually("the server's end", || {
            let ended = supervisor.try_wait().expect("a child can be waited for");
            async move { ended }
        })
        .await
        .code()
        .unwrap_or(-1)
    }

    fn take_directory(&mut self) -> tempfile::TempDir {
        std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a temporary directory"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- server log\n{}", self.log());
        }
        let children = self.children();
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        children.into_iter().for_each(kill);
    }
}

/// `shoal server` on free ports, not started yet.
pub fn server_command(data: &Path, ready: &Path) -> Command {
    let mut command = node_command("server", data, ready);
    command.args(["--api", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--mesh", "127.0.0.1:0"]);
    command
}

/// `shoal server` or `shoal worker` on free ports, not started yet.
pub fn node_command(kind: &str, data: &Path, ready: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg(kind).arg("--data-dir").arg(data).arg("--ready-file").arg(ready);
    command.args(["--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]).stdin(Stdio::null());
    command
}

/// Kills with -9; a process that is already gone is fine.
pub fn kill(pid: Pid) {
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// Whether the process still runs (a zombie does not).
pub fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// All children of a process.
pub fn children_of(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().to_string();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).is_some_and(|found| found == parent)
        })
        .filter_map(Pid::from_raw)
        .collect()
}

/// The words a process was started with, a NUL behind each.
pub fn command_line(pid: Pid) -> String {
    let bytes = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
