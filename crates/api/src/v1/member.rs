//! Members, join tokens, API tokens, who asks, what was asked. Owns these shapes; must never carry a secret twice: a token shows once, when it is made.

use model::{
    id::{Index, Name, NodeId},
    quantity::Millis,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Time;

/// `GET /v1/cluster`: the group of servers that holds the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// The cluster's id.
    pub id: String,
    /// Digest of the authority that signs every node's certificate: what a tool pins.
    pub authority: String,
    /// Who leads, as the server that answers knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The leader's term.
    pub term: u64,
    /// The log index this was read at.
    #[schema(value_type = u64)]
    pub index: Index,
    /// In order of id.
    pub members: Vec<MemberView>,
    /// How many members may be lost before nothing is written any more.
    pub tolerates: usize,
}

/// A server of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// Its id.
    #[schema(value_type = u64)]
    pub id: NodeId,
    /// Its node's name.
    pub name: String,
    /// Whether it votes.
    pub role: MemberRole,
    /// Whether it leads.
    pub leader: bool,
    /// Where others reach it.
    pub address: String,
    /// How many entries it lacks; absent when the leader does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// How long ago the leader heard of it; absent when this is not the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub heard: Option<Millis>,
}

/// Whether a member votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum MemberRole {
    /// It votes.
    Voter,
    /// It follows without a vote.
    Learner,
}

/// What came of a change of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberAnswer {
    /// The node.
    pub node: String,
    /// One sentence.
    pub message: String,
}

/// `POST /v1/leader`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransferRequest {
    /// Who should lead; the one that lacks least when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What a join token lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum JoinRole {
    /// Servers: they hold the state and the keys.
    Server,
    /// Workers: they run guests.
    Worker,
}

/// `POST /v1/join-tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// What it lets in.
    pub role: JoinRole,
    /// How long it is good for, in milliseconds.
    #[schema(value_type = u64)]
    pub ttl: Millis,
    /// How often it may be used; absent: as often as wished until it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// For people.
    #[serde(default)]
    pub note: String,
}

/// A new join token: the only time its secret is seen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewJoinToken {
    /// The whole token.
    pub token: String,
    /// Its id, to revoke it by.
    pub id: String,
    /// Until when it is good.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Time,
    /// The command that joins, on the machine that should; empty where nobody can, because the server that answers tells nobody an address.
    pub command: String,
}

impl std::fmt::Debug for NewJoinToken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("NewJoinToken").field("id", &self.id).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A join token as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JoinTokenView {
    /// Its id.
    pub id: String,
    /// What it lets in.
    pub role: JoinRole,
    /// Until when it is good.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Time,
    /// How often it may still be used; absent: as often as wished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// Who made it.
    pub by: String,
    /// For people.
    pub note: String,
}

/// What a token of the API allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ApiRole {
    /// To read.
    Viewer,
    /// To read, and to change what runs, within its namespace when it has one.
    Deployer,
    /// Everything.
    Admin,
}

/// `POST /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiTokenRequest {
    /// Whose it is: what the history shows.
    pub name: String,
    /// What it allows.
    pub role: ApiRole,
    /// Only there; absent: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub namespace: Option<Name>,
    /// How long it is good for, in milliseconds.
    #[schema(value_type = u64)]
    pub ttl: Millis,
}

/// A new token of the API: the only time its secret is seen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewApiToken {
    /// The whole token.
    pub token: String,
    /// Its id, to revoke it by.
    pub id: String,
    /// Until when it is good.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Time,
    /// The command that uses it from another machine.
    pub command: String,
}

impl std::fmt::Debug for NewApiToken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("NewApiToken").field("id", &self.id).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A token of the API as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiTokenView {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub name: String,
    /// What it allows.
    pub role: ApiRole,
    /// Only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub namespace: Option<Name>,
    /// Until when it is good.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Time,
    /// Who made it.
    pub by: String,
}

/// `GET /v1/whoami`: who asks, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// As the history shows it.
    pub name: String,
    /// What it may do.
    pub role: ApiRole,
    /// Only there; absent: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub namespace: Option<Name>,
}

/// One change somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    /// Counts from 1 over the cluster's life.
    pub sequence: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Who, and from where.
    pub by: String,
    /// The id of the token that was shown: two may have one name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What: `deploy`, `delete`, `join-token create`.
    pub verb: String,
    /// To what.
    pub object: String,
    /// `done`, why not, or `begun`: what is done beside the log is written down before.
    pub outcome: String,
}

/// What `GET /v1/snapshot` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotQuery {
    /// The artifacts that apps name, too.
    #[serde(default)]
    pub artifacts: bool,
    /// The key that opens the secrets, too: only for the owner of a server's machine.
    #[serde(default)]
    pub keys: bool,
}

/// What `GET /v1/audit` takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditQuery {
    /// Only changes with a greater sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}
