//! The runtime with real guests: what a request gets, what it leaves behind, and what every way of failing looks like from outside.
//! Needs the guests of sample-apps, built by `cargo xtask guests`.

mod answers;
mod budgets;
mod code;
mod failures;
mod instance_memory;
mod kept;
mod kept_ends;
mod outside;
mod support;
mod wasi_03;
mod work;
