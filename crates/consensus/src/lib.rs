//! The replicated log behind one door: a proposed command is on the disks of a majority before it is answered, and is applied in order by every member.
//!
//! Owns the log, its frame, elections, membership and snapshots; generic over the state machine and over the runtime. Must never know what a command means.
//! Start with [`Consensus`]; [`log`] is the seam under it, with [`disk_log`] for real and [`memory_log`] as its twin with a modelled disk; [`Network`] is the
//! seam to the other members; [`snapshot`] says what a snapshot file is.

pub mod disk_log;
pub mod frame;
pub mod limits;
pub mod log;
pub mod memory_log;
pub mod snapshot;

mod entry;
mod errors;
mod export;
mod flight;
mod group;
mod handle;
mod health;
mod identity;
mod leadership;
mod machine;
mod members;
mod message;
mod network;
mod propose;
mod raft;
mod read;
mod settings;
mod start;
mod thread;
mod transfer;
mod work;

pub use openraft::{AsyncRuntime, Instant, TokioRuntime};

pub use crate::{
    errors::{FoundError, MemberError, OpenError, ProposeError, ReadError, TransferError},
    export::{Frozen, RecoverError, Remains, last_in},
    group::{GroupId, Leadership, Membership, Peer, Profile, Progress, Shape, Timing},
    handle::Consensus,
    health::Health,
    log::{Entry, LogBackend, LogId, Vote},
    machine::{Checkpoint, RestoreError, StateMachine},
    message::leader_in,
    network::{Alone, Lane, Network},
    settings::{Config, Identity, Tuning},
    snapshot::ImportError,
    start::Storage,
};
