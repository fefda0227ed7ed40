//! How a cluster begins: the authority and its key on their way from the files of the first node into the log, and the names certificates carry.
//! Owns that file; must never hold the authority's key unsealed on disk.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::peer::{CLUSTER_KEY_PATH, Introduction};
use http_body_util::{BodyExt, Limited};
use model::id::{Digest, NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use transport::{
    Authority, Channel, ChannelConfig, ClusterId, ClusterKey, Credentials, Dialer, Expected, HANDSHAKE_MAX, Identity, Issue, KeyPair,
    Known, Members, NODE_LIFETIME, NodeIdentity, Role, SealError, Sealed, SystemClock, empty_body,
};

use crate::{limits::KEY_WAIT_MAX, recovery::Recovery};

/// Why a server cannot be given the cluster's key, or an authority not be opened.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// A file of a new cluster cannot be written.
    #[error("writing what a new cluster is made of")]
    File(#[source] io::Error),
    /// A key or certificate of a new cluster cannot be written.
    #[error("writing the identity of the first node")]
    Credentials(#[from] transport::CredentialsError),
    /// It is sealed with another key, or damaged.
    #[error("the authority's key cannot be opened")]
    Sealed(#[from] SealError),
    /// It is none, or another cluster's.
    #[error("the authority of the cluster cannot be used")]
    Authority(#[from] transport::AuthorityError),
    /// The server that was asked is not reached.
    #[error("cannot ask a server for the key of the cluster")]
    Unreached(#[from] transport::ChannelError),
    /// It said something else.
    #[error("a server answered {0} to the question for the key of the cluster")]
    Answer(http::StatusCode),
    /// It broke off.
    #[error("a server broke off while it sent the key of the cluster")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl FoundingError {
    /// Whether a server was reached and said no: it will say so again.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Answer(status) if status.is_client_error())
    }
}

/// The authority of a new cluster, until the log has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Founding {
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Its key, sealed.
    pub key: Vec<u8>,
}

impl Founding {
    /// Of `authority`, its key sealed with `key`.
    pub fn of(authority: &Authority, key: &ClusterKey) -> Self {
        Self { certificate: authority.certificate().der().to_vec(), key: authority.seal(key).to_bytes() }
    }

    /// Writes it aside and renames it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_aside(path, self)
    }

    /// Reads it; nothing when the cluster is founded already.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A cluster that exists as files of its first node only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// Its id.
    pub cluster: ClusterId,
    /// The digest of the key of the node's worker, when it has one.
    pub worker_key: Option<Digest>,
}

/// Makes everything a new cluster is made of below the data directory `data`: the authority, the key that seals, a key and a certificate for each role of the
/// first node, which says of itself what `node` says and has a worker when `works` says so.
///
/// # Errors
/// A file cannot be written.
pub fn begin(data: &Path, node: &Introduction, works: bool, now: Timestamp) -> Result<Begun, FoundingError> {
    let (cluster, key, control) = (ClusterId::random(), ClusterKey::random(), data.join("control"));
    fs::create_dir_all(&control).map_err(FoundingError::File)?;
    key.write(&control.join("cluster.key"))?;
    let authority = Authority::create(cluster, now)?;
    let worker_key = certify_first(data, &authority, state::FOUNDER, node, works, now)?;
    Founding::of(&authority, &key).write(&control.join("founding.json")).map_err(FoundingError::File)?;
    Ok(Begun { cluster, worker_key })
}

/// Makes a key and a certificate for each role of the only server of a cluster that was restored below `data`.
///
/// # Errors
/// A file cannot be read or written, or the key does not open the authority.
pub fn resume(data: &Path, recovery: &Recovery, node: &Introduction, works: bool, now: Timestamp) -> Result<Begun, FoundingError> {
    let key = ClusterKey::read(&data.join("control/cluster.key"))?;
    let none = || FoundingError::File(io::Error::new(io::ErrorKind::NotFound, "control/recovery.json names no authority"));
    let kept = recovery.authority.as_ref().ok_or_else(none)?;
    let authority = open_authority(&kept.certificate, &kept.key, &key)?;
    let worker_key = certify_first(data, &authority, recovery.node, node, works, now)?;
    Ok(Begun { cluster: recovery.cluster, worker_key })
}

/// Returns the digest of the worker's key, when there is one.
fn certify_first(
    data: &Path,
    authority: &Authority,
    id: NodeId,
    node: &Introduction,
    works: bool,
    now: Timestamp,
) -> Result<Option<Digest>, FoundingError> {
    let mut worker_key = None;
    for role in [Some(Role::Server), works.then_some(Role::Worker)].into_iter().flatten() {
        let (pair, identity) = (KeyPair::generate(), NodeIdentity { cluster: authority.cluster(), node: id, role });
        let certificate =
            authority.issue(&Issue { identity, key: &pair.public(), names: &names_for(role, node), now, lifetime: NODE_LIFETIME })?;
        if role == Role::Worker {
            worker_key = Some(Digest(pair.digest().to_bytes()));
        }
        Credentials::new(pair, &certificate, authority.certificate().clone())?.write(&identity_of(data, role))?;
    }
    Ok(worker_key)
}

/// Writes `value` as JSON aside, and renames it: it is there whole or not at all, also after a power cut.
pub(crate) fn write_aside(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, serde_json::to_vec(value)?)?;
    fs::File::open(&aside)?.sync_all()?;
    fs::rename(&aside, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Where the key and the certificate of one role lie below the data directory `data`.
pub fn identity_of(data: &Path, role: Role) -> PathBuf {
    data.join(match role {
        Role::Server => "control/identity",
        Role::Worker => "worker/identity",
    })
}

/// The authority in the state, opened.
///
/// # Errors
/// The key does not open it: it is another cluster's.
pub fn open_authority(certificate: &[u8], sealed: &[u8], key: &ClusterKey) -> Result<Authority, FoundingError> {
    Ok(Authority::open(certificate, &Sealed::from_bytes(sealed)?, key)?)
}

/// The names in a certificate of `node` for `role`. Users' tools call a server by the hosts it advertises. Nobody calls a worker by a name, and a token for workers
/// must not be worth a certificate for whatever name its holder advertises: it gets addresses alone.
pub fn names_for(role: Role, node: &Introduction) -> Vec<String> {
    let mut names = certificate_names(node);
    names.retain(|name| role == Role::Server || name == "localhost" || name.parse::<IpAddr>().is_ok());
    names
}

/// The names by which users' tools may call a node: the hosts of everything it advertises.
fn certificate_names(node: &Introduction) -> Vec<String> {
    let addresses = [&node.peer, &node.mesh, &node.api].into_iter().flatten();
    let mut names: Vec<String> = addresses.filter_map(|address| address.rsplit_once(':')).map(|(host, _)| unbracketed(host)).collect();
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    names.sort();
    names.dedup();
    names
}

fn unbracketed(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// The key that opens what is sealed in the log, from the server at `address`: it gives it to servers of its cluster only.
///
/// # Errors
/// It cannot be reached, refuses, or sends something else.
pub async fn fetch_cluster_key(address: &str, credentials: Credentials) -> Result<ClusterKey, FoundingError> {
    let (identity, known) = (Identity::new(credentials), Known::new(Members::default()));
    let dialer = Dialer { identity, known, clock: Arc::new(SystemClock), connect_max: HANDSHAKE_MAX };
    let channel = Channel::new(ChannelConfig::new(dialer, address, Expected::AnyServer));
    let request = http::Request::get(CLUSTER_KEY_PATH).body(empty_body()).expect("a constant path is one");
    let (head, body) = channel.request(request, KEY_WAIT_MAX).await?.into_parts();
    if !head.status.is_success() {
        return Err(FoundingError::Answer(head.status));
    }
    let whole = Limited::new(body, KEY_BYTES).collect().await.map_err(FoundingError::Broken)?.to_bytes();
    let bytes = <[u8; KEY_BYTES]>::try_from(whole.as_ref()).map_err(|_| FoundingError::Broken("it is not 32 bytes".into()))?;
    Ok(ClusterKey::from_bytes(bytes))
}

/// Bytes of a cluster's key.
const KEY_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_every_host_that_is_advertised() {
        let node = Introduction {
            name: "a".into(),
            peer: Some("10.0.0.1:7071".into()),
            mesh: Some("[fd00::1]:7072".into()),
            api: Some("a.example:7070".into()),
            zone: None,
            region: None,
            labels: Default::default(),
            memory_bytes: 0,
            cpu_millis: 0,
            release: String::new(),
            schema: 1,
        };
        assert_eq!(certificate_names(&node), ["10.0.0.1", "127.0.0.1", "::1", "a.example", "fd00::1", "localhost"]);
        assert_eq!(names_for(Role::Server, &node), certificate_names(&node));
        assert_eq!(names_for(Role::Worker, &node), ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "localhost"], "no name of its choice");
    }
}
