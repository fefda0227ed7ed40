//! What the state holds of each thing. Owns these shapes: a snapshot writes them and the hash covers them in the order of their fields, so golden bytes are
//! under test and a change is a new version of the record. Must never know how they change.

mod apps;
mod audit;
pub mod authority;
mod nodes;
mod tokens;
mod values;

pub use self::{
    apps::{AppRecord, Placement, Revision, Rollout},
    audit::{AnswerRecord, AuditEntry, AuditOutcome},
    authority::{Authorities, Retired, Rotation},
    nodes::{ClusterRecord, NodeRecord},
    tokens::{ApiTokenRecord, JoinTokenRecord},
    values::{ConfigRecord, NamespaceRecord, SecretRecord, SecretVersion},
};
