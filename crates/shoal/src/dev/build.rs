//! A component's `build.command`, run on the developer's machine with its output shown. Owns the child's life: it ends with whoever waits for it.

use std::{path::PathBuf, process::Stdio, time::Instant};

use model::id::ComponentId;
use tokio::process::Command;

use crate::cli::{
    failure::{Exit, Failure},
    terminal::{Ink, Terminal},
};

/// One build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Run through `sh -c`.
    pub command: String,
    /// Where.
    pub directory: PathBuf,
}

/// Runs the build of the component `name` to its end.
///
/// # Errors
/// A command that cannot start or does not succeed; its own output has said why.
pub async fn run(name: &ComponentId, work: &Work, terminal: &Terminal) -> Result<(), Failure> {
    terminal.hint(terminal.err(Ink::Quiet, &format!("building {name}: {}", work.command)));
    let start = Instant::now();
    let mut child = Command::new("sh");
    // A build reads nothing: the terminal is the person's.
    child.arg("-c").arg(&work.command).current_dir(&work.directory).stdin(Stdio::null()).kill_on_drop(true);
    let failed = |what: String| Failure::sentence(Exit::Error, format!("the build of `{name}` {what}"), "");
    let status = child.status().await.map_err(|error| failed(format!("cannot start in {}: {error}", work.directory.display())))?;
    if !status.success() {
        return Err(failed(format!("failed ({status})")));
    }
    terminal.hint(terminal.err(Ink::Quiet, &format!("built {name} in {:.1}s", start.elapsed().as_secs_f64())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_build_runs_in_its_directory_and_its_failure_is_told() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let terminal = Terminal::detect(true);
        let name: ComponentId = "hello/web".parse().expect("a component");
        let work = |command: &str| Work { command: command.to_owned(), directory: directory.path().to_owned() };
        run(&name, &work("echo code > out.wasm"), &terminal).await.expect("it builds");
        assert!(directory.path().join("out.wasm").is_file());
        let failure = run(&name, &work("exit 3"), &terminal).await.expect_err("it fails");
        assert!(failure.render(false).contains("exit status: 3"), "{}", failure.render(false));
    }
}
