//! The replicated state as consensus sees it, and this node's place in it. Owns the adapter; must never hold a rule.

use consensus::{Consensus, StateMachine};
use model::id::{Index, NodeId};
use state::{
    Applied, Command, Refused, State,
    command::{CommandV1, Join},
};

use crate::{RunError, Settings, clock};

/// This member's number in the log of a single node.
pub(crate) const MEMBER: u64 = 1;

/// The state machine: [`State`] with the shape consensus asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine(pub(crate) State);

impl StateMachine for Machine {
    type Command = Command;
    type Answer = Result<Applied, Refused>;

    fn apply(&mut self, index: u64, command: &Command) -> Self::Answer {
        self.0.apply(Index(index), command)
    }
}

/// Writes this node into the state, unless it is there just so, and returns its id.
pub(crate) async fn join(consensus: &Consensus<Machine>, settings: &Settings) -> Result<NodeId, RunError> {
    let known = consensus.state().0.node_named(&settings.node).cloned();
    if let Some(known) = known.filter(|node| node.memory_bytes == settings.memory_bytes && node.cpu_millis == settings.cpu_millis) {
        return Ok(known.id);
    }
    let failed = |message: String| RunError::Join { node: settings.node.clone(), message };
    let join = Join { at: clock::now(), name: settings.node.clone(), memory_bytes: settings.memory_bytes, cpu_millis: settings.cpu_millis };
    let proposed = consensus.propose(Command::V1(CommandV1::Join(join))).await;
    match proposed.map_err(|error| failed(crate::api_error::chain(&error)))? {
        (_, Ok(Applied::Joined { node, .. })) => Ok(node),
        (_, Ok(other)) => unreachable!("a join is answered by `Joined`, not {other:?}"),
        (_, Err(refused)) => Err(failed(refused.to_string())),
    }
}
