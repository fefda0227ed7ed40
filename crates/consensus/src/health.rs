//! How the log is, and who is told. Owns the one transition that is for good; must never decide what is done about it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// How the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Proposals are written.
    Working,
    /// The last proposals were refused, most often because the disk is full; the next one is tried.
    Refusing {
        /// Why.
        message: String,
    },
    /// Nothing is written any more: the process should say so and end.
    Failed {
        /// Why.
        message: String,
    },
    /// Shut down.
    Stopped,
}

/// Where health is published. Clones publish to the same place.
#[derive(Clone)]
pub(crate) struct Status(Arc<watch::Sender<Health>>, Arc<Mutex<Option<String>>>);

impl Status {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Health::Working)), Arc::default())
    }

    /// How the last snapshot went. Without one the log only grows.
    pub(crate) fn snapshot(&self, error: Option<String>) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Why the last snapshot could not be written, unless it could.
    pub(crate) fn snapshot_error(&self) -> Option<String> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Health> {
        self.0.subscribe()
    }

    pub(crate) fn get(&self) -> Health {
        self.0.borrow().clone()
    }

    /// For good; the first reason stays.
    pub(crate) fn fail(&self, message: String) {
        self.0.send_if_modified(|health| {
            let ended = matches!(health, Health::Failed { .. } | Health::Stopped);
            if !ended {
                tracing::error!(reason = message, "consensus failed");
                *health = Health::Failed { message };
            }
            !ended
        });
    }

    /// For now; `Ok` takes it back.
    pub(crate) fn room(&self, room: &io::Result<()>) {
        let now = match room {
            Ok(()) => Health::Working,
            Err(error) => Health::Refusing { message: error.to_string() },
        };
        self.0.send_if_modified(|health| {
            let changes = matches!(health, Health::Working | Health::Refusing { .. }) && *health != now;
            if changes {
                *health = now;
            }
            changes
        });
    }

    /// Shut down, unless it failed before.
    pub(crate) fn stop(&self) {
        self.0.send_if_modified(|health| {
            let stops = matches!(health, Health::Working | Health::Refusing { .. });
            if stops {
                *health = Health::Stopped;
            }
            stops
        });
    }

    /// An error once it has failed.
    pub(crate) fn check(&self) -> io::Result<()> {
        match &*self.0.borrow() {
            Health::Failed { message } => Err(io::Error::other(message.clone())),
            Health::Working | Health::Refusing { .. } | Health::Stopped => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_for_good() {
        let status = Status::new();
        let full = || Err(io::Error::from(io::ErrorKind::StorageFull));
        status.room(&full());
        assert_eq!(status.get(), Health::Refusing { message: "no storage space".to_owned() });
        status.room(&Ok(()));
        assert_eq!(status.get(), Health::Working);
        status.fail("first".to_owned());
        status.fail("second".to_owned());
        status.room(&full());
        status.stop();
        assert_eq!(status.get(), Health::Failed { message: "first".to_owned() });
        assert!(status.check().is_err());
    }

    #[test]
    fn a_snapshot_that_fails_is_told_until_one_succeeds() {
        let status = Status::new();
        assert_eq!(status.snapshot_error(), None);
        status.clone().snapshot(Some("no storage space".to_owned()));
        assert_eq!((status.snapshot_error().as_deref(), status.get()), (Some("no storage space"), Health::Working));
        status.snapshot(None);
        assert_eq!(status.snapshot_error(), None);
    }
}
