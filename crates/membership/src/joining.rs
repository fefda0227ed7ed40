//! How far somebody who shows no certificate gets. Owns that what the state would refuse is never written, that a node which may be alive keeps its place, and
//! how those turned away are told. Must never let anybody in: the entry of the log does that.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use api::v1::NodeState;
use consensus::Leadership;
use state::{Applied, Command, NodeRecord, Refused, State};
use tokio::time::Instant;

use crate::limits::{REPLACE_SILENCE_MIN, TURNED_AWAY_TELL_EVERY};

/// What `state` says to `command`, without anything being written.
///
/// # Errors
/// Why the state would refuse it.
pub fn try_out(state: &State, command: &Command) -> Result<Applied, Refused> {
    let mut after = state.trial();
    after.apply(after.index().next(), command)
}

/// What is known of a node whose place somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// How long ago it answered as a server; none when it never did while this server leads.
    pub server: Option<Duration>,
    /// How long this server has been leading.
    pub led: Duration,
    /// What its worker's reports say.
    pub worker: NodeState,
}

/// Why `lost` may be alive, if it may. What was not asked yet is alive: whoever has just begun to lead has heard nobody.
pub fn may_live(lost: &NodeRecord, heard: Heard) -> Option<String> {
    if lost.is_server() {
        match heard.server {
            Some(ago) if ago < REPLACE_SILENCE_MIN => return Some(format!("it was heard {} ms ago", ago.as_millis())),
            None if heard.led < REPLACE_SILENCE_MIN => {
                return Some(format!("the server that leads does so for {} ms, and may hear it yet", heard.led.as_millis()));
            }
            Some(_) | None => {}
        }
    }
    match heard.worker {
        NodeState::Silent => None,
        _ if !lost.is_worker() => None,
        NodeState::Ready => Some("its worker reported a moment ago".to_owned()),
        _ => Some("its worker may report yet".to_owned()),
    }
}

/// Since when this server leads, as whoever looks at its leadership saw it.
#[derive(Debug, Default)]
pub struct Reign(Mutex<Option<(u64, Instant)>>);

impl Reign {
    /// Takes over what was seen at `now`.
    pub fn saw(&self, leadership: &Leadership, now: Instant) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = match (leadership, *since) {
            (Leadership::Leading { term, .. }, Some((known, at))) if known == *term => Some((known, at)),
            (Leadership::Leading { term, .. }, _) => Some((*term, now)),
            _ => None,
        };
    }

    /// For how long `leadership` has lasted at `now`, as far as it was seen; nothing while this server does not lead, or in a term that was not looked at yet.
    pub fn lasts(&self, leadership: &Leadership, now: Instant) -> Duration {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (leadership, since) {
            (Leadership::Leading { term, .. }, Some((known, at))) if known == *term => now.saturating_duration_since(at),
            _ => Duration::ZERO,
        }
    }
}

/// Those turned away: all of them are counted, and one line every now and then says how many there were.
#[derive(Debug, Default)]
pub struct TurnedAway(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

impl TurnedAway {
    /// Counts one at `now`. Says how many there were since the last line when it is time for another.
    pub fn count(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.since += 1;
        if told.last.is_some_and(|last| now.saturating_duration_since(last) < TURNED_AWAY_TELL_EVERY) {
            return None;
        }
        told.last = Some(now);
        Some(std::mem::take(&mut told.since))
    }
}

#[cfg(test)]
mod tests {
    use state::command::{Addresses, NodeKeys, Place};

    use super::*;

    fn node(server: bool, worker: bool) -> NodeRecord {
        NodeRecord {
            id: model::id::NodeId(7),
            name: "b".into(),
            keys: NodeKeys { server: server.then_some([1; 32]), worker: worker.then_some([2; 32]) },
            addresses: Addresses::default(),
            place: Place::default(),
            labels: Default::default(),
            memory_bytes: 1,
            cpu_millis: 1,
            release: String::new(),
            schema: 1,
            ordinal: 1,
            joined_at: model::id::Timestamp(1),
            replaces: None,
            version: model::id::Index(1),
        }
    }

    #[test]
    fn only_who_was_silent_long_enough_in_all_its_roles_loses_its_place() {
        let check = |roles: (bool, bool), server: Option<u64>, led: u64, worker: NodeState, expected: Option<&str>| {
            let heard = Heard { server: server.map(Duration::from_millis), led: Duration::from_millis(led), worker };
            assert_eq!(may_live(&node(roles.0, roles.1), heard).as_deref(), expected, "{heard:?}");
        };
        let (server, worker, both) = ((true, false), (false, true), (true, true));
        check(server, Some(2_999), 60_000, NodeState::Silent, Some("it was heard 2999 ms ago"));
        check(server, Some(3_000), 60_000, NodeState::Silent, None);
        check(server, None, 2_999, NodeState::Silent, Some("the server that leads does so for 2999 ms, and may hear it yet"));
        check(server, None, 3_000, NodeState::Silent, None);
        check(server, None, 3_000, NodeState::Unknown, None);
        check(both, None, 3_000, NodeState::Unknown, Some("its worker may report yet"));
        check(both, None, 3_000, NodeState::Ready, Some("its worker reported a moment ago"));
        check(both, Some(10), 3_000, NodeState::Silent, Some("it was heard 10 ms ago"));
        check(both, None, 3_000, NodeState::Silent, None);
        check(worker, None, 0, NodeState::Ready, Some("its worker reported a moment ago"));
        check(worker, None, 0, NodeState::Silent, None);
    }

    #[test]
    fn a_reign_begins_with_its_term_and_ends_with_it() {
        let (reign, start) = (Reign::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let leading = |term| Leadership::Leading { term, since: 1 };
        assert_eq!(reign.lasts(&leading(3), at(9)), Duration::ZERO);
        reign.saw(&leading(3), at(1));
        reign.saw(&leading(3), at(4));
        assert_eq!(reign.lasts(&leading(3), at(5)), Duration::from_secs(4));
        assert_eq!(reign.lasts(&leading(5), at(5)), Duration::ZERO, "nobody has looked at this term yet");
        reign.saw(&leading(5), at(6));
        assert_eq!(reign.lasts(&leading(5), at(8)), Duration::from_secs(2));
        assert_eq!(reign.lasts(&Leadership::Unknown, at(8)), Duration::ZERO);
        reign.saw(&Leadership::Unknown, at(8));
        assert_eq!(reign.lasts(&leading(5), at(9)), Duration::ZERO);
    }

    #[test]
    fn those_turned_away_make_one_line_for_many() {
        let (away, start) = (TurnedAway::default(), Instant::now());
        assert_eq!(away.count(start), Some(1));
        assert_eq!((1..1_000).filter_map(|_| away.count(start)).next(), None);
        assert_eq!(away.count(start + TURNED_AWAY_TELL_EVERY), Some(1_000));
    }
}
