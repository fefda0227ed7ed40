//! The first entry of a group of servers, which its only server writes: the cluster itself, or that the group begins anew. Owns waiting until it leads; must never
//! write into a group that has others.

use std::{io, path::Path};

use api::peer::Introduction;
use consensus::{Consensus, Leadership, Peer};
use model::{id::NodeId, problem::chain};
use state::{
    Applied, Command,
    command::{CommandV1, Found, NodeKeys, Recover, Sealed},
};
use tokio::time::timeout;
use transport::{Clock, ClusterId, SystemClock};

use crate::{cluster::Founding, introduction::facts, limits::LEAD_MAX, machine::Machine, recovery::Recovery};

/// The server that is alone in its group.
#[derive(Debug, Clone, Copy)]
pub struct First<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its id.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its group of servers.
    pub group: ClusterId,
    /// What it says of itself.
    pub introduction: &'a Introduction,
    /// Its keys, by role.
    pub keys: NodeKeys,
    /// Its data directory.
    pub data: &'a Path,
}

impl First<'_> {
    pub(crate) fn failed(&self, message: String) -> FirstEntryError {
        FirstEntryError::Join { node: self.name.to_owned(), message }
    }
}

/// The first entry of a group is not written.
#[derive(Debug, thiserror::Error)]
pub enum FirstEntryError {
    /// The node cannot be written into the state.
    #[error("cannot join node `{node}`: {message}")]
    Join {
        /// The node's name.
        node: String,
        /// Why not.
        message: String,
    },
    /// A file cannot be used.
    #[error("cannot {attempt}")]
    Io {
        /// What was tried.
        attempt: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Makes the group of one that a new cluster is, and writes the cluster and this node into it. Done already: nothing happens, whoever leads by now.
///
/// # Errors
/// The group has no leader, or the entry cannot be written.
pub async fn found(consensus: &Consensus<Machine>, first: &First<'_>, founding: &Founding) -> Result<(), FirstEntryError> {
    let failed = |message: String| first.failed(message);
    if consensus.membership().borrow().index.is_none() {
        let address = first.introduction.peer.clone().unwrap_or_default();
        let own = Peer { id: first.node.0, address };
        consensus.initialize(own).await.map_err(|error| failed(chain(&error)))?;
    }
    let (mut leadership, mut applied) = (consensus.leadership(), consensus.applied());
    let leads = async { leadership.wait_for(Leadership::is_leading).await.map(drop) };
    let begun = async { applied.wait_for(|_| consensus.state().0.cluster().is_some()).await.map(drop) };
    let either = async {
        tokio::select! {
            biased;
            begun = begun => begun,
            leads = leads => leads,
        }
    };
    timeout(LEAD_MAX, either)
        .await
        .map_err(|_| failed("the new group has no leader".into()))?
        .map_err(|_| failed("the log is closed".into()))?;
    if consensus.state().0.cluster().is_some() {
        return Ok(());
    }
    let found = Found {
        at: SystemClock.now(),
        cluster: first.cluster.to_bytes(),
        ca_certificate: founding.certificate.clone(),
        ca_key: Sealed(founding.key.clone()),
        node: facts(first.introduction, first.keys),
    };
    let proposed = consensus.propose(Command::V1(CommandV1::Found(found))).await;
    match proposed.map_err(|error| failed(chain(&error)))?.1 {
        Ok(Applied::Founded { node }) if node == first.node => Ok(()),
        Ok(other) => unreachable!("a founding is answered by `Founded`, not {other:?}"),
        Err(refused) => Err(failed(refused.to_string())),
    }
}

/// Writes the first entry of a group that begins anew below its data directory, if one does.
///
/// # Errors
/// The group has no leader, the entry cannot be written, or the file that says so not be read or removed.
pub async fn recover(consensus: &Consensus<Machine>, first: &First<'_>) -> Result<(), FirstEntryError> {
    let failed = |message: String| first.failed(message);
    let io = |attempt: &'static str| move |source| FirstEntryError::Io { attempt, source };
    let Some(recovery) = Recovery::read(first.data).map_err(io("read control/recovery.json"))? else { return Ok(()) };
    if recovery.group != first.group {
        // It was broken off before this server was of the new group: what it would write now would go to the old one, and take all others out of it.
        return Err(failed(
            "a recovery was begun here and broken off: run `shoal recover` again, or remove control/recovery.json to go on as before"
                .into(),
        ));
    }
    let mut leadership = consensus.leadership();
    let leads = timeout(LEAD_MAX, leadership.wait_for(Leadership::is_leading)).await;
    leads.map_err(|_| failed("the new group has no leader".into()))?.map_err(|_| failed("the log is closed".into()))?;
    let recover = Recover { at: SystemClock.now(), node: recovery.node, facts: facts(first.introduction, first.keys) };
    let proposed = consensus.propose(Command::V1(CommandV1::Recover(recover))).await;
    match proposed.map_err(|error| failed(chain(&error)))?.1 {
        Ok(Applied::Recovered { node, retired }) => {
            tracing::warn!(node.id = node.0, servers.retired = retired, "the group of servers began anew with this one");
        }
        Ok(other) => unreachable!("a recovery is answered by `Recovered`, not {other:?}"),
        Err(refused) => return Err(failed(refused.to_string())),
    }
    Recovery::remove(first.data).map_err(io("remove control/recovery.json"))
}
