//! How a node comes by its place in a cluster, once: it begins one, forms one with others (`form.rs`), or joins one with a token (`join.rs`). Owns the files that
//! say who it is, written before any child starts; must never decide whether somebody else may join.
//!
//! A node that stops in the middle goes on where it was: keys are on disk before the token is used, so that a second try shows the same ones, and
//! `node.json` is written last.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
};

use api::peer::{Introduction, ServerAddress};
use formation::{Bond, with_port};
use model::id::{Digest, NodeId};
use serde::{Deserialize, Serialize};
use server::{
    founding::{self, Begun, identity_of},
    recovery::Recovery,
    standing::{self, Own, Unfit},
};
use transport::{AuthorityDigest, Clock as _, ClusterId, Credentials, JoinToken, KeyPair, Role, SystemClock};

use super::{form, join, node::Node, options::ServerOptions, start_error::StartError};

/// Where a node's place is kept, below its data directory.
const FILE: &str = "node.json";

/// The node's place, as `node.json` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    /// The cluster.
    pub cluster: ClusterId,
    /// The group of servers that holds its state, when that is another than the first one: it began anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ClusterId>,
    /// Its id there.
    pub node: NodeId,
    /// Its name there.
    pub name: String,
    /// Servers as they were when it joined; newer ones are told to it later.
    pub servers: Vec<ServerAddress>,
    /// The digest of its worker's key, when it has a worker.
    pub worker_key: Option<Digest>,
    /// Whether it has just begun the cluster: nobody else is there yet.
    #[serde(skip)]
    pub fresh: bool,
}

impl Enrolled {
    /// The group of servers that holds the cluster's state: the first one has the cluster's own id.
    pub fn group(&self) -> ClusterId {
        self.group.unwrap_or(self.cluster)
    }

    /// Reads the file that [`Enrolled::write`] wrote below `data`; none when the node has no place.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(data: &Path) -> Result<Option<Self>, StartError> {
        let path = data.join(FILE);
        let broken = |source| StartError::File { attempt: "read", path: path.clone(), source };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| broken(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(broken(source)),
        }
    }

    /// Writes it aside and renames it: from then on the node has its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, data: &Path) -> Result<(), StartError> {
        let (path, text) = (data.join(FILE), serde_json::to_vec(self).expect("a place holds text and numbers only"));
        super::data_directory::write_whole(&path, &text).map_err(|source| StartError::File { attempt: "write", path, source })
    }

    /// Where a worker looks for servers first: those of its join, and the one it was told to join.
    pub fn addresses(&self, options: &ServerOptions) -> Vec<String> {
        let told = options.join.iter().map(|join| with_port(&join.address));
        let mut addresses: Vec<String> = self.servers.iter().map(|server| server.peer.clone()).chain(told).collect();
        addresses.retain(|address| !address.is_empty());
        let mut seen = BTreeSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        addresses
    }
}

/// The place this node has, or the one it gets now. Waits for a server that does not answer.
///
/// # Errors
/// It has no place and no way to one, the token is not good, or a file cannot be written.
pub async fn enroll(node: &Node) -> Result<Enrolled, StartError> {
    let data = &node.directory.path;
    if let Some(enrolled) = Enrolled::read(data)? {
        if node.options.form.is_some() {
            tracing::info!(cluster.id = %enrolled.cluster, "this data directory belongs to a cluster already: --expect and --peers are not looked at");
        }
        match known(node, &enrolled).await? {
            None => {
                Bond::remove(data)?;
                return Ok(enrolled);
            }
            Some(unfit) => {
                tracing::warn!(reason = %unfit, "this server joins anew, under another id");
                set_aside(data)?;
            }
        }
    }
    let restored =
        Recovery::read(data).map_err(|source| StartError::File { attempt: "read", path: data.join("control/recovery.json"), source })?;
    let enrolled = match (restored, &node.options.join, &node.options.form) {
        (Some(recovery), ..) => resume(node, &recovery)?,
        (None, Some(join), _) => join::join_told(node, join).await?,
        (None, None, Some(options)) => form::form(node, options).await?,
        (None, None, None) if node.options.part.serves() => found(node)?,
        (None, None, None) => return Err(StartError::Join { address: String::new(), why: "a worker needs a cluster to work for".into() }),
    };
    enrolled.write(data)?;
    // It has its place: nothing binds it any more.
    Bond::remove(data)?;
    Ok(enrolled)
}

