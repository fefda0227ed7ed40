//! `wasi:cli` of WASI 0.3, where the standard streams are streams of the component model. Owns their two ends; what they carry is the same as in 0.2.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;
use wasmtime::{
    StoreContextMut,
    component::{Access, FutureReader, Linker, Resource, Source, StreamConsumer, StreamReader, StreamResult},
};
use wasmtime_wasi::{
    I32Exit,
    p3::{
        bindings::cli::{
            environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin, terminal_stdout,
            types::ErrorCode,
        },
        cli::{TerminalInput, TerminalOutput},
    },
};

use super::{Cli, View, output, view};
use crate::{
    capabilities::Host,
    limits,
    logs::{Output, Stream},
};

type Written = FutureReader<Result<(), ErrorCode>>;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    environment::add_to_linker::<_, Cli>(linker, view)?;
    exit::add_to_linker::<_, Cli>(linker, view)?;
    stdin::add_to_linker::<_, Cli>(linker, view)?;
    stdout::add_to_linker::<_, Cli>(linker, view)?;
    stderr::add_to_linker::<_, Cli>(linker, view)?;
    terminal_input::add_to_linker::<_, Cli>(linker, view)?;
    terminal_output::add_to_linker::<_, Cli>(linker, view)?;
    terminal_stdin::add_to_linker::<_, Cli>(linker, view)?;
    terminal_stdout::add_to_linker::<_, Cli>(linker, view)?;
    terminal_stderr::add_to_linker::<_, Cli>(linker, view)
}

impl environment::Host for View<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.process.environment.variables.clone())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.process.environment.arguments.clone())
    }

    fn get_initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
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

impl stdin::Host for View<'_> {}
impl stdout::Host for View<'_> {}
impl stderr::Host for View<'_> {}

impl<T> stdin::HostWithStore<T> for Cli {
    fn read_via_stream(mut store: Access<T, Self>) -> wasmtime::Result<(StreamReader<u8>, Written)> {
        let nothing = StreamReader::new(&mut store, std::iter::empty::<u8>())?;
        let ended = FutureReader::new(&mut store, async { wasmtime::error::Ok(Ok(())) })?;
        Ok((nothing, ended))
    }
}

impl<T> stdout::HostWithStore<T> for Cli {
    fn write_via_stream(mut store: Access<'_, T, Self>, data: StreamReader<u8>) -> wasmtime::Result<Written> {
        let View { process, log, .. } = store.get();
        let output = output(&mut process.stdout, log, Stream::Stdout);
        write(store, data, output)
    }
}

impl<T> stderr::HostWithStore<T> for Cli {
    fn write_via_stream(mut store: Access<'_, T, Self>, data: StreamReader<u8>) -> wasmtime::Result<Written> {
        let View { process, log, .. } = store.get();
        let output = output(&mut process.stderr, log, Stream::Stderr);
        write(store, data, output)
    }
}

fn write<T>(mut store: Access<'_, T, Cli>, data: StreamReader<u8>, output: Output) -> wasmtime::Result<Written> {
    let (written, ended) = oneshot::channel::<()>();
    data.pipe(&mut store, Lines { output, _written: written })?;
    FutureReader::new(&mut store, async move {
        // The sender goes with the stream's end, nothing is ever sent.
        let _ = ended.await;
        wasmtime::error::Ok(Ok(()))
    })
}

/// Takes what a guest writes.
struct Lines {
    output: Output,
    _written: oneshot::Sender<()>,
}

impl<D> StreamConsumer<D> for Lines {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut source = source.as_direct(store);
        let bytes = source.remaining();
        let taken = bytes.len().min(limits::OUTPUT_CHUNK_BYTES_MAX);
        self.output.write_bytes(&bytes[..taken]);
        source.mark_read(taken);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

// Nothing is ever a terminal.
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
