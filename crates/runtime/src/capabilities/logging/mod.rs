//! `wasi:logging`: lines with a level and a context. Owns their shape in the component's log; must never write anywhere else.

use wasmtime::component::{HasData, Linker};

use self::bindings::wasi::logging::logging::{self, Level};
use super::{Capability, Host, Surroundings};
use crate::{
    error::OpenError,
    logs::{Output, SandboxLog, Stream},
    program::ProgramConfig,
};

mod bindings {
    //! Made from the interface's text.
    #![allow(missing_docs, reason = "made by a macro")]

    wasmtime::component::bindgen!({
        inline: "
            package wasi:logging@0.1.0-draft;

            interface logging {
                enum level {
                    trace,
                    debug,
                    info,
                    warn,
                    error,
                    critical,
                }

                log: func(level: level, context: string, message: string);
            }

            world imports {
                import logging;
            }
        ",
        world: "imports",
    });
}

pub(super) struct Logging;

pub(super) struct View<'a>(&'a SandboxLog);

impl HasData for Logging {
    type Data<'a> = View<'a>;
}

impl Capability for Logging {
    type Grant = ();
    type Part = ();

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        logging::add_to_linker::<_, Self>(linker, |host| View(&host.log))
    }

    /// The interface is the same for components of either WASI.
    fn link3(_: &mut Linker<Host>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn grant(_: &ProgramConfig, _: &Surroundings) -> Result<(), OpenError> {
        Ok(())
    }

    fn build((): &(), _: &SandboxLog) {}
}

impl logging::Host for View<'_> {
    fn log(&mut self, level: Level, context: String, message: String) {
        let (word, stream) = match level {
            Level::Trace => ("TRACE", Stream::Stdout),
            Level::Debug => ("DEBUG", Stream::Stdout),
            Level::Info => ("INFO", Stream::Stdout),
            Level::Warn => ("WARN", Stream::Stderr),
            Level::Error => ("ERROR", Stream::Stderr),
            Level::Critical => ("CRITICAL", Stream::Stderr),
        };
        let colon = if context.is_empty() { "" } else { ": " };
        // An output of its own: what the guest printed without an end of line stays apart.
        Output::new(self.0.clone(), stream).write_bytes(format!("{word} {context}{colon}{message}").as_bytes());
    }
}
