//! How every refusal is told. Owns the error body; must never hold a text for the log only.

use model::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong, and how to mend it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetail {
    /// `E0401` and the like; `shoal explain CODE` has a page.
    pub code: String,
    /// One sentence naming the attempt and the object.
    pub message: String,
    /// The line that mends it; may be empty.
    #[serde(default)]
    pub help: String,
    /// More, when there is more than one sentence to say.
    #[serde(default)]
    pub details: Details,
}

/// More about an error.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Everything wrong with the documents sent, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<DocumentProblem>,
}

/// One thing wrong with one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentProblem {
    /// Which document of the request, from 0.
    pub document: usize,
    /// The problem; its `path` leads to the field inside the document.
    #[schema(schema_with = crate::schema::problem)]
    pub problem: Problem,
}
