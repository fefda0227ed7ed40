//! Figures as tables, on the terminal and in docs/benchmarks.md. Must never round a figure to look better than its target.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

/// One table.
pub struct Section {
    title: String,
    how: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Section {
    pub fn new(title: &str, how: &str, head: &[&str]) -> Self {
        Self { title: title.into(), how: how.into(), head: head.iter().map(|&word| word.into()).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.head.len(), "every row has a cell under every head");
        self.rows.push(cells);
    }

    pub fn print(&self) {
        println!("{}", self.markdown());
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("## {}\n\n{}.\n\n{}{rule}{rows}", self.title, self.how, line(&self.head))
    }
}

/// Replaces the sections of the same titles in `path`, keeping what stands before the first one and the sections that were not measured now.
pub fn write(path: &Path, sections: &[Section]) -> Result<()> {
    let old = fs::read_to_string(path).unwrap_or_else(|_| "# Benchmarks\n\n".into());
    let mut parts = old.split("\n## ");
    let mut text = parts.next().unwrap_or_default().trim_end().to_owned() + "\n";
    let title = |part: &str| part.lines().next().unwrap_or_default().to_owned();
    let kept = parts.filter(|part| sections.iter().all(|section| section.title != title(part)));
    for part in kept {
        text += &format!("\n## {}\n", part.trim_end());
    }
    for section in sections {
        text += &format!("\n{}\n\nMeasured {} on {}.\n", section.markdown().trim_end(), today()?, machine());
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn today() -> Result<String> {
    let said = Command::new("date").arg("+%Y-%m-%d").output()?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("an unknown CPU", |line| line.trim_start_matches(['\t', ':', ' ']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split(['-', '\n']).next().unwrap_or_default();
    format!("{cores} cores of {model}, Linux {kernel}")
}

/// The middle value; zero of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    percentile(&mut values.collect::<Vec<_>>(), 50)
}

/// The smallest value that at least `percent` % of the values do not exceed; zero of nothing.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).clamp(1, values.len().max(1));
    values.get(rank - 1).copied().unwrap_or_default()
}
