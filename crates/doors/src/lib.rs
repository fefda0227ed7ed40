//! The doors of a control plane: what a connection meets before any route does.
//!
//! Owns connections from accept to their end, TLS towards the network and how much room strangers have there, who is behind a connection within this machine,
//! under which names a door is called, what is said until something is behind it, and how a refusal looks. Must never know a route, the state, or what a caller
//! may do: it says how a request came, and whoever is behind the door says the rest. Start with [`gate`] (what is answered), then [`local`] and [`network`].

pub mod behind;
pub mod gate;
pub mod hosts;
pub mod limits;
pub mod local;
pub mod network;
pub mod refusal;
pub mod via;
