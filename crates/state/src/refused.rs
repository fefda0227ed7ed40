//! Why a change was refused, and how to mend it. Owns these sentences and their codes; must never know who asked.

use model::{
    id::{AppId, ComponentId, Index, RevisionNumber},
    problem::Problem,
};

/// Why `apply` refused a command. The state is then as it was, except for its index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another component owns such a route.
    #[error("deploying `{}`: its route `{}{}` belongs to `{}`", .0.component, .0.host, .0.path, .0.owner)]
    RouteCollision(Box<Collision>),
    /// No such app.
    #[error("app `{app}` does not exist")]
    UnknownApp {
        /// Which.
        app: AppId,
    },
    /// No such revision, or no longer.
    #[error("app `{app}` has no revision {revision}")]
    UnknownRevision {
        /// The app.
        app: AppId,
        /// Which revision.
        revision: RevisionNumber,
        /// The oldest that is kept.
        oldest: RevisionNumber,
        /// The newest that is kept.
        newest: RevisionNumber,
    },
    /// Nothing to go back to.
    #[error("app `{app}` has no revision before {revision}")]
    NoEarlierRevision {
        /// The app.
        app: AppId,
        /// What it is at.
        revision: RevisionNumber,
    },
    /// Going back to where one is.
    #[error("app `{app}` is at revision {revision} already")]
    AlreadyWanted {
        /// The app.
        app: AppId,
        /// What it is at.
        revision: RevisionNumber,
    },
    /// Somebody else was faster.
    #[error("app `{app}` was changed by somebody else: expected version {expected}, it has {found}")]
    Conflict {
        /// The app.
        app: AppId,
        /// The version the caller had read.
        expected: Index,
        /// The version it has; 0 when it does not exist.
        found: Index,
    },
    /// The app is on its way out.
    #[error("app `{app}` is being deleted")]
    Deleting {
        /// The app.
        app: AppId,
    },
    /// The app is protected.
    #[error("app `{app}` is protected")]
    Protected {
        /// The app.
        app: AppId,
    },
    /// A limit is reached.
    #[error("{what}: {found} {unit}, at most {limit} are allowed")]
    LimitReached {
        /// What was attempted.
        what: String,
        /// What is counted.
        unit: &'static str,
        /// How many it would be.
        found: u64,
        /// How many may be.
        limit: u64,
    },
    /// A name cannot be used.
    #[error("{what}: {rule}")]
    Invalid {
        /// What was attempted.
        what: String,
        /// The rule it breaks.
        rule: &'static str,
    },
}

/// Two components want the same requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// Whose route was refused.
    pub component: ComponentId,
    /// Which of its routes, from 0.
    pub number: usize,
    /// The route's host.
    pub host: String,
    /// The route's path.
    pub path: String,
    /// Who has it.
    pub owner: ComponentId,
}

impl Refused {
    /// `E0401` and the like.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RouteCollision(_) => "E0401",
            Self::UnknownApp { .. } | Self::UnknownRevision { .. } | Self::NoEarlierRevision { .. } => "E0402",
            Self::AlreadyWanted { .. } | Self::Conflict { .. } | Self::Deleting { .. } => "E0403",
            Self::Protected { .. } => "E0404",
            Self::LimitReached { .. } => "E0405",
            Self::Invalid { .. } => "E0408",
        }
    }

    /// The refusal as users read it. The path names the field of the app's manifest, where there is one.
    pub fn problem(&self) -> Problem {
        let path = match self {
            Self::RouteCollision(at) => format!("spec.components.{}.routes[{}]", at.component.component, at.number),
            Self::Conflict { .. } => "metadata.resourceVersion".to_owned(),
            _ => String::new(),
        };
        let label = match self {
            Self::RouteCollision(at) => format!("belongs to `{}`", at.owner),
            _ => String::new(),
        };
        Problem { code: self.code().to_owned(), message: self.to_string(), path, label, help: self.help(), span: None }
    }

    fn help(&self) -> String {
        match self {
            Self::RouteCollision(at) => {
                format!("choose another host or path, tell the two apart by `methods` or `headers`, or take the route from `{}`", at.owner)
            }
            Self::UnknownApp { .. } => "`shoal get apps` lists what there is".to_owned(),
            Self::UnknownRevision { app, oldest, newest, .. } => {
                format!("{oldest} to {newest} are kept: `shoal rollout history {app}`")
            }
            Self::NoEarlierRevision { app, .. } => format!("name one: `shoal rollout history {app}` lists them"),
            Self::AlreadyWanted { app, .. } => format!("name another: `shoal rollout history {app}` lists them"),
            Self::Conflict { app, .. } => {
                format!("read it again (`shoal get app {app} -o yaml`), merge your change and apply that, or leave `resourceVersion` out")
            }
            Self::Deleting { app } => {
                format!("wait until it is gone (`shoal describe app {app}` says what it waits for), then apply again")
            }
            Self::Protected { .. } => "set `metadata.protected: false`, apply, then delete".to_owned(),
            Self::LimitReached { .. } => "delete what is no longer needed, or split it".to_owned(),
            Self::Invalid { .. } => String::new(),
        }
    }
}
