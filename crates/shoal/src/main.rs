//! The program: parses the command line, runs one subcommand, ends with one exit code. Owns nothing else;
//! [`cli`] has the commands, [`dev`] the developer's loop, [`process`] the processes of a node.

mod cli;
mod dev;
mod process;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
