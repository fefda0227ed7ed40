//! Everything that may change the state. Owns the encoded shapes: append-only, golden bytes under test. Must never carry a model type that may change.
//!
//! What people ask for comes as a [`UserCommand`], with who asked, from where, and a key under which it is done only once; what nodes and the leader do
//! comes by itself.

mod apps;
mod attest;
mod nodes;
mod plan;
mod tokens;
mod values;
mod witness;

use model::id::{Timestamp, TokenId};
use serde::{Deserialize, Serialize};

pub use self::{
    apps::{Delete, Deploy, Undo},
    attest::Attest,
    nodes::{Addresses, Admission, Found, Join, NodeFacts, NodeKeys, NodeRole, Place, Recover, RemoveNode, Sealed, UpdateNode},
    plan::{NodeEvent, NodeEventKind, Note, Observe, Plan, SeenPhase, Step},
    tokens::{ApiRole, CreateApiToken, CreateJoinToken, RevokeApiToken, RevokeJoinToken},
    values::{Ceilings, DeleteNamespace, DeleteObject, Described, PutConfig, PutNamespace, PutSecret, SecretKind},
    witness::{Deed, Witness},
};

/// The newest vocabulary this program reads: what a node says of itself when it joins, and what the cluster writes at most.
pub const SCHEMA: u32 = 1;

/// A change, in the version it was written in. Variants are only ever appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The first vocabulary.
    V1(CommandV1),
}

impl Command {
    /// What `by` asked for at `at`, from nowhere in particular and as often as it is sent.
    pub fn user(at: Timestamp, by: impl Into<String>, change: Change) -> Self {
        Self::V1(CommandV1::User(UserCommand { at, by: by.into(), token: None, from: String::new(), key: None, change }))
    }
}

/// The first vocabulary of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandV1 {
    /// A cluster begins, with its first node.
    Found(Found),
    /// A node joins, or comes back under its name.
    Join(Join),
    /// A node joins in the place of a lost one of the same name.
    Replace(Join),
    /// A node says what is new about itself.
    UpdateNode(UpdateNode),
    /// Somebody asks for a change.
    User(UserCommand),
    /// The scheduler's plan is carried out.
    Carry(Plan),
    /// What workers saw.
    Observe(Observe),
    /// What workers did that people want to know of.
    Note(Note),
    /// What a member says of its state.
    Attest(Attest),
    /// A group begins anew with one server.
    Recover(Recover),
}

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCommand {
    /// When.
    pub at: Timestamp,
    /// Who, as the token or the socket said.
    pub by: String,
    /// The token that was shown, if one was: names need not be unique.
    pub token: Option<TokenId>,
    /// From which address, as the server saw it; empty when nobody asked over a network.
    pub from: String,
    /// Sent again under the same key by the same person within a day, the command is answered as it was and changes nothing.
    pub key: Option<String>,
    /// What.
    pub change: Change,
}

/// What people may ask for. Variants are only ever appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// An app is wished; a new revision when anything but its scale changed.
    Deploy(Deploy),
    /// An earlier revision is wished again.
    Undo(Undo),
    /// An app is to go.
    Delete(Delete),
    /// A token with which nodes may join.
    CreateJoinToken(CreateJoinToken),
    /// No node may join with it any more.
    RevokeJoinToken(RevokeJoinToken),
    /// A token with which a person or a program may use the API.
    CreateApiToken(CreateApiToken),
    /// It opens nothing any more.
    RevokeApiToken(RevokeApiToken),
    /// A node is forgotten.
    RemoveNode(RemoveNode),
    /// A Config holds these values.
    PutConfig(PutConfig),
    /// A Config is to go.
    DeleteConfig(DeleteObject),
    /// A Secret has another version.
    PutSecret(PutSecret),
    /// A Secret is to go, with all its versions.
    DeleteSecret(DeleteObject),
    /// A Namespace has these ceilings.
    PutNamespace(PutNamespace),
    /// A Namespace has no ceilings any more.
    DeleteNamespace(DeleteNamespace),
    /// Something is about to be done beside the state: it is written down, and nothing changes.
    Witness(Witness),
}

impl Change {
    /// What is asked, as the audit log says it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "deploy",
            Self::Undo(_) => "undo",
            Self::Delete(_) => "delete",
            Self::CreateJoinToken(_) | Self::CreateApiToken(_) => "create",
            Self::RevokeJoinToken(_) | Self::RevokeApiToken(_) => "revoke",
            Self::RemoveNode(_) => "remove",
            Self::PutConfig(_) | Self::PutSecret(_) | Self::PutNamespace(_) => "put",
            Self::DeleteConfig(_) | Self::DeleteSecret(_) | Self::DeleteNamespace(_) => "delete",
            Self::Witness(witness) => witness.deed.verb(),
        }
    }

    /// Of what it is asked, as the audit log says it.
    pub fn object(&self) -> String {
        match self {
            Self::Deploy(Deploy { app, .. }) | Self::Undo(Undo { app, .. }) | Self::Delete(Delete { app }) => format!("app/{app}"),
            Self::CreateJoinToken(CreateJoinToken { id, .. }) | Self::RevokeJoinToken(RevokeJoinToken { id }) => format!("join-token/{id}"),
            Self::CreateApiToken(CreateApiToken { id, .. }) | Self::RevokeApiToken(RevokeApiToken { id }) => format!("token/{id}"),
            Self::RemoveNode(RemoveNode { node, .. }) => format!("node/{node}"),
            Self::PutConfig(PutConfig { id, .. }) | Self::DeleteConfig(DeleteObject { id, .. }) => format!("config/{id}"),
            Self::PutSecret(PutSecret { id, .. }) | Self::DeleteSecret(DeleteObject { id, .. }) => format!("secret/{id}"),
            Self::Witness(Witness { object, .. }) => object.clone(),
            Self::PutNamespace(PutNamespace { name, .. }) | Self::DeleteNamespace(DeleteNamespace { name, .. }) => {
                format!("namespace/{name}")
            }
        }
    }
}
