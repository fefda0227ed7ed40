//! Looking again: when the files of a directory change, and from time to time where nobody says that they do. Owns when; what is found is the keeper's.

use std::{path::PathBuf, sync::Arc};

use notify::{EventKind, Watcher, event::AccessKind};
use tokio::sync::Notify;

use crate::{
    keeper::Keeper,
    limits::{LOOK_EVERY, SETTLE, SETTLE_MAX},
};

/// Keeps what `keeper` publishes as its directory is, for ever.
pub async fn keep(keeper: Arc<Keeper>) {
    let mut told = false;
    loop {
        let changed = Arc::new(Notify::new());
        // Started before the look, so that nothing changes unseen between the two; anew each time, because directories are replaced as well as files.
        let watcher = watch(keeper.watched(), changed.clone());
        if let Err(error) = &watcher
            && !std::mem::replace(&mut told, true)
        {
            tracing::warn!(error = %error, every.seconds = LOOK_EVERY.as_secs(), "changed certificates are noticed only from time to time");
        }
        let look = keeper.clone();
        // Files on a slow disk must not hold up whatever else runs here.
        let looked = tokio::task::spawn_blocking(move || look.look()).await;
        if let Err(error) = looked {
            tracing::error!(error = %error, "looking at the certificates failed");
        }
        if tokio::time::timeout(LOOK_EVERY, changed.notified()).await.is_ok() {
            settle(&changed).await;
        }
        drop(watcher);
    }
}

/// Waits until nothing has changed for a moment: a pair is two files.
async fn settle(changed: &Notify) {
    let quiet = async { while tokio::time::timeout(SETTLE, changed.notified()).await.is_ok() {} };
    // Whoever writes without end is looked at all the same.
    let _ = tokio::time::timeout(SETTLE_MAX, quiet).await;
}

fn watch(directories: Vec<PathBuf>, changed: Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let is_read =
        |kind: &EventKind| matches!(kind, EventKind::Access(kind) if !matches!(kind, AccessKind::Close(notify::event::AccessMode::Write)));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if !event.is_ok_and(|event| is_read(&event.kind)) {
            changed.notify_one();
        }
    })?;
    for path in directories {
        watcher.watch(&path, notify::RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_change_is_noticed_in_the_directory_and_below_it() {
        let directory = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let chain = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let below = directory.path().join("shop");
        fs::create_dir(&below).unwrap();
        fs::write(below.join("tls.crt"), chain).unwrap();
        fs::write(below.join("tls.key"), key.serialize_pem()).unwrap();
        let keeper = Keeper::open(directory.path().to_owned()).unwrap();
        let changed = Arc::new(Notify::new());
        let _watcher = watch(keeper.watched(), changed.clone()).unwrap();
        let soon = async |what: &str| {
            tokio::time::timeout(Duration::from_secs(20), changed.notified()).await.unwrap_or_else(|_| panic!("{what} is not seen"));
            settle(&changed).await;
        };
        fs::write(below.join("tls.crt"), "x").unwrap();
        soon("a file below").await;
        fs::write(directory.path().join("a.crt"), "x").unwrap();
        soon("a file").await;
    }
}
