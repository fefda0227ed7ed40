//! What a `.wasm` file is, read without a compiler: its imports, exports, language and the kind of handler it has, and whether this host offers what it
//! imports. The only door to wasmparser. Owns the host-offer table; must never run, compile or store anything, and must survive any bytes.
//!
//! Start at [`inspect`] for one file's facts and at [`offer::unmet`] for what stands between it and running.

mod concurrency;
mod error;
pub mod estimate;
mod interface;
mod language;
pub mod limits;
pub mod offer;
pub mod permission;
mod scan;

use std::fmt;

use model::id::Digest;
use serde::{Deserialize, Serialize};

pub use error::{CoreModule, InspectError, NotWasm};
pub use interface::{Interface, Version};

/// The facts of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Bytes of the file.
    pub size: u64,
    /// The name it is stored under.
    pub digest: Digest,
    /// The language most of it was written in, when its tools left a note: a guess to show, never to decide on.
    pub language: Option<String>,
    /// What it needs, in the order of the file. An interface that only names types of others is no need.
    pub imports: Vec<Import>,
    /// What it gives, in the order of the file.
    pub exports: Vec<Export>,
    /// How it is called.
    pub handler: Handler,
    /// Whether it needs an engine that runs several things at once in a sandbox: an interface of WASI 0.3, or anything asynchronous inside.
    #[serde(default)]
    pub needs_concurrency: bool,
}

impl Inspection {
    /// The interfaces it imports beside those every component may, sorted and once each: what a namespace may hold back.
    pub fn grantable(&self) -> Vec<String> {
        let asked: std::collections::BTreeSet<_> =
            self.imports.iter().filter(|import| !offer::is_everybodys(&import.name)).map(|import| import.name.clone()).collect();
        asked.into_iter().collect()
    }

    /// The facts of a file that somebody else read: only its names are known, and what follows from them.
    pub fn told(size: u64, digest: Digest, language: Option<String>, imports: &[String], exports: &[String]) -> Self {
        let kind = |name: &str| if name.contains(':') { ExternKind::Instance } else { ExternKind::Function };
        let imports: Vec<_> = imports.iter().map(|name| Import { name: name.clone(), kind: kind(name) }).collect();
        let exports: Vec<_> = exports.iter().map(|name| Export { name: name.clone(), kind: kind(name) }).collect();
        let (handler, needs_concurrency) = (Handler::of(&exports), offer::is_made_for_03(&imports, &exports));
        Self { size, digest, language, imports, exports, handler, needs_concurrency }
    }

    /// True when `import` is one that the language's runtime brings into every component of it, whatever the user's code does; as far as the language is
    /// known, which is a guess.
    pub fn is_of_the_runtime(&self, import: &Import) -> bool {
        let Some(interface) = import.interface() else { return false };
        self.language.as_deref().is_some_and(|language| language::brings(language, &interface))
    }
}

/// Something a component needs from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    /// `wasi:http/types@0.2.12`, or a plain name.
    pub name: String,
    /// What must stand behind the name.
    pub kind: ExternKind,
}

/// Something a component gives to the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// `wasi:http/incoming-handler@0.2.12`, or a plain name.
    pub name: String,
    /// What stands behind the name.
    pub kind: ExternKind,
}

/// What may stand behind the name of an import or export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExternKind {
    /// An interface: functions and types under one name.
    Instance,
    /// A single function.
    Function,
    /// A type.
    Type,
    /// A value, a core module or a whole component.
    Other,
}

/// How a component is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Handler {
    /// Answers HTTP requests by `wasi:http/incoming-handler@0.2`.
    Http02,
    /// Answers HTTP requests by `wasi:http/handler@0.3`, release candidates included. Wins when a component has several, as in the runtime.
    Http03,
    /// Runs once and ends: `wasi:cli/run`.
    Command,
    /// Exports nothing that a host knows to call.
    None,
}

impl Import {
    /// The parts of the name; none for a plain name.
    pub fn interface(&self) -> Option<Interface<'_>> {
        Interface::parse(&self.name)
    }
}

impl Export {
    /// The parts of the name; none for a plain name.
    pub fn interface(&self) -> Option<Interface<'_>> {
        Interface::parse(&self.name)
    }
}

impl fmt::Display for Import {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.name)
    }
}

impl fmt::Display for Export {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.name)
    }
}

impl Handler {
    fn of(exports: &[Export]) -> Self {
        let version = |package: &str, name: &str| {
            let found = exports.iter().filter_map(Export::interface).find(|one| one.package == package && one.name == name)?;
            found.version
        };
        let is_of = |found: &Option<Version>, release: Version| found.as_ref().is_some_and(|version| version.is_compatible_with(&release));
        let (newer, older) = (version("wasi:http", "handler"), version("wasi:http", "incoming-handler"));
        if is_of(&newer, offer::WASI_03) {
            Self::Http03
        } else if is_of(&older, offer::WASI) {
            Self::Http02
        } else if newer.is_some() {
            Self::Http03
        } else if version("wasi:cli", "run").is_some() {
            Self::Command
        } else {
            Self::None
        }
    }
}

/// Reads what `bytes` is.
///
/// A component made for a release candidate of WASI 0.3 is read but not validated, because its encoding may be one that no longer exists;
/// [`offer::unmet`] refuses it by name.
///
/// # Errors
/// It is not a component: another kind of file, cut short, damaged, a core module, or larger than the limits.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    let size = u64::try_from(bytes.len()).expect("a slice's length fits 64 bits");
    if size > limits::COMPONENT_BYTES_MAX {
        return Err(InspectError::TooLarge { size });
    }
    let found = scan::scan(bytes)?;
    let handler = Handler::of(&found.exports);
    let needs_concurrency = found.is_concurrent || offer::is_made_for_03(&found.imports, &found.exports);
    let exports = found.exports;
    let is_needed = |index: usize, import: &Import| !found.without_content.contains(&index) || offer::is_offered(&import.name);
    let imports =
        found.imports.into_iter().enumerate().filter(|(index, import)| is_needed(*index, import)).map(|(_, import)| import).collect();
    let inspection = Inspection { size, digest: Digest::of(bytes), language: found.language, imports, exports, handler, needs_concurrency };
    if !offer::is_release_candidate(&inspection) {
        if let Some(error) = found.error {
            return Err(error);
        }
        if found.is_shallow {
            scan::validate(bytes)?;
        }
    }
    Ok(inspection)
}

/// Whether `bytes` need an engine that runs several things at once in a sandbox, see [`Inspection::needs_concurrency`]. False for what is no component.
pub fn needs_concurrency(bytes: &[u8]) -> bool {
    scan::scan(bytes).is_ok_and(|found| found.is_concurrent || offer::is_made_for_03(&found.imports, &found.exports))
}
