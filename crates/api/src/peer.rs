//! What control planes say to each other and to a node that joins, on the peer port. Owns these shapes and paths; must never know how either side acts on them.
//!
//! A node that joins has checked who it talks to before it sends any of this: its token carries the digest of the cluster's authority.

use std::net::IpAddr;

use model::id::{Digest, Index, NodeId};
use serde::{Deserialize, Serialize};
use transport::AuthorityList;

/// `POST` [`JoinRequest`] by a node without a certificate; answers [`JoinAnswer`].
pub const JOIN_PATH: &str = "/peer/v1/join";
/// `POST` [`RenewRequest`] by any node; answers [`Certified`].
pub const RENEW_PATH: &str = "/peer/v1/renew";
/// `POST`, one message of consensus each way, by a server.
pub const CONSENSUS_PATH: &str = "/peer/v1/consensus";
/// `GET`, the key that opens what is sealed in the log, by a server: 32 bytes.
pub const CLUSTER_KEY_PATH: &str = "/peer/v1/cluster-key";
/// `POST` [`crate::node::Report`], passed on by the server it came to; answers 204.
pub const REPORT_PATH: &str = "/peer/v1/report";
/// `GET`, with `/DIGEST` behind it: the artifact's bytes, by a server. `POST` to the same: fetch it from whoever asks, and answer when it is on disk.
pub const ARTIFACTS_PATH: &str = "/peer/v1/artifacts";
/// Before the path of the public API: a request that another server has let in and passes on to the leader.
pub const FORWARD_PATH: &str = "/peer/v1/forward";
/// `POST` [`MemberRequest`]: a node says what is new about itself.
pub const MEMBER_PATH: &str = "/peer/v1/member";
/// `POST` [`AttestRequest`] to whoever leads, by a server about itself; answers 204.
pub const ATTEST_PATH: &str = "/peer/v1/attest";

/// `POST` [`StandingRequest`] by anybody who knows the cluster's authority; answers [`StandingAnswer`]. A server asks before it starts, every node while it runs.
pub const STANDING_PATH: &str = "/peer/v1/standing";

/// `POST` [`FormRequest`] to a machine that has no cluster yet, by another one that shows in [`PROOF_HEADER`] that it has the same formation token; answers
/// [`FormAnswer`] with a proof of its own. A server of a cluster answers E0621.
pub const FORM_PATH: &str = "/peer/v1/form";
/// What shows that a message of [`FORM_PATH`] comes from somebody with the formation token.
pub const PROOF_HEADER: &str = "x-shoal-proof";

/// Under which a change is remembered, so that asking for it again does nothing.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// Who let a forwarded request in, as JSON of what the API knows of them.
pub const PRINCIPAL_HEADER: &str = "x-shoal-principal";
/// Milliseconds a forwarded request has left.
pub const DEADLINE_HEADER: &str = "x-shoal-deadline";

/// What a node can be, as it asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeRole {
    /// It has a control plane.
    Server,
    /// It runs gateway and sandboxes.
    Worker,
}

/// A node asks to join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinRequest {
    /// The whole token.
    pub token: String,
    /// Names and addresses.
    pub node: Introduction,
    /// Certificate requests (DER) by role: one for `server` when it has a control plane, one for `worker` when it runs sandboxes.
    pub requests: Vec<CertificateRequest>,
    /// The node whose name and place this one takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The address it comes from, when it is on another machine than the server it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JoinRequest").field("node", &self.node).finish_non_exhaustive()
    }
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Introduction {
    /// Unique in the cluster.
    pub name: String,
    /// Where other control planes reach it: `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Where control planes reach its worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// Where users' tools reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Its zone, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its region, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Words to select it by.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// Bytes of memory the scheduler may book.
    pub memory_bytes: u64,
    /// Thousandths of a core the scheduler may book.
    pub cpu_millis: u32,
    /// The version of the program it runs.
    #[serde(default)]
    pub release: String,
    /// The newest vocabulary of the log that it reads.
    #[serde(default = "first_schema")]
    pub schema: u32,
}

/// What a node reads that does not say.
fn first_schema() -> u32 {
    1
}

/// A certificate is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRequest {
    /// For which role.
    pub role: NodeRole,
    /// PKCS#10, DER.
    pub request: Vec<u8>,
}

/// A certificate was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certified {
    /// For which role.
    pub role: NodeRole,
    /// X.509, DER.
    pub certificate: Vec<u8>,
    /// The authorities to go by, when there was ever another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<AuthorityList>,
}

/// The node is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinAnswer {
    /// The cluster, as it prints.
    pub cluster: String,
    /// The group of servers that holds its state: another one each time it began anew.
    pub group: String,
    /// Its id from now on.
    pub node: NodeId,
    /// One per request.
    pub certificates: Vec<Certified>,
    /// Where the servers are.
    pub servers: Vec<ServerAddress>,
    /// The authorities to go by, when there was ever another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<AuthorityList>,
}

/// A server as others reach it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerAddress {
    /// Its id.
    pub node: NodeId,
    /// `HOST:PORT` of its peer port.
    pub peer: String,
}

/// Where the servers are, as a node without one writes it down for its next start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerList {
    /// The entry of the log that it was read at.
    pub index: u64,
    /// The servers.
    pub servers: Vec<ServerAddress>,
}

/// A node asks what the servers know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandingRequest {
    /// Its id.
    pub node: NodeId,
    /// The digest of one of its keys.
    pub key: Digest,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandingAnswer {
    /// The group of servers that holds the state here.
    pub group: String,
    /// The last entry that is applied here.
    pub index: u64,
    /// Whether it is a node of the cluster, with that key.
    pub listed: bool,
    /// The last entry that it acknowledged, when who answers leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u64>,
}

/// A node asks for a new certificate over the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewRequest {
    /// What it wants.
    pub request: CertificateRequest,
    /// For which node, when a server passes on what another asked of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
}

/// What a node says about itself anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MemberRequest {
    /// It is reached, and offers, as it says here.
    Introduce {
        /// Which.
        node: NodeId,
        /// All of it.
        introduction: Introduction,
    },
    /// As a server it has done what a rotation of the authority waits for.
    Confirm {
        /// Which.
        node: NodeId,
        /// The entry that began the rotation.
        rotation: Index,
        /// What it has done.
        phase: RotationPhase,
    },
    /// Its owner is about to get the cluster's key from it, which is written down first.
    GiveKey,
}

/// How far a rotation of the cluster's authority is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RotationPhase {
    /// Both authorities are trusted and the old one signs: nodes learn of the new one.
    Learning,
    /// Both are trusted and the new one signs: nodes renew their certificates.
    Renewing,
}

/// A member says what its state hashed to at a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttestRequest {
    /// The checkpoint.
    pub index: Index,
    /// The digest of its state after that entry, in hexadecimal.
    pub hash: String,
}

/// A machine that is to form a cluster with others asks one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormRequest {
    /// Random, so that no answer fits two questions.
    pub nonce: String,
    /// The cluster to which the other one is to bind itself for good, by the digest of its authority; absent: it only says how it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,
    /// How the asking machine stands.
    pub own: FormAnswer,
}

/// How a machine stands that is to form a cluster with others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormAnswer {
    /// Random, and another one each time the machine's program starts: by it a machine knows itself under any address.
    pub run: String,
    /// Its name.
    pub name: String,
    /// The peers it was told, itself among them, in order.
    pub peers: Vec<String>,
    /// Which of these it is, when it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// The cluster to which it has bound itself, by the digest of its authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<String>,
}
