//! `cargo xtask simulate`: worlds of the simulation from seeds, as many as are asked for. Owns how the program is built and started; what it prints and
//! how it ends is the program's own.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};

use crate::process;

/// Builds the simulation and runs it with `arguments`. Ends with the exit code of the simulation: 1 when a seed breaks its promises.
///
/// # Errors
/// It does not build or does not start.
pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    process::run(
        Command::new(process::cargo()).args(["build", "--quiet", "--package", "simulation", "--bin", "simulation"]).current_dir(root),
    )?;
    let program = process::target_directory(root).join("debug/simulation");
    let program = if program.is_absolute() { program } else { root.join(program) };
    let status = Command::new(&program).args(arguments).current_dir(root).status();
    let status = status.with_context(|| format!("starting {}", program.display()))?;
    // It has said everything itself.
    if !status.success() {
        std::process::exit(status.code().unwrap_or(1));
    }
    Ok(())
}
