//! From `shoal apply` of a component whose code is compiled to its first 200. The command line's own start is part of it, as a user waits for it.

use std::time::Instant;

use anyhow::Result;

use super::{Bench, client, report::Section, report::percentile, wait_for};

pub fn measure(bench: &Bench, rounds: usize) -> Result<Section> {
    let server = bench.start()?;
    bench.apply(&server, "warm", "hello", false)?;
    let mut millis = Vec::new();
    for round in 0..rounds {
        let name = format!("app-{round}");
        let host = format!("{name}.localhost");
        let start = Instant::now();
        bench.apply(&server, &name, "hello", true)?;
        wait_for("the first 200", || client::status(&server.http, &host).ok().filter(|status| *status == 200))?;
        millis.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mut section = Section::new(
        "From `shoal apply` of compiled code to its first 200",
        "a new app each time; starting the command line, the fsynced log entry, the assignment, the probe sandbox and the request are all inside",
        &["rounds", "p50 ms", "p99 ms"],
    );
    section.row(vec![rounds.to_string(), format!("{:.1}", percentile(&mut millis, 50)), format!("{:.1}", percentile(&mut millis, 99))]);
    Ok(section)
}
