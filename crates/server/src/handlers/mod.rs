//! One file per subject; each handler reads, asks a pure function or the writer, and answers. Must never hold a rule.

pub(crate) mod apply;
pub(crate) mod apps;
pub(crate) mod artifacts;
pub(crate) mod cluster;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod join;
pub(crate) mod logs;
pub(crate) mod members;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod snapshot;
pub(crate) mod tokens;
pub(crate) mod top;
pub(crate) mod values;
pub(crate) mod watch;
pub(crate) mod why;
