//! How a cluster begins and who belongs to it. Owns `Found`, `Join`, `Replace` and `UpdateNode`; must never ask how a node proved that a key is its own:
//! the server that writes the entry has seen to that.

use model::id::{NodeId, Timestamp};

use crate::{
    Applied, ClusterRecord, EventKind, FOUNDER, NodeRecord, Refused, State,
    command::{Found, Join, NodeFacts, UpdateNode},
    limits::{AUTHORITY_BYTES_MAX, INSTANCES_MAX, LABELS_PER_NODE_MAX, NODE_TEXT_BYTES_MAX, NODES_MAX, TEXT_BYTES_MAX, bounded},
};

use super::wishes::refuse_above;

impl State {
    pub(super) fn found(&mut self, found: &Found) -> Result<Applied, Refused> {
        if let Some(cluster) = self.cluster() {
            return Err(Refused::AlreadyFounded { cluster: cluster.id.iter().map(|byte| format!("{byte:02x}")).collect() });
        }
        let what = || "founding a cluster".to_owned();
        self.refuse_wrong_facts(&what, &found.node)?;
        refuse_above(what(), "bytes of certificate", found.ca_certificate.len() as u64, AUTHORITY_BYTES_MAX as u64)?;
        refuse_above(what(), "bytes of sealed key", found.ca_key.0.len() as u64, AUTHORITY_BYTES_MAX as u64)?;
        if found.node.keys.server.is_none() {
            return Err(Refused::Invalid { what: what(), rule: "its first node is a server" });
        }
        self.cluster.insert(ClusterRecord {
            id: found.cluster,
            created_at: found.at,
            ca_certificate: found.ca_certificate.clone(),
            ca_key: found.ca_key.clone(),
            schema: found.node.schema,
            version: self.index,
        });
        self.record(found.at, EventKind::ClusterFounded, None, found.node.name.clone(), "founded a cluster".to_owned());
        self.admit(found.at, FOUNDER, &found.node, None);
        Ok(Applied::Founded { node: FOUNDER })
    }

    pub(super) fn join(&mut self, join: &Join) -> Result<Applied, Refused> {
        let name = &join.node.name;
        self.refuse_unfounded(name)?;
        if let Some(known) = self.node_named(name) {
            let (node, same) = (known.id, known.keys == join.node.keys);
            if !same {
                return Err(Refused::NameTaken { name: name.clone(), node });
            }
            self.adopt(join.at, node, &join.node)?;
            return Ok(Applied::Joined { node, fresh: false, replaced: None });
        }
        self.refuse_newcomer(join)?;
        self.refuse_crowd(name, 1)?;
        self.use_join_token(join)?;
        let id = NodeId(self.index.0);
        self.admit(join.at, id, &join.node, None);
        Ok(Applied::Joined { node: id, fresh: true, replaced: None })
    }

    /// A new node under the name of a lost one, which is forgotten. The new one has its number, so instances keep theirs.
    pub(super) fn replace(&mut self, join: &Join) -> Result<Applied, Refused> {
        let name = &join.node.name;
        self.refuse_unfounded(name)?;
        let Some(lost) = self.node_named(name).cloned() else { return Err(Refused::UnknownNode { node: bounded(name) }) };
        if lost.keys == join.node.keys {
            // Asked again, because the first answer did not arrive.
            return Ok(Applied::Joined { node: lost.id, fresh: false, replaced: lost.replaces });
        }
        self.refuse_newcomer(join)?;
        // Whoever may let a worker in must not thereby take a server away: the newcomer is all that the lost one was, and its token allows all of it.
        let fewer = lost.keys.roles().map(|(role, _)| role).find(|role| join.node.keys.roles().all(|(has, _)| has != *role));
        if let Some(role) = fewer {
            return Err(Refused::LesserReplacement { name: name.clone(), lost: lost.id, role });
        }
        self.refuse_crowd(name, u64::from(!lost.is_worker()))?;
        self.use_join_token(join)?;
        self.forget_node(join.at, &lost, "was replaced");
        let id = NodeId(self.index.0);
        self.admit(join.at, id, &join.node, Some(&lost));
        self.raise_schema(join.at);
        Ok(Applied::Joined { node: id, fresh: true, replaced: Some(lost.id) })
    }

    pub(super) fn update_node(&mut self, update: &UpdateNode) -> Result<Applied, Refused> {
        let Some(known) = self.node(update.node) else { return Err(Refused::UnknownNode { node: update.node.to_string() }) };
        if (&known.name, known.keys) != (&update.facts.name, update.facts.keys) {
            return Err(Refused::NameTaken { name: bounded(&update.facts.name), node: update.node });
        }
        let changed = self.adopt(update.at, update.node, &update.facts)?;
        Ok(Applied::NodeUpdated { node: update.node, changed })
    }

    /// Takes over what a known node says of itself. Says whether that was something new.
    pub(super) fn adopt(&mut self, at: Timestamp, id: NodeId, facts: &NodeFacts) -> Result<bool, Refused> {
        self.refuse_wrong_facts(&|| format!("updating node `{}`", bounded(&facts.name)), facts)?;
        self.refuse_too_old(facts)?;
        let index = self.index;
        let Some(known) = self.node(id) else { return Ok(false) };
        let after = NodeRecord { version: index, ..described(known, facts) };
        if (NodeRecord { version: known.version, ..after.clone() }) == *known {
            return Ok(false);
        }
        let resources = (known.memory_bytes, known.cpu_millis) != (facts.memory_bytes, facts.cpu_millis);
        self.nodes.insert(after);
        if resources {
            let message = format!("offers {} MiB and {} millicores now", facts.memory_bytes >> 20, facts.cpu_millis);
            self.record(at, EventKind::NodeChanged, None, facts.name.clone(), message);
        }
        self.raise_schema(at);
        Ok(true)
    }

