//! Writes down who else is there and how far the log has come, so that a log that was put back is noticed at the next start. Owns when; what it means is
//! `founding::standing`'s.

use std::sync::Arc;

use api::peer::ServerAddress;
use founding::{introduction::servers, standing::Reached};
use tokio::time::Instant;

use crate::{
    core::Core,
    limits::{REACHED_EVERY, REACHED_LOOK_EVERY},
};

/// Writes down who else is there as soon as that changes, and now and then how far the log has come, until the process stops.
pub(crate) async fn keep(core: Arc<Core>) {
    let mut applied = core.consensus.applied();
    let mut keeper = Keeper { kept: Reached::read(&core.settings.data).ok().flatten().unwrap_or_default(), seen: None };
    loop {
        let index = *applied.borrow_and_update();
        let servers = servers(&core.state()).into_iter().filter(|server| server.node != core.node).collect();
        if let Some(reached) = keeper.look(index, servers, Instant::now()) {
            let (data, value) = (core.settings.data.clone(), reached.clone());
            match tokio::task::spawn_blocking(move || value.write(&data)).await {
                Ok(Ok(())) => keeper.kept = reached,
                Ok(Err(error)) => {
                    keeper.seen.get_or_insert((reached.index, Instant::now()));
                    tracing::warn!(error = %error, "how far the log has come cannot be written down");
                }
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

#[cfg(test)]
mod tests {
    use model::id::NodeId;

    use super::*;

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
