//! `wasi:cli`: environment, arguments, standard streams, exit. Owns what a guest sees of a process; must never hand out the host's own.

mod wasi03;

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::{
    I32Exit,
    p2::{
        bindings::cli::{
            environment, exit, stderr, stdin, stdout,
            terminal_input::{self, TerminalInput},
            terminal_output::{self, TerminalOutput},
            terminal_stderr, terminal_stdin, terminal_stdout,
        },
        pipe::ClosedInputStream,
    },
};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::{Capability, Host, Surroundings};
use crate::{
    error::OpenError,
    logs::{Output, SandboxLog, Stream},
    program::ProgramConfig,
};

pub(super) struct Cli;

/// Prepared once per program, copied only when a guest asks.
pub(super) struct Environment {
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// The environment, and the output streams once they were asked for.
pub(super) struct Process {
    environment: Arc<Environment>,
    stdout: Option<Output>,
    stderr: Option<Output>,
}

pub(super) struct View<'a> {
    process: &'a mut Process,
    table: &'a mut ResourceTable,
    log: &'a SandboxLog,
}

impl HasData for Cli {
    type Data<'a> = View<'a>;
}

impl Capability for Cli {
    type Grant = Arc<Environment>;
    type Part = Process;

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        environment::add_to_linker::<_, Self>(linker, view)?;
        exit::add_to_linker::<_, Self>(linker, view)?;
        stdin::add_to_linker::<_, Self>(linker, view)?;
        stdout::add_to_linker::<_, Self>(linker, view)?;
        stderr::add_to_linker::<_, Self>(linker, view)?;
        terminal_input::add_to_linker::<_, Self>(linker, view)?;
        terminal_output::add_to_linker::<_, Self>(linker, view)?;
        terminal_stdin::add_to_linker::<_, Self>(linker, view)?;
        terminal_stdout::add_to_linker::<_, Self>(linker, view)?;
        terminal_stderr::add_to_linker::<_, Self>(linker, view)
    }

    fn link3(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        wasi03::link(linker)
    }

    fn grant(config: &ProgramConfig, _: &Surroundings) -> Result<Arc<Environment>, OpenError> {
        let variables = config.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        // The first argument is the program's own name, as everywhere.
        let name = config.component.component.to_string();
        let arguments = std::iter::once(name).chain(config.args.iter().cloned()).collect();
        Ok(Arc::new(Environment { variables, arguments }))
    }

    fn build(grant: &Arc<Environment>, _: &SandboxLog) -> Process {
        Process { environment: Arc::clone(grant), stdout: None, stderr: None }
    }
}

fn view(host: &mut Host) -> View<'_> {
    View { process: &mut host.cli, table: &mut host.table, log: &host.log }
}

impl environment::Host for View<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.process.environment.variables.clone())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.process.environment.arguments.clone())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl exit::Host for View<'_> {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        Err(I32Exit(status.is_err().into()).into())
    }

    fn exit_with_code(&mut self, code: u8) -> wasmtime::Result<()> {
        Err(I32Exit(code.into()).into())
    }
}

impl stdin::Host for View<'_> {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(ClosedInputStream);
        Ok(self.table.push(stream)?)
    }
}

impl stdout::Host for View<'_> {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        push_output(&mut self.process.stdout, self.table, self.log, Stream::Stdout)
    }
}

impl stderr::Host for View<'_> {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        push_output(&mut self.process.stderr, self.table, self.log, Stream::Stderr)
    }
}

fn push_output(
    output: &mut Option<Output>,
    table: &mut ResourceTable,
    log: &SandboxLog,
    stream: Stream,
) -> wasmtime::Result<Resource<DynOutputStream>> {
    let output: DynOutputStream = Box::new(self::output(output, log, stream));
    Ok(table.push(output)?)
}

/// One more end of the one output of its kind that a sandbox has.
fn output(output: &mut Option<Output>, log: &SandboxLog, stream: Stream) -> Output {
    output.get_or_insert_with(|| Output::new(log.clone(), stream)).clone()
}

// Nothing is ever a terminal; the resources exist because every language runtime imports them.
impl terminal_input::Host for View<'_> {}
impl terminal_input::HostTerminalInput for View<'_> {
    fn drop(&mut self, terminal: Resource<TerminalInput>) -> wasmtime::Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_output::Host for View<'_> {}
impl terminal_output::HostTerminalOutput for View<'_> {
    fn drop(&mut self, terminal: Resource<TerminalOutput>) -> wasmtime::Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_stdin::Host for View<'_> {
    fn get_terminal_stdin(&mut self) -> wasmtime::Result<Option<Resource<TerminalInput>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for View<'_> {
    fn get_terminal_stdout(&mut self) -> wasmtime::Result<Option<Resource<TerminalOutput>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for View<'_> {
    fn get_terminal_stderr(&mut self) -> wasmtime::Result<Option<Resource<TerminalOutput>>> {
        Ok(None)
    }
}