/// A node that has its place already: another token is no harm as long as it is for the same cluster. Says why a server is not fit for its place any more,
/// when it is to take it anew.
async fn known(node: &Node, enrolled: &Enrolled) -> Result<Option<Unfit>, StartError> {
    let (data, join) = (&node.directory.path, node.options.join.as_ref());
    if let Some((join, token)) = join.and_then(|join| Some((join, join.token.as_ref()?))) {
        let token: JoinToken =
            token.parse().map_err(|error| StartError::Join { address: join.address.clone(), why: format!("{error}") })?;
        let role = if node.options.part.serves() { Role::Server } else { Role::Worker };
        let credentials = Credentials::read(&identity_of(data, role)).map_err(StartError::identity)?;
        if credentials.authority().digest() != token.authority {
            let why = format!("this data directory belongs to cluster {}, and the token is for another", enrolled.cluster);
            return Err(StartError::Join { address: join.address.clone(), why });
        }
    }
    // A node that has just begun its cluster, or begins it anew, has nothing that could be older.
    let begins = ["founding.json", "recovery.json"].iter().any(|name| data.join("control").join(name).exists());
    if !node.options.part.serves() || begins {
        return Ok(None);
    }
    let own = Own { data, node: enrolled.node, group: enrolled.group(), servers: &enrolled.servers };
    let unfit =
        standing::check(&own).await.map_err(|source| StartError::File { attempt: "read", path: data.join("control/log"), source })?;
    match unfit {
        Some(unfit) if join.is_none_or(|join| join.replaces.is_none()) => Err(StartError::Unfit { name: enrolled.name.clone(), unfit }),
        unfit => Ok(unfit),
    }
}

/// Takes what a server was out of the way. The log stays beside: it may hold what nobody else has.
fn set_aside(data: &Path) -> Result<(), StartError> {
    let old = data.join("control/log.before");
    let steps = [
        ("remove", data.join(FILE)),
        ("remove", old.clone()),
        ("remove", data.join("control/identity")),
        ("remove", data.join("control/cluster.key")),
        ("remove", data.join("control/reached.json")),
        ("remove", data.join("worker/identity")),
        ("remove", data.join("worker/assignment.json")),
    ];
    for (attempt, path) in steps {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(StartError::File { attempt, path, source }),
            _ => {}
        }
    }
    let log = data.join("control/log");
    match fs::rename(&log, old) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StartError::File { attempt: "set aside", path: log, source }),
        _ => Ok(()),
    }
}

/// The only server of a cluster that was restored below its directory.
fn resume(node: &Node, recovery: &Recovery) -> Result<Enrolled, StartError> {
    let data = &node.directory.path;
    let begun = founding::resume(data, recovery, &introduction(node, None), node.options.part.works(), SystemClock.now());
    let Begun { cluster, worker_key } = begun.map_err(StartError::identity)?;
    give_away(node, Role::Worker)?;
    let (group, name) = (Some(recovery.group), node.options.name.clone());
    Ok(Enrolled { cluster, group, node: recovery.node, name, servers: Vec::new(), worker_key, fresh: false })
}

/// Begins a cluster of one.
fn found(node: &Node) -> Result<Enrolled, StartError> {
    if let Some(bond) = Bond::read(&node.directory.path)? {
        return Err(StartError::Bound { authority: bond.authority });
    }
    founded(node, begin(node)?)
}

/// Makes everything a new cluster is made of; says what its authority is called.
pub fn begin(node: &Node) -> Result<AuthorityDigest, StartError> {
    let data = &node.directory.path;
    founding::begin(data, &introduction(node, None), node.options.part.works(), SystemClock.now()).map_err(StartError::identity)?;
    give_away(node, Role::Worker)?;
    let credentials = Credentials::read(&identity_of(data, Role::Server)).map_err(StartError::identity)?;
    Ok(credentials.authority().digest())
}

