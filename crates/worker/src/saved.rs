//! The last assignment on disk, so that a restarted worker serves before it has spoken to any server. Owns the file's form; must never hold a secret.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use api::node::{AssignedProgram, AssignedRoute, Assignment};
use model::id::{Generation, NodeId};
use serde::Serialize;
use tokio::{sync::watch, time::timeout};

use crate::{agent::chain, control::Backoff, roster::Roster};

/// What is written to the file at once.
const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// What went wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Reading or writing failed.
    #[error("cannot keep the last assignment in {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} holds no assignment")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads the last assignment; none when there has never been one.
pub fn load(path: &Path) -> Result<Option<Assignment>, SavedError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SavedError::Io { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| SavedError::Form { path: path.to_owned(), source })
}

/// The same; what cannot be used is told and none.
pub fn load_or_tell(path: &Path) -> Option<Assignment> {
    load(path).unwrap_or_else(|error| {
        tracing::error!(error = %chain(&error), "the last assignment cannot be used; waiting for the control plane");
        None
    })
}

/// What an [`Assignment`] in the file looks like, borrowed from the roster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    generation: Generation,
    node: NodeId,
    programs: Vec<&'a AssignedProgram>,
    routes: Vec<&'a AssignedRoute>,
}

/// Writes the assignment of `roster`, if it has one, beside `path` and renames it there, so that a crash leaves the old file or the new one.
pub fn save(path: &Path, roster: &Roster) -> Result<(), SavedError> {
    let Some(node) = roster.node() else { return Ok(()) };
    let aside = path.with_extension("json.new");
    let whole = Whole {
        generation: roster.generation(),
        node,
        programs: roster.apps().values().flat_map(|part| &part.programs).map(|program| &**program).collect(),
        routes: roster.apps().values().flat_map(|part| &part.routes).collect(),
    };
    let write = || {
        // Written as it is made: all of it in memory at once would be several megabytes on a full node.
        let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, File::create(&aside)?);
        serde_json::to_writer(&mut out, &whole)?;
        out.into_inner()?.sync_all()?;
        fs::rename(&aside, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| SavedError::Io { path: path.to_owned(), source })
}

/// Saves the newest of `wishes` whenever it changes, one after the other, and says in `kept` how far it is; ends when there will be no more. Routing
/// never waits for the disk, reports do; a failure costs only what a restart could have used, so `kept` goes on. What could not be saved is tried again.
pub async fn keep(path: PathBuf, mut wishes: watch::Receiver<Option<Roster>>, kept: watch::Sender<Generation>) {
    // Present while the newest is not on disk.
    let mut failing: Option<Backoff> = None;
    loop {
        let changed = match &mut failing {
            None => wishes.changed().await,
            // A newer one takes its place, and is no reason to wait.
            Some(backoff) => timeout(backoff.wait(), wishes.changed()).await.unwrap_or(Ok(())),
        };
        if changed.is_err() {
            return;
        }
        let Some(newest) = wishes.borrow_and_update().clone() else { continue };
        let (path, generation) = (path.clone(), newest.generation());
        let saved = tokio::task::spawn_blocking(move || save(&path, &newest)).await;
        let saved = saved.map_err(|error| error.to_string()).and_then(|saved| saved.map_err(|error| chain(&error)));
        match saved {
            Ok(()) => {
                if failing.take().is_some() {
                    tracing::info!("the assignment is kept for a restart again");
                }
            }
            Err(error) if failing.is_none() => {
                tracing::error!(error, "the assignment is not kept for a restart; it is tried again and again");
                failing = Some(Backoff::default());
            }
            Err(error) => tracing::debug!(error, "the assignment is not kept for a restart yet"),
        }
        kept.send_replace(generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{assignment, place, route};
    use api::node::Wanted;

    #[test]
    fn what_was_saved_is_loaded_and_a_torn_aside_file_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("assignment.json");
        assert!(load(&path).unwrap().is_none());
        let routes = vec![route("hello.localhost", "hello/web", 1)];
        let wanted = Assignment { routes, ..assignment(3, vec![place("hello/web", 1, 7, Wanted::Run)]) };
        let mut roster = Roster::default();
        roster.accept(wanted.clone().into()).unwrap();
        save(&path, &roster).unwrap();
        fs::write(path.with_extension("json.new"), b"{\"gener").unwrap();
        assert_eq!(load(&path).unwrap(), Some(wanted));
    }

    #[test]
    fn a_file_with_something_else_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("assignment.json");
        fs::write(&path, b"[]").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("assignment.json"));
    }

    #[tokio::test]
    async fn what_could_not_be_saved_is_saved_once_it_can_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker/assignment.json");
        let (wish, wishes) = watch::channel(None);
        let (keeping, mut kept) = watch::channel(Generation::default());
        let _keeper = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(keep(path.clone(), wishes, keeping)));
        let mut roster = Roster::default();
        roster.accept(assignment(3, vec![place("hello/web", 1, 7, Wanted::Run)]).into()).unwrap();
        wish.send_replace(Some(roster));
        let deadline = std::time::Duration::from_secs(20);
        timeout(deadline, kept.wait_for(|kept| *kept == Generation(3))).await.expect("it goes on").unwrap();
        assert!(!path.exists(), "there is no directory for it");
        fs::create_dir(directory.path().join("worker")).unwrap();
        let saved = async {
            while !path.exists() {
                // Each try says how far it is.
                kept.changed().await.unwrap();
            }
        };
        timeout(deadline, saved).await.expect("it is tried again");
        assert_eq!(load(&path).unwrap().map(|saved| saved.generation), Some(Generation(3)));
    }
}
