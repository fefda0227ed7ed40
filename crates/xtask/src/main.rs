//! `cargo xtask`: the chores of this repository in one program. Owns only which chore a word names; must never depend on another crate of the
//! workspace, because it is compiled before them.

mod bench;
mod conformance;
mod demo;
mod fuzz;
mod guests;
mod process;
mod signals;
mod simulate;
mod test;
mod tidy;

use std::{path::Path, process::ExitCode};

use anyhow::{Result, bail};

/// What `--help` prints.
const HELP: &str = "usage: cargo xtask COMMAND

  demo [--once]    build everything, start three nodes, deploy hello, send it requests; runs until Ctrl-C
  test [ARGS]      check the toolchain, build guests and binary, run every test; ARGS go to cargo test
  guests [NAME…]   build sample-apps/ for wasm32-wasip2, also where rustup cannot install the target
  tidy             hold the rules of the repository: layers, sizes, documents
  simulate         whole clusters from seeds, in virtual time, under faults; `simulate --help` says more
  fuzz TARGET      run a fuzz target for a while; `fuzz --help` names them
  conformance DIR  run components of others on a real node
  bench            the figures of docs/benchmarks.md; `bench --help` says more";

/// The exit code of a wrong command line, as in sysexits.h.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        eprintln!("{HELP}");
        return ExitCode::from(EXIT_USAGE);
    };
    match dispatch(&process::root(), name, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(root: &Path, name: &str, rest: &[String]) -> Result<()> {
    match name {
        "demo" => demo::run(root, rest),
        "test" => test::run(root, rest),
        "guests" => guests::command(root, rest),
        "tidy" => tidy::run(root),
        "conformance" => conformance::run(root, rest),
        "simulate" => simulate::run(root, rest),
        "fuzz" => fuzz::run(root, rest),
        "bench" => bench::run(root, rest),
        "help" | "-h" | "--help" => {
            println!("{HELP}");
            Ok(())
        }
        _ => bail!("there is no chore `{name}`\n\n{HELP}"),
    }
}
