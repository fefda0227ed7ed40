//! The gateway over real loopback sockets, with a stub where the sandboxes would be. Owns what only bytes on a wire can show; the pure rules are tested
//! beside their code. No test sleeps: each waits for an event, with a deadline.

mod admission;
mod answers;
mod drain;
mod framing;
mod https;
mod limits;
mod protocols;
mod support;
mod tls;
mod trailers;
mod upgrades;
mod waiting;
