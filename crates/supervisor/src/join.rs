//! How a node becomes part of a cluster that is there already: it checks the authority of whoever answers, shows its token, and gets certificates over keys that
//! were on disk before. Owns the exchange and its tries; must never decide whether somebody else may join.

use std::{fs, net::IpAddr, sync::Arc};

use api::{
    client::ClientError,
    peer::{CertificateRequest, JoinAnswer, JoinRequest, NodeRole},
};
use formation::with_port;
use founding::{
    cluster::{self, FoundingError, identity_of},
    standing,
};
use model::problem::chain;
use tokio_util::task::AbortOnDropHandle;
use transport::{
    Authorities, AuthorityCertificate, ClusterId, ClusterKey, Credentials, DialError, HANDSHAKE_MAX, JoinToken, KeyPair, Pin, Protocol,
    Role, SystemClock,
};

use super::{
    addresses::{self, introduction},
    enroll::{Enrolled, Since, forget_founding, give_away, key_of_worker},
    limits::{FORMED_REFUSALS_MAX, JOIN_WAIT_MAX, JOIN_WAIT_MIN},
    node::Node,
    notify::keep_told,
    options::JoinOptions,
    start_error::StartError,
};

/// How a node joins.
#[derive(Debug)]
pub struct Joining<'a> {
    /// Servers of the cluster; any of them will do.
    pub addresses: Vec<String>,
    /// What lets the node in.
    pub token: JoinToken,
    /// The node whose name and place it takes.
    pub replaces: Option<&'a str>,
    /// What it means when another authority answers than the token's.
    pub strangers: Strangers,
}

/// Who may answer where a server of the cluster was to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strangers {
    /// Nobody else: the address or the token is wrong.
    Never,
    /// A machine that waits for the same cluster.
    Meanwhile,
}

/// Joins as the flags say.
pub async fn join_told(node: &Node, join: &JoinOptions) -> Result<Enrolled, StartError> {
    let refused = |why: String| StartError::Join { address: join.address.clone(), why };
    let Some(token) = &join.token else {
        return Err(refused("it takes a token:   --token-file FILE   or SHOAL_JOIN_TOKEN".into()));
    };
    let token: JoinToken = token.parse().map_err(|error| refused(format!("the token cannot be read: {error}")))?;
    if node.options.part.serves() && token.role != Role::Server {
        return Err(refused("the token lets in workers only; make one with   shoal join-token create server".into()));
    }
    let addresses = vec![with_port(&join.address)];
    let _told = AbortOnDropHandle::new(tokio::spawn(keep_told(format!("the cluster at {} to let this node in", join.address))));
    join_cluster(node, &Joining { addresses, token, replaces: join.replaces.as_deref(), strangers: Strangers::Never }).await
}

/// Joins with a token; tries for ever where nobody answers, because whoever starts three machines at once starts one of them first.
pub async fn join_cluster(node: &Node, joining: &Joining<'_>) -> Result<Enrolled, StartError> {
    let keys: Vec<(Role, KeyPair)> = roles(node).map(|role| Ok((role, kept_key(node, role)?))).collect::<Result<_, StartError>>()?;
    let Joined { address, answer, authority, source } = be_let_in(node, joining, &keys).await?;
    let refused = |why: String| StartError::Join { address: address.clone(), why };
    let cluster: ClusterId = answer.cluster.parse().map_err(|error| refused(format!("{error}")))?;
    let group: ClusterId = answer.group.parse().map_err(|error| refused(format!("{error}")))?;
    let authorities = match &answer.authorities {
        Some(list) => Authorities::from_list(list).map_err(|error| refused(chain(&error)))?,
        None => authority.into(),
    };
    let mut worker_key = None;
    for (role, pair) in keys {
        worker_key = worker_key.or(key_of_worker(role, &pair));
        let wanted = wire_role(role);
        let certified = answer.certificates.iter().find(|certified| certified.role == wanted);
        let certified = certified.ok_or_else(|| refused(format!("the cluster gave no certificate for the role {role}")))?;
        write_credentials(node, pair, &certified.certificate, authorities.clone(), role)?;
    }
    let data = &node.directory.path;
    if node.options.part.serves() {
        let credentials = Credentials::read(&identity_of(data, Role::Server)).map_err(StartError::identity)?;
        let others = answer.servers.iter().map(|server| server.peer.clone()).filter(|peer| !peer.is_empty() && *peer != address);
        let servers: Vec<String> = std::iter::once(address.clone()).chain(others).collect();
        let key = cluster_key(&servers, &credentials).await.map_err(|error| refused(chain(&error)))?;
        key.write(&data.join("control/cluster.key")).map_err(StartError::identity)?;
    }
    forget_founding(data)?;
    // How far the log of a server went that was here before says nothing of the one that begins.
    standing::forget(data).map_err(|source| StartError::File { attempt: "remove", path: data.join("control/reached.json"), source })?;
    tracing::info!(node.id = answer.node.0, cluster.id = %cluster, "joined the cluster");
    let (group, name) = (Some(group).filter(|group| *group != cluster), node.options.name.clone());
    Ok(Enrolled { cluster, group, node: answer.node, name, servers: answer.servers, source, worker_key, since: Since::Joined })
}

