//! What is wrong with an input, where, and how to mend it. Owns the one shape every bad input is told in; must never decide how it is printed on a terminal.

use serde::{Deserialize, Serialize};

/// One thing wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `E0204`; `shoal explain E0204` has a page.
    pub code: String,
    /// One sentence naming the attempt and the object.
    pub message: String,
    /// Path of the field: `spec.components.web.routes[0].path`, empty for the whole document.
    #[serde(default)]
    pub path: String,
    /// What stands under the marked place.
    #[serde(default)]
    pub label: String,
    /// The line that mends it.
    #[serde(default)]
    pub help: String,
    /// Where it stands in the user's file, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
}

/// A place in a file. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// The file as the user named it.
    pub file: String,
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
    /// How many characters are marked.
    pub width: u32,
}

/// Everything wrong with an input, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);
