//! How a node comes by its place in a cluster, once: it begins one, or joins one with a token. Owns the files that say who it is, written before any child
//! starts; must never decide whether somebody else may join.
//!
//! A node that stops in the middle goes on where it was: keys are on disk before the token is used, so that a second try shows the same ones, and
//! `node.json` is written last.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{
    client::ClientError,
    peer::{CertificateRequest, JoinAnswer, JoinRequest, NodeRole, ServerAddress},
};
use founding::{
    cluster::{self, Begun, FoundingError, identity_of},
    recovery::Recovery,
    standing::{self, Own, Unfit},
};
use model::{
    id::{Digest, NodeId},
    problem::chain,
};
use serde::{Deserialize, Serialize};
use transport::{
    AuthorityCertificate, Clock as _, ClusterId, ClusterKey, Credentials, DialError, HANDSHAKE_MAX, JoinToken, KeyPair, Pin, Protocol,
    Role, SystemClock,
};

use super::{
    addresses::{self, introduction},
    limits::{JOIN_WAIT_MAX, JOIN_WAIT_MIN},
    node::Node,
    options::{JoinOptions, ServerOptions},
    start_error::StartError,
};

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
    /// The address from which it reached the server it joined through: others reach it there too. A founder has none that another machine chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The digest of its worker's key, when it has a worker.
    pub worker_key: Option<Digest>,
    /// Since when it has its place.
    #[serde(skip)]
    pub since: Since,
}

/// Since when a node has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Since {
    /// It had it before it was started this time.
    #[default]
    Before,
    /// It has just joined others.
    Joined,
    /// It has just begun the cluster: nobody else is there yet.
    Begun,
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
        let told = options.join.iter().map(|join| Self::with_port(&join.address));
        let mut addresses: Vec<String> = self.servers.iter().map(|server| server.peer.clone()).chain(told).collect();
        addresses.retain(|address| !address.is_empty());
        let mut seen = BTreeSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        addresses
    }

    /// `HOST` with the port servers listen on for others, unless it names one.
    pub fn with_port(address: &str) -> String {
        const PEER_PORT: u16 = 7071;
        let bracketed = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
        let has_port = bracketed.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if has_port { address.to_owned() } else { format!("{address}:{PEER_PORT}") }
    }
}

/// The place this node has, or the one it gets now. Waits for a server that does not answer.
///
/// # Errors
/// It has no place and no way to one, the token is not good, or a file cannot be written.
pub async fn enroll(node: &Node) -> Result<Enrolled, StartError> {
    let data = &node.directory.path;
    if let Some(enrolled) = Enrolled::read(data)? {
        match known(node, &enrolled).await? {
            None => return Ok(enrolled),
            Some(unfit) => {
                tracing::warn!(reason = %unfit, "this server joins anew, under another id");
                set_aside(data)?;
            }
        }
    }
    let restored =
        Recovery::read(data).map_err(|source| StartError::File { attempt: "read", path: data.join("control/recovery.json"), source })?;
    let enrolled = match (restored, &node.options.join) {
        (Some(recovery), _) => resume(node, &recovery)?,
        (None, Some(join)) => join_cluster(node, join).await?,
        (None, None) if node.options.part.serves() => found(node)?,
        (None, None) => return Err(StartError::Join { address: String::new(), why: "a worker needs a cluster to work for".into() }),
    };
    enrolled.write(data)?;
    for role in roles(node) {
        // Nobody asks for this place again; what stays behind is a copy of the key beside it.
        let _ = fs::remove_file(joining_key(data, role));
    }
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
    let told = join.map(|join| Enrolled::with_port(&join.address));
    let own = Own { data, node: enrolled.node, group: enrolled.group(), servers: &enrolled.servers, told: told.as_deref() };
    let unfit = match standing::check(&own).await {
        Ok(unfit) => unfit,
        Err(source) => {
            let error = StartError::File { attempt: "read", path: data.join("control/log"), source };
            if !node.options.part.works() {
                return Err(error);
            }
            // Its control plane will find the same and say more of it; its worker needs no log.
            tracing::error!(error = chain(&error), "where this server stands is not known");
            None
        }
    };
    match unfit {
        Some(unfit) if join.is_none_or(|join| join.replaces.is_none()) => Err(StartError::Unfit { name: enrolled.name.clone(), unfit }),
        unfit => Ok(unfit),
    }
}

