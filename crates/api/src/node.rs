//! What a control plane and a worker say to each other, over `control.sock` on one node and over the network between nodes.
//! Owns these shapes; must never know how either side acts on them.

use std::{collections::BTreeMap, fmt};

use model::{
    app::{Https, Resources, Reuse},
    egress::Egress,
    id::{AppId, ComponentId, Digest, Generation, Name, NodeId, PlacementId, RevisionNumber},
    quantity::{Bytes, Millis},
};
use serde::{Deserialize, Serialize};
use transport::{AuthorityDigest, AuthorityList};
use zeroize::Zeroizing;

use crate::time::Time;

/// `GET`, NDJSON of [`AssignmentPart`]: the whole assignment at once, then what changes.
pub const ASSIGNMENTS_PATH: &str = "/node/v1/assignments";
/// `POST`, JSON of [`Report`]; answers [`ReportAnswer`].
pub const REPORT_PATH: &str = "/node/v1/report";
/// `POST`, JSON of [`crate::peer::RenewRequest`]; answers [`crate::peer::Certified`].
pub const RENEW_PATH: &str = "/node/v1/renew";
/// `GET`, with `/DIGEST` behind it: the artifact's bytes.
pub const ARTIFACTS_PATH: &str = "/node/v1/artifacts";

/// A line of the assignment stream: some apps of a whole assignment or of a change, of which the last part says so. What came is in force once its last
/// part is there. A worker refuses an older generation than its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentPart {
    /// Only grows: the log index whose state it was derived from.
    pub generation: Generation,
    /// The node it is for.
    pub node: NodeId,
    /// The generation that this changes; none when it is a whole assignment, and every app not in it is gone.
    pub since: Option<Generation>,
    /// Apps as they are from now on.
    pub apps: Vec<AssignedApp>,
    /// Apps of which nothing is left on this node.
    pub gone: Vec<AppId>,
    /// More parts of the same follow.
    pub more: bool,
}

/// What one worker must know of one app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedApp {
    /// Which app.
    pub app: AppId,
    /// What to run of it, by component and revision.
    pub programs: Vec<AssignedProgram>,
    /// Its routes, only of its serving revision.
    pub routes: Vec<AssignedRoute>,
    /// The values that its programs and routes on this node name. They stay in memory: what a worker keeps on disk has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<AssignedSecret>,
}

/// Values of one version of a Secret in the namespace of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedSecret {
    /// The Secret.
    pub secret: Name,
    /// The number of its version.
    pub version: u64,
    /// Those of its values that are needed and are text.
    pub values: BTreeMap<String, SecretText>,
}

/// A secret value. It has no way into a log, and is wiped with its owner.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SecretText(Zeroizing<String>);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<SecretText> for String {
    fn from(text: SecretText) -> Self {
        text.0.as_str().to_owned()
    }
}

impl SecretText {
    /// Takes over the value.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The value, for whoever must have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretText(…)")
    }
}

/// What a worker learns from a report: where the servers are by now, and by which keys it knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportAnswer {
    /// Every server, in order of id.
    pub servers: Vec<KnownServer>,
    /// Nodes up to this one that are not in the list are no servers, or gone.
    pub complete_to: NodeId,
    /// `HOST:PORT` of every socket by which servers are run, API, peer and mesh: closed to guests whatever their rules say.
    #[serde(default)]
    pub closed: Vec<String>,
    /// The authorities to go by, when the report names an older set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<AuthorityList>,
    /// Components that are wished for; every worker runs one instance of each, and is assigned them soon.
    #[serde(default)]
    pub wished: u64,
}

/// How far a worker goes with the cluster's authorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldAuthorities {
    /// The version of the set it goes by.
    pub version: u64,
    /// Which of them signed its certificate.
    pub shows: AuthorityDigest,
}

/// A server as a worker knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownServer {
    /// Its id.
    pub node: NodeId,
    /// `HOST:PORT` of its peer port; empty when it has none.
    pub peer: String,
    /// The sha256 of its public key, as a digest prints.
    pub key: Digest,
}

/// Parts as they come in.
#[derive(Debug, Default)]
pub struct Parts(Option<AssignmentPart>);

impl Parts {
    /// Takes the next part; gives all of them as one with the last.
    pub fn take(&mut self, part: AssignmentPart) -> Option<AssignmentPart> {
        let whole = match self.0.take() {
            Some(mut begun) if (begun.generation, begun.since) == (part.generation, part.since) => {
                begun.apps.extend(part.apps);
                begun.gone.extend(part.gone);
                AssignmentPart { more: part.more, ..begun }
            }
            _ => part,
        };
        if whole.more {
            self.0 = Some(whole);
            return None;
        }
        Some(whole)
    }
}

impl From<Assignment> for AssignmentPart {
    /// The whole of it as one part.
    fn from(assignment: Assignment) -> Self {
        let mut apps: BTreeMap<AppId, AssignedApp> = BTreeMap::new();
        let empty = |app: &AppId| AssignedApp { app: app.clone(), programs: Vec::new(), routes: Vec::new(), secrets: Vec::new() };
        for program in assignment.programs {
            let app = program.component.app.clone();
            apps.entry(app).or_insert_with_key(empty).programs.push(program);
        }
        for route in assignment.routes {
            let app = route.component.app.clone();
            apps.entry(app).or_insert_with_key(empty).routes.push(route);
        }
        let (generation, node) = (assignment.generation, assignment.node);
        Self { generation, node, since: None, apps: apps.into_values().collect(), gone: Vec::new(), more: false }
    }
}

