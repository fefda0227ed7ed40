//! How a group begins anew. Owns `Recover`: what stays, what goes, and that nothing that was lost can be mistaken for what comes; must never ask which way the
//! state came here.

use model::id::{Index, NodeId, PlacementId, Timestamp};

use crate::{
    Applied, EventKind, NodeRecord, Refused, State,
    changes::Changes,
    command::{NodeKeys, Recover},
    limits::{RECOVERY_STEP, bounded},
};

/// The index from which a group that begins anew counts on, when `last` is the last entry it has.
pub fn begins_anew_after(last: Index) -> Index {
    Index(step_above(last.0))
}

fn step_above(number: u64) -> u64 {
    (number / RECOVERY_STEP + 1).saturating_mul(RECOVERY_STEP)
}

impl State {
    pub(super) fn recover(&mut self, recover: &Recover) -> Result<Applied, Refused> {
        let Recover { at, node, facts } = recover;
        let what = || "beginning the group anew".to_owned();
        if self.cluster().is_none() {
            return Err(Refused::NotFounded { what: what() });
        }
        if facts.keys.server.is_none() {
            return Err(Refused::Invalid { what: what(), rule: "its first node is a server" });
        }
        self.refuse_wrong_facts(&what, facts)?;
        self.refuse_too_old(facts)?;
        match self.node(*node) {
            Some(known) if (&known.name, known.keys) != (&facts.name, facts.keys) => {
                return Err(Refused::NameTaken { name: bounded(&facts.name), node: *node });
            }
            Some(_) => drop(self.adopt(*at, *node, facts)?),
            None => self.admit_first(recover)?,
        }
        let retired = self.retire_all_but(*at, *node);
        self.next_placement = PlacementId(step_above(self.next_placement.0));
        // Whoever watched saw entries that are lost, and must list again.
        self.changes = Changes::since(Index(self.index.0 - 1));
        let message = format!("the group began anew with {}; {retired} servers are none any more", bounded(&facts.name));
        self.record(*at, EventKind::ClusterRecovered, None, "cluster".to_owned(), message);
        self.raise_schema(*at);
        Ok(Applied::Recovered { node: *node, retired })
    }

    /// A server that was no node before; it takes over the name when a node has it.
    fn admit_first(&mut self, recover: &Recover) -> Result<(), Refused> {
        let Recover { at, node, facts } = recover;
        if let Some((taken, _)) = facts.keys.roles().find_map(|(_, key)| self.node_with_key(&key)) {
            return Err(Refused::KeyTaken { name: bounded(&facts.name), node: taken });
        }
        if *node >= NodeId(self.index.0) || self.nodes.values().any(|known| known.id >= *node) {
            return Err(Refused::Invalid { what: "beginning the group anew".to_owned(), rule: "its server has an id above all others" });
        }
        let before = self.node_named(&facts.name).cloned();
        if let Some(before) = &before {
            self.forget_node(*at, before, "was replaced");
        }
        self.admit(*at, *node, facts, before.as_ref());
        Ok(())
    }

    /// Servers but `first` are none any more. One that has a worker stays as that, with all that runs on it.
    fn retire_all_but(&mut self, at: Timestamp, first: NodeId) -> u32 {
        let retired: Vec<NodeRecord> = self.servers().filter(|server| server.id != first).cloned().collect();
        for server in &retired {
            if !server.is_worker() {
                self.forget_node(at, server, "is no server any more");
                continue;
            }
            let keys = NodeKeys { server: None, ..server.keys };
            let record = NodeRecord { keys, version: self.index, ..server.clone() };
            self.derived.remove_node(server);
            self.derived.add_node(&record);
            self.attestations.forget(|_, attesting| attesting == server.id);
            self.nodes.insert(record);
        }
        u32::try_from(retired.len()).unwrap_or(u32::MAX)
    }
}