/// Takes what a server was out of the way. The log stays beside: it may hold what nobody else has.
///
/// Whenever this is cut short the next start goes on: as long as the place is there, a server without its log is as unfit as before; without a place it joins,
/// and finds no log that it could take for its own.
fn set_aside(data: &Path) -> Result<(), StartError> {
    let (log, old) = (data.join("control/log"), data.join("control/log.before"));
    if log.exists() {
        remove(&old)?;
        fs::rename(&log, &old).map_err(|source| StartError::File { attempt: "set aside", path: log, source })?;
        sync(&data.join("control"))?;
    }
    remove(&data.join("worker/assignment.json"))?;
    sync(&data.join("worker"))?;
    remove(&data.join(FILE))?;
    sync(data)?;
    // What is left of these is written over when it joins.
    ["control/identity", "control/cluster.key", "control/reached.json", "worker/identity"]
        .iter()
        .try_for_each(|name| remove(&data.join(name)))
}

fn remove(path: &Path) -> Result<(), StartError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StartError::File { attempt: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Returns once the names in a directory are on disk.
fn sync(directory: &Path) -> Result<(), StartError> {
    let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|source| StartError::File { attempt: "write", path: directory.to_owned(), source })
}

/// The only server of a cluster that was restored below its directory.
fn resume(node: &Node, recovery: &Recovery) -> Result<Enrolled, StartError> {
    let data = &node.directory.path;
    let sources = addresses::of_founder(node);
    let begun = cluster::resume(data, recovery, &introduction(node, &sources), node.options.part.works(), SystemClock.now());
    let Begun { cluster, worker_key } = begun.map_err(StartError::identity)?;
    give_away(node, Role::Worker)?;
    let (group, name) = (Some(recovery.group), node.options.name.clone());
    let source = addresses::kept_by_founder(&sources);
    Ok(Enrolled { cluster, group, node: recovery.node, name, servers: Vec::new(), source, worker_key, since: Since::Joined })
}

/// Begins a cluster of one.
fn found(node: &Node) -> Result<Enrolled, StartError> {
    let data = &node.directory.path;
    let sources = addresses::of_founder(node);
    let begun = cluster::begin(data, &introduction(node, &sources), node.options.part.works(), SystemClock.now());
    let Begun { cluster, worker_key } = begun.map_err(StartError::identity)?;
    give_away(node, Role::Worker)?;
    Ok(Enrolled {
        cluster,
        group: None,
        node: server::FOUNDER,
        name: node.options.name.clone(),
        servers: Vec::new(),
        source: addresses::kept_by_founder(&sources),
        worker_key,
        since: Since::Begun,
    })
}

