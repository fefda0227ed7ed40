//! `shoal explain`: the page of an error code or of a manifest field, without a server. Owns nothing: the pages are the model's.

use clap::Args;

use super::{
    failure::{Exit, Failure, Outcome},
    session::Session,
};

/// What `shoal explain` takes.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// An error code (E0204) or the path of a field (app.spec.components.routes); without it, all error codes.
    #[arg(value_name = "CODE|FIELD")]
    topic: Option<String>,
}

/// Prints the page.
pub fn run(args: &ExplainArgs, session: &Session) -> Outcome {
    let terminal = &session.terminal;
    let Some(topic) = args.topic.as_deref() else {
        for code in model::codes::CODES {
            terminal.data(format!("{}  {}", code.code, code.title));
        }
        return Ok(Exit::Done);
    };
    if let Some(code) = model::codes::find(&topic.to_uppercase()) {
        terminal.data(code.page.trim_end());
        return Ok(Exit::Done);
    }
    match model::schema::explain(topic) {
        Some(page) => {
            terminal.data(page.trim_end());
            Ok(Exit::Done)
        }
        None => {
            let help = "`shoal explain` lists the error codes, `shoal explain app` the fields of an app";
            Err(Failure::sentence(Exit::NotFound, format!("`{topic}` is neither an error code nor a field of a manifest"), help))
        }
    }
}
