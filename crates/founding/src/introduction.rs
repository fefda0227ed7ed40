//! What a node says of itself, on the wire and in the state. Owns the translation, both ways; must never decide who may join.

use api::peer::{Introduction, ServerAddress};
use model::id::NodeId;
use state::{
    NodeRecord, State,
    command::{Addresses, NodeFacts, NodeKeys, Place},
};

/// The version of this program.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The newest vocabulary of the log that this program reads.
pub const SCHEMA: u32 = state::command::SCHEMA;

/// What a node says of itself, as the log has it.
pub fn facts(node: &Introduction, keys: NodeKeys) -> NodeFacts {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    NodeFacts {
        name: node.name.clone(),
        keys,
        addresses: Addresses { peer: text(&node.peer), mesh: text(&node.mesh), api: text(&node.api) },
        place: Place { zone: text(&node.zone), region: text(&node.region) },
        labels: node.labels.clone(),
        memory_bytes: node.memory_bytes,
        cpu_millis: node.cpu_millis,
        release: node.release.clone(),
        schema: node.schema,
    }
}

/// Where the servers of `state` are.
pub fn servers(state: &State) -> Vec<ServerAddress> {
    let servers = state.nodes().filter(|node| node.is_server() && !node.addresses.peer.is_empty());
    servers.map(|node| ServerAddress { node: node.id, peer: node.addresses.peer.clone() }).collect()
}

/// What the state says of `node`, as it would say it itself; none when it is not there.
pub fn of(state: &State, node: NodeId) -> Option<Introduction> {
    let record = state.node(node)?;
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Some(Introduction {
        name: record.name.clone(),
        peer: text(&record.addresses.peer),
        mesh: text(&record.addresses.mesh),
        api: text(&record.addresses.api),
        zone: text(&record.place.zone),
        region: text(&record.place.region),
        labels: record.labels.clone(),
        memory_bytes: record.memory_bytes,
        cpu_millis: record.cpu_millis,
        release: record.release.clone(),
        schema: record.schema,
    })
}

/// What the log should hold of `record` after it introduced itself anew. A node that does not know where it is at the moment is where it was.
pub fn renewed(record: &NodeRecord, introduction: &Introduction) -> NodeFacts {
    let mut fresh = facts(introduction, record.keys);
    let known = &record.addresses;
    let addresses = &mut fresh.addresses;
    for (now, before) in [(&mut addresses.peer, &known.peer), (&mut addresses.mesh, &known.mesh), (&mut addresses.api, &known.api)] {
        if now.is_empty() {
            now.clone_from(before);
        }
    }
    fresh
}

/// Whether the state says of `node` what it says of itself.
pub fn is_introduced(state: &State, node: NodeId, introduction: &Introduction) -> bool {
    state.node(node).is_some_and(|record| record.facts() == renewed(record, introduction))
}
