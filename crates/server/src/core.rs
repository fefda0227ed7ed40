//! What every part of the control plane shares. Owns nothing but the bundle; must never grow a rule.

use std::sync::Arc;

use consensus::Consensus;
use model::id::NodeId;
use scheduler::Observed;
use state::State;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use transport::{ClusterKey, Identity};

use crate::{
    Settings, apps::Apps, artifacts::Artifacts, clock, live::Live, machine::Machine, mesh::Mesh, metrics::Metrics, peers::Peers,
    spread::Spread, views::Viewer, writer::Writer,
};

/// The parts of one control plane.
pub(crate) struct Core {
    /// What it was told.
    pub(crate) settings: Settings,
    /// This node.
    pub(crate) node: NodeId,
    /// The log and the state.
    pub(crate) consensus: Consensus<Machine>,
    /// Artifact bytes.
    pub(crate) artifacts: Artifacts,
    /// What workers said last.
    pub(crate) live: Live,
    /// Parsed apps.
    pub(crate) apps: Apps,
    /// The way to the one writer.
    pub(crate) writer: Writer,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// The way to workers.
    pub(crate) mesh: Mesh,
    /// The way to other nodes.
    pub(crate) peers: Arc<Peers>,
    /// What is known to lie on a majority.
    pub(crate) spread: Spread,
    /// Reports that may be passed on at once.
    pub(crate) relays: Arc<Semaphore>,
    /// Who this server is to others.
    pub(crate) identity: Identity,
    /// What opens the secrets of the log.
    pub(crate) cluster_key: ClusterKey,
    /// When the process started.
    pub(crate) started: clock::Started,
    /// Cancelled when the process should end.
    pub(crate) stop: CancellationToken,
}

impl Core {
    /// The state after the last applied entry. Cheap: a clone shares everything.
    pub(crate) fn state(&self) -> State {
        self.consensus.state().0.clone()
    }

    /// What is known beside the state, now.
    pub(crate) fn observed(&self) -> Observed {
        self.live.observed(clock::now())
    }

    /// Looks at the state of now with the eyes of a user.
    pub(crate) fn viewer(self: &Arc<Self>) -> Viewer {
        let now = clock::now();
        Viewer { state: self.state(), observed: self.live.observed(now), seen: self.live.seen(), now, core: self.clone() }
    }
}
