//! Ten thousand rounds of the attacks of `hostile`: what the node holds at the end against what it held after the first rounds. Must never judge a single
//! answer: tests/cluster does.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};

use super::{Bench, client, processes, report::Section, wait_for};

/// The attacks that end by themselves in a few milliseconds: one of each is a round.
const QUICK: [&str; 20] = [
    "",
    "trap",
    "exit",
    "silent",
    "twice",
    "status",
    "length",
    "length-text",
    "handles",
    "pollables",
    "random",
    "recursion",
    "memory",
    "grow",
    "trap-after-head",
    "trap-in-body",
    "trap-before-trailers",
    "unfinished",
    "trap-after-body",
    "fields",
];

/// Those that burn processor time or wait until their budget ends them: one of each every so many rounds.
const SLOW: [&str; 8] = ["loop", "sleep", "loop-in-body", "sleep-in-body", "loop-after-body", "poll-many", "trailers", "log-flood"];
const SLOW_EVERY: usize = 500;

/// Rounds before the first look: pools are filled, buffers have grown.
const WARM: usize = 20;

pub fn measure(bench: &Bench, rounds: usize) -> Result<Section> {
    let server = bench.start()?;
    let limits = "resources: {cpuTime: 200ms, timeout: 1s, memory: 16Mi}";
    bench.apply_route(&server, "hostile", "hostile", "{host: hostile.localhost, idleTimeout: 1s}", limits, false)?;
    bench.apply(&server, "hello", "hello", false)?;
    let worker = processes::child(server.process.id(), "worker")?;
    let mut statuses = BTreeMap::new();
    let mut before = None;
    for round in 0..rounds + WARM {
        let slow = if round % SLOW_EVERY == 0 { SLOW.as_slice() } else { &[] };
        for how in QUICK.iter().chain(slow) {
            *statuses.entry(client::attempt(&server.http, "hostile.localhost", how)?).or_insert(0_usize) += 1;
        }
        if round % 100 == 0 {
            ensure!(client::status(&server.http, "hello.localhost")? == 200, "`hello` fails beside round {round}");
        }
        if round + 1 == WARM {
            before = Some(settled(&server.metrics, worker)?);
        }
    }
    let (before, after) = (before.context("there are warm rounds")?, settled(&server.metrics, worker)?);
    ensure!(processes::child(server.process.id(), "worker")? == worker, "the worker did not live through it");
    let mut section = Section::new(
        "Hostile guests",
        "rounds of 20 quick attacks each, with the 8 slow ones every 500; what the worker holds once no sandbox lives",
        &["", "open files", "threads", "RssAnon MiB"],
    );
    let row = |name: String, held: &Held| vec![name, held.files.to_string(), held.threads.to_string(), format!("{:.1}", held.mebibytes)];
    section.row(row(format!("after {WARM} rounds"), &before));
    section.row(row(format!("after {} rounds; {}", rounds + WARM, told(&statuses)), &after));
    Ok(section)
}

fn told(statuses: &BTreeMap<u16, usize>) -> String {
    let words =
        statuses.iter().map(|(status, count)| format!("{count} × {}", if *status == 0 { "cut off".into() } else { status.to_string() }));
    words.collect::<Vec<_>>().join(", ")
}

struct Held {
    files: usize,
    threads: usize,
    mebibytes: f64,
}

fn settled(metrics: &str, worker: u32) -> Result<Held> {
    wait_for("the end of every sandbox", || {
        let text = client::body(metrics, "localhost", "/metrics").ok()?;
        text.lines().find(|line| line.starts_with("shoal_worker_sandboxes ")).filter(|line| line.ends_with(" 0")).map(drop)
    })?;
    let count = |what: &str| fs::read_dir(format!("/proc/{worker}/{what}")).map(Iterator::count);
    let status = fs::read_to_string(format!("/proc/{worker}/status"))?;
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(Held { files: count("fd")?, threads: count("task")?, mebibytes: anonymous.context("RssAnon of the worker")? / 1024.0 })
}
