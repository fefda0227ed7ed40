//! Whether a server may go on where it was: asked before it starts, so that one that lost a part of its log, or was left behind when the group began anew, does
//! not vote again. Owns the evidence and what it means; must never mend anything.
//!
//! The evidence is kept in three places: the log itself, `control/reached.json` beside the identity (how far the log went), and the other servers.

use std::{fs, io, path::Path, sync::Arc};

use api::peer::{ServerAddress, StandingAnswer, StandingRequest};
use futures_util::future::join_all;
use model::{
    id::{Digest, NodeId},
    problem::chain,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use transport::{ClusterId, Credentials, Pin, Protocol, Role, SystemClock};

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
    #[error("this server was removed from the cluster, says {by}")]
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
    servers.sort();
    servers.dedup_by(|one, other| one.peer == other.peer);
    let Ok(credentials) = Credentials::read(&identity_of(own.data, Role::Server)) else { return Ok(None) };
    let answers = join_all(servers.iter().map(|server| ask(&server.peer, own.node, &credentials))).await;
    let told = servers.iter().zip(answers).filter_map(|(server, answer)| judge(own, found, &answer?, &server.peer));
    Ok(told.min_by_key(|unfit| matches!(unfit, Unfit::Older { .. })))
}

/// What the server at `address` knows of `node`, when it answers in time.
pub(crate) async fn ask(address: &str, node: NodeId, credentials: &Credentials) -> Option<StandingAnswer> {
    let request = StandingRequest { node, key: Digest(credentials.key_digest().to_bytes()) };
    let authority = credentials.authority().digest();
    let pin = Pin { authority, clock: Arc::new(SystemClock), protocol: Protocol::Http1, connect_max: STANDING_WAIT_MAX };
    let asked = async {
        let pinned = transport::dial_pinned(address, &pin).await.map_err(|error| chain(&error))?;
        api::client::standing(pinned.stream, address, &request).await.map_err(|error| chain(&error))
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

/// What an answer means for a server whose log ends at `found`.
fn judge(own: &Own<'_>, found: Option<u64>, answer: &StandingAnswer, by: &str) -> Option<Unfit> {
    let by = by.to_owned();
    if answer.group != own.group.to_string() {
        // Whoever began anew last is right; the others are what is left of before.
        return (epoch(answer.index) >= epoch(found.unwrap_or(0))).then_some(Unfit::LeftBehind { by });
    }
    if !answer.listed {
        // One that lags has not heard of this server yet.
        return (own.node.0 <= answer.index).then_some(Unfit::Removed { by });
    }
    let acknowledged = answer.acknowledged.filter(|acknowledged| found.is_none_or(|found| found < *acknowledged))?;
    Some(Unfit::Older { found, acknowledged, by })
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
        let own = Own { data: Path::new("."), node: NodeId(5), group: OURS, servers: &[] };
        let check = |found: Option<u64>, group: ClusterId, index: u64, listed: bool, acknowledged: Option<u64>, expected: Option<Unfit>| {
            let answer = StandingAnswer { group: group.to_string(), index, listed, acknowledged };
            assert_eq!(judge(&own, found, &answer, "b:1"), expected, "{found:?} {answer:?}");
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
}
