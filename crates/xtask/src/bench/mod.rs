//! `cargo xtask bench`: the figures of docs/benchmarks.md, as ratios against a baseline in the same run. Owns what is measured and how it is told;
//! must never change the product to look better: it starts the release binary as a user does.

mod client;
mod cluster;
mod cold;
mod hostile;
mod idle;
mod many;
mod neighbors;
mod processes;
mod quiet;
mod recovery;
mod report;
mod requests;
mod rollout;
mod wrk;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use report::Section;

/// What `bench` accepts after its name.
const USAGE: &str =
    "usage: cargo xtask bench [requests|rollout|recovery|neighbors|cold|idle|many|cluster|hostile|all] [--rounds N] [--seconds N] [--write]
  requests   CPU per request of `hello` against `wasmtime serve` 48, interleaved (needs wrk)
  rollout    from `shoal apply` of compiled code to its first 200
  recovery   from `kill -9` of the worker to the next 200
  neighbors  what `hello` notices of guests that burn processor time and take memory (needs wrk)
  hostile    what is left of attacking guests after --rounds rounds (10000 are meant); not part of `all`
  cold       the first request after code was unloaded
  idle       what 1,000 deployed apps of different artifacts cost while nobody asks for them
  cluster    three servers: beginning, idle, writes, transfers, killed leaders (needs perf; 200 kills with --rounds 5); not part of `all`
  many       10,000 apps over 100 artifacts: deploy, list, route
  --write    put the figures into docs/benchmarks.md";

/// Options of one run.
struct Options {
    what: String,
    rounds: usize,
    seconds: u64,
    write: bool,
}

/// Runs the benchmarks named in `arguments` and prints their figures.
///
/// # Errors
/// A tool that is missing, a build that fails, a server that does not come up, a request that is not answered.
pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    let shoal = build(root)?;
    let bench = Bench { guests: root.join("sample-apps/target/wasm32-wasip2/release"), shoal };
    let wanted = |name: &str| options.what == "all" || options.what == name;
    let mut sections = Vec::new();
    if wanted("requests") {
        sections.push(requests::measure(&bench, options.rounds, options.seconds)?);
    }
    if wanted("rollout") {
        sections.push(rollout::measure(&bench, options.rounds * 8)?);
    }
    if wanted("recovery") {
        sections.push(recovery::measure(&bench, options.rounds * 2)?);
    }
    if wanted("neighbors") {
        sections.push(neighbors::measure(&bench, options.rounds, options.seconds)?);
    }
    if wanted("cold") {
        sections.push(cold::measure(&bench, options.rounds * 40)?);
    }
    if wanted("idle") {
        sections.push(idle::measure(&bench, 1_000)?);
    }
    if wanted("many") {
        sections.push(many::measure(&bench, 10_000, 100)?);
    }
    if options.what == "cluster" {
        sections.extend(cluster::measure(&bench, options.rounds)?);
    }
    if options.what == "hostile" {
        sections.push(hostile::measure(&bench, options.rounds)?);
    }
    sections.iter().for_each(Section::print);
    if options.write {
        report::write(&root.join("docs/benchmarks.md"), &sections)?;
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options { what: "all".into(), rounds: 5, seconds: 5, write: false };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || rest.next().context(USAGE)?.parse::<u64>().context(USAGE);
        match argument.as_str() {
            "all" | "requests" | "rollout" | "recovery" | "neighbors" | "cold" | "idle" | "many" | "cluster" | "hostile" => {
                options.what.clone_from(argument)
            }
            "--rounds" => options.rounds = usize::try_from(number()?.clamp(1, 100_000))?,
            "--seconds" => options.seconds = number()?.clamp(1, 600),
            "--write" => options.write = true,
            _ => bail!(USAGE),
        }
    }
    Ok(options)
}

/// Builds the release binary and the guests; returns the binary. `SHOAL_BINARY` names one that is built already.
fn build(root: &Path) -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os("SHOAL_BINARY") {
        return Ok(binary.into());
    }
    crate::guests::run(root)?;
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "shoal", "--package", "cluster-tests", "--bins"])
        .current_dir(root)
        .status()?;
    ensure!(built.success(), "building the release binary failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(root.join(target).join("release/shoal"))
}

/// What every benchmark needs.
pub(crate) struct Bench {
    /// The release binary.
    pub(crate) shoal: PathBuf,
    /// Where the components lie.
    pub(crate) guests: PathBuf,
}

/// A server started for one benchmark, stopped when dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) directory: tempfile::TempDir,
    /// `127.0.0.1:PORT` of the gateway.
    pub(crate) http: String,
    api: String,
    metrics: String,
}

impl Bench {
    pub(crate) fn start(&self) -> Result<Server> {
        self.start_with(&[])
    }

    /// Starts a server with more flags.
    fn start_with(&self, flags: &[&str]) -> Result<Server> {
        let directory = tempfile::tempdir()?;
        let ready = directory.path().join("ready.json");
        let log = std::fs::File::create(directory.path().join("stderr.log"))?;
        let process = Command::new(&self.shoal)
            .arg("server")
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .args(["--api", "127.0.0.1:0", "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting the server")?;
        let said =
            wait_for("the server's ready file", || serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(&ready).ok()?).ok())?;
        let address = |key: &str| {
            let url = said[key].as_str().with_context(|| format!("`{key}` in the ready file"))?;
            Ok::<_, anyhow::Error>(url.trim_start_matches("http://").trim_end_matches("/metrics").trim_end_matches('/').to_owned())
        };
        Ok(Server { http: address("http")?, api: address("api")?, metrics: address("metrics")?, process, directory })
    }

    /// Applies the app `name` made of the guest `guest`, reached as `name.localhost`.
    fn apply(&self, server: &Server, name: &str, guest: &str, detach: bool) -> Result<()> {
        self.apply_with(server, name, guest, "", detach)
    }

    /// The same, with one more line about the component.
    fn apply_with(&self, server: &Server, name: &str, guest: &str, line: &str, detach: bool) -> Result<()> {
        self.apply_route(server, name, guest, &format!("{{host: {name}.localhost}}"), line, detach)
    }

    /// The same, reached by `route`.
    fn apply_route(&self, server: &Server, name: &str, guest: &str, route: &str, line: &str, detach: bool) -> Result<()> {
        let path = server.directory.path().join(format!("{name}.yaml"));
        let source = self.guests.join(format!("{guest}.wasm"));
        let text = format!(
            "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  components:\n    web:\n      source: {}\n      \
             routes: [{route}]\n      {line}\n",
            source.display()
        );
        std::fs::write(&path, text)?;
        let mut command = self.command(server);
        command.arg("apply").arg("-f").arg(&path);
        if detach {
            command.arg("--detach");
        }
        let said = command.output()?;
        ensure!(said.status.success(), "applying {name} failed: {}", String::from_utf8_lossy(&said.stderr));
        Ok(())
    }

    pub(crate) fn command(&self, server: &Server) -> Command {
        let mut command = Command::new(&self.shoal);
        command.env("SHOAL_SERVER", format!("http://{}", server.api)).stdin(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

/// Asks `probe` until it gives a value.
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Some(value) = probe() {
            return Ok(value);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!("waited a minute in vain for {what}")
}
