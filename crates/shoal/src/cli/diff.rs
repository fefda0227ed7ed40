//! `shoal diff`: the fields that differ between manifests and the cluster. Owns nothing: the comparison is the server's.

use clap::Args;

use super::{
    apply::Wishes,
    documents::FileArgs,
    failure::{Exit, Outcome},
    plan, plan_text,
    session::Session,
};

/// What `shoal diff` takes.
#[derive(Debug, Args)]
pub struct DiffArgs {
    #[command(flatten)]
    files: FileArgs,
}

/// Compares and prints.
pub async fn run(args: DiffArgs, session: &Session) -> Outcome {
    let wishes = Wishes::load(&args.files, session)?;
    let answer = plan::ask(&wishes, session).await?;
    if !answer.has_changes() {
        return Ok(Exit::Done);
    }
    session.terminal.data(plan_text::diff(&answer, session.terminal.out_color));
    Ok(Exit::Changes)
}
