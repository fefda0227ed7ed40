//! What a user or a node is shown: computed from the state, from what workers said last, and from nothing else.
//!
//! Owns the translation from records to what the API tells, why something does not do what it should, what a watcher hears, and what one worker must know. Must
//! never decide, write, read a clock, or know how an answer travels: whoever asks brings the state and the moment. Start with [`viewer`].

pub mod apps;
pub mod assignment;
pub mod reports;
pub mod values;
pub mod viewer;
pub mod watched;
pub mod why;

mod limits;
