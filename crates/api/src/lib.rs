//! The wire: versioned types of the public API and between the processes of a node, the error body, and a typed client.
//!
//! Owns every serde shape that is a promise to somebody else. Must never decide anything or hold server state.

pub mod node;
