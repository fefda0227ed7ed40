//! The replicated state: a plain value with one `apply` over one closed, versioned `Command`.
//!
//! Owns what every member of the cluster must agree on. Must never do I/O, read a clock, make an id, or parse text inside `apply`.
//! Start with [`command`], then [`State`].

pub mod command;
