//! How one authority of a cluster takes the place of another: what nodes are told to go by, who has done what a rotation waits for, and what is shown of it.
//!
//! Owns what follows from the state and from what was heard of the nodes, and making the next authority. What a rotation is and when it steps on is the
//! state's. Must never write, ask a node, or read a clock. Start with [`set`], then [`progress`].

pub mod next;
pub mod progress;
pub mod set;
pub mod view;

mod limits;