    pub(super) fn admit(&mut self, at: Timestamp, id: NodeId, facts: &NodeFacts, lost: Option<&NodeRecord>) {
        let blank = NodeRecord {
            id,
            name: facts.name.clone(),
            keys: facts.keys,
            addresses: facts.addresses.clone(),
            place: facts.place.clone(),
            labels: facts.labels.clone(),
            memory_bytes: facts.memory_bytes,
            cpu_millis: facts.cpu_millis,
            release: facts.release.clone(),
            schema: facts.schema,
            ordinal: 0,
            joined_at: at,
            replaces: lost.map(|lost| lost.id),
            version: self.index,
        };
        let ordinal = match lost.map(|lost| lost.ordinal) {
            _ if !blank.is_worker() => 0,
            Some(taken_over) if taken_over > 0 => taken_over,
            _ => self.lowest_free_ordinal(),
        };
        let record = NodeRecord { ordinal, ..blank };
        let (kind, message) = match lost {
            Some(lost) => (EventKind::NodeReplaced, format!("joined as {id} in the place of {}", lost.id)),
            None => (EventKind::NodeJoined, format!("joined as {id}")),
        };
        self.derived.add_node(&record);
        self.record(at, kind, None, record.name.clone(), message);
        self.nodes.insert(record);
    }

    fn lowest_free_ordinal(&self) -> u32 {
        let mut taken: Vec<u32> = self.nodes.values().filter(|node| node.is_worker()).map(|node| node.ordinal).collect();
        taken.sort_unstable();
        (1..).zip(taken.iter().chain(std::iter::once(&u32::MAX))).find(|(free, taken)| free < *taken).map_or(1, |(free, _)| free)
    }

    /// The cluster writes what every server reads: more of it when the last old server is gone or was upgraded.
    pub(super) fn raise_schema(&mut self, at: Timestamp) {
        let Some(least) = self.servers().map(|server| server.schema).min() else { return };
        let index = self.index;
        if self.cluster().is_none_or(|cluster| cluster.schema >= least) {
            return;
        }
        if let Some(cluster) = self.cluster.get_mut(&()) {
            cluster.schema = least;
            cluster.version = index;
        }
        self.record(at, EventKind::ClusterUpgraded, None, "cluster".to_owned(), format!("writes commands of version {least} from now on"));
    }

    fn refuse_unfounded(&self, name: &str) -> Result<(), Refused> {
        match self.cluster() {
            Some(_) => Ok(()),
            None => Err(Refused::NotFounded { what: format!("joining node `{}`", bounded(name)) }),
        }
    }

    /// Refuses a node that is not known yet for what it says of itself.
    fn refuse_newcomer(&self, join: &Join) -> Result<(), Refused> {
        let name = &join.node.name;
        self.refuse_wrong_facts(&|| format!("joining node `{}`", bounded(name)), &join.node)?;
        self.refuse_too_old(&join.node)?;
        let taken = join.node.keys.roles().find_map(|(_, key)| self.node_with_key(&key));
        match taken {
            Some((node, _)) => Err(Refused::KeyTaken { name: name.clone(), node }),
            None => Ok(()),
        }
    }

    fn refuse_crowd(&self, name: &str, new_workers: u64) -> Result<(), Refused> {
        let what = || format!("joining node `{name}`");
        refuse_above(what(), "nodes", self.nodes.size() as u64 + 1, NODES_MAX as u64)?;
        let instances = self.derived.wished.saturating_mul(self.derived.workers as u64 + new_workers);
        refuse_above(what(), "instances in the cluster", instances, INSTANCES_MAX)
    }

    pub(super) fn refuse_too_old(&self, facts: &NodeFacts) -> Result<(), Refused> {
        let writes = self.cluster().map_or(0, |cluster| cluster.schema);
        if facts.keys.server.is_some() && facts.schema < writes {
            return Err(Refused::TooOld { name: facts.name.clone(), reads: facts.schema, writes });
        }
        Ok(())
    }

    pub(super) fn refuse_wrong_facts(&self, what: &dyn Fn() -> String, facts: &NodeFacts) -> Result<(), Refused> {
        let invalid = |rule| Err(Refused::Invalid { what: what(), rule });
        if facts.name.is_empty() || facts.name.len() > TEXT_BYTES_MAX {
            return invalid("a node's name has 1 to 2,048 bytes");
        }
        if facts.keys.roles().next().is_none() {
            return invalid("a node is a server, a worker, or both");
        }
        if facts.keys.server == facts.keys.worker {
            return invalid("a node has another key for each role");
        }
        refuse_above(what(), "labels", facts.labels.len() as u64, LABELS_PER_NODE_MAX as u64)?;
        let addresses = [&facts.addresses.peer, &facts.addresses.mesh, &facts.addresses.api];
        let place = [&facts.place.zone, &facts.place.region, &facts.release];
        let labels = facts.labels.iter().flat_map(|(key, value)| [key, value]);
        let longest = addresses.into_iter().chain(place).chain(labels).map(String::len).max().unwrap_or(0);
        refuse_above(what(), "bytes in one text", longest as u64, NODE_TEXT_BYTES_MAX as u64)
    }
}

/// `known`, as it says of itself in `facts`.
fn described(known: &NodeRecord, facts: &NodeFacts) -> NodeRecord {
    NodeRecord {
        addresses: facts.addresses.clone(),
        place: facts.place.clone(),
        labels: facts.labels.clone(),
        memory_bytes: facts.memory_bytes,
        cpu_millis: facts.cpu_millis,
        release: facts.release.clone(),
        schema: facts.schema,
        ..known.clone()
    }
}
