//! `shoal run x.wasm`: a temporary app on the server that is there, its log inline, gone at Ctrl-C. Owns its life; writing and waiting is `apply`'s.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use model::{
    id::{AppId, Index, Name},
    problem::Problem,
};
use tokio::time::Instant;

use super::{
    apply::{self, Wishes},
    documents::Documents,
    failure::{Exit, Failure, Outcome},
    follow, inline_logs, interrupt,
    session::Session,
    sources, temporary, urls,
};

/// How long a temporary app may take until its verdict: longer than compiling the largest component seen.
const VERDICT_MAX: Duration = Duration::from_secs(300);
/// How long the end waits for the last instance: requests under way finish within it.
const GONE_MAX: Duration = Duration::from_secs(30);

/// What `shoal run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The component.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The app's name [default: the file's, with the process's number].
    #[arg(long)]
    name: Option<Name>,
    /// An environment variable of the guest; may be given several times.
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
}

/// Applies, shows the log until Ctrl-C, deletes.
pub async fn run(args: RunArgs, session: &Session) -> Outcome {
    let wishes = wishes(&args, session)?;
    let id = wishes.documents.loaded.first().map(|loaded| loaded.app.id()).expect("the manifest has one app");
    if session.client().await?.app(&id).await.is_ok() {
        // Somebody else's app is neither replaced nor deleted afterwards.
        let problem = Problem::new("E0403", format!("an app `{id}` is there already")).help("choose another name with --name");
        return Err(Failure::of(problem));
    }
    let ended = tokio::select! {
        ended = serve(&wishes, &id, session) => ended,
        () = interrupt::requested() => Ok(Exit::Done),
    };
    let gone = tokio::select! {
        gone = remove(&id, session) => gone,
        () = interrupt::requested() => {
            session.terminal.complain(format!("app/{id} may still be there; next: shoal delete app {id}"));
            return Ok(Exit::Error);
        }
    };
    ended.and_then(|exit| gone.map(|()| exit))
}

fn wishes(args: &RunArgs, session: &Session) -> Result<Wishes, Failure> {
    let default =
        || format!("{}-{}", temporary::name_of(&args.file), std::process::id()).parse().unwrap_or_else(|_| temporary::name_of(&args.file));
    let name = args.name.clone().unwrap_or_else(default);
    let text = temporary::manifest(&name, &args.file);
    let mut documents = Documents::of_text(text, format!("(the app of {})", args.file.display()), session.globals.namespace.as_ref())?;
    let artifacts = sources::resolve(&mut documents)?;
    for pair in &args.env {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| Failure::usage(format!("`--env {pair}` has no value"), "write it as --env NAME=VALUE"))?;
        let components = documents.loaded.iter_mut().flat_map(|loaded| loaded.app.spec.components.values_mut());
        components.for_each(|component| drop(component.env.insert(name.to_owned(), value.to_owned())));
    }
    Ok(Wishes { canonical: documents.canonical(), artifacts, documents, expect: Some(Index(0)), accept: true })
}

async fn serve(wishes: &Wishes, id: &AppId, session: &Session) -> Outcome {
    let answer = apply::write(wishes, session).await?;
    let exit = apply::wait_quietly(&answer, VERDICT_MAX, session).await?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let url = answer.objects.first().and_then(|object| object.urls.first()).and_then(|url| urls::Url::parse(url));
    if let Some(url) = url {
        session.terminal.hint(format!("{}\nCtrl-C deletes it", urls::curl(&url)));
    }
    inline_logs::show(id, inline_logs::Requests::All, session).await
}

async fn remove(id: &AppId, session: &Session) -> Result<(), Failure> {
    match session.client().await?.delete(id, &session.by()).await.map_err(Failure::from) {
        Ok(_) => {
            let gone = follow::to_absence(session, id, Instant::now() + GONE_MAX).await?;
            session.terminal.hint(if gone { format!("app/{id} is gone") } else { format!("app/{id} is deleted and still stopping") });
            Ok(())
        }
        // Ctrl-C came before it was written, or it was refused.
        Err(failure) if failure.exit == Exit::NotFound => Ok(()),
        Err(failure) => Err(failure),
    }
}
