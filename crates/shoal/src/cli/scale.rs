//! `shoal scale app/comp=N`: the number of instances, written only if the app is still as it was read. Owns the way there: read, change, write back.

use std::time::Duration;

use clap::Args;
use model::{
    app::App,
    id::{AppId, Name},
    problem::Problem,
};
use serde_json::json;

use super::{
    age::parse_span,
    apply::{self, Wishes},
    failure::{Exit, Failure, Outcome},
    session::Session,
    target::Target,
};

/// What `shoal scale` takes.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// Component and number; several of one app go together.
    #[arg(value_name = "APP/COMPONENT=N", required = true)]
    wishes: Vec<String>,
    /// Write and return, without waiting for the verdict.
    #[arg(long)]
    detach: bool,
    /// How long to wait for the verdict.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_span)]
    timeout: Duration,
}

/// Scales and waits.
pub async fn run(args: ScaleArgs, session: &Session) -> Outcome {
    let wishes = args.wishes.iter().map(|text| parse(text, &session.namespace())).collect::<Result<Vec<_>, _>>()?;
    let mut apps: Vec<App> = Vec::new();
    for (id, component, replicas) in wishes {
        if !apps.iter().any(|app| app.id() == id) {
            apps.push(read(&id, session).await?);
        }
        let app = apps.iter_mut().find(|app| app.id() == id).expect("it was just put there");
        let found = app.spec.components.get_mut(&component).ok_or_else(|| {
            let problem = Problem::new("E0402", format!("app `{id}` has no component `{component}`"));
            Failure::of(problem.help(format!("`shoal get components {}` lists them", id.name)))
        })?;
        found.scale.replicas = replicas;
    }
    let wishes = Wishes { canonical: apps.iter().map(|app| json!(app)).collect(), ..Wishes::default() };
    let answer = apply::write(&wishes, session).await?;
    for object in &answer.objects {
        session.terminal.hint(format!("{} {} ({})", object.app, apply::written_word(object.outcome), object.revision));
    }
    if args.detach {
        return Ok(Exit::Done);
    }
    apply::wait_for_all(&answer, args.timeout, session).await
}

/// The app as it is; its version makes the write fail if somebody is faster.
async fn read(id: &AppId, session: &Session) -> Result<App, Failure> {
    let view = session.client().await?.app(id).await?;
    serde_json::from_value(json!({"metadata": view.metadata, "spec": view.spec})).map_err(|error| {
        Failure::sentence(Exit::Error, format!("the server's `{id}` is not understood: {error}"), "is `shoal` as new as the server?")
    })
}

fn parse(text: &str, namespace: &Name) -> Result<(AppId, Name, u32), Failure> {
    let wrong = || Failure::usage(format!("`{text}` is not a wish for instances"), "write it as APP/COMPONENT=N");
    let (component, number) = text.split_once('=').ok_or_else(wrong)?;
    let (app, component) = Target::component(component, namespace)?;
    Ok((app, component, number.parse().map_err(|_| wrong())?))
}
