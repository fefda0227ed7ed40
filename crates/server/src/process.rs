//! What the system says about processes and the machine. Owns reading /proc; must never fail: what is not told is zero.

use std::fs;

/// Kernel ticks a second, as every Linux since 2.6 reports them to processes.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one process uses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Usage {
    /// Bytes in memory.
    pub(crate) resident_bytes: u64,
    /// Of these, bytes that are in no file.
    pub(crate) anonymous_bytes: u64,
    /// Seconds of CPU since it started.
    pub(crate) cpu_seconds: f64,
    /// Open files.
    pub(crate) files: u64,
}

/// What process `pid` uses; `None` when there is no such process.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64);
    Some(Usage {
        resident_bytes: kibibytes(&status, "VmRSS:"),
        anonymous_bytes: kibibytes(&status, "RssAnon:"),
        cpu_seconds: cpu_seconds(&stat),
        files,
    })
}

/// Bytes of memory of this machine, or of the control group it is confined to if that is less.
pub(crate) fn memory_of_this_machine() -> u64 {
    let machine = kibibytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:");
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.min(group.unwrap_or(u64::MAX))
}

/// The value of a line like `VmRSS:   1234 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1_024
}

/// User and system time: the 14th and 15th field. The second is a name in parentheses, which may hold spaces.
fn cpu_seconds(stat: &str) -> f64 {
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_about_this_process() {
        let usage = usage(std::process::id()).expect("this process exists");
        assert!(usage.resident_bytes > 0 && usage.anonymous_bytes > 0 && usage.files > 0, "{usage:?}");
        assert!(memory_of_this_machine() > 0);
        assert_eq!(super::usage(u32::MAX), None);
        assert!((cpu_seconds("7 (a) b) S 1 1 1 0 -1 4 0 0 0 0 250 50 0 0") - 3.0).abs() < f64::EPSILON);
        assert_eq!(kibibytes("VmRSS:\t     12 kB\n", "VmRSS:"), 12_288);
    }
}
