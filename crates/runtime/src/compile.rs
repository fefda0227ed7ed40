//! A component's bytes become machine code. Owns what the compile child does with one artifact; must never be called in a process that serves requests,
//! because compiling takes as much time and memory as a hostile input likes.

use crate::engine::{self, Kind};

pub use crate::code_store::code_file_name;

/// The first bytes of every WebAssembly file.
const MAGIC: &[u8] = b"\0asm";

/// The layer field of a core module and of a component, after the magic and the version.
const LAYER_MODULE: [u8; 2] = [0, 0];

/// How many cores one compilation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// One: for a node that serves requests meanwhile.
    One,
    /// All of them: for a node that waits for the result.
    EveryCore,
}

/// Why an artifact could not be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Not WebAssembly at all, cut short, or not valid.
    #[error("the artifact is not a valid WebAssembly component: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// A core module.
    #[error("the artifact is a core module, not a component; wrap it with `wasm-tools component new`")]
    CoreModule,
    /// Valid, but the compiler gave up.
    #[error("compiling the component: {reason}")]
    Failed {
        /// The compiler's words.
        reason: String,
    },
}

impl CompileError {
    /// The error's code, see docs/reference/errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "E0201",
            Self::CoreModule => "E0202",
            Self::Failed { .. } => "E0301",
        }
    }
}

/// What a compilation makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The engine it is for.
    pub kind: Kind,
    /// The code.
    pub bytes: Vec<u8>,
}

/// Compiles a component for the engine it needs. Blocks for as long as the component is large: 0.3 s for a small one.
pub fn compile(wasm: &[u8], threads: Threads) -> Result<Compiled, CompileError> {
    check_form(wasm)?;
    let failed = |error: wasmtime::Error| CompileError::Failed { reason: format!("{error:#}") };
    let kind = if inspect::needs_concurrency(wasm) { Kind::Wasi03 } else { Kind::Wasi02 };
    let engine = engine::compiling(kind, threads).map_err(failed)?;
    let bytes = engine.precompile_component(wasm).map_err(|error| explain(&error))?;
    Ok(Compiled { kind, bytes })
}

/// The part of a code file's name that says where its code can be run.
pub fn compatibility(kind: Kind) -> &'static str {
    engine::compatibility(kind)
}

fn check_form(wasm: &[u8]) -> Result<(), CompileError> {
    let invalid = |reason: &str| Err(CompileError::Invalid { reason: reason.to_owned() });
    match wasm {
        _ if !wasm.starts_with(MAGIC) => invalid("it does not start with the bytes of a WebAssembly file"),
        [_, _, _, _, _, _, layer @ ..] if layer.starts_with(&LAYER_MODULE) => Err(CompileError::CoreModule),
        _ if wasm.len() < 8 => invalid("it ends inside its header"),
        _ => Ok(()),
    }
}

/// The engine's errors are text: these are what its parser and its validator begin with.
fn explain(error: &wasmtime::Error) -> CompileError {
    let reason = format!("{error:#}");
    let invalid = ["failed to parse WebAssembly module", "Invalid input WebAssembly code"];
    if invalid.iter().any(|words| reason.contains(words)) { CompileError::Invalid { reason } } else { CompileError::Failed { reason } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wasm: &[u8], code: &str, words: &str) {
        let error = compile(wasm, Threads::One).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn bad_artifacts_are_told_apart() {
        check(b"", "E0201", "does not start");
        check(b"#!/bin/sh", "E0201", "does not start");
        check(b"\0asm\x0d\0", "E0201", "header");
        check(&wat::parse_str("(module)").unwrap(), "E0202", "wasm-tools component new");
        let component = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
        check(&component[..component.len() - 3], "E0201", "out of bounds");
        check(&wat::parse_str("(component (core module (func i32.add drop)))").unwrap(), "E0201", "type mismatch");
    }

    #[test]
    fn a_component_compiles() {
        let component = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
        for threads in [Threads::One, Threads::EveryCore] {
            let Compiled { kind, bytes } = compile(&component, threads).unwrap();
            assert!(kind == Kind::Wasi02 && !bytes.is_empty());
        }
    }
}
