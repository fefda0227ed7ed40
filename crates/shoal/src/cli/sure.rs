//! A yes before what cannot be taken back. Owns how it is asked and what is said where nobody can answer.

use super::{
    failure::{Exit, Failure},
    terminal::Terminal,
};

/// Asks `question`, unless `yes` was given. `doing` is what was asked for, as in `refusing to delete hello without a yes`.
///
/// # Errors
/// A usage failure where nobody can be asked; a failure when the answer is no.
pub fn sure(terminal: &Terminal, yes: bool, doing: &str, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !terminal.interactive {
        return Err(Failure::usage(format!("refusing to {doing} without a yes"), "nobody can be asked here: add --yes"));
    }
    if terminal.confirm(question) { Ok(()) } else { Err(Failure::sentence(Exit::Error, "nothing was changed", "")) }
}
