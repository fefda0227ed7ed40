//! The wire: versioned types of the public API and between the processes of a node, the error body, and typed clients.
//!
//! Owns every serde shape that is a promise to somebody else. Must never decide anything or hold server state.
//! Start with [`v1`] for what users and tools send and read, [`node`], [`mesh`] and [`peer`] for what processes say to each other, [`client`] to call them.

pub mod client;
pub mod limits;
pub mod mesh;
pub mod node;
pub mod openapi;
pub mod peer;
mod schema;
pub mod time;
pub mod v1;
