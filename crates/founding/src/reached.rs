//! When it is written down who else is there and how far the log has come. Owns what counts as reached: only what the disk has; must never write it down itself.

use api::peer::ServerAddress;
use tokio::time::Instant;

use crate::{limits::REACHED_EVERY, standing::Reached};

/// What is written down, and what will be.
#[derive(Debug, Default)]
pub struct Keeper {
    kept: Reached,
    /// An entry that was applied, and when. What others accepted is applied before this server's own disk has it; once `REACHED_EVERY` has passed, it has.
    seen: Option<(u64, Instant)>,
}

impl Keeper {
    /// Of what `kept` says, which is on disk.
    pub fn new(kept: Reached) -> Self {
        Self { kept, seen: None }
    }

    /// What should be written down now, when it is not what is there.
    pub fn look(&mut self, index: u64, servers: Vec<ServerAddress>, now: Instant) -> Option<Reached> {
        let certain = self.seen.take_if(|(_, at)| now.duration_since(*at) >= REACHED_EVERY).map_or(0, |(index, _)| index);
        let reached = Reached { index: certain.max(self.kept.index), servers };
        if index > reached.index {
            self.seen.get_or_insert((index, now));
        }
        (reached != self.kept).then_some(reached)
    }

    /// What [`Self::look`] said is on disk.
    pub fn written(&mut self, reached: Reached) {
        self.kept = reached;
    }

    /// What [`Self::look`] said at `now` could not be written: it is tried again.
    pub fn failed(&mut self, reached: &Reached, now: Instant) {
        self.seen.get_or_insert((reached.index, now));
    }

    /// Whether nothing is to come until the log grows.
    pub fn rests(&self) -> bool {
        self.seen.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::id::NodeId;

    use super::*;

    #[test]
    fn who_is_there_is_kept_at_once_and_an_entry_once_the_disk_has_it() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let other = |node: u64| ServerAddress { node: NodeId(node), peer: format!("h{node}:7071") };
        let mut keeper = Keeper::default();
        let mut look = |index: u64, others: &[u64], ms: u64| {
            let reached = keeper.look(index, others.iter().copied().map(other).collect(), at(ms));
            reached.iter().for_each(|reached| keeper.written(reached.clone()));
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
