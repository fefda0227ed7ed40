//! `cargo xtask fuzz`: one of the targets in tests/fuzz for a while. Owns finding the nightly compiler and cargo-fuzz; must never decide what a target
//! checks.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// What `fuzz` accepts after its name.
const USAGE: &str = "usage: cargo xtask fuzz TARGET [--seconds N]
  TARGET      manifest | inspect | frame | normalize
  --seconds   for how long [60]; what is found lies in tests/fuzz/artifacts";

/// Every target.
const TARGETS: [&str; 4] = ["manifest", "inspect", "frame", "normalize"];

/// Memory in MiB beyond which an input counts as a finding: everything here must do with little.
const MEMORY_MIB: u32 = 2_048;

/// Seconds beyond which one input counts as a finding.
const INPUT_SECONDS: u32 = 25;

/// Runs one target. Says so and succeeds where the tools are missing: fuzzing is no part of a build.
///
/// # Errors
/// The target does not build, or it found an input that breaks something.
pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let (target, seconds) = parse(arguments)?;
    if let Err(missing) = check_tools() {
        eprintln!("SKIPPED: fuzzing needs a nightly compiler and cargo-fuzz: {missing:#}");
        eprintln!("help: rustup toolchain install nightly && cargo install cargo-fuzz");
        return Ok(());
    }
    let corpus = process::target_directory(root).join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
    let fuzz = root.join("tests/fuzz");
    let mut command = nightly("cargo");
    command.args(["fuzz", "run", "--fuzz-dir"]).arg(&fuzz).arg(target).arg(&corpus).arg(fuzz.join("seeds").join(target)).arg("--");
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-rss_limit_mb={MEMORY_MIB}")).arg(format!("-timeout={INPUT_SECONDS}"));
    process::run(command.arg("-print_final_stats=1").current_dir(root))
}

fn parse(arguments: &[String]) -> Result<(&str, u32)> {
    let (mut target, mut seconds) = (None, 60);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => seconds = rest.next().and_then(|text| text.parse().ok()).context(USAGE)?,
            name => target = Some(TARGETS.into_iter().find(|target| *target == name).context(USAGE)?),
        }
    }
    let Some(target) = target else { bail!(USAGE) };
    Ok((target, seconds))
}

fn check_tools() -> Result<()> {
    process::output(nightly("rustc").arg("--version"))?;
    let said = process::output(nightly("cargo").args(["fuzz", "--version"]))?;
    ensure!(said.starts_with("cargo-fuzz"), "`cargo fuzz --version` says {said}");
    Ok(())
}

/// `tool` of the nightly toolchain, without what the cargo that started this program has set for its own.
fn nightly(tool: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", tool]);
    for own in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTC_WRAPPER", "RUSTFLAGS"] {
        command.env_remove(own);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_a_time_are_read() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parse(&words("frame --seconds 5")).unwrap(), ("frame", 5));
        assert_eq!(parse(&words("inspect")).unwrap(), ("inspect", 60));
        for wrong in ["", "frames", "frame --seconds", "frame --seconds x"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let fuzz = process::root().join("tests/fuzz");
        for target in TARGETS {
            assert!(fuzz.join(format!("targets/{target}.rs")).is_file(), "{target}");
            assert!(fuzz.join("seeds").join(target).read_dir().unwrap().next().is_some(), "{target}");
        }
    }
}
