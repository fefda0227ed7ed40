//! What a server concludes about its group: who should vote, whose place may be taken, whether its own state is the group's, whether it still hears of it.
//!
//! Owns conclusions from the state, from what consensus tells, and from the moments it is given. Must never write, ask a server, change the members, or read a
//! clock: whoever asks acts on the answer. Start with [`votes`] (who is a member, and as what), then [`agreement`] and [`contact`] (whether this server still is
//! one to go by).

pub mod agreement;
pub mod contact;
pub mod joining;
pub mod votes;

mod limits;
