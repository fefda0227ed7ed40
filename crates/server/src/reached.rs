//! Writes down who else is there and how far the log has come, so that a log that was put back is noticed at the next start. Owns the file; when it
//! is due is `founding::reached`'s, and what it means `founding::standing`'s.

use std::sync::Arc;

use founding::{introduction::servers, reached::Keeper, standing::Reached};
use tokio::time::Instant;

use crate::{core::Core, limits::REACHED_LOOK_EVERY};

/// Writes down who else is there as soon as that changes, and now and then how far the log has come, until the process stops.
pub(crate) async fn keep(core: Arc<Core>) {
    let mut applied = core.consensus.applied();
    let mut keeper = Keeper::new(Reached::read(&core.settings.data).ok().flatten().unwrap_or_default());
    loop {
        let index = *applied.borrow_and_update();
        let servers = servers(&core.state()).into_iter().filter(|server| server.node != core.node).collect();
        if let Some(reached) = keeper.look(index, servers, Instant::now()) {
            let (data, value) = (core.settings.data.clone(), reached.clone());
            match tokio::task::spawn_blocking(move || value.write(&data)).await {
                Ok(Ok(())) => keeper.written(reached),
                Ok(Err(error)) => {
                    keeper.failed(&reached, Instant::now());
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
