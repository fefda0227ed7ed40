//! What `hello` notices of neighbors that burn processor time and take memory: quiet and noisy rounds in turn on the same node. Must never tune the node
//! for it: everything runs with the defaults.

use anyhow::{Result, ensure};

use super::{
    Bench,
    report::{Section, median},
    wrk::{self, Report, Run},
};

/// Connections of the measured app, and of each noisy one.
const CONNECTIONS: u32 = 64;
const NOISY_CONNECTIONS: u32 = 8;

pub fn measure(bench: &Bench, rounds: usize, seconds: u64) -> Result<Section> {
    let server = bench.start()?;
    for guest in ["hello", "spin", "hog"] {
        bench.apply(&server, guest, guest, false)?;
    }
    let (mut quiet, mut noisy, mut ended) = (Vec::new(), Vec::new(), 0.0);
    wrk::load(&server.http, "hello.localhost", CONNECTIONS, 1)?;
    for _ in 0..rounds {
        quiet.push(wrk::load(&server.http, "hello.localhost", CONNECTIONS, seconds)?);
        // The noise begins before and ends after what is measured.
        let noise = ["spin.localhost", "hog.localhost"].map(|host| Run::start(&server.http, host, NOISY_CONNECTIONS, seconds + 2));
        std::thread::sleep(std::time::Duration::from_secs(1));
        noisy.push(wrk::load(&server.http, "hello.localhost", CONNECTIONS, seconds)?);
        for run in noise {
            ended += run?.finish()?.requests;
        }
    }
    ensure!(ended > 0.0, "no noisy request came to an end: the neighbors were starved");
    let lost: f64 = quiet.iter().chain(&noisy).map(|report| report.bad + report.socket_errors).sum();
    ensure!(lost == 0.0, "{lost} requests of `hello` were not answered well");
    Ok(section(&quiet, &noisy, seconds))
}

fn section(quiet: &[Report], noisy: &[Report], seconds: u64) -> Section {
    let mut section = Section::new(
        "Noisy neighbors",
        "`hello` on 64 connections, alone and beside 8 connections to `spin`, which burns processor time, and 8 to `hog`, which takes memory; wrk with one thread each on the same machine; medians of rounds in turn",
        &["", "requests/s", "p50 ms", "p99 ms"],
    );
    let of = |reports: &[Report], pick: fn(&Report) -> f64| median(reports.iter().map(pick));
    let figures = |reports: &[Report]| {
        [of(reports, |report| report.requests) / seconds as f64, of(reports, |report| report.p50_ms), of(reports, |report| report.p99_ms)]
    };
    let ([rate, p50, p99], [noisy_rate, noisy_p50, noisy_p99]) = (figures(quiet), figures(noisy));
    let row = |name: &str, rate: f64, p50: f64, p99: f64| vec![name.into(), format!("{rate:.0}"), format!("{p50:.2}"), format!("{p99:.1}")];
    section.row(row("alone", rate, p50, p99));
    section.row(row("beside both", noisy_rate, noisy_p50, noisy_p99));
    section.row(vec![
        "ratio, for p99 the difference".into(),
        format!("{:.2} ×", noisy_rate / rate),
        format!("{:.2} ×", noisy_p50 / p50),
        format!("{:+.1}", noisy_p99 - p99),
    ]);
    section
}
