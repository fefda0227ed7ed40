//! From `kill -9` of the worker to the next 200 on a connection opened after the kill.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Bench, Server, client, report::Section, report::percentile, wait_for};

/// A child that lived this long is restarted without added delay, and a worker that dies once lived longer than that.
const LIFE: Duration = Duration::from_secs(11);

pub fn measure(bench: &Bench, rounds: usize) -> Result<Section> {
    let server = bench.start()?;
    bench.apply(&server, "hello", "hello", false)?;
    let mut millis = Vec::new();
    for _ in 0..rounds {
        std::thread::sleep(LIFE);
        let worker = worker_of(&server).context("a worker runs")?;
        Command::new("kill").args(["-9", &worker.to_string()]).status()?;
        let start = Instant::now();
        wait_for("the next 200", || client::status(&server.http, "hello.localhost").ok().filter(|status| *status == 200))?;
        millis.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mut section = Section::new(
        "Worker killed with -9 to the next 200",
        "one app; a new connection opened after the kill, which waits in the accept queue",
        &["kills", "p50 ms", "max ms"],
    );
    section.row(vec![rounds.to_string(), format!("{:.0}", percentile(&mut millis, 50)), format!("{:.0}", percentile(&mut millis, 100))]);
    Ok(section)
}

fn worker_of(server: &Server) -> Option<u32> {
    let parent = server.process.id().to_string();
    fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(|pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let found = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1).map(str::to_owned));
        found.as_deref() == Some(&parent) && String::from_utf8_lossy(&line).contains("internal\0worker")
    })
}
