//! A whole control plane in a temporary directory, with a worker that only speaks the node protocol. Each test is one conversation.

mod again;
mod agreement;
mod bad_input;
mod doors;
mod fixture;
mod permissions;
mod rollout;
mod survives;
mod watch;
