//! How a node comes by its place in a cluster, once: it begins one, forms one with others (`form.rs`), or joins one with a token (`join.rs`). Owns the files that
//! say who it is, written before any child starts; must never decide whether somebody else may join.
//!
//! A node that stops in the middle goes on where it was: keys are on disk before the token is used, so that a second try shows the same ones, and
//! `node.json` is written last.

use std::{collections::BTreeSet, fs, io, net::IpAddr, path::Path};

use api::peer::ServerAddress;
use formation::{Bond, with_port};
use founding::{
    cluster::{self, Begun, identity_of},
    recovery::Recovery,
    standing::{self, Own, Unfit},
};
use model::{
    id::{Digest, NodeId},
    problem::chain,
};
use serde::{Deserialize, Serialize};
use transport::{AuthorityDigest, Clock as _, ClusterId, Credentials, JoinToken, KeyPair, Role, SystemClock};

use super::{
    addresses::{self, introduction},
    form, join,
    node::Node,
    options::ServerOptions,
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
        refuse_other_part(data, node.options.part.serves())?;
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
        (None, Some(join), _) => {
            refuse_bound(data)?;
            join::join_told(node, join).await?
        }
        (None, None, Some(options)) => form::form(node, options).await?,
        (None, None, None) if node.options.part.serves() => found(node)?,
        (None, None, None) => return Err(StartError::Join { address: String::new(), why: "a worker needs a cluster to work for".into() }),
    };
    enrolled.write(data)?;
    join::forget_tries(node);
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
        if credentials.authorities().find(&token.authority).is_none() {
            let why = format!(
                "this data directory belongs to cluster {}, and the token is for another; if the authority was rotated while this node was away, \
                 leave the token out",
                enrolled.cluster
            );
            return Err(StartError::Join { address: join.address.clone(), why });
        }
    }
    // A node that has just begun its cluster, or begins it anew, has nothing that could be older.
    let begins = ["founding.json", "recovery.json"].iter().any(|name| data.join("control").join(name).exists());
    if !node.options.part.serves() || begins {
        return Ok(None);
    }
    let told = join.map(|join| with_port(&join.address));
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

/// A machine that is bound to a cluster that is being formed gets its place there and nowhere else.
fn refuse_bound(data: &Path) -> Result<(), StartError> {
    Bond::read(data)?.map_or(Ok(()), |bond| Err(StartError::Bound { authority: bond.authority }))
}

/// Forgets a cluster that was to begin here and never did: whoever joins one founds none.
///
/// # Errors
/// A file cannot be removed.
pub fn forget_founding(data: &Path) -> Result<(), StartError> {
    ["founding.json", "invitation.json"].iter().try_for_each(|name| remove(&data.join("control").join(name)))?;
    if data.join("control").exists() { sync(&data.join("control")) } else { Ok(()) }
}

/// A server that came back as a worker would be a vote that is missing, and a worker has nothing that a server needs.
fn refuse_other_part(data: &Path, serves: bool) -> Result<(), StartError> {
    let why = match (identity_of(data, Role::Server).exists(), serves) {
        (true, false) => "this data directory is a server's: start it with   shoal server   or give the worker a directory of its own",
        (false, true) => "this data directory is a worker's: start it with   shoal worker   or give the server a directory of its own",
        _ => return Ok(()),
    };
    Err(StartError::Identity { why: why.to_owned() })
}

/// Begins a cluster of one.
fn found(node: &Node) -> Result<Enrolled, StartError> {
    refuse_bound(&node.directory.path)?;
    let sources = addresses::of_founder(node);
    let authority = begin(node, &sources)?;
    founded(node, authority, &sources)
}

/// Makes everything a new cluster is made of, whose first node others reach under one of `sources`; says what its authority is called.
pub fn begin(node: &Node, sources: &[IpAddr]) -> Result<AuthorityDigest, StartError> {
    let data = &node.directory.path;
    cluster::begin(data, &introduction(node, sources), node.options.part.works(), SystemClock.now()).map_err(StartError::identity)?;
    give_away(node, Role::Worker)?;
    let credentials = Credentials::read(&identity_of(data, Role::Server)).map_err(StartError::identity)?;
    Ok(credentials.authority().digest())
}

/// The place of the first server of what [`begin`] made under `authority`.
pub fn founded(node: &Node, authority: AuthorityDigest, sources: &[IpAddr]) -> Result<Enrolled, StartError> {
    let read = |role| Credentials::read(&identity_of(&node.directory.path, role)).map_err(StartError::identity);
    let server = read(Role::Server)?;
    if server.authority().digest() != authority {
        return Err(StartError::Identity {
            why: format!("it is not of the cluster with the authority {authority}, which this node began"),
        });
    }
    let worker_key = if node.options.part.works() { key_of_worker(Role::Worker, read(Role::Worker)?.key()) } else { None };
    Ok(Enrolled {
        cluster: server.identity().cluster,
        group: None,
        node: server::FOUNDER,
        name: node.options.name.clone(),
        servers: Vec::new(),
        source: addresses::kept_by_founder(sources),
        worker_key,
        since: Since::Begun,
    })
}

/// Lets a worker that has a user id of its own read what it is.
pub fn give_away(node: &Node, role: Role) -> Result<(), StartError> {
    let directory = identity_of(&node.directory.path, role);
    let Some(user) = node.worker_user.filter(|_| role == Role::Worker && directory.exists()) else { return Ok(()) };
    super::below::give_all(&directory, user).map_err(|source| StartError::File { attempt: "give away", path: directory, source })
}

/// The digest by which the cluster knows the key of a worker.
pub fn key_of_worker(role: Role, key: &KeyPair) -> Option<Digest> {
    (role == Role::Worker).then(|| Digest(key.digest().to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_of_one_part() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path();
        refuse_other_part(data, false).expect("a worker's");
        assert!(refuse_other_part(data, true).is_err_and(|error| error.to_string().contains("is a worker's")));
        fs::create_dir_all(identity_of(data, Role::Server)).expect("a directory");
        refuse_other_part(data, true).expect("a server's");
        assert!(refuse_other_part(data, false).is_err_and(|error| error.to_string().contains("is a server's")));
    }

    #[test]
    fn whoever_joins_founds_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path();
        forget_founding(data).expect("there is nothing to forget");
        fs::create_dir(data.join("control")).expect("a directory");
        for name in ["founding.json", "invitation.json", "cluster.key"] {
            fs::write(data.join("control").join(name), "{}").expect("a file");
        }
        forget_founding(data).expect("forgotten");
        let left: Vec<_> = fs::read_dir(data.join("control")).expect("readable").map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(left, ["cluster.key"]);
        let bond = Bond {
            token: transport::TokenId::from_bytes([1; 5]),
            authority: AuthorityDigest::from_bytes([2; 32]),
            part: formation::Part::Founder,
        };
        bond.write(data).expect("written");
        assert!(matches!(refuse_bound(data), Err(StartError::Bound { authority }) if authority == bond.authority));
    }

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
}
