//! Nodes that go. Owns `RemoveNode` and what is forgotten with a node; must never run because a node is merely silent.

use model::id::Timestamp;

use crate::{
    Applied, EventKind, NodeRecord, Refused, Rollout, State,
    command::{RemoveNode, UserCommand},
    limits::bounded,
};

impl State {
    pub(super) fn remove_node(&mut self, user: &UserCommand, remove: &RemoveNode) -> Result<Applied, Refused> {
        let Some(node) = self.node(remove.node).cloned() else { return Err(Refused::UnknownNode { node: remove.node.to_string() }) };
        if node.is_server() && self.derived.servers == 1 {
            return Err(Refused::LastServer { name: node.name });
        }
        let why = if remove.lost { "is lost" } else { "was removed" };
        let placements = self.forget_node(user.at, &node, why);
        self.record(user.at, EventKind::NodeRemoved, None, node.name.clone(), format!("{why}, by {}", bounded(&user.by)));
        self.raise_schema(user.at);
        Ok(Applied::NodeRemoved { node: node.id, placements })
    }

    /// Takes `node` and all its placements out of the state. Returns how many those were.
    pub(super) fn forget_node(&mut self, at: Timestamp, node: &NodeRecord, why: &str) -> u32 {
        let placements: Vec<_> = self.placements_on(node.id).cloned().collect();
        let count = u32::try_from(placements.len()).unwrap_or(u32::MAX);
        for placement in &placements {
            self.drop_placement(at, placement, EventKind::InstanceLost, format!("{} {why}", node.name));
        }
        self.derived.remove_node(node);
        self.nodes.remove(&node.id);
        self.attestations.forget(|_, attesting| attesting == node.id);
        self.forget_waits(node.ordinal);
        let rolling: Vec<_> = self.apps.values().filter(|app| app.rollout == Rollout::Progressing).map(|app| app.id.clone()).collect();
        rolling.iter().for_each(|app| self.settle(at, app));
        count
    }

    /// Instances of a worker that is gone wait for nothing any more, and a rollout may have waited for nothing else.
    fn forget_waits(&mut self, ordinal: u32) {
        let waiting: Vec<_> = self
            .apps
            .values()
            .filter(|app| app.waits.keys().any(|instance| instance.ordinal == ordinal))
            .map(|app| app.id.clone())
            .collect();
        for app in waiting {
            self.change(&app, |record| record.waits.retain(|instance, _| instance.ordinal != ordinal));
        }
    }
}
