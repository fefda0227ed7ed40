//! How much of the processor others used during a measurement: an absolute figure taken on a busy machine says nothing. Must never hide it.

use std::{fs, time::Instant};

use anyhow::{Context, Result};

use super::processes;

/// Cores that others may use while an absolute figure is measured.
const OTHERS_MAX: f64 = 0.12;

/// A measurement that began.
pub struct Quiet {
    begin: Instant,
    machine: f64,
    ours: f64,
}

impl Quiet {
    /// Begins; this program and everything it started are not others.
    pub fn begin() -> Result<Self> {
        Ok(Self { begin: Instant::now(), machine: machine_micros()?, ours: processes::cpu_micros_ever(std::process::id())? })
    }

    /// How many cores others used since, and whether the figures count.
    pub fn end(&self) -> Result<String> {
        let ours = processes::cpu_micros_ever(std::process::id())? - self.ours;
        let others = (machine_micros()? - self.machine) - ours;
        let cores = (others / self.begin.elapsed().as_micros() as f64).max(0.0);
        let verdict = if cores < OTHERS_MAX { "" } else { ": too much for absolute figures, they do not count" };
        Ok(format!("other processes used {cores:.2} cores{verdict}"))
    }
}

/// User, nice, system and interrupt time of the whole machine in microseconds.
fn machine_micros() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("a first line")?;
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let busy: f64 = [0, 1, 2, 5, 6].iter().filter_map(|index| fields.get(*index)).sum();
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(busy * 1e6 / f64::from(i32::try_from(per_second).context("ticks per second")?))
}
