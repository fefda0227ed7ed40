//! Clusters this user knows: `shoal login` and `shoal context`. Owns the commands; which one a command speaks to is `choice`'s, the file is `file`'s.

pub mod choice;
pub mod file;
pub mod follow;
pub mod login;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::file::{Context, Contexts};
use super::{
    failure::{Exit, Failure, Outcome},
    output::{Format, Listing},
    session::Session,
    table::Table,
};

/// What `shoal context` takes.
#[derive(Debug, Args)]
pub struct ContextArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Clusters this user has logged in to.
    #[command(visible_alias = "list")]
    Ls {
        /// wide, json, yaml, name or custom-columns=TITLE:.path,…
        #[arg(short, long, value_name = "FORM")]
        output: Option<Format>,
    },
    /// Makes it the one that commands speak to.
    Use {
        /// As `shoal context ls` shows it.
        name: String,
    },
    /// Forgets it, its token too; the token itself stays good.
    #[command(visible_alias = "remove")]
    Rm {
        /// As `shoal context ls` shows it.
        name: String,
    },
}

/// Runs one of them.
pub fn run(args: ContextArgs, session: &Session) -> Outcome {
    let path = path()?;
    let mut contexts = Contexts::load(&path)?;
    let terminal = &session.terminal;
    match args.what {
        What::Ls { output } => {
            let format = output.unwrap_or_default();
            let text = listing(&contexts, format == Format::Wide).text(&format, terminal.width);
            if text.is_empty() { terminal.hint("no contexts; next: shoal login URL") } else { terminal.data(text) }
        }
        What::Use { name } => {
            contexts.named(&name)?;
            contexts.current = Some(name.clone());
            contexts.save(&path)?;
            terminal.data(format!("context/{name} is in use"));
            terminal.hint("next: shoal whoami");
        }
        What::Rm { name } => {
            contexts.named(&name)?;
            contexts.all.remove(&name);
            let was_current = contexts.current.take_if(|current| *current == name).is_some();
            contexts.save(&path)?;
            terminal.data(format!("context/{name} removed"));
            terminal.hint("its token is still good where it is known; `shoal token revoke ID` ends it");
            if was_current {
                terminal.hint("no context is in use; next: shoal context use NAME");
            }
        }
    }
    Ok(Exit::Done)
}

/// Where the contexts are.
///
/// # Errors
/// Neither `XDG_CONFIG_HOME` nor `HOME` is set.
pub fn path() -> Result<std::path::PathBuf, Failure> {
    file::path().ok_or_else(|| Failure::usage("there is no place for contexts", "set HOME or XDG_CONFIG_HOME to an absolute path"))
}

/// Contexts, without their tokens in any form.
fn listing(contexts: &Contexts, wide: bool) -> Listing {
    let is_current = |name: &String| contexts.current.as_ref() == Some(name);
    let mut table = Table::new(["current", "name", "server", "namespace"].into_iter().chain(wide.then_some("ca digest")));
    for (name, context) in &contexts.all {
        let current = if is_current(name) { "*".to_owned() } else { String::new() };
        let namespace = context.namespace.as_ref().map(ToString::to_string).unwrap_or_default();
        let digest = wide.then(|| context.ca_digest.map(|digest| digest.to_string()).unwrap_or_default());
        table.row([current, name.clone(), context.servers.join(","), namespace].into_iter().chain(digest));
    }
    let objects = contexts.all.iter().map(|(name, context)| object(name, context, is_current(name))).collect();
    let names = contexts.all.keys().map(|name| format!("context/{name}")).collect();
    Listing { table, objects, names, single: false }
}

fn object(name: &str, context: &Context, current: bool) -> Value {
    json!({"name": name, "current": current, "servers": context.servers, "caDigest": context.ca_digest, "namespace": context.namespace,
           "token": context.token.is_some()})
}

#[cfg(test)]
mod tests {
    use super::{file::Secret, *};

    #[test]
    fn contexts_are_listed_without_tokens() {
        let context = |server: &str| Context {
            servers: vec![server.to_owned()],
            ca_digest: None,
            token: Some(Secret("shoal_abc_def".to_owned())),
            namespace: None,
        };
        let all = [("lab", context("https://lab:7070")), ("prod", context("https://10.0.0.1:7070"))];
        let all = all.map(|(name, context)| (name.to_owned(), context)).into();
        let listing = listing(&Contexts { current: Some("prod".to_owned()), all }, false);
        expect_test::expect![[r#"
            CURRENT   NAME   SERVER                  NAMESPACE
            -         lab    https://lab:7070        -
            *         prod   https://10.0.0.1:7070   -"#]]
        .assert_eq(&listing.text(&Format::Table, None));
        for format in [Format::Json, Format::Yaml, Format::Name] {
            assert!(!listing.text(&format, None).contains("shoal_abc"), "{format:?}");
        }
    }
}
