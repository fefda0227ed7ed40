//! How much of a file is looked at, each limit with its reason. Owns the numbers; must never be read from configuration.

/// Largest component in bytes: the biggest one seen (a Python interpreter with its libraries) has 60 MiB. The same as the largest upload.
pub const COMPONENT_BYTES_MAX: u64 = 256 << 20;

/// Deepest nesting of components in components. Composing tools make two or three levels.
pub const NESTING_MAX: usize = 32;

/// Most imports or exports of a component: the whole of WASI has about forty interfaces.
pub const EXTERNS_MAX: usize = 1_000;

/// Longest name of an import or export in bytes; names are shown in tables and stored with the revision.
pub const NAME_BYTES_MAX: usize = 512;

/// Most nested type declarations of one section that are validated. wasmparser reads them by recursion without a limit, so that three bytes per level
/// would overflow the stack; what is deeper is left to the compiler, which runs in a process of its own.
pub const NESTED_TYPES_MAX: usize = 256;

/// Most notes of tools that are read to guess the language; composed components repeat theirs.
pub const PRODUCERS_MAX: usize = 64;
