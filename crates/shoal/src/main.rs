//! The program: parses the command line, runs one subcommand, ends with one exit code. Owns nothing else;
//! [`cli`] has the commands, [`dev`] the developer's loop; the processes of a node are the crate `supervisor`.

mod cli;
mod dev;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
