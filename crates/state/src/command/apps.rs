//! What users wish of apps. Owns these encoded shapes; must never carry a model type that may change.

use model::{
    app::App,
    frozen::{self, Frozen},
    id::{AppId, Digest, Index, Name, RevisionNumber},
};
use serde::{Deserialize, Serialize};

/// A user wishes an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// The app.
    pub app: AppId,
    /// What it should be.
    pub frozen: Frozen,
    /// Equal for two wishes that differ only in what lives outside revisions: scale and protection. `apply` compares it and parses nothing.
    pub identity: Digest,
    /// A protected app is not deleted.
    pub protected: bool,
    /// Refuse unless the app still has this version; 0 means it must not exist.
    pub expect: Option<Index>,
}

impl Deploy {
    /// The wish for `app`, expecting the version its metadata names. Fails with the first component whose source is no digest yet.
    pub fn of(app: &App) -> Result<Self, Name> {
        let mut wish = app.clone();
        wish.metadata.resource_version = None;
        let frozen = frozen::freeze(&wish)?;
        wish.metadata.protected = false;
        wish.spec.components.values_mut().for_each(|component| component.scale.replicas = 1);
        let identity = Digest::of(frozen::freeze(&wish)?.canonical.as_bytes());
        let expect = app.metadata.resource_version;
        Ok(Self { app: app.id(), frozen, identity, protected: app.metadata.protected, expect })
    }
}

/// A user wishes an earlier revision again. It becomes a new revision; the scale stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// The app.
    pub app: AppId,
    /// The revision to go back to. When absent: the one that serves if that is another, else the one before.
    pub to: Option<RevisionNumber>,
}

/// A user wishes an app gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// The app.
    pub app: AppId,
}
