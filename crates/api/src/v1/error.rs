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

impl ErrorDetail {
    /// An error with `code`, in one sentence and the line that mends it.
    pub fn new(code: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), help: help.into(), details: Details::default() }
    }

    /// `E0402`: there is no such thing.
    pub fn not_found(what: &str) -> Self {
        Self::new("E0402", format!("{what} does not exist"), "")
    }

    /// What is wrong with the documents of a request, each with its place among them; at least one thing.
    pub fn problems(problems: Vec<(usize, Problem)>) -> Self {
        let (_, first) = problems.first().expect("a refusal has a reason");
        let message = match problems.len() {
            1 => first.message.clone(),
            count => format!("{} (and {} more)", first.message, count - 1),
        };
        let mut error = Self::new(&first.code, message, first.help.clone());
        error.details.problems = problems.into_iter().map(|(document, problem)| DocumentProblem { document, problem }).collect();
        error
    }
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
