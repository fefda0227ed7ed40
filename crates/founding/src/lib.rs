//! How a server's place in a group begins, ends and is proved: a new cluster, a group that begins anew, a log that is not what it was.
//!
//! Owns the files that say so below `control/` until the log does, the first entry of a group, what a node says of itself and of where it is reached, and what disk and network must be
//! fit for. Must never serve anybody, lead, or run beside a control plane on the same directory where it changes it. Start with [`cluster`] (how one begins),
//! [`standing`] (whether a server may go on), [`recovery`] and [`restore`] (how a group begins anew).

pub mod cluster;
pub mod first_entry;
pub mod fitness;
pub mod introduction;
pub mod invitation;
pub mod machine;
pub mod reach;
pub mod reached;
pub mod recovery;
pub mod restore;
pub mod standing;

mod limits;
