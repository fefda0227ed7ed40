//! `shoal rollout`: how it goes, what was before, and back to it. Owns the options; going back is the server's.

use std::time::Duration;

use api::v1::{ApplyAnswer, RevisionView, UndoRequest};
use clap::{Args, Subcommand};
use model::{id::RevisionNumber, problem::Problem};
use tokio::time::Instant;

use super::{
    age::{self, parse_span},
    apply,
    failure::{Exit, Failure, Outcome},
    follow::{self, Wish},
    output::{Format, Listing},
    plan_text,
    session::Session,
    target::Target,
    terminal::Ink,
    views::{self, Shape},
};

/// What `shoal rollout` takes.
#[derive(Debug, Args)]
pub struct RolloutArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How the rollout goes, until its verdict.
    Status {
        /// The app.
        #[arg(value_name = "app/NAME")]
        app: String,
        /// How long to wait for the verdict.
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_span)]
        timeout: Duration,
    },
    /// The revisions, newest first, or what one of them changed.
    History {
        /// The app.
        #[arg(value_name = "app/NAME")]
        app: String,
        /// What this revision changed, field by field.
        #[arg(long, value_name = "N")]
        revision: Option<RevisionNumber>,
        /// wide, json, yaml, name or custom-columns=TITLE:.path,…
        #[arg(short, long, value_name = "FORM")]
        output: Option<Format>,
    },
    /// Back to an earlier revision, as a new one; the scale stays as it is.
    Undo {
        /// The app.
        #[arg(value_name = "app/NAME")]
        app: String,
        /// To this revision [default: the one before].
        #[arg(long, value_name = "N")]
        to: Option<RevisionNumber>,
        /// Write and return, without waiting for the verdict.
        #[arg(long)]
        detach: bool,
        /// How long to wait for the verdict.
        #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_span)]
        timeout: Duration,
    },
}

/// Runs one of them.
pub async fn run(args: RolloutArgs, session: &Session) -> Outcome {
    match args.what {
        What::Status { app, timeout } => status(&app, timeout, session).await,
        What::History { app, revision, output } => history(&app, revision, &output.unwrap_or_default(), session).await,
        What::Undo { app, to, detach, timeout } => undo(&app, to, detach, timeout, session).await,
    }
}

async fn status(app: &str, timeout: Duration, session: &Session) -> Outcome {
    let id = Target::app(app, &session.namespace())?;
    let view = session.client().await?.app(&id).await?;
    let wish = Wish { app: id.clone(), revision: view.status.wanted, index: Default::default() };
    let ended = follow::to_verdict(session, &wish, Instant::now() + timeout).await?;
    let ink = if ended.verdict.exit() == Exit::Done { Ink::Good } else { Ink::Bad };
    session.terminal.data(session.terminal.out(ink, &ended.verdict.sentence(&id, wish.revision, ended.took)));
    Ok(ended.verdict.exit())
}

async fn history(app: &str, revision: Option<RevisionNumber>, format: &Format, session: &Session) -> Outcome {
    let id = Target::app(app, &session.namespace())?;
    let mut revisions = session.client().await?.revisions(&id).await?.items;
    revisions.sort_by_key(|view| std::cmp::Reverse(view.number));
    let terminal = &session.terminal;
    if let Some(number) = revision {
        let found = revisions.iter().find(|view| view.number == number).ok_or_else(|| {
            let problem = Problem::new("E0402", format!("app `{id}` has no revision {number}"));
            Failure::of(problem.help(format!("`shoal rollout history app/{}` lists them", id.name)))
        })?;
        terminal.data(one(found, terminal.out_color));
        return Ok(Exit::Done);
    }
    let shape = Shape { wide: *format == Format::Wide, ..Shape::plain(age::now()) };
    let names = revisions.iter().map(|view| format!("revision/{}.{}", id.name, view.number)).collect();
    let objects = revisions.iter().map(|view| serde_json::json!(view)).collect();
    let listing = Listing { table: views::revisions(&revisions, shape), objects, names, single: false };
    terminal.data(listing.text(format, terminal.width));
    Ok(Exit::Done)
}

fn one(view: &RevisionView, color: bool) -> String {
    let mut lines = vec![format!("{} {} by {} at {}{}", view.app, view.number, view.by, view.at, note(view))];
    lines.extend(view.components.iter().map(|component| format!("  {} {}", component.name, component.digest)));
    lines.extend(view.changes.iter().flat_map(|change| plan_text::change(change, color)).map(|line| format!("  {line}")));
    lines.join("\n")
}

fn note(view: &RevisionView) -> String {
    if view.note.is_empty() { String::new() } else { format!(" ({})", view.note) }
}

async fn undo(app: &str, to: Option<RevisionNumber>, detach: bool, timeout: Duration, session: &Session) -> Outcome {
    let id = Target::app(app, &session.namespace())?;
    let request = UndoRequest { to, by: session.by() };
    let object = session.client().await?.undo(&id, &request).await?;
    session.terminal.hint(format!("{} goes back as {}; the scale stays as it is", object.app, object.revision));
    let answer = ApplyAnswer { index: object.version, objects: vec![object], values: Vec::new() };
    if detach {
        return Ok(Exit::Done);
    }
    apply::wait_for_all(&answer, timeout, session).await
}
