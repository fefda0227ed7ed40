//! Why a file is not a component, and what to do about it. Must never know what the host offers.

use model::{id::Name, problem::Problem};

use crate::limits;

/// Why a file cannot be read as a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Another kind of file.
    #[error("is not WebAssembly: {0}")]
    NotWasm(NotWasm),
    /// The file ends in the middle of something.
    #[error("is cut short: it ends in the middle of the part at byte {offset}")]
    Truncated {
        /// The place the reader had come to.
        offset: u64,
    },
    /// The file breaks a rule of the format.
    #[error("is not valid WebAssembly: {message} (at byte {offset})")]
    Invalid {
        /// The rule, in the words of the validator.
        message: String,
        /// Where.
        offset: u64,
    },
    /// A core module, not wrapped as a component.
    #[error("is a core module, not a component")]
    CoreModule(CoreModule),
    /// More bytes than are accepted.
    #[error("has {size} bytes, and a component may have {}", limits::COMPONENT_BYTES_MAX)]
    TooLarge {
        /// Bytes of the file.
        size: u64,
    },
    /// More of something than any real component has.
    #[error("has more than {max} {what}")]
    TooMany {
        /// The thing counted.
        what: &'static str,
        /// The limit, see [`limits`].
        max: usize,
    },
}

/// What a file that is not WebAssembly seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotWasm {
    /// No bytes.
    #[error("it is empty")]
    Empty,
    /// The text format.
    #[error("it is the text format, which must be parsed first")]
    Text,
    /// What a compiler made of a component.
    #[error("it is an ELF file; code compiled elsewhere is never accepted, only the component itself")]
    Compiled,
    /// gzip, zstd or zip.
    #[error("it is an archive or compressed")]
    Archive,
    /// Anything else.
    #[error("it does not begin with the four bytes `\\0asm`")]
    Other,
}

impl NotWasm {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let text = bytes.trim_ascii_start();
        let begins = |signs: &[&[u8]]| signs.iter().any(|sign| bytes.starts_with(sign));
        if bytes.is_empty() {
            Self::Empty
        } else if text.starts_with(b"(component") || text.starts_with(b"(module") || text.starts_with(b";;") {
            Self::Text
        } else if begins(&[b"\x7fELF"]) {
            Self::Compiled
        } else if begins(&[b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"]) {
            Self::Archive
        } else {
            Self::Other
        }
    }
}

/// What a core module was built as, which decides how it becomes a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreModule {
    /// Imports `wasi_snapshot_preview1` and exports `_start`: a program that runs once.
    Preview1Command,
    /// Imports `wasi_snapshot_preview1` and is called many times.
    Preview1Reactor,
    /// Imports nothing of WASI.
    Plain,
}

impl CoreModule {
    fn help(self) -> String {
        let adapt = |adapter: &str| format!("wasm-tools component new x.wasm --adapt wasi_snapshot_preview1.{adapter}.wasm -o y.wasm");
        match self {
            Self::Preview1Command => {
                format!("build for the target wasm32-wasip2 instead of wasm32-wasip1, or wrap it: `{}`", adapt("command"))
            }
            Self::Preview1Reactor => {
                format!("build for the target wasm32-wasip2 instead of wasm32-wasip1, or wrap it: `{}`", adapt("reactor"))
            }
            Self::Plain => "build for the target wasm32-wasip2, or wrap it: `wasm-tools component new x.wasm -o y.wasm`".to_owned(),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Preview1Command => "a program for WASI preview 1",
            Self::Preview1Reactor => "a library for WASI preview 1",
            Self::Plain => "a core module without WASI",
        }
    }
}

impl InspectError {
    /// The same, told about the source of the component `component`.
    pub fn problem(&self, component: &Name) -> Problem {
        let problem = |code, label: &str, help: String| {
            let message = format!("the source of component `{component}` {self}");
            Problem::new(code, message).at(format!("spec.components.{component}.source")).label(label).help(help)
        };
        match self {
            Self::NotWasm(NotWasm::Text) => {
                problem("E0201", "the text format", "parse it first: `wasm-tools parse x.wat -o x.wasm`".to_owned())
            }
            Self::NotWasm(_) => problem("E0201", "not WebAssembly", "name the `.wasm` file your build makes".to_owned()),
            Self::Truncated { .. } => problem("E0201", "cut short", "build or copy it again: the end of the file is missing".to_owned()),
            Self::Invalid { .. } => problem("E0201", "not valid", "build it again; `wasm-tools validate x.wasm` says more".to_owned()),
            Self::CoreModule(kind) => problem("E0202", kind.label(), kind.help()),
            Self::TooLarge { .. } => {
                problem("E0208", "too large", "leave out debug information: `wasm-tools strip x.wasm -o y.wasm`".to_owned())
            }
            Self::TooMany { .. } => problem("E0201", "beyond the limits", "split it into several components".to_owned()),
        }
    }
}