/// Joins with a token; tries for ever where nobody answers, because whoever starts three machines at once starts one of them first.
async fn join_cluster(node: &Node, join: &JoinOptions) -> Result<Enrolled, StartError> {
    let refused = |why: String| StartError::Join { address: join.address.clone(), why };
    let Some(token) = &join.token else {
        return Err(refused("it takes a token:   --token-file FILE   or SHOAL_JOIN_TOKEN".into()));
    };
    let token: JoinToken = token.parse().map_err(|error| refused(format!("the token cannot be read: {error}")))?;
    if node.options.part.serves() && token.role != Role::Server {
        return Err(refused("the token lets in workers only; make one with   shoal join-token create server".into()));
    }
    let data = &node.directory.path;
    let keys: Vec<(Role, KeyPair)> = roles(node).map(|role| Ok((role, kept_key(node, role)?))).collect::<Result<_, StartError>>()?;
    let mut wait = JOIN_WAIT_MIN;
    let Joined { answer, authority, source } = loop {
        match ask(node, join, &token, &keys).await {
            Ok(joined) => break joined,
            Err(Attempt::Final(why)) => return Err(refused(why)),
            Err(Attempt::Again(why)) => {
                tracing::warn!(
                    join.address = join.address,
                    error = why,
                    retry.ms = wait.as_millis(),
                    "the cluster cannot be joined yet; it is tried again"
                );
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(JOIN_WAIT_MAX);
            }
        }
    };
    let cluster: ClusterId = answer.cluster.parse().map_err(|error| refused(format!("{error}")))?;
    let group: ClusterId = answer.group.parse().map_err(|error| refused(format!("{error}")))?;
    let mut worker_key = None;
    for (role, pair) in keys {
        worker_key = worker_key.or(key_of_worker(role, &pair));
        let wanted = wire_role(role);
        let certified = answer.certificates.iter().find(|certified| certified.role == wanted);
        let certified = certified.ok_or_else(|| refused(format!("the cluster gave no certificate for the role {role}")))?;
        write_credentials(node, pair, &certified.certificate, authority.clone(), role)?;
    }
    if node.options.part.serves() {
        let credentials = Credentials::read(&identity_of(data, Role::Server)).map_err(StartError::identity)?;
        let key = cluster_key(&join.address, &credentials).await.map_err(|error| refused(chain(&error)))?;
        key.write(&data.join("control/cluster.key")).map_err(StartError::identity)?;
    }
    // How far the log of a server went that was here before says nothing of the one that begins.
    standing::forget(data).map_err(|source| StartError::File { attempt: "remove", path: data.join("control/reached.json"), source })?;
    tracing::info!(node.id = answer.node.0, cluster.id = %cluster, "joined the cluster");
    let (group, name) = (Some(group).filter(|group| *group != cluster), node.options.name.clone());
    Ok(Enrolled { cluster, group, node: answer.node, name, servers: answer.servers, source, worker_key, since: Since::Joined })
}

