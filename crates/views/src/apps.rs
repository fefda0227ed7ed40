//! Canonical JSON of revisions, parsed once. Owns the cache; must never change what was parsed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use model::{
    app::App,
    frozen::Frozen,
    id::{AppId, RevisionNumber},
};
use state::Revision;

use crate::limits::APPS_CACHED_MAX;

/// What was parsed, with what it was parsed from: a deleted app may come back under the same numbers.
type Parsed = HashMap<(AppId, RevisionNumber), (Arc<Frozen>, Arc<App>)>;

/// The apps of revisions.
#[derive(Debug, Default)]
pub struct Apps(Mutex<Parsed>);

impl Apps {
    /// The app that `revision` froze. `None` when a program of another version froze it in a form this one cannot read.
    pub fn of(&self, revision: &Revision) -> Option<Arc<App>> {
        let key = (revision.app.clone(), revision.number);
        let mut parsed = self.0.lock().expect("nothing panics while holding the apps");
        if let Some((frozen, app)) = parsed.get(&key)
            && Arc::ptr_eq(frozen, &revision.frozen)
        {
            return Some(app.clone());
        }
        let app: App = serde_json::from_str(&revision.frozen.canonical)
            .inspect_err(|error| tracing::error!(app.id = %revision.app, app.revision = revision.number.0, error = %error, "a frozen app cannot be read"))
            .ok()?;
        let app = Arc::new(app);
        if parsed.len() >= APPS_CACHED_MAX {
            parsed.clear();
        }
        parsed.insert(key, (revision.frozen.clone(), app.clone()));
        Some(app)
    }
}
