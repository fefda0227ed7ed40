//! What is waited for, in the words that CLI, API, events and metrics share. Owns these sentences; must never decide anything.

use std::{collections::BTreeMap, fmt};

use model::id::{AppId, InstanceId};
use state::{State, command::SeenPhase};

use crate::Observed;

/// What an instance waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// No node that works has joined.
    Node,
    /// Its node has not enough memory that is not booked.
    Memory {
        /// Bytes it needs.
        need: u64,
        /// The node's name.
        node: String,
        /// Bytes it has left.
        free: u64,
    },
    /// Its node has as many instances as it may.
    Place {
        /// The node's name.
        node: String,
        /// Instances a node may have.
        limit: usize,
    },
    /// Its node does not report. Losing contact stops nothing.
    SilentNode {
        /// The node's name.
        node: String,
    },
    /// Its worker prepares it.
    Preparation {
        /// The node's name.
        node: String,
    },
    /// It cannot run.
    Failure {
        /// `E0301` and the like.
        code: String,
        /// Why.
        message: String,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => write!(out, "waits for a node: none works"),
            Self::Memory { need, node, free } => {
                let (need, free) = (Memory(*need), Memory(*free));
                write!(out, "waits for memory: needs {need}, {node} has {free} that is not booked")
            }
            Self::Place { node, limit } => write!(out, "waits for a place: {node} has its {limit} instances"),
            Self::SilentNode { node } => write!(out, "waits for {node}, which does not report"),
            Self::Preparation { node } => write!(out, "waits for {node} to prepare it"),
            Self::Failure { code, message } => write!(out, "failed: {code} {message}"),
        }
    }
}

/// Bytes as users write them, rounded down to whole units.
struct Memory(u64);

impl fmt::Display for Memory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 30 && bytes % (1 << 30) == 0 => write!(out, "{}Gi", bytes >> 30),
            bytes if bytes >= 1 << 20 => write!(out, "{}Mi", bytes >> 20),
            bytes => write!(out, "{}Ki", bytes >> 10),
        }
    }
}

pub(crate) fn all(state: &State, observed: &Observed, app: &AppId) -> BTreeMap<InstanceId, String> {
    let mut waiting = state.app(app).map(|record| record.waits.clone()).unwrap_or_default();
    for placement in state.placements_of(app).filter(|placement| placement.runs()) {
        let node = || state.node(placement.node).map(|node| node.name.clone()).unwrap_or_default();
        let what = match observed.phase(placement) {
            SeenPhase::Ready => continue,
            SeenPhase::Failed { code, message } => Waiting::Failure { code: code.clone(), message: message.clone() },
            SeenPhase::Preparing | SeenPhase::Draining | SeenPhase::Stopped => Waiting::Preparation { node: node() },
        };
        waiting.entry(placement.instance.clone()).or_insert_with(|| what.to_string());
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_reads_as_users_write_it() {
        let texts: Vec<_> = [1 << 30, 3 << 29, 256 << 20, 4096].map(|bytes| Memory(bytes).to_string()).into();
        assert_eq!(texts, ["1Gi", "1536Mi", "256Mi", "4Ki"]);
    }
}
