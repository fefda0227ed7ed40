//! The replicated state as consensus sees it, and how this node becomes part of it. Owns the adapter; must never hold a rule.

use std::io;

use api::peer::Introduction;
use consensus::{Consensus, Leadership, Peer, RestoreError, StateMachine};
use model::id::{Index, NodeId};
use state::{
    Applied, Command, Refused, State,
    command::{CommandV1, Found, NodeKeys, Sealed},
};
use tokio::time::timeout;

use crate::{RunError, Settings, api_error::chain, clock, founding::Founding, handlers::peer::facts, limits::LEAD_MAX};

/// The state machine: [`State`] with the shape consensus asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine(pub(crate) State);

impl StateMachine for Machine {
    type Command = Command;
    type Answer = Result<Applied, Refused>;

    fn apply(&mut self, index: u64, command: &Command) -> Self::Answer {
        self.0.apply(Index(index), command)
    }

    fn records(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send + '_> {
        self.0.records()
    }

    fn restore(records: &mut dyn Iterator<Item = io::Result<Vec<u8>>>) -> Result<Self, RestoreError> {
        State::restore(records).map(Self).map_err(|error| RestoreError::State { reason: chain(&error) })
    }

    fn hash(&self) -> [u8; 32] {
        self.0.hash()
    }
}

/// Makes the group of one that a new cluster is, and writes the cluster and this node into it. Done already: nothing happens.
pub(crate) async fn found(
    consensus: &Consensus<Machine>,
    settings: &Settings,
    founding: &Founding,
    keys: NodeKeys,
) -> Result<(), RunError> {
    let failed = |message: String| RunError::Join { node: settings.node.clone(), message };
    if consensus.membership().borrow().index.is_none() {
        let address = settings.introduction.peer.clone().unwrap_or_default();
        let first = Peer { id: settings.node_id.0, address };
        consensus.initialize(first).await.map_err(|error| failed(chain(&error)))?;
    }
    let mut leadership = consensus.leadership();
    let leads = leadership.wait_for(Leadership::is_leading);
    timeout(LEAD_MAX, leads)
        .await
        .map_err(|_| failed("the new group has no leader".into()))?
        .map_err(|_| failed("the log is closed".into()))?;
    if consensus.state().0.cluster().is_some() {
        return Ok(());
    }
    let found = Found {
        at: clock::now(),
        cluster: settings.cluster.to_bytes(),
        ca_certificate: founding.certificate.clone(),
        ca_key: Sealed(founding.key.clone()),
        node: facts(&settings.introduction, keys),
    };
    let proposed = consensus.propose(Command::V1(CommandV1::Found(found))).await;
    match proposed.map_err(|error| failed(chain(&error)))?.1 {
        Ok(Applied::Founded { node }) if node == settings.node_id => Ok(()),
        Ok(other) => unreachable!("a founding is answered by `Founded`, not {other:?}"),
        Err(refused) => Err(failed(refused.to_string())),
    }
}

/// Whether the state says of `node` what it says of itself.
pub(crate) fn is_introduced(state: &State, node: NodeId, introduction: &Introduction) -> bool {
    state.node(node).is_some_and(|record| record.facts() == facts(introduction, record.keys))
}