/// The place of the first server of what [`begin`] made under `authority`.
pub fn founded(node: &Node, authority: AuthorityDigest) -> Result<Enrolled, StartError> {
    let read = |role| Credentials::read(&identity_of(&node.directory.path, role)).map_err(StartError::identity);
    let worker_key = if node.options.part.works() { key_of_worker(Role::Worker, read(Role::Worker)?.key()) } else { None };
    let server = read(Role::Server)?;
    if server.authority().digest() != authority {
        return Err(StartError::Identity {
            why: format!("it is not of the cluster with the authority {authority}, which this node began"),
        });
    }
    let (cluster, name) = (server.identity().cluster, node.options.name.clone());
    Ok(Enrolled { cluster, group: None, node: server::FOUNDER, name, servers: Vec::new(), worker_key, fresh: true })
}

/// Lets a worker that has a user id of its own read what it is.
pub fn give_away(node: &Node, role: Role) -> Result<(), StartError> {
    let directory = identity_of(&node.directory.path, role);
    let Some(user) = node.worker_user.filter(|_| role == Role::Worker && directory.exists()) else { return Ok(()) };
    super::data_directory::give_to(&directory, user).map_err(|source| StartError::File { attempt: "give away", path: directory, source })
}

/// The digest by which the cluster knows the key of a worker.
pub fn key_of_worker(role: Role, key: &KeyPair) -> Option<Digest> {
    (role == Role::Worker).then(|| Digest(key.digest().to_bytes()))
}

/// What the node says of itself; `source` is the address from which it reaches the others, when that is known.
pub fn introduction(node: &Node, source: Option<IpAddr>) -> Introduction {
    let source = source.or_else(outward);
    let sockets = &node.sockets;
    let bound = |listener: Option<&std::net::TcpListener>| listener.and_then(|listener| listener.local_addr().ok());
    let place = &node.options.place;
    let (control_plane, worker) = (sockets.control_plane.as_ref(), sockets.worker.as_ref());
    let at = |listener, told: &Option<String>| bound(listener).map(|bound| advertised(bound, told.as_deref(), source));
    let (memory_bytes, cpu_millis) = if worker.is_some() { server::Settings::resources_of_this_machine() } else { (0, 0) };
    Introduction {
        name: node.options.name.clone(),
        peer: at(control_plane.and_then(|sockets| sockets.peer.as_ref()), &place.advertise_peer),
        mesh: at(worker.and_then(|sockets| sockets.mesh.as_ref()), &place.advertise_mesh),
        api: at(control_plane.map(|sockets| &sockets.api), &place.advertise_api),
        zone: place.zone.clone(),
        region: place.region.clone(),
        labels: place.labels.clone(),
        memory_bytes,
        cpu_millis,
    }
}

/// Under which `HOST:PORT` others reach a listener that is bound to `bound`.
fn advertised(bound: SocketAddr, told: Option<&str>, source: Option<IpAddr>) -> String {
    match told {
        Some(told) if told.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => told.to_owned(),
        Some(host) => format!("{host}:{}", bound.port()),
        None if bound.ip().is_unspecified() => SocketAddr::new(source.unwrap_or(bound.ip()), bound.port()).to_string(),
        None => bound.to_string(),
    }
}

/// The address from which this machine reaches others: nothing is sent, the system only looks up its routes.
fn outward() -> Option<IpAddr> {
    // An address of the documentation range (RFC 5737): routed like any other, owned by nobody.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advertised_can_be_reached() {
        let check = |bound: &str, told: Option<&str>, source: Option<&str>, expected: &str| {
            let source = source.map(|text| text.parse().expect("an address"));
            assert_eq!(advertised(bound.parse().expect("an address"), told, source), expected, "{bound} {told:?}");
        };
        check("127.0.0.1:7071", None, Some("10.0.0.5"), "127.0.0.1:7071");
        check("0.0.0.0:7071", None, Some("10.0.0.5"), "10.0.0.5:7071");
        check("[::]:7071", None, Some("fd00::5"), "[fd00::5]:7071");
        check("0.0.0.0:7071", Some("node-a.example"), Some("10.0.0.5"), "node-a.example:7071");
        check("0.0.0.0:7071", Some("node-a.example:17071"), None, "node-a.example:17071");
    }
}
