//! Ten thousand apps over a hundred artifacts on one node: how long they take to deploy and to list, and whether each is routed.

use std::{
    fmt::Write as _,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{Bench, Server, client, quiet::Quiet, report::Section, report::percentile};

/// Requests to apps all over the list.
const ASKED: usize = 200;

/// Apps in one file: a manifest has a mebibyte at most.
const FILE_APPS: usize = 1_000;

/// Longest time a deployment may take: minutes, not hours.
const DEPLOY_MAX: Duration = Duration::from_secs(1_800);

pub fn measure(bench: &Bench, apps: usize, artifacts: usize) -> Result<Section> {
    let server = bench.start()?;
    let quiet = Quiet::begin()?;
    let deploy = deploy(bench, &server, apps, artifacts)?;
    let begin = Instant::now();
    let listed = said(bench.command(&server).args(["get", "apps", "-o", "name"]))?;
    let list = begin.elapsed();
    ensure!(listed.lines().count() == apps, "{} of {apps} apps are listed", listed.lines().count());
    let mut millis = Vec::new();
    for number in 0..ASKED {
        // A step that has no divisor in common with the number of apps meets them all over.
        let host = format!("app-{:05}.localhost", number * 4_999 % apps);
        let begin = Instant::now();
        ensure!(client::status(&server.http, &host)? == 200, "{host} does not answer");
        millis.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let mut section = Section::new(
        &format!("{apps} apps over {artifacts} artifacts on one node"),
        &format!(
            "`apply -f` of a directory until every instance is ready, compiling included; `get apps`; {ASKED} requests to apps all over; {}",
            quiet.end()?
        ),
        &["apps", "deploy s", "list s", "request p50 ms", "request p99 ms"],
    );
    section.row(vec![
        apps.to_string(),
        format!("{:.1}", deploy.as_secs_f64()),
        format!("{:.2}", list.as_secs_f64()),
        format!("{:.1}", percentile(&mut millis, 50)),
        format!("{:.1}", percentile(&mut millis, 99)),
    ]);
    Ok(section)
}

/// Applies `apps` apps named `app-00000` and so on, made of `artifacts` different artifacts, and waits until all are ready.
pub fn deploy(bench: &Bench, server: &Server, apps: usize, artifacts: usize) -> Result<Duration> {
    let directory = server.directory.path().join("apps");
    fs::create_dir(&directory)?;
    let lean = fs::read(bench.guests.join("lean.wasm")).context("reading the guest `lean`")?;
    for number in 0..artifacts {
        fs::write(directory.join(format!("lean-{number}.wasm")), salted(&lean, number))?;
    }
    for first in (0..apps).step_by(FILE_APPS) {
        let mut text = String::new();
        for number in first..apps.min(first + FILE_APPS) {
            let source = number % artifacts;
            write!(
                text,
                "---\napiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: app-{number:05}}}\nspec:\n  components:\n    web:\n      source: ./lean-{source}.wasm\n      \
                 resources: {{memory: 2Mi, instanceMemory: 2Mi}}\n      routes: [{{host: app-{number:05}.localhost}}]\n"
            )?;
        }
        fs::write(directory.join(format!("apps-{first:05}.yaml")), text)?;
    }
    let begin = Instant::now();
    let timeout = format!("{}s", DEPLOY_MAX.as_secs());
    said(bench.command(server).arg("apply").arg("-f").arg(&directory).args(["--timeout", &timeout]))?;
    Ok(begin.elapsed())
}

/// The component with a custom section that makes it another artifact.
fn salted(wasm: &[u8], number: usize) -> Vec<u8> {
    let (name, salt) = (b"salt", number.to_le_bytes());
    // An id, the size of the rest, the size of the name, the name, anything: all sizes here are below 128, one byte each.
    let size = u8::try_from(1 + name.len() + salt.len()).expect("a dozen bytes");
    let head = [0, size, u8::try_from(name.len()).expect("four bytes")];
    [wasm, &head, name, &salt].concat()
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "a command failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