/// The key of the cluster, from a server that let this node in. Tries for ever where nobody answers: the node has its place by now.
async fn cluster_key(address: &str, credentials: &Credentials) -> Result<ClusterKey, FoundingError> {
    let address = Enrolled::with_port(address);
    let mut wait = JOIN_WAIT_MIN;
    loop {
        match cluster::fetch_cluster_key(&address, credentials.clone()).await {
            Err(error) if !error.is_refusal() => {
                tracing::warn!(
                    join.address = address,
                    error = chain(&error),
                    "the key of the cluster did not come yet; it is asked for again"
                );
            }
            ended => return ended,
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(JOIN_WAIT_MAX);
    }
}

/// How one try to join ended without a place.
enum Attempt {
    /// It would end so again.
    Final(String),
    /// The next one may end otherwise.
    Again(String),
}

/// A place that was given.
struct Joined {
    answer: JoinAnswer,
    authority: AuthorityCertificate,
    /// The address it was asked from.
    source: Option<IpAddr>,
}

async fn ask(node: &Node, join: &JoinOptions, token: &JoinToken, keys: &[(Role, KeyPair)]) -> Result<Joined, Attempt> {
    let address = Enrolled::with_port(&join.address);
    let pin = Pin { authority: token.authority, clock: Arc::new(SystemClock), protocol: Protocol::Http1, connect_max: HANDSHAKE_MAX };
    let pinned = transport::dial_pinned(&address, &pin).await.map_err(|error| {
        let why = chain(&error);
        // Who answers is not of the token's cluster, and the next try would find the same.
        if matches!(error, DialError::Refused { .. } | DialError::NotTls { .. }) { Attempt::Final(why) } else { Attempt::Again(why) }
    })?;
    let (source, elsewhere) = addresses::of_connection(pinned.stream.get_ref().0);
    let sources: Vec<IpAddr> = source.into_iter().chain(addresses::outward()).collect();
    let request = JoinRequest {
        token: token.to_string(),
        node: introduction(node, &sources),
        requests: keys.iter().map(|(role, key)| CertificateRequest { role: wire_role(*role), request: key.request() }).collect(),
        replaces: join.replaces.clone(),
        source: elsewhere,
    };
    match api::client::join(pinned.stream, &address, &request).await {
        Ok(answer) => Ok(Joined { answer, authority: pinned.authority, source }),
        Err(ClientError::Refused { status, error }) if status.is_client_error() || status == http::StatusCode::UNPROCESSABLE_ENTITY => {
            Err(Attempt::Final(if error.help.is_empty() { error.message } else { format!("{}; {}", error.message, error.help) }))
        }
        Err(error) => Err(Attempt::Again(chain(&error))),
    }
}

/// Where the key of a role lies while the node joins: a second try shows the same one, until the node has its place.
fn joining_key(data: &Path, role: Role) -> PathBuf {
    identity_of(data, role).join("joining.pem")
}

/// The key of a role: the one of an earlier try, or a new one that is on disk when this returns.
fn kept_key(node: &Node, role: Role) -> Result<KeyPair, StartError> {
    let directory = identity_of(&node.directory.path, role);
    let path = joining_key(&node.directory.path, role);
    if path.exists() {
        return KeyPair::read(&path).map_err(StartError::identity);
    }
    fs::create_dir_all(&directory).map_err(|source| StartError::File { attempt: "make", path: directory.clone(), source })?;
    let key = KeyPair::generate();
    key.write(&path).map_err(StartError::identity)?;
    Ok(key)
}

fn write_credentials(node: &Node, key: KeyPair, certificate: &[u8], authority: AuthorityCertificate, role: Role) -> Result<(), StartError> {
    let directory = identity_of(&node.directory.path, role);
    let credentials = Credentials::new(key, certificate, authority).map_err(StartError::identity)?;
    credentials.write(&directory).map_err(StartError::identity)?;
    give_away(node, role)
}

/// Lets a worker that has a user id of its own read what it is.
fn give_away(node: &Node, role: Role) -> Result<(), StartError> {
    let directory = identity_of(&node.directory.path, role);
    let Some(user) = node.worker_user.filter(|_| role == Role::Worker && directory.exists()) else { return Ok(()) };
    super::below::give_all(&directory, user).map_err(|source| StartError::File { attempt: "give away", path: directory, source })
}

fn roles(node: &Node) -> impl Iterator<Item = Role> + use<> {
    let part = node.options.part;
    part.serves().then_some(Role::Server).into_iter().chain(part.works().then_some(Role::Worker))
}

fn key_of_worker(role: Role, key: &KeyPair) -> Option<Digest> {
    (role == Role::Worker).then(|| Digest(key.digest().to_bytes()))
}

fn wire_role(role: Role) -> NodeRole {
    match role {
        Role::Server => NodeRole::Server,
        Role::Worker => NodeRole::Worker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_was_is_set_aside_and_its_log_survives_however_often_that_is_cut_short() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path();
        let write = |name: &str, text: &str| {
            let path = data.join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
            fs::write(path, text).expect("a file");
        };
        let old = || fs::read_to_string(data.join("control/log.before/1.wal")).expect("the old log");
        for name in ["control/log.before/1.wal", "control/log/1.wal", "control/cluster.key", "worker/assignment.json", FILE] {
            write(name, name);
        }
        set_aside(data).expect("set aside");
        assert_eq!(old(), "control/log/1.wal", "an older one gives way");
        assert!([FILE, "control/log", "control/cluster.key", "worker/assignment.json"].iter().all(|name| !data.join(name).exists()));
        // Cut short behind the log: the place is there still, and the next start sets aside what is left.
        write(FILE, FILE);
        set_aside(data).expect("set aside");
        assert_eq!(old(), "control/log/1.wal", "what was saved is not taken for what is in the way");
        assert!(!data.join(FILE).exists());
    }

    #[test]
    fn the_port_of_servers_need_not_be_said() {
        for (told, expected) in [
            ("a.example", "a.example:7071"),
            ("a.example:1", "a.example:1"),
            ("10.0.0.1", "10.0.0.1:7071"),
            ("[::1]", "[::1]:7071"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(Enrolled::with_port(told), expected);
        }
    }
}
