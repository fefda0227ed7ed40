//! `shoal wait`: until an app is ready or gone. Owns what is waited for; the verdict is `verdict`'s.

use std::time::Duration;

use clap::{Args, ValueEnum};
use model::id::{AppId, Index};
use tokio::time::Instant;

use super::{
    age::parse_span,
    failure::{Exit, Failure, Outcome},
    follow::{self, Wish},
    session::Session,
    target::Target,
    terminal::Ink,
};

/// What `shoal wait` takes.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// The apps.
    #[arg(value_name = "app/NAME", required = true)]
    apps: Vec<String>,
    /// What to wait for.
    #[arg(long = "for", value_enum, value_name = "WHAT", default_value = "ready")]
    goal: Goal,
    /// How long.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_span)]
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Goal {
    Ready,
    Deleted,
}

/// Waits for all, one after the other, within one deadline.
pub async fn run(args: WaitArgs, session: &Session) -> Outcome {
    let deadline = Instant::now() + args.timeout;
    let mut exit = Exit::Done;
    for text in &args.apps {
        let app = Target::app(text, &session.namespace())?;
        let ended = match args.goal {
            Goal::Ready => until_ready(&app, deadline, session).await?,
            Goal::Deleted => until_deleted(&app, deadline, session).await?,
        };
        exit = exit.worse(ended);
    }
    Ok(exit)
}

async fn until_ready(id: &AppId, deadline: Instant, session: &Session) -> Outcome {
    let view = session.client().await?.app(id).await?;
    let wish = Wish { app: id.clone(), revision: view.status.wanted, index: Index::default() };
    let ended = follow::to_verdict(session, &wish, deadline).await?;
    let ink = if ended.verdict.exit() == Exit::Done { Ink::Good } else { Ink::Bad };
    session.terminal.data(session.terminal.out(ink, &ended.verdict.sentence(id, wish.revision, ended.took)));
    Ok(ended.verdict.exit())
}

/// An app that is not there at all is gone already.
async fn until_deleted(id: &AppId, deadline: Instant, session: &Session) -> Outcome {
    let gone = |session: &Session| session.terminal.data(format!("{id} is gone"));
    let view = match session.client().await?.app(id).await.map_err(Failure::from) {
        Ok(view) => view,
        Err(failure) if failure.exit == Exit::NotFound => {
            gone(session);
            return Ok(Exit::Done);
        }
        Err(failure) => return Err(failure),
    };
    match follow::to_absence(session, id, deadline).await {
        Ok(true) => {
            gone(session);
            Ok(Exit::Done)
        }
        Ok(false) => {
            session.terminal.data(format!(
                "{id} is still there: {}",
                if view.status.deleting { "its instances are stopping" } else { "nobody deleted it" }
            ));
            Ok(Exit::TimedOut)
        }
        Err(failure) => Err(failure),
    }
}
