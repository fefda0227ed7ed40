//! Whether a server may go on where it was: asked before it starts, so that one that lost a part of its log, or was left behind when the group began anew, does
//! not vote again. Owns the evidence and what it means; must never mend anything.
//!
//! The evidence is kept in three places: the log itself, `control/reached.json` beside the identity (how far the log went), and the other servers.

use std::{fs, io, path::Path, sync::Arc};

use api::peer::{ServerAddress, StandingAnswer, StandingRequest};
use futures_util::future::join_all;
use model::id::{Digest, NodeId};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use transport::{ClusterId, Credentials, Pin, Protocol, Role, SystemClock};

use crate::{
    api_error::chain,
    core::Core,
    founding::{self, identity_of},
    handlers::peer,
    limits::{REACHED_EVERY, REACHED_LOOK_EVERY, STANDING_WAIT_MAX},
    recovery::epoch,
};

/// How far the log went, and who else is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Reached {
    /// An entry that was in the log for certain.
    index: u64,
    /// The other servers, as they were then.
    servers: Vec<ServerAddress>,
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
    let reached = read(own.data)?;
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

/// Writes down who else is there as soon as that changes, and now and then how far the log has come, until the process stops.
pub(crate) async fn keep(core: Arc<Core>) {
    let mut applied = core.consensus.applied();
    let mut keeper = Keeper { kept: read(&core.settings.data).ok().flatten().unwrap_or_default(), seen: None };
    loop {
        let index = *applied.borrow_and_update();
        let servers = peer::servers(&core.state()).into_iter().filter(|server| server.node != core.node).collect();
        if let Some(reached) = keeper.look(index, servers, Instant::now()) {
            let (path, value) = (core.settings.data.join(FILE), reached.clone());
            match tokio::task::spawn_blocking(move || founding::write_aside(&path, &value)).await {
                Ok(Ok(())) => keeper.kept = reached,
                Ok(Err(error)) => tracing::warn!(error = %error, "how far the log has come cannot be written down"),
                // The process ends.
                Err(_) => return,
            }
        }
        tokio::select! {
            () = core.stop.cancelled() => return,
            () = tokio::time::sleep(REACHED_LOOK_EVERY) => {}
        }
        if keeper.rests() {
            tokio::select! {
                () = core.stop.cancelled() => return,
                changed = applied.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// What is written down, and what will be.
#[derive(Debug)]
struct Keeper {
    kept: Reached,
    /// An entry that was applied, and when. What others accepted is applied before this server's own disk has it; once `REACHED_EVERY` has passed, it has.
    seen: Option<(u64, Instant)>,
}

impl Keeper {
    /// What should be written down now, when it is not what is there.
    fn look(&mut self, index: u64, servers: Vec<ServerAddress>, now: Instant) -> Option<Reached> {
        let certain = self.seen.take_if(|(_, at)| now.duration_since(*at) >= REACHED_EVERY).map_or(0, |(index, _)| index);
        let reached = Reached { index: certain.max(self.kept.index), servers };
        if index > reached.index {
            self.seen.get_or_insert((index, now));
        }
        (reached != self.kept).then_some(reached)
    }

    /// Whether nothing is to come until the log grows.
    fn rests(&self) -> bool {
        self.seen.is_none()
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

fn read(data: &Path) -> io::Result<Option<Reached>> {
    match fs::read(data.join(FILE)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
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

    #[test]
    fn who_is_there_is_kept_at_once_and_an_entry_once_the_disk_has_it() {
        let begin = Instant::now();
        let at = |ms: u64| begin + std::time::Duration::from_millis(ms);
        let other = |node: u64| ServerAddress { node: NodeId(node), peer: format!("h{node}:7071") };
        let mut keeper = Keeper { kept: Reached::default(), seen: None };
        let mut look = |index: u64, others: &[u64], ms: u64| {
            let reached = keeper.look(index, others.iter().copied().map(other).collect(), at(ms));
            keeper.kept = reached.clone().unwrap_or(keeper.kept.clone());
            (reached.map(|reached| (reached.index, reached.servers.len())), keeper.rests())
        };
        let after = u64::try_from(REACHED_EVERY.as_millis()).unwrap();
        assert_eq!(look(5, &[2], 0), (Some((0, 1)), false), "who is there is not waited for");
        assert_eq!(look(7, &[2, 3], 100), (Some((0, 2)), false));
        assert_eq!(look(9, &[2, 3], after - 1), (None, false));
        assert_eq!(look(9, &[2, 3], after), (Some((5, 2)), false), "the entry that was seen, and not those that came since");
        assert_eq!(look(9, &[2, 3], after * 2), (Some((9, 2)), true));
        assert_eq!(look(9, &[2, 3], after * 3), (None, true));
        assert_eq!(look(9, &[3], after * 3), (Some((9, 1)), true));
    }
}
