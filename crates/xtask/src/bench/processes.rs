//! CPU time of a process and everything below it, from `/proc`. Must never estimate: the kernel's own count or an error.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

/// Bytes of anonymous memory of `root` and all its descendants that live now.
pub fn anonymous_bytes(root: u32) -> Result<u64> {
    let mut bytes = 0;
    for pid in descendants(root)? {
        // A process that has ended meanwhile holds nothing.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        bytes += line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024;
    }
    Ok(bytes)
}

/// `root` and everything below it.
fn descendants(root: u32) -> Result<Vec<u32>> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let of = found[next];
        next += 1;
        for task in fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    Ok(found)
}

/// User and system time in microseconds of `root` and all its descendants that live now.
pub fn cpu_micros(root: u32) -> Result<f64> {
    micros(root, &[11, 12])
}

/// The same, and that of children that have ended and were waited for.
pub fn cpu_micros_ever(root: u32) -> Result<f64> {
    micros(root, &[11, 12, 13, 14])
}

/// proc(5): after the name come state, ppid, … utime is the 12th, stime the 13th, and the next two are those of children waited for.
fn micros(root: u32, times: &[usize]) -> Result<f64> {
    let mut parents = BTreeMap::new();
    let mut ticks = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
        if let Some(parent) = field(1) {
            parents.insert(pid, u32::try_from(parent)?);
            ticks.insert(pid, times.iter().filter_map(|index| field(*index)).sum::<u64>());
        }
    }
    let below = |mut pid: u32| loop {
        if pid == root {
            return true;
        }
        match parents.get(&pid) {
            Some(parent) if *parent != 0 => pid = *parent,
            _ => return false,
        }
    };
    let total: u64 = ticks.iter().filter(|(pid, _)| below(**pid)).map(|(_, ticks)| ticks).sum();
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(total as f64 * 1e6 / f64::from(i32::try_from(per_second).context("ticks per second")?))
}

/// The child of `parent` that was started as `shoal internal ROLE`.
pub fn child(parent: u32, role: &str) -> Result<u32> {
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let found = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if found == Some(parent) && String::from_utf8_lossy(&command).contains(&format!("internal\0{role}")) {
            return Ok(pid);
        }
    }
    anyhow::bail!("process {parent} has no child `{role}`")
}
