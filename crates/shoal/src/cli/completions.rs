//! `shoal completions`: a completion script for a shell on stdout. Owns nothing: clap knows the commands.

use clap::Args;
use clap_complete::Shell;

use super::{
    failure::{Exit, Outcome},
    session::Session,
};

/// What `shoal completions` takes.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the script for `command`.
pub fn run(args: &CompletionsArgs, command: &mut clap::Command, session: &Session) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "shoal", &mut script);
    session.terminal.bytes(&script);
    Ok(Exit::Done)
}
