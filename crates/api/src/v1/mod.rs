//! The public API, version 1: what users and tools send and read. Owns these shapes; must never lose or rename a field within the version.

mod app;
mod apply;
mod authority;
mod cluster;
mod error;
mod kinds;
mod log;
mod member;
mod plan;
mod top;
mod watch;
mod why;

pub use app::{
    AppStatus, AppView, CompilingView, ComponentStatus, Condition, InstancePhase, InstanceView, RevisionComponent, RevisionView,
    RolloutPhase, RolloutView, Waiting, WatchEvent,
};
pub use apply::{ApplyAnswer, ApplyRequest, DeleteAnswer, ObjectAnswer, Outcome, UndoRequest};
pub use authority::{AuthorityView, HolderView, RetiredView, RotationView};
pub use cluster::{EventQuery, EventView, List, NodeState, NodeView, ReadyView, VersionView};
pub use error::{Details, DocumentProblem, ErrorBody, ErrorDetail};
pub use kinds::{
    About, CertificateView, ConfigRequest, ConfigView, NamespaceView, PlannedValue, SecretRequest, SecretVersionView, SecretView,
    ValueAnswer, WriteAnswer,
};
pub use log::{AccessLine, LogEntry, LogLine, LogQuery, LogStream};
pub use member::{
    ApiRole, ApiTokenRequest, ApiTokenView, AuditQuery, AuditView, ClusterView, JoinRole, JoinTokenRequest, JoinTokenView, MemberAnswer,
    MemberRole, MemberView, NewApiToken, NewJoinToken, Principal, SnapshotQuery, TransferRequest,
};
pub use plan::{
    ArtifactFacts, Change, CompileNeed, Direction, PermissionChange, PlanAnswer, PlanRequest, PlannedFile, PlannedObject, PlannedPlacement,
};
pub use top::{
    ComponentCounts, ComponentUsage, InstanceUsage, LatencyBucket, NodeUsage, ProcessUsage, TopKind, TopQuery, TopView, WorkerUsage,
};
pub use watch::{InvalidPosition, ObjectChange, ObjectEvent, ObjectQuery, Position};
pub use why::{WhyAnswer, WhyQuery, WhyState, WhyStep};

/// What every document of this version says in `apiVersion`.
pub const API_VERSION: &str = "shoal.dev/v1";
/// The server that an answer was read on without asking whether it is current: its name. Only with `consistency=stale`, or `known` where no leader answers.
pub const STALE_HEADER: &str = "shoal-stale";
/// Beside [`STALE_HEADER`]: milliseconds since that server heard that its cluster has a leader.
pub const SILENCE_HEADER: &str = "shoal-silence";
/// What an app's document says in `kind`.
pub const KIND_APP: &str = "App";
