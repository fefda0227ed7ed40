//! How several machines with empty data directories become one cluster by themselves: they find each other under the addresses they were told, prove to each
//! other that they hold the same token, and bind themselves, one after the other and for good, to the cluster that the first of them founds.
//!
//! Owns who founds and when, what is said meanwhile, and the file that binds a machine. Must never make an authority, start a child, or let anybody join: the
//! founder begins as every first server does, and the others join as every later one does.
//!
//! Start with `decide.rs`: it is pure, and says why there are never two clusters.

mod ask;
mod bond;
mod decide;
mod door;
mod error;
pub mod limits;
mod machine;
mod peers;
mod waiting;

pub use bond::{Bond, Part};
pub use decide::{Refusal, Wait, What};
pub use door::Doors;
pub use error::FormError;
pub use peers::{InvalidPeers, Peers, with_port};
pub use waiting::{Config, Next, Waiting};