/// The key of the cluster, from one of its servers, the one that let this node in first. Tries for ever where nobody answers: the node has its place by now.
async fn cluster_key(servers: &[String], credentials: &Credentials) -> Result<ClusterKey, FoundingError> {
    let mut wait = JOIN_WAIT_MIN;
    for address in servers.iter().cycle() {
        match cluster::fetch_cluster_key(address, credentials.clone()).await {
            Err(error) if !error.is_refusal() => {
                tracing::warn!(
                    join.address = address.as_str(),
                    error = chain(&error),
                    "the key of the cluster did not come yet; it is asked for again"
                );
            }
            ended => return ended,
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(JOIN_WAIT_MAX);
    }
    unreachable!("there is always a server that let this node in")
}

/// A server said yes.
struct Joined {
    address: String,
    answer: JoinAnswer,
    authority: AuthorityCertificate,
    /// The address it was asked from.
    source: Option<IpAddr>,
}

/// How one try to join ended without a place.
enum Attempt {
    /// It would end so again.
    Final(String),
    /// The next one may end otherwise.
    Again(String),
}

/// Asks one server after the other, and all of them again, until one answers.
async fn be_let_in(node: &Node, joining: &Joining<'_>, keys: &[(Role, KeyPair)]) -> Result<Joined, StartError> {
    let (mut wait, mut refusals) = (JOIN_WAIT_MIN, 0);
    loop {
        for address in &joining.addresses {
            let why = match ask(node, joining, address, keys).await {
                Ok(joined) => return Ok(joined),
                // The founder answers a moment before it knows the token.
                Err(Attempt::Final(why)) if joining.strangers == Strangers::Meanwhile && refusals < FORMED_REFUSALS_MAX => {
                    refusals += 1;
                    why
                }
                Err(Attempt::Final(why)) => return Err(StartError::Join { address: address.clone(), why }),
                Err(Attempt::Again(why)) => why,
            };
            let message = "the cluster cannot be joined yet; it is tried again";
            // The founder takes a moment to begin, and the others let nobody in before they are in themselves.
            if joining.strangers == Strangers::Meanwhile && wait < JOIN_WAIT_MAX {
                tracing::debug!(join.address = address, error = why, retry.ms = wait.as_millis(), message);
            } else {
                tracing::warn!(join.address = address, error = why, retry.ms = wait.as_millis(), message);
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(JOIN_WAIT_MAX);
    }
}

async fn ask(node: &Node, joining: &Joining<'_>, address: &str, keys: &[(Role, KeyPair)]) -> Result<Joined, Attempt> {
    let authority = joining.token.authority;
    let pin = Pin { authority, clock: Arc::new(SystemClock), protocol: Protocol::Http1, connect_max: HANDSHAKE_MAX };
    let pinned = transport::dial_pinned(address, &pin).await.map_err(|error| {
        let why = chain(&error);
        // Who answers is not of the token's cluster, and the next try would find the same.
        let is_stranger = matches!(error, DialError::Refused { .. } | DialError::NotTls { .. });
        if is_stranger && joining.strangers == Strangers::Never { Attempt::Final(why) } else { Attempt::Again(why) }
    })?;
    let (source, elsewhere) = addresses::of_connection(pinned.stream.get_ref().0);
    let sources: Vec<IpAddr> = source.into_iter().chain(addresses::outward()).collect();
    let request = JoinRequest {
        token: joining.token.to_string(),
        node: introduction(node, &sources),
        requests: keys.iter().map(|(role, key)| CertificateRequest { role: wire_role(*role), request: key.request() }).collect(),
        replaces: joining.replaces.map(str::to_owned),
        source: elsewhere,
    };
    match api::client::join(pinned.stream, address, &request).await {
        Ok(answer) => Ok(Joined { address: address.to_owned(), answer, authority: pinned.authority, source }),
        Err(ClientError::Refused { status, error }) if status.is_client_error() || status == http::StatusCode::UNPROCESSABLE_ENTITY => {
            Err(Attempt::Final(if error.help.is_empty() { error.message } else { format!("{}; {}", error.message, error.help) }))
        }
        Err(error) => Err(Attempt::Again(chain(&error))),
    }
}

/// The node has its place: no further try needs the keys of this one.
pub fn forget_tries(node: &Node) {
    for role in roles(node) {
        let _ = fs::remove_file(identity_of(&node.directory.path, role).join("joining.pem"));
    }
}

/// The key of a role: the one of an earlier try, or a new one that is on disk when this returns.
fn kept_key(node: &Node, role: Role) -> Result<KeyPair, StartError> {
    let directory = identity_of(&node.directory.path, role);
    let path = directory.join("joining.pem");
    if path.exists() {
        return KeyPair::read(&path).map_err(StartError::identity);
    }
    fs::create_dir_all(&directory).map_err(|source| StartError::File { attempt: "make", path: directory.clone(), source })?;
    let key = KeyPair::generate();
    key.write(&path).map_err(StartError::identity)?;
    Ok(key)
}

fn write_credentials(node: &Node, key: KeyPair, certificate: &[u8], authorities: Authorities, role: Role) -> Result<(), StartError> {
    let directory = identity_of(&node.directory.path, role);
    let credentials = Credentials::new(key, certificate, authorities).map_err(StartError::identity)?;
    credentials.write(&directory).map_err(StartError::identity)?;
    give_away(node, role)
}

fn roles(node: &Node) -> impl Iterator<Item = Role> + use<> {
    let part = node.options.part;
    part.serves().then_some(Role::Server).into_iter().chain(part.works().then_some(Role::Worker))
}

fn wire_role(role: Role) -> NodeRole {
    match role {
        Role::Server => NodeRole::Server,
        Role::Worker => NodeRole::Worker,
    }
}
