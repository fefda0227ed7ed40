//! Whether a node may go on where it was: asked before a server starts, so that one that lost a part of its log, or was left behind when the group began anew,
//! does not vote again; and while a node runs, so that one that was removed stops. Owns the evidence and what it means; must never mend anything.
//!
//! The evidence is kept in three places: the log itself, `control/reached.json` beside the identity (how far the log went), and the other servers.

use std::{collections::BTreeSet, fs, io, path::Path, sync::Arc};

use api::peer::{ServerAddress, StandingAnswer, StandingRequest};
use futures_util::future::join_all;
use model::{
    id::{Digest, NodeId},
    problem::chain,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use transport::{ClusterId, Credentials, Members, Peer, Pin, Protocol, Role, Standing, SystemClock};

use crate::{
    cluster::{identity_of, write_aside},
    limits::STANDING_WAIT_MAX,
    recovery::epoch,
};

/// How far the log went, and who else is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reached {
    /// An entry that was in the log for certain.
    pub index: u64,
    /// The other servers, as they were then.
    pub servers: Vec<ServerAddress>,
}

impl Reached {
    /// What is written below `data`, if anything.
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

    /// Writes it aside below `data` and renames it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        write_aside(&data.join(FILE), self)
    }
}

/// What a server knows of itself.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// Its id.
    pub node: NodeId,
    /// The group it is in.
    pub group: ClusterId,
    /// Servers to ask besides those that it remembers.
    pub servers: &'a [ServerAddress],
    /// Where it was told that a server is.
    pub told: Option<&'a str>,
}

/// What a node that runs knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Its id.
    pub node: NodeId,
    /// The group its control plane is in; none on a node without one.
    pub group: Option<ClusterId>,
    /// The newest entry it has heard of.
    pub index: u64,
}

/// Why a server may not go on where it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Its log is not what it was.
    #[error(
        "this server's log is older than what it had acknowledged: {}, and it had acknowledged entry {acknowledged}{}",
        found.map_or("it is empty".to_owned(), |found| format!("it ends at entry {found}")),
        if by.is_empty() { String::new() } else { format!(", says the leader at {by}") }
    )]
    Older {
        /// The last entry that is there.
        found: Option<u64>,
        /// An entry that it had.
        acknowledged: u64,
        /// Who says so; empty when it was written down here.
        by: String,
    },
    /// The group goes on without it.
    #[error(
        "the group of servers began anew without this server, says {by}: what this server has in its log is not the state of the cluster any more"
    )]
    LeftBehind {
        /// Who says so.
        by: String,
    },
    /// It was removed.
    #[error("this node was removed from the cluster, says {by}")]
    Removed {
        /// Who says so.
        by: String,
    },
}

/// Looks at the log, then asks the other servers. Those that do not answer say nothing.
///
/// # Errors
/// Why this server must not start; or a file cannot be read.
pub async fn check(own: &Own<'_>) -> io::Result<Option<Unfit>> {
    let log = own.data.join("control/log");
    let found = tokio::task::spawn_blocking(move || consensus::last_in(&log)).await.map_err(io::Error::other)??;
    let reached = Reached::read(own.data)?;
    if let Some(reached) = &reached
        && reached.index > 0
        && found.is_none_or(|found| found < reached.index)
    {
        return Ok(Some(Unfit::Older { found, acknowledged: reached.index, by: String::new() }));
    }
    let mut servers = reached.map(|reached| reached.servers).unwrap_or_default();
    servers.extend(own.servers.iter().cloned());
    servers.retain(|server| server.node != own.node && !server.peer.is_empty());
    // Those it remembers may all be of before: whoever starts it knows a server that is there.
    let addresses: BTreeSet<&str> = servers.iter().map(|server| server.peer.as_str()).chain(own.told).collect();
    let Ok(credentials) = Credentials::read(&identity_of(own.data, Role::Server)) else { return Ok(None) };
    let asking = Asking { node: own.node, credentials: &credentials, known: known(own.data, Role::Server) };
    let told = ask_all(addresses, &asking).await;
    let told = told.iter().filter_map(|(by, answer)| judge(own.node, own.group, found, answer, by));
    Ok(told.min_by_key(|unfit| matches!(unfit, Unfit::Older { .. })))
}

/// Asks the servers at `addresses` about a node that runs; why it must stop, when one of them says so.
pub async fn look(running: &Running, addresses: &[String], asking: &Asking<'_>) -> Option<Unfit> {
    let told = ask_all(addresses.iter().map(String::as_str), asking).await;
    told.iter().find_map(|(by, answer)| judge_running(running, answer, by))
}

/// Who asks.
#[derive(Debug)]
pub struct Asking<'a> {
    /// The node.
    pub node: NodeId,
    /// What it is known by.
    pub credentials: &'a Credentials,
    /// The servers as it heard of them last: one that was removed has no word any more.
    pub known: Members,
}

impl Asking<'_> {
    fn believes(&self, server: &Peer) -> bool {
        matches!(self.known.standing(&server.identity, &server.key), Standing::Member | Standing::Newer)
    }
}

/// What the node below `data` heard last of the servers; everybody whose certificate holds is one where that is nothing.
pub fn known(data: &Path, role: Role) -> Members {
    Members::read(&identity_of(data, role).join("members.json")).unwrap_or_default()
}

async fn ask_all<'a>(addresses: impl IntoIterator<Item = &'a str>, asking: &Asking<'_>) -> Vec<(&'a str, StandingAnswer)> {
    let asked = addresses.into_iter().map(async |address| Some((address, ask(address, asking).await?)));
    join_all(asked).await.into_iter().flatten().collect()
}