/// Everything one worker must know, as it is kept for a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// Only grows: the log index whose state it was derived from.
    pub generation: Generation,
    /// The node it is for.
    pub node: NodeId,
    /// What to run, by component and revision.
    pub programs: Vec<AssignedProgram>,
    /// What this node's gateway routes, only of serving revisions.
    pub routes: Vec<AssignedRoute>,
}

/// One component at one revision, with its placements on this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedProgram {
    /// The component.
    pub component: ComponentId,
    /// The revision of its app.
    pub revision: RevisionNumber,
    /// The artifact.
    pub digest: Digest,
    /// Environment of the guest.
    pub env: BTreeMap<String, String>,
    /// Values of `wasi:config/store`.
    pub config: BTreeMap<String, String>,
    /// Arguments of the guest.
    pub args: Vec<String>,
    /// Limits of one instance.
    pub resources: Resources,
    /// How its sandboxes are used again; nothing when its WASI version decides.
    #[serde(default)]
    pub reuse: Option<Reuse>,
    /// What it may reach outside.
    #[serde(default)]
    pub egress: Egress,
    /// Files it may read; artifacts like any other.
    #[serde(default)]
    pub files: Vec<AssignedFile>,
    /// The secret values it gets, beside `env` and `config`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// Its instances on this node.
    pub placements: Vec<AssignedPlacement>,
}

/// A secret value of a guest: which one, not what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretUse {
    /// The name the guest knows.
    pub name: String,
    /// The Secret.
    pub secret: Name,
    /// The number of its version.
    pub version: u64,
    /// The key inside.
    pub key: String,
}

/// The certificate of a route's host: which one, not its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateUse {
    /// The Secret of type `tls`.
    pub secret: Name,
    /// The number of its version.
    pub version: u64,
}

/// One read-only file of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedFile {
    /// The artifact with its bytes.
    pub digest: Digest,
    /// Where the guest finds it: absolute, without `//`, `.` and `..`.
    pub to: String,
}

/// One instance this node must run or drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedPlacement {
    /// The decision's id.
    pub placement: PlacementId,
    /// The instance's number.
    pub ordinal: u32,
    /// Run it, or drain and stop it.
    pub wanted: Wanted,
}

/// What the control plane wants of a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Wanted {
    /// Serve.
    Run,
    /// Take no new request, finish those under way, then stop.
    Stop,
}

/// A route of a serving revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedRoute {
    /// Who answers.
    pub component: ComponentId,
    /// Under which revision.
    pub revision: RevisionNumber,
    /// Exact host or `*.suffix`, lower case.
    pub host: String,
    /// Path, or prefix by whole elements.
    pub path: String,
    /// Whole path only.
    pub exact: bool,
    /// Sorted, upper case; empty is every method.
    pub methods: Vec<String>,
    /// Header names (lower case) and the value each must have.
    pub headers: BTreeMap<String, String>,
    /// Replaces the matched path or prefix.
    pub rewrite: Option<String>,
    /// Until the response headers.
    pub timeout: Millis,
    /// Between bytes of a body.
    pub idle_timeout: Millis,
    /// Largest request body.
    pub max_body: Bytes,
    /// The certificate of its host, when it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateUse>,
    /// What a request without TLS gets.
    pub https: Https,
}

/// What a worker tells its control plane: sent whole whenever something changed, and every few seconds as a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The node that reports.
    pub node: NodeId,
    /// The assignment it acts on.
    pub generation: Generation,
    /// The worker's process id, for process metrics.
    pub pid: u32,
    /// Grows with every report of this process: reports take several ways, and an older one may come after a newer.
    #[serde(default)]
    pub sequence: u64,
    /// Every placement it knows.
    pub placements: Vec<ReportedPlacement>,
    /// What it did that people want to know of, sent until a report with it was taken.
    #[serde(default)]
    pub events: Vec<ReportedEvent>,
    /// The authorities it goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<HeldAuthorities>,
}

/// Something a worker did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedEvent {
    /// Counts from 1 in one process of the worker.
    pub sequence: u64,
    /// When.
    pub at: Time,
    /// What.
    pub kind: ReportedEventKind,
    /// With which component, if with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentId>,
    /// One sentence.
    pub message: String,
}

/// What a worker may do that people want to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReportedEventKind {
    /// It serves, for the first time or again.
    WorkerStarted,
    /// It has code of a component that had none.
    CodeCompiled,
    /// Guests of a component trap, and did not before.
    GuestsTrapped,
}

/// One placement as the worker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedPlacement {
    /// The decision's id.
    pub placement: PlacementId,
    /// How far it is.
    pub phase: Phase,
}

/// How far a placement is. Never goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum Phase {
    /// The worker knows of it.
    Assigned,
    /// Its artifact is on the way to this node.
    Fetching,
    /// Its code is being made.
    Compiling {
        /// Since when; absent once the code is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Time>,
        /// Of how many bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
    /// A probe sandbox is being started.
    Starting,
    /// It could start, but for something that has not come.
    Waiting {
        /// For what.
        message: String,
    },
    /// Takes requests.
    Ready,
    /// Finishes what it has.
    Draining,
    /// Gone.
    Stopped,
    /// Cannot run, and why.
    Failed {
        /// `E0301` and the like.
        code: String,
        /// One sentence.
        message: String,
    },
}
