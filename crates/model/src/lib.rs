//! The words of Shoal: ids, the kinds a manifest may hold, how they are parsed and what may be wrong with them.
//!
//! Owns every name that users and crates share. Must never do I/O, read a clock, or know how anything is decided, stored, run or sent.
//! Start with [`id`] for names, [`app`] for what a manifest means, [`manifest`] for how text becomes an app, [`problem`] for how bad input is told.

pub mod app;
pub mod codes;
pub mod difference;
pub mod frozen;
pub mod id;
pub mod limits;
pub mod manifest;
pub mod object;
pub mod problem;
pub mod quantity;
pub mod render;
pub mod schema;

/// What a guest may reach outside: a word of the manifest with a grammar of its own.
pub use egress;

mod kinds;
mod tree;
mod yaml;
