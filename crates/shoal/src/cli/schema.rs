//! `shoal schema`: the JSON schema of manifests on stdout, for editors. Owns nothing: the schema is the model's.

use clap::Args;

use super::{
    failure::{Exit, Outcome},
    session::Session,
};

/// What `shoal schema` takes.
#[derive(Debug, Args)]
pub struct SchemaArgs {}

/// Prints the schema.
pub fn run(_: &SchemaArgs, session: &Session) -> Outcome {
    session.terminal.data(format!("{:#}", model::schema::json_schema()));
    session.terminal.hint("next: save it and put `# yaml-language-server: $schema=FILE` on top of a manifest");
    Ok(Exit::Done)
}
