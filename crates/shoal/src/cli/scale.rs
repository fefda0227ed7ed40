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
    let Some((component, number)) = text.split_once('=') else {
        let component = if text.contains('/') { text.to_owned() } else { format!("{text}/COMPONENT") };
        return Err(Failure::usage(format!("`{text}` does not say how many instances"), format!("shoal scale {component}=N")));
    };
    let (app, component) = Target::component(component, namespace)?;
    let number = number.parse().map_err(|_| Failure::usage(format!("`{number}` is no number of instances"), "write it as APP/COMPONENT=N"));
    Ok((app, component, number?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_in_a_wish_is_said() {
        let namespace = Name::default_namespace();
        let said = |text: &str| parse(text, &namespace).map_err(|failure| failure.render(false));
        assert!(said("hello/web=3").is_ok_and(|(_, _, replicas)| replicas == 3));
        let check = |text: &str, message: &str, help: &str| {
            let told = said(text).expect_err("no wish");
            assert!(told.contains(message) && told.contains(help), "{told}");
        };
        check("hello", "`hello` does not say how many instances", "shoal scale hello/COMPONENT=N");
        check("hello/web", "`hello/web` does not say how many instances", "shoal scale hello/web=N");
        check("hello/web=many", "`many` is no number of instances", "APP/COMPONENT=N");
    }
}