/// What the server at `address` knows of the node that asks, when it answers in time. While the authority is rotated some servers show the old one and some the new.
pub async fn ask(address: &str, asking: &Asking<'_>) -> Option<StandingAnswer> {
    let Asking { node, credentials, .. } = *asking;
    let request = StandingRequest { node, key: Digest(credentials.key_digest().to_bytes()) };
    let asked = async {
        let mut why = String::new();
        for trusted in credentials.authorities().trusted() {
            let (authority, clock) = (trusted.digest(), Arc::new(SystemClock));
            let pin = Pin { authority, clock, protocol: Protocol::Http1, connect_max: STANDING_WAIT_MAX };
            match transport::dial_pinned(address, &pin).await {
                Ok(pinned) if !asking.believes(&pinned.server) => return Err("it is no server of this cluster any more".to_owned()),
                Ok(pinned) => return api::client::standing(pinned.stream, address, &request).await.map_err(|error| chain(&error)),
                Err(error) => why = chain(&error),
            }
        }
        Err(why)
    };
    match timeout(STANDING_WAIT_MAX, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(why)) => {
            tracing::debug!(server = address, error = why, "a server was not asked where this one stands");
            None
        }
        Err(_) => None,
    }
}

/// What an answer means for the server `node` of `group` whose log ends at `found`.
fn judge(node: NodeId, group: ClusterId, found: Option<u64>, answer: &StandingAnswer, by: &str) -> Option<Unfit> {
    let by = by.to_owned();
    if answer.group != group.to_string() {
        // Whoever began anew last is right; the others are what is left of before.
        return (epoch(answer.index) >= epoch(found.unwrap_or(0))).then_some(Unfit::LeftBehind { by });
    }
    if !answer.listed {
        // One that lags has not heard of this server yet.
        return (node.0 <= answer.index).then_some(Unfit::Removed { by });
    }
    let acknowledged = answer.acknowledged.filter(|acknowledged| found.is_none_or(|found| found < *acknowledged))?;
    Some(Unfit::Older { found, acknowledged, by })
}

/// What an answer means for a node that runs: how far its log is, it knows better.
fn judge_running(running: &Running, answer: &StandingAnswer, by: &str) -> Option<Unfit> {
    let Running { node, group, index } = *running;
    match group {
        Some(group) => judge(node, group, Some(index), answer, by).filter(|unfit| !matches!(unfit, Unfit::Older { .. })),
        // A group that began anew may have lost the entry by which the node joined: nobody removed it then, and what runs there goes on.
        None if epoch(answer.index) != epoch(node.0.max(index)) => None,
        None => (!answer.listed && node.0 <= answer.index).then(|| Unfit::Removed { by: by.to_owned() }),
    }
}

/// Where it is written, below the data directory.
const FILE: &str = "control/reached.json";

/// Forgets how far the log went: it begins anew.
///
/// # Errors
/// The file cannot be removed.
pub fn forget(data: &Path) -> io::Result<()> {
    match fs::remove_file(data.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: ClusterId = ClusterId::from_bytes([1; 16]);
    const OTHER: ClusterId = ClusterId::from_bytes([2; 16]);

    #[test]
    fn an_answer_means_one_thing() {
        let check = |found: Option<u64>, group: ClusterId, index: u64, listed: bool, acknowledged: Option<u64>, expected: Option<Unfit>| {
            let answer = StandingAnswer { group: group.to_string(), index, listed, acknowledged };
            assert_eq!(judge(NodeId(5), OURS, found, &answer, "b:1"), expected, "{found:?} {answer:?}");
        };
        let by = || "b:1".to_owned();
        check(Some(9), OURS, 9, true, Some(9), None);
        check(Some(9), OURS, 12, true, None, None);
        check(Some(9), OURS, 12, true, Some(10), Some(Unfit::Older { found: Some(9), acknowledged: 10, by: by() }));
        check(None, OURS, 12, true, Some(1), Some(Unfit::Older { found: None, acknowledged: 1, by: by() }));
        check(Some(9), OURS, 12, false, None, Some(Unfit::Removed { by: by() }));
        check(Some(9), OURS, 4, false, None, None);
        check(Some(9), OTHER, 1_000_000_003, false, None, Some(Unfit::LeftBehind { by: by() }));
        check(Some(1_000_000_003), OTHER, 9, false, None, None);
    }

    #[test]
    fn a_node_that_runs_stops_only_when_it_was_removed_or_left_behind() {
        const ANEW: u64 = 1_000_000_003;
        let check = |group: Option<ClusterId>, index: u64, answer: (ClusterId, u64, bool), expected: Option<Unfit>| {
            let running = Running { node: NodeId(5), group, index };
            let answer = StandingAnswer { group: answer.0.to_string(), index: answer.1, listed: answer.2, acknowledged: Some(u64::MAX) };
            assert_eq!(judge_running(&running, &answer, "b:1"), expected, "{running:?} {answer:?}");
        };
        let removed = || Some(Unfit::Removed { by: "b:1".to_owned() });
        check(Some(OURS), 9, (OURS, 12, true), None);
        check(Some(OURS), 9, (OURS, 12, false), removed());
        check(Some(OURS), 9, (OTHER, ANEW, false), Some(Unfit::LeftBehind { by: "b:1".to_owned() }));
        check(Some(OURS), ANEW, (OTHER, 12, false), None);
        check(None, 0, (OURS, 12, true), None);
        check(None, 0, (OURS, 12, false), removed());
        check(None, 0, (OURS, 4, false), None);
        check(None, 9, (OTHER, ANEW, false), None);
        check(None, ANEW, (OTHER, ANEW, false), removed());
    }
}
