//! Whether this node has its place still while it runs: one that was removed stops, and so does a server whose group began anew without it. Owns when the
//! servers are asked, and which; what an answer means is `founding::standing`'s. Silence means nothing.

use std::{
    collections::BTreeSet,
    future::pending,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use api::peer::ServerList;
use founding::{
    cluster::identity_of,
    standing::{self, Asking, Reached, Running, Unfit},
};
use tokio::time::sleep;
use transport::{Credentials, Role};

use super::{
    below,
    enroll::Enrolled,
    limits::{PLACE_LOOK_EVERY, SERVER_LIST_BYTES_MAX},
    node::Node,
};

/// Where a worker without a control plane keeps what it heard last of the servers, below the data directory.
const HEARD: &str = "worker/identity/servers.json";

/// Returns once this node has lost its place. All servers it knows are asked at first, then one after the other.
pub async fn lost(node: &Node) -> Unfit {
    let part = node.options.part;
    let own_server = match (part.serves(), node.sockets.peer_address()) {
        (true, None) => return pending().await,
        (true, Some(address)) => Some(within(address).to_string()),
        (false, _) => None,
    };
    let role = if part.serves() { Role::Server } else { Role::Worker };
    for turn in 0_usize.. {
        if let Some(unfit) = look(node, role, own_server.as_deref(), turn).await {
            return unfit;
        }
        sleep(PLACE_LOOK_EVERY).await;
    }
    pending().await
}

async fn look(node: &Node, role: Role, own_server: Option<&str>, turn: usize) -> Option<Unfit> {
    let (data, place) = (&node.directory.path, node.place());
    let credentials = Credentials::read(&identity_of(data, role)).ok()?;
    let asking = Asking { node: place.node, credentials: &credentials, known: standing::known(data, role) };
    let running = match own_server {
        // What a control plane knows of itself it says itself; one that does not run has nothing to lose.
        Some(address) => {
            let own = standing::ask(address, &asking).await?;
            Running { node: place.node, group: Some(own.group.parse().ok()?), index: own.index }
        }
        None => Running { node: place.node, group: None, index: heard(data).index },
    };
    let servers = servers(data, place, node.options.join.as_ref().map(|join| join.address.as_str()));
    let asked = match turn {
        0 => &servers[..],
        turn => servers.get(turn % servers.len().max(1)).map_or(&[][..], std::slice::from_ref),
    };
    standing::look(&running, asked, &asking).await
}

/// Where servers may be, by all that is known here of them, without this one.
fn servers(data: &Path, place: &Enrolled, told: Option<&str>) -> Vec<String> {
    let reached = Reached::read(data).ok().flatten().unwrap_or_default();
    let known = heard(data).servers.into_iter().chain(reached.servers).chain(place.servers.iter().cloned());
    let known = known.filter(|server| server.node != place.node).map(|server| server.peer);
    let known: BTreeSet<String> = known.chain(told.map(formation::with_port)).filter(|address| !address.is_empty()).collect();
    known.into_iter().collect()
}

/// What the worker wrote down; it may have written anything.
fn heard(data: &Path) -> ServerList {
    let text = below::read(&data.join(HEARD), SERVER_LIST_BYTES_MAX);
    text.ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The address under which a process of this machine reaches what listens on `address`.
fn within(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use api::peer::ServerAddress;
    use model::id::NodeId;

    use super::*;
    use crate::enroll::Since;

    #[test]
    fn every_server_that_was_heard_of_is_asked_but_this_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path();
        let server = |node: u64, peer: &str| ServerAddress { node: NodeId(node), peer: peer.to_owned() };
        let place = Enrolled {
            cluster: transport::ClusterId::from_bytes([1; 16]),
            group: None,
            node: NodeId(5),
            name: "a".to_owned(),
            servers: vec![server(1, "joined:1"), server(5, "own:1"), server(9, "")],
            source: None,
            worker_key: None,
            since: Since::Before,
        };
        assert_eq!(servers(data, &place, Some("told")), ["joined:1", "told:7071"]);
        fs::create_dir_all(data.join("worker/identity")).expect("made");
        let list = ServerList { index: 12, servers: vec![server(11, "heard:1"), server(1, "joined:1")] };
        fs::write(data.join(HEARD), serde_json::to_vec(&list).expect("JSON")).expect("written");
        assert_eq!(servers(data, &place, None), ["heard:1", "joined:1"]);
        assert_eq!(heard(data).index, 12);
        fs::remove_file(data.join(HEARD)).expect("removed");
        std::os::unix::fs::symlink("/etc/hostname", data.join(HEARD)).expect("a link");
        assert_eq!(heard(data), ServerList::default(), "a link is not followed");
    }

    #[test]
    fn what_listens_everywhere_is_reached_here() {
        for (from, expected) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            assert_eq!(within(from.parse().expect("an address")).to_string(), expected);
        }
    }
}
