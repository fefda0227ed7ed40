//! `shoal delete`: apps go, after a yes. Owns the question; what is protected, the server says.

use clap::Args;
use model::{app::App, id::AppId};

use super::{
    documents::{Documents, FileArgs},
    failure::{Exit, Failure, Outcome},
    session::Session,
    target::{self, Kind, Target},
};

/// What `shoal delete` takes.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// app; KIND/NAME works too.
    #[arg(value_name = "KIND")]
    kind: Option<String>,
    /// Which ones.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    /// Do not ask; required where nobody can answer.
    #[arg(short, long)]
    yes: bool,
}

/// Asks and deletes. What is not there is not found, and the others are still deleted.
pub async fn run(args: DeleteArgs, session: &Session) -> Outcome {
    let apps = apps(&args, session)?;
    let terminal = &session.terminal;
    let list = apps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !args.yes {
        if !terminal.interactive {
            return Err(Failure::usage(format!("refusing to delete {list} without a yes"), "nobody can be asked here: add --yes"));
        }
        if !terminal.confirm(&format!("Delete {list} with all revisions?")) {
            return Err(Failure::sentence(Exit::Error, "nothing was deleted", ""));
        }
    }
    let mut exit = Exit::Done;
    for app in &apps {
        match session.client().await?.delete(app, &session.by()).await.map_err(Failure::from) {
            Ok(answer) => {
                let stopping = if answer.instances == 0 { String::new() } else { format!(", {} still stopping", answer.instances) };
                terminal.data(format!("app/{app} deleted{stopping}"));
            }
            Err(failure) if apps.len() > 1 && failure.exit != Exit::Unreachable => {
                terminal.complain(failure.render(terminal.err_color));
                exit = exit.worse(failure.exit);
            }
            Err(failure) => return Err(failure),
        }
    }
    if let (Exit::Done, Some(app)) = (exit, apps.first()) {
        terminal.hint(format!("next: shoal wait app/{} --for deleted", app.name));
    }
    Ok(exit)
}

fn apps(args: &DeleteArgs, session: &Session) -> Result<Vec<AppId>, Failure> {
    let Some(kind) = &args.kind else {
        let documents = Documents::load(&args.files, session.globals.namespace.as_ref())?;
        return Ok(documents.loaded.iter().map(|loaded| App::id(&loaded.app)).collect());
    };
    if !args.files.files.is_empty() {
        return Err(Failure::usage("both -f and a name were given", "give one of them"));
    }
    let (kind, first) = target::kind_and_name(kind, args.names.first().map(String::as_str))?;
    if kind != Kind::App {
        return Err(Failure::usage(
            format!("a {} is not deleted by itself", kind.singular()),
            "only apps are; change the manifest and apply it",
        ));
    }
    let rest = args.names.iter().skip(usize::from(args.names.first() == first.as_ref()));
    let names: Vec<&String> = first.iter().chain(rest).collect();
    if names.is_empty() {
        return Err(Failure::usage("which app?", "shoal delete app NAME"));
    }
    names.into_iter().map(|name| Target::app(name, &session.namespace())).collect()
}
