//! A cluster of three servers: how long a lost leader is missed, how many writes it takes, what it costs. Owns which figures are asked for; the program
//! `cluster-figures` beside the binary measures them, over the clients that the tests use.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Bench, quiet::Quiet, report::Section};

/// Every figure with how much of it is measured per round: kills, transfers, seconds.
const FIGURES: [(&str, usize); 7] =
    [("begin", 2), ("idle", 12), ("writes", 2), ("transfer", 20), ("failover", 40), ("group", 10), ("lost", 10)];

/// Measures all of them.
pub fn measure(bench: &Bench, rounds: usize) -> Result<Vec<Section>> {
    FIGURES.iter().map(|(what, each)| figure(bench, what, each * rounds)).collect()
}

fn figure(bench: &Bench, what: &str, count: usize) -> Result<Section> {
    let program = bench.shoal.with_file_name("cluster-figures");
    let quiet = Quiet::begin()?;
    let said = Command::new(&program)
        .args([what, &count.to_string()])
        .env("SHOAL_BINARY", &bench.shoal)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    ensure!(said.status.success(), "measuring `{what}` of a cluster failed");
    let table: Value = serde_json::from_slice(&said.stdout).with_context(|| format!("reading the figures of `{what}`"))?;
    section(&table, &quiet.end()?).with_context(|| format!("a whole table of `{what}`"))
}

fn section(table: &Value, others: &str) -> Option<Section> {
    let texts = |value: &Value| value.as_array()?.iter().map(|cell| cell.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    let head = texts(&table["head"])?;
    let how = format!("{}; {others}", table["how"].as_str()?);
    let mut section = Section::new(table["title"].as_str()?, &how, &head.iter().map(String::as_str).collect::<Vec<_>>());
    for row in table["rows"].as_array()? {
        section.row(texts(row)?);
    }
    Some(section)
}
