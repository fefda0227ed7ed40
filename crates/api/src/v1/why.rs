//! Why something does not answer. Owns the question and the walk that answers it; must never guess: every step is something looked up.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What `GET /v1/why` takes: exactly one of `url`, `app` and `request`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WhyQuery {
    /// A URL as a browser has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The method to ask the URL with [GET].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// `hello`, `hello/web` or `hello/web.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// A request id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// The walk, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhyAnswer {
    /// What was asked about.
    pub subject: String,
    /// One sentence: the answer.
    pub verdict: String,
    /// Nothing stands in the way.
    pub works: bool,
    /// In the order a request meets them.
    pub steps: Vec<WhyStep>,
}

/// One step of the walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhyStep {
    /// `host`, `route`, `revision`, `endpoints`, `queue`; `app`, `rollout`, `instance`.
    pub name: String,
    /// Whether it stands in the way.
    pub state: WhyState,
    /// What was found.
    pub text: String,
    /// `E0501` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Whether a step stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum WhyState {
    /// It does not.
    Passes,
    /// It does not, but is worth a look.
    Warns,
    /// It does.
    Blocks,
}
