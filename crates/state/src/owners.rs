//! Who names a place: an index from host, path and kind of match to the apps with such a route in a kept revision. Derived from the revisions and not
//! hashed. Owns finding the few apps a route may collide with, or share a host with; must never decide whether it does.

use model::{frozen::RouteKeyV1, id::AppId};
use rpds::RedBlackTreeMapSync;

use crate::{Revision, routes};

/// Host, path as collisions compare it, and whether only the whole path matches: routes of different places never collide. The host stands backwards, so
/// that all below a suffix stand together.
type Place = (String, String, bool);

/// The apps by place, each place's in order of id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Owners(RedBlackTreeMapSync<Place, Vec<AppId>>);

impl Owners {
    pub(crate) fn empty() -> Self {
        Self(RedBlackTreeMapSync::new_sync())
    }

    /// The apps with a route at the place of `route`.
    pub(crate) fn at(&self, route: &RouteKeyV1) -> &[AppId] {
        self.0.get(&place(route)).map_or(&[], Vec::as_slice)
    }

    /// The apps with a route whose host is `host`, is covered by it or covers it; one with several such routes comes several times.
    pub(crate) fn around<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a AppId> {
        // All that is covered starts alike, the wildcard itself too; an exact host covers nothing but itself.
        let (start, whole) = match host.strip_prefix('*') {
            Some(suffix) => (backwards(suffix), false),
            None => (backwards(host), true),
        };
        let below = self.0.range((start.clone(), String::new(), false)..);
        let below = below.take_while(move |((host, _, _), _)| if whole { *host == start } else { host.starts_with(&start) });
        let name = host.strip_prefix("*.").unwrap_or(host);
        let suffixes = std::iter::successors(name.split_once('.'), |(_, rest)| rest.split_once('.'));
        let above = suffixes.flat_map(|(_, suffix)| {
            let wildcard = backwards(&format!("*.{suffix}"));
            self.0.range((wildcard.clone(), String::new(), false)..).take_while(move |((host, _, _), _)| *host == wildcard)
        });
        below.chain(above).flat_map(|(_, apps)| apps)
    }

    /// Adds the routes of a revision that is kept from now on.
    pub(crate) fn add(&mut self, revision: &Revision) {
        for (_, _, route) in routes::of(revision) {
            let key = place(route);
            let mut apps = self.0.get(&key).cloned().unwrap_or_default();
            if let Err(at) = apps.binary_search(&revision.app) {
                apps.insert(at, revision.app.clone());
                self.0.insert_mut(key, apps);
            }
        }
    }

    /// Removes the routes of a revision that is forgotten, as far as no revision of the same app in `kept` has them too.
    pub(crate) fn remove<'a>(&mut self, revision: &Revision, kept: impl Iterator<Item = &'a Revision> + Clone) {
        for (_, _, route) in routes::of(revision) {
            let key = place(route);
            if kept.clone().flat_map(routes::of).any(|(_, _, other)| place(other) == key) {
                continue;
            }
            let mut apps = self.0.get(&key).cloned().unwrap_or_default();
            apps.retain(|app| *app != revision.app);
            if apps.is_empty() {
                self.0.remove_mut(&key);
            } else {
                self.0.insert_mut(key, apps);
            }
        }
    }
}

fn place(route: &RouteKeyV1) -> Place {
    (backwards(&route.host), routes::path_of(route).to_owned(), route.exact)
}

fn backwards(host: &str) -> String {
    host.chars().rev().collect()
}
