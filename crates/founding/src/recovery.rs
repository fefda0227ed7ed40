//! How a group of servers begins anew: from a snapshot, or from what one server kept when a quorum is lost for good. Owns the file that says so until the log
//! does; must never run while a server runs on the same directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use api::peer::ServerAddress;
use consensus::{Peer, RecoverError, Remains};
use model::id::{Digest, Index, NodeId};
use serde::{Deserialize, Serialize};
use state::{State, limits::RECOVERY_STEP};
use transport::{ClusterId, Credentials, Role};

use crate::{
    cluster::{Founding, identity_of, write_aside},
    introduction::servers,
    machine::Machine,
    standing::{self, Asking},
};

/// Where it is said that the group begins anew, below the data directory.
const FILE: &str = "control/recovery.json";

/// A group that begins anew, until its first entry is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recovery {
    /// The cluster, which stays.
    pub cluster: ClusterId,
    /// The group, which is new.
    pub group: ClusterId,
    /// The only server.
    pub node: NodeId,
    /// The cluster's authority, when the server has no identity yet.
    pub authority: Option<Founding>,
}

impl Recovery {
    /// Reads it; nothing when no group begins anew.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(data: &Path) -> io::Result<Option<Self>> {
        match fs::read(data.join(FILE)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it aside and renames it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        write_aside(&data.join(FILE), self)
    }

    /// Removes it: the log says so from now on.
    pub(crate) fn remove(data: &Path) -> io::Result<()> {
        let file = data.join(FILE);
        fs::remove_file(&file)?;
        // If it came back after a cut of power, the group would begin anew a second time.
        file.parent().map_or(Ok(()), |control| fs::File::open(control)?.sync_all())
    }
}

/// How often the group of servers with entry `index` has begun anew.
pub(crate) fn epoch(index: u64) -> u64 {
    index / RECOVERY_STEP
}

/// Why a group does not begin anew from what a server kept.
#[derive(Debug, thiserror::Error)]
pub enum SurvivorError {
    /// Its log cannot be read or written.
    #[error("cannot use the log of this server")]
    Log(#[from] RecoverError),
    /// What says who it is cannot be used.
    #[error("cannot use the identity of this server")]
    Identity(#[from] transport::CredentialsError),
    /// A file cannot be written.
    #[error("cannot write that the group begins anew")]
    File(#[from] io::Error),
    /// It is a follower without a vote, or not known to the state.
    #[error("this server is not in the state of its own log: it had not caught up")]
    Unlisted,
}

/// What a server that is stopped has of a group.
pub struct Survivor {
    remains: Remains<Machine>,
    data: PathBuf,
    node: NodeId,
    cluster: ClusterId,
    /// Its name.
    pub name: String,
    /// The other servers that had a vote: name, address, and the last entry that each has when it answers.
    pub others: Vec<Other>,
}

/// Another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// The last entry that is applied there, when it answers.
    pub index: Option<u64>,
}

impl Survivor {
    /// Reads what is below `data`, and asks the other servers whether they are there.
    ///
    /// # Errors
    /// It cannot be read, or another process has it open.
    pub async fn read(data: &Path, node: NodeId, cluster: ClusterId) -> Result<Self, SurvivorError> {
        let log = data.join("control/log");
        let read = tokio::task::spawn_blocking(move || Remains::of_member(&log, Machine::default())).await;
        let remains = read.map_err(io::Error::other)??;
        let state = &remains.machine().0;
        let name = state.node(node).filter(|record| record.is_server()).ok_or(SurvivorError::Unlisted)?.name.clone();
        let credentials = Credentials::read(&identity_of(data, Role::Server))?;
        let asking = Asking { node, credentials: &credentials, known: standing::known(data, Role::Server) };
        let voters: Vec<u64> = remains.voters().iter().map(|peer| peer.id).collect();
        let mut others = Vec::new();
        for ServerAddress { node: id, peer } in
            servers(state).into_iter().filter(|server| server.node != node && voters.contains(&server.node.0))
        {
            let index = standing::ask(&peer, &asking).await.map(|answer| answer.index);
            let name = state.node(id).map_or_else(|| id.to_string(), |record| record.name.clone());
            others.push(Other { name, address: peer, index });
        }
        Ok(Self { remains, data: data.to_owned(), node, cluster, name, others })
    }

    /// The last entry of its log.
    pub fn last(&self) -> u64 {
        self.remains.last()
    }

    /// The last entry that it knows to be accepted.
    pub fn committed(&self) -> u64 {
        self.remains.committed().unwrap_or(0)
    }

    /// The hash of its state at the last entry.
    pub fn state_hash(&self) -> Digest {
        Digest(self.remains.machine().0.hash())
    }

    /// Whether those that answer are, with this one, a majority: then nothing is lost.
    pub fn has_quorum(&self) -> bool {
        let there = 1 + self.others.iter().filter(|other| other.index.is_some()).count();
        there * 2 > self.others.len() + 1
    }

    /// Makes this server the only one of a new group, and says which. Tried again, it does the same.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn begin(self) -> Result<Recovery, SurvivorError> {
        let group = ClusterId::random();
        let recovery = Recovery { cluster: self.cluster, group, node: self.node, authority: None };
        recovery.write(&self.data)?;
        standing::forget(&self.data)?;
        begin(self.remains, &self.data, &recovery)?;
        Ok(recovery)
    }
}

/// Lets the log of the new group begin below `data`.
pub(crate) fn begin(remains: Remains<Machine>, data: &Path, recovery: &Recovery) -> Result<(), RecoverError> {
    let counts_from = counts_from(&remains.machine().0, remains.last());
    let config = consensus::Config {
        dir: data.join("control/log"),
        identity: consensus::Identity { group: consensus::GroupId(recovery.group.to_bytes()), node_id: recovery.node.0 },
        profile: consensus::Profile::Lan,
    };
    let address = remains.machine().0.node(recovery.node).map(|record| record.addresses.peer.clone()).unwrap_or_default();
    remains.begin(&config, Peer { id: recovery.node.0, address }, counts_from).map(drop)
}

/// The last entry that the new group counts as there.
pub(crate) fn counts_from(state: &State, last: u64) -> u64 {
    state::begins_anew_after(Index(last.max(state.index().0))).0
}
