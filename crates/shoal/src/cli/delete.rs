//! `shoal delete`: apps, configs, secrets and namespaces go, after a yes. Owns the question; what is protected or in use, the server says.

use std::time::Duration;

use clap::Args;
use model::{
    app::{App, Metadata},
    id::{AppId, ObjectId},
    manifest::Document,
};
use tokio::time::Instant;

use super::{
    cluster::kinds,
    documents::{Documents, FileArgs},
    failure::{Exit, Failure, Outcome},
    follow,
    session::Session,
    sure::sure,
    target::{self, Kind, Target},
};

/// How long the apps of a manifest may take to stop before what they name is deleted; a server says what is in use after that.
const STOP_WAIT_MAX: Duration = Duration::from_secs(60);

/// What `shoal delete` takes.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// app, config, secret or namespace; KIND/NAME works too.
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
    let doomed = doomed(&args, session)?;
    let terminal = &session.terminal;
    let list = doomed.iter().map(Doomed::shown).collect::<Vec<_>>().join(", ");
    let everything = if doomed.iter().all(|one| matches!(one, Doomed::App(_))) { "revisions" } else { "versions" };
    sure(terminal, args.yes, &format!("delete {list}"), &format!("Delete {list} with all {everything}?"))?;
    let mut exit = Exit::Done;
    let mut going = Vec::new();
    for one in &doomed {
        match one {
            Doomed::App(app) => going.push(app),
            // What an app names is needed until its last instance has stopped.
            Doomed::Object(..) => {
                for app in going.drain(..) {
                    follow::to_absence(session, app, Instant::now() + STOP_WAIT_MAX).await?;
                }
            }
        }
        match one.delete(session).await {
            Ok(said) => terminal.data(said),
            Err(failure) if doomed.len() > 1 && failure.exit != Exit::Unreachable => {
                terminal.complain(failure.render(terminal.err_color));
                exit = exit.worse(failure.exit);
            }
            Err(failure) => return Err(failure),
        }
    }
    if let (Exit::Done, Some(Doomed::App(app))) = (exit, doomed.first()) {
        terminal.hint(format!("next: shoal wait app/{} --for deleted", app.name));
    }
    Ok(exit)
}

/// What goes.
enum Doomed {
    App(AppId),
    /// A config, a secret or a namespace.
    Object(Kind, ObjectId),
}

impl Doomed {
    /// What a manifest that is no app's names.
    fn object(document: &Document) -> Option<Self> {
        let Metadata { namespace, name, .. } = document.metadata().clone();
        let kind = match document {
            Document::App(_) => return None,
            Document::Config(_) => Kind::Config,
            Document::Secret(_) => Kind::Secret,
            Document::Namespace(_) => Kind::Namespace,
        };
        Some(Self::Object(kind, ObjectId { namespace, name }))
    }

    fn shown(&self) -> String {
        match self {
            Self::App(app) => app.to_string(),
            Self::Object(kind, id) => format!("{}/{}", kind.singular(), id.name),
        }
    }

    /// Deletes it and says so.
    async fn delete(&self, session: &Session) -> Result<String, Failure> {
        match self {
            Self::App(app) => {
                let answer = session.client().await?.delete(app, &session.by()).await?;
                let stopping = if answer.instances == 0 { String::new() } else { format!(", {} still stopping", answer.instances) };
                Ok(format!("app/{app} deleted{stopping}"))
            }
            Self::Object(kind, id) => {
                kinds::delete(*kind, id, session).await?;
                Ok(format!("{} deleted", self.shown()))
            }
        }
    }
}

fn doomed(args: &DeleteArgs, session: &Session) -> Result<Vec<Doomed>, Failure> {
    let Some(kind) = &args.kind else {
        let documents = Documents::load(&args.files, session.globals.namespace.as_ref())?;
        // Apps first: what they name goes only after them.
        let apps = documents.loaded.iter().map(|loaded| Doomed::App(App::id(&loaded.app)));
        return Ok(apps.chain(documents.objects.iter().rev().filter_map(|object| Doomed::object(&object.document))).collect());
    };
    if !args.files.files.is_empty() {
        return Err(Failure::usage("both -f and a name were given", "give one of them"));
    }
    let (kind, first) = target::kind_and_name(kind, args.names.first().map(String::as_str))?;
    match kind {
        Kind::App | Kind::Config | Kind::Secret | Kind::Namespace => {}
        Kind::Node | Kind::Member => {
            let message = format!("a {} is removed, not deleted", kind.singular());
            return Err(Failure::usage(message, format!("shoal {} remove NAME", kind.singular())));
        }
        _ => {
            let message = format!("a {} is not deleted by itself", kind.singular());
            return Err(Failure::usage(message, "apps, configs, secrets and namespaces are; change the manifest and apply it"));
        }
    }
    let rest = args.names.iter().skip(usize::from(args.names.first() == first.as_ref()));
    let names: Vec<&String> = first.iter().chain(rest).collect();
    if names.is_empty() {
        let kind = kind.singular();
        return Err(Failure::usage(format!("which {kind}?"), format!("shoal delete {kind} NAME")));
    }
    let one = |name: &String| match kind {
        Kind::App => Target::app(name, &session.namespace()).map(Doomed::App),
        _ => kinds::parse(kind, name).map(|name| Doomed::Object(kind, ObjectId { namespace: session.namespace(), name })),
    };
    names.into_iter().map(one).collect()
}
