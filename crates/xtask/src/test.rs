//! `cargo xtask test`: everything a clean checkout needs before its tests can run, then the tests. Must never hide a line of cargo's own report.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{guests, process};

/// The compiler the workspace asks for, as `rust-version` in Cargo.toml.
const RUST_MIN: (u32, u32) = (1, 95);

/// Checks the tools, builds guests and binaries, runs every test of the workspace.
///
/// # Errors
/// A tool is missing, something does not compile, or a test fails.
pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    check_tools()?;
    guests::run(root)?;
    // With `--bins` the real binary lies beside the tests that start it.
    process::run(Command::new(process::cargo()).args(["build", "--workspace", "--bins", "--tests"]).current_dir(root))?;
    let start = Instant::now();
    let total = run_tests(root, arguments)?;
    println!("\n{} in {:.0} s", total.sentence(), start.elapsed().as_secs_f64());
    Ok(())
}

/// Says everything that is missing at once.
fn check_tools() -> Result<()> {
    let mut missing = Vec::new();
    if !cfg!(target_os = "linux") {
        missing.push("Linux: sandboxes, sockets and files are handled with its system calls".to_owned());
    }
    match process::output(Command::new(process::rustc()).arg("--version")) {
        Ok(said) if parse_version(&said) >= Some(RUST_MIN) => {}
        Ok(said) => missing.push(format!("rustc {}.{} or later (there is {}): rustup update stable", RUST_MIN.0, RUST_MIN.1, said.trim())),
        Err(_) => missing.push("rustc: install Rust with rustup or from your distribution".to_owned()),
    }
    if process::output(Command::new("cc").arg("--version")).is_err() {
        missing.push("cc, which links: on Debian `apt-get install gcc libc6-dev`".to_owned());
    }
    ensure!(missing.is_empty(), "this machine lacks\n  {}", missing.join("\n  "));
    Ok(())
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("rustc ")?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// What cargo's result lines add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
}

impl Total {
    /// Counts `line` when it is a result line.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        self.programs += 1;
        let counts = rest.split(['.', ';']).filter_map(|part| part.trim().split_once(' '));
        for (number, what) in counts.filter_map(|(number, what)| Some((number.parse::<u32>().ok()?, what))) {
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn sentence(&self) -> String {
        format!("{} tests passed in {} programs, {} failed, {} ignored", self.passed, self.programs, self.failed, self.ignored)
    }
}

fn run_tests(root: &Path, arguments: &[String]) -> Result<Total> {
    let mut command = Command::new(process::cargo());
    command.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]).args(arguments);
    let mut child = command.current_dir(root).stdout(Stdio::piped()).spawn().context("starting cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no stdout")?;
    let mut total = Total::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("reading what cargo test prints")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        total.add(&line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{}; cargo test ended with {status}", total.sentence());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_add_up() {
        let mut total = Total::default();
        total.add("running 3 tests");
        total.add("test result: ok. 31 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s");
        total.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.10s");
        assert_eq!(total, Total { programs: 2, passed: 33, failed: 3, ignored: 1 });
    }

    #[test]
    fn compiler_versions_are_read() {
        assert!(parse_version("rustc 1.95.0 (59807616e 2026-04-14)") >= Some(RUST_MIN));
        assert!(parse_version("rustc 1.94.1 (…)") < Some(RUST_MIN));
        assert!(parse_version("cc 12") < Some(RUST_MIN));
    }
}
