//! A certificate directory as whoever may read the keys keeps it: looked at again and again, checked, the last good pair of each name in use. Runs in the
//! process that may read keys, never in the one that serves. Must never write a key anywhere, the log least of all.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tokio::sync::watch;

use crate::{
    certificate::{Certificate, CertificatePair, Facts},
    dates::{Dates, date},
    directory::{self, Found},
};

/// What a gateway must have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The pairs that can be used, in order of their names.
    pub pairs: Vec<CertificatePair>,
    /// The names that cannot be used as they lie there now.
    pub broken: Vec<String>,
}

/// A directory has nothing a gateway could use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the certificate directory {}: {why}", directory.display())]
pub struct Unusable {
    /// The directory.
    pub directory: PathBuf,
    /// What is wrong with it, or with each pair in it.
    pub why: String,
}

/// Looks after one certificate directory.
#[derive(Debug)]
pub struct Keeper {
    directory: PathBuf,
    known: Mutex<Known>,
    current: watch::Sender<Arc<Bundle>>,
}

/// What is known of the directory.
#[derive(Debug, Default)]
struct Known {
    good: BTreeMap<String, Good>,
    /// Why a name cannot be used as it lies there; told once per reason.
    broken: BTreeMap<String, String>,
    /// The directory itself cannot be read.
    unreadable: Option<String>,
    /// What was said of their dates.
    dates: Dates,
}

/// The last pair of a name that could be used.
#[derive(Debug)]
struct Good {
    pair: CertificatePair,
    facts: Facts,
}

impl Keeper {
    /// Reads the directory for the first time. Fails when it cannot be read or holds no pair that can be used.
    pub fn open(directory: PathBuf) -> Result<Self, Unusable> {
        let keeper = Self { directory, known: Mutex::default(), current: watch::Sender::default() };
        let read = directory::read(&keeper.directory);
        let found = read.map_err(|error| keeper.unusable(error.to_string()))?;
        let empty = found.is_empty();
        keeper.learn(found);
        let known = keeper.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.good.is_empty() {
            false => Ok(()),
            true if empty => Err(keeper.unusable("it holds no certificate with its key".to_owned())),
            true => {
                let each: Vec<_> = known.broken.iter().map(|(name, why)| format!("{name}: {why}")).collect();
                Err(keeper.unusable(each.join("; ")))
            }
        }?;
        drop(known);
        Ok(keeper)
    }

    fn unusable(&self, why: String) -> Unusable {
        Unusable { directory: self.directory.clone(), why }
    }

    /// The directories whose files matter: the one it keeps, and those with pairs in it.
    pub(crate) fn watched(&self) -> Vec<PathBuf> {
        directory::watched(&self.directory)
    }

    /// What there is now, and every change of it.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Bundle>> {
        self.current.subscribe()
    }

    /// Looks again. Reads files, so not where something must not wait.
    pub(crate) fn look(&self) {
        match directory::read(&self.directory) {
            Ok(found) => self.learn(found),
            Err(error) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                let why = error.to_string();
                if known.unreadable.as_ref() != Some(&why) {
                    tracing::error!(error.code = "E0513", directory = %self.directory.display(), error = why, "the certificates cannot be read; those in use stay");
                    known.unreadable = Some(why);
                }
            }
        }
    }

    /// Takes over what was found, and publishes when it makes a difference.
    fn learn(&self, found: Found) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.unreadable = None;
        known.forget(&found.keys().cloned().collect());
        for (name, pair) in found {
            known.take(name, pair);
        }
        let Known { good, dates, .. } = &mut *known;
        dates.tell(good.iter().map(|(name, good)| (name.as_str(), &good.facts)), SystemTime::now());
        let bundle =
            Bundle { pairs: known.good.values().map(|good| good.pair.clone()).collect(), broken: known.broken.keys().cloned().collect() };
        self.current.send_if_modified(|current| {
            let differs = **current != bundle;
            if differs {
                *current = Arc::new(bundle);
            }
            differs
        });
    }
}

impl Known {
    /// Forgets the names that are not there any more.
    fn forget(&mut self, there: &BTreeSet<String>) {
        self.broken.retain(|name, _| there.contains(name));
        self.good.retain(|name, _| {
            let stays = there.contains(name);
            if !stays {
                tracing::info!(certificate.name = name, "a certificate is gone from the directory and no longer used");
            }
            stays
        });
    }

    /// Takes a pair, or keeps the last good one.
    fn take(&mut self, name: String, pair: Result<CertificatePair, String>) {
        if let (Ok(pair), Some(good)) = (&pair, self.good.get(&name))
            && good.pair == *pair
        {
            self.broken.remove(&name);
            return;
        }
        let loaded =
            pair.and_then(|pair| Certificate::load(&pair).map(|certificate| (pair, certificate)).map_err(|error| error.to_string()));
        match loaded {
            Ok((pair, certificate)) => {
                let facts = certificate.facts().clone();
                let (hosts, expires) = (facts.hosts.join(" "), date(facts.expires));
                tracing::info!(certificate.name = name, certificate.hosts = hosts, certificate.expires = %expires, "a certificate is in use");
                self.broken.remove(&name);
                self.good.insert(name, Good { pair, facts });
            }
            Err(why) => {
                if self.broken.get(&name) != Some(&why) {
                    let instead = if self.good.contains_key(&name) { "the last good one stays in use" } else { "nothing is in use for it" };
                    tracing::error!(error.code = "E0513", certificate.name = name, error = why, instead, "a certificate cannot be used");
                }
                self.broken.insert(name, why);
            }
        }
    }
}

#[cfg(test)]
mod tests;
