//! What every part of the control plane shares. Owns nothing but the bundle; must never grow a rule.

use std::{collections::BTreeMap, sync::Arc};

use api::node::SecretText;
use artifacts::Artifacts;
use consensus::Consensus;
use founding::machine::Machine;
use membership::joining::{Reign, TurnedAway};
use model::{app::App, id::NodeId};
use scheduler::Observed;
use state::{Revision, SecretRecord, State};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use transport::{ClusterKey, Identity};
use views::{apps::Apps, assignment::Sources, viewer::Viewer};
use wishes::{route_certificates::shown, values};

use crate::{
    Settings, agreement::Agreement, clock, live::Live, mesh::Mesh, metrics::Metrics, peers::Peers, spread::Spread, writer::Writer,
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
    pub(crate) apps: Arc<Apps>,
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
    /// Since when this server leads.
    pub(crate) reign: Reign,
    /// Nodes that asked to join in vain.
    pub(crate) turned_away: TurnedAway,
    /// Changes that were refused.
    pub(crate) refused: TurnedAway,
    /// Whether this member still agrees with the others.
    pub(crate) agreement: Agreement,
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
        self.live.observed(&self.state(), clock::now())
    }

    /// Looks at the state of now with the eyes of a user.
    pub(crate) fn viewer(&self) -> Viewer {
        let (state, reports, now) = (self.state(), self.live.reports(), clock::now());
        let observed = reports.observed(&state, now);
        let key = self.cluster_key.clone();
        Viewer {
            state,
            observed,
            reports,
            now,
            apps: self.apps.clone(),
            gateway_port: self.settings.gateway_port,
            https_port: self.settings.https_port,
            certificate: Arc::new(move |record| shown(&key, record)),
        }
    }
}

impl Sources for Core {
    fn app(&self, revision: &Revision) -> Option<Arc<App>> {
        self.apps.of(revision)
    }

    fn values(&self, secret: &SecretRecord, number: u64) -> BTreeMap<String, SecretText> {
        values::texts(&self.cluster_key, secret, number)
    }
}
