//! Why a change was refused. Owns these sentences; codes and remedies stand in `words`. Must never know who asked.

mod words;

use model::id::{AppId, ComponentId, Index, Name, NodeId, RevisionNumber, TokenId};

use crate::{ceilings::Ceiling, command::NodeRole};

/// Why `apply` refused a command. The state is then as it was, except for its index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another component owns such a route.
    #[error("deploying `{}`: its route `{}{}` belongs to `{}`", .0.component, .0.host, .0.path, .0.owner)]
    RouteCollision(Box<Collision>),
    /// Another namespace has the host.
    #[error("deploying `{}`: its host `{}` is held by the namespace `{}`{}", .0.component, .0.host, .0.holder, .0.by_way())]
    HostTaken(Box<HostTaken>),
    /// The host has another certificate.
    #[error("deploying `{}`: the host `{}` cannot have the certificate of the Secret `{}`, because it has that of `{}/{}`", .0.app, .0.host, .0.wanted, .0.namespace, .0.secret)]
    OtherCertificate(Box<OtherCertificate>),
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
    /// Another number of instances than the scheduler can do.
    #[error("deploying `{component}`: {replicas} replicas are not supported yet, every node runs one instance of every component")]
    Replicas {
        /// Of which component.
        component: ComponentId,
        /// How many were wished.
        replicas: u32,
    },
    /// There is a cluster already.
    #[error("founding a cluster: this log holds the cluster {cluster} already")]
    AlreadyFounded {
        /// Its number, as hex digits.
        cluster: String,
    },
    /// There is no cluster yet.
    #[error("{what}: there is no cluster yet")]
    NotFounded {
        /// What was attempted.
        what: String,
    },
    /// Another node has the name.
    #[error("joining node `{name}`: {node} has that name, and another key")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        node: NodeId,
    },
    /// Another node has the key.
    #[error("joining node `{name}`: its key belongs to {node} already, under another name or role")]
    KeyTaken {
        /// The name that was to join.
        name: String,
        /// Who has the key.
        node: NodeId,
    },
    /// A join token that lets nobody in.
    #[error("joining node `{name}`: {reason}")]
    NotAdmitted {
        /// The name that was to join.
        name: String,
        /// Why.
        reason: NotAdmitted,
    },
    /// Less than what it would take the place of.
    #[error("replacing node `{name}`: {lost} is a {role}, and the new one is none")]
    LesserReplacement {
        /// The name.
        name: String,
        /// Whose place it would take.
        lost: NodeId,
        /// What the new one is not.
        role: NodeRole,
    },
    /// The program is older than what the cluster writes.
    #[error("node `{name}`: its program reads commands up to version {reads}, and the cluster writes version {writes}")]
    TooOld {
        /// The node's name.
        name: String,
        /// The newest version it reads.
        reads: u32,
        /// The version the cluster writes.
        writes: u32,
    },
    /// No such node.
    #[error("node `{node}` does not exist")]
    UnknownNode {
        /// Its name or id.
        node: String,
    },
    /// Without it there is no control plane.
    #[error("removing node `{name}`: it is the last server")]
    LastServer {
        /// Its name.
        name: String,
    },
    /// No such token.
    #[error("token `{id}` does not exist")]
    UnknownToken {
        /// Its id.
        id: TokenId,
    },
    /// A token of that id is there already.
    #[error("creating token `{id}`: there is one of that id")]
    TokenExists {
        /// Its id.
        id: TokenId,
    },
    /// A Config, a Secret or a Namespace that is not there.
    #[error("{object} does not exist")]
    UnknownObject {
        /// Its kind and name.
        object: String,
    },
    /// Somebody else was faster.
    #[error("{object} was changed by somebody else: expected version {expected}, it has {found}")]
    ObjectConflict {
        /// Its kind and name.
        object: String,
        /// The version the caller had read.
        expected: Index,
        /// The version it has; 0 when it does not exist.
        found: Index,
    },
    /// The object is protected.
    #[error("{object} is protected")]
    ObjectProtected {
        /// Its kind and name.
        object: String,
    },
    /// Something still needs it.
    #[error("{object} is still in use: {by} needs it")]
    StillUsed {
        /// What was to go.
        object: String,
        /// Who needs it, the first of them.
        by: String,
    },
    /// An app names something that is not there.
    #[error("deploying `{component}`: {what} does not exist")]
    Missing {
        /// Whose wish it was.
        component: ComponentId,
        /// The field that names it.
        field: String,
        /// What it names.
        what: String,
    },
    /// The namespace allows less.
    #[error("deploying `{}` over a ceiling of namespace `{}`: {ceiling}", .app, .app.namespace)]
    Ceiling {
        /// The app.
        app: AppId,
        /// The component that is over it; none when all apps of the namespace are together.
        component: Option<Name>,
        /// Which ceiling.
        ceiling: Ceiling,
    },
    /// The same key for something else.
    #[error("the idempotency key `{key}` was used for something else within the last day")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The answer could not be kept, so that asking again would do it again.
    #[error("{limit} changes came under an idempotency key within two minutes, and no more answers can be kept")]
    TooManyKeys {
        /// How many are kept.
        limit: usize,
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

/// Why a join token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// None was shown.
    #[error("it showed no join token")]
    Nothing,
    /// There is none of that id, or its secret is another.
    #[error("its join token is not one of this cluster, or was revoked")]
    Unknown,
    /// Its time is over.
    #[error("its join token has expired")]
    Expired,
    /// As many nodes as may have joined with it.
    #[error("its join token is used up")]
    UsedUp,
    /// It is for something else.
    #[error("its join token is for a {token}, not for a {node}")]
    OtherRole {
        /// What the token is for.
        token: NodeRole,
        /// What the node wants to be.
        node: NodeRole,
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

/// A host is somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTaken {
    /// Whose route was refused.
    pub component: ComponentId,
    /// Which of its routes, from 0.
    pub number: usize,
    /// The route's host.
    pub host: String,
    /// The host that is held: the same, or one that it covers or is covered by.
    pub held: String,
    /// The namespace that holds it.
    pub holder: Name,
}

impl HostTaken {
    /// By which host, when it is another one.
    fn by_way(&self) -> String {
        if self.held == self.host { String::new() } else { format!(", which serves `{}`", self.held) }
    }
}

/// One host would have two certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherCertificate {
    /// What was refused.
    pub app: AppId,
    /// The host.
    pub host: String,
    /// The Secret it wants for it, in its own namespace.
    pub wanted: Name,
    /// The namespace of the Secret that the host has.
    pub namespace: Name,
    /// That Secret.
    pub secret: Name,
}
