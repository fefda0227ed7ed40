//! `shoal lint`: manifests and components checked without a server. Owns nothing: the rules are the model's and `inspect`'s.

use clap::Args;

use super::{
    documents::{Documents, FileArgs},
    failure::{Exit, Outcome},
    session::Session,
    sources,
};

/// What `shoal lint` takes.
#[derive(Debug, Args)]
pub struct LintArgs {
    #[command(flatten)]
    files: FileArgs,
}

/// Checks and says what was checked.
pub fn run(args: &LintArgs, session: &Session) -> Outcome {
    let mut documents = Documents::load(&args.files, session.globals.namespace.as_ref())?;
    let artifacts = sources::resolve(&mut documents)?;
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let apps = count(documents.loaded.len(), "app");
    let objects =
        if documents.objects.is_empty() { String::new() } else { format!(", {}", count(documents.objects.len(), "other object")) };
    let apps = format!("{apps}{objects}");
    session.terminal.data(format!("{apps} and {} checked, nothing wrong", count(artifacts.len(), "component file")));
    if let Some(file) = args.files.files.first() {
        session.terminal.hint(format!("next: shoal plan -f {}", file.display()));
    }
    Ok(Exit::Done)
}
