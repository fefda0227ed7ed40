//! `shoal why`: from a URL, an app or a request id to what stands in the way, step by step. Owns the layout; every step was looked up by the server.

use api::v1::{WhyAnswer, WhyQuery, WhyState};
use clap::Args;

use super::{
    failure::{Exit, Outcome},
    session::Session,
    target::Target,
    terminal::{Ink, paint},
};

/// What `shoal why` takes.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// A URL, an app, a component or an instance.
    #[arg(value_name = "URL|APP[/COMPONENT[.N]]", required_unless_present = "request", conflicts_with = "request")]
    subject: Option<String>,
    /// A request id, as in the answer's X-Request-Id.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// The method to ask the URL with.
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,
    /// Print the answer as JSON.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

/// Asks and prints the walk. Exit code 0 when nothing stands in the way, 1 when something does.
pub async fn run(args: WhyArgs, session: &Session) -> Outcome {
    let mut query = WhyQuery { method: args.method.map(|method| method.to_uppercase()), request: args.request, ..WhyQuery::default() };
    match args.subject {
        Some(url) if url.contains("://") => query.url = Some(url),
        Some(text) => query.app = Some(subject(&Target::parse(&text, &session.namespace())?)),
        None => {}
    }
    let answer = session.client().await?.why(&query).await?;
    let terminal = &session.terminal;
    match args.output {
        Some(_) => terminal.data(serde_json::to_string_pretty(&answer).expect("an answer has string keys only")),
        None => terminal.data(text(&answer, terminal.out_color)),
    }
    Ok(if answer.works { Exit::Done } else { Exit::Error })
}

fn subject(target: &Target) -> String {
    let component = target.component.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
    let ordinal = target.ordinal.map(|number| format!(".{number}")).unwrap_or_default();
    format!("{}{component}{ordinal}", target.app)
}

/// The walk as text without a final line end.
fn text(answer: &WhyAnswer, color: bool) -> String {
    let width = answer.steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
    let mut lines = vec![paint(color, Ink::Strong, &answer.subject)];
    for step in &answer.steps {
        let (ink, word) = match step.state {
            WhyState::Passes => (Ink::Good, "ok"),
            WhyState::Warns => (Ink::Moving, "look"),
            WhyState::Blocks => (Ink::Bad, "stop"),
        };
        let code = step.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
        lines.push(format!("  {:<width$}  {}  {}{code}", step.name, paint(color, ink, &format!("{word:<4}")), step.text));
        lines.extend(step.help.iter().map(|help| format!("  {:<width$}        = help: {help}", "")));
    }
    lines.push(paint(color, if answer.works { Ink::Good } else { Ink::Bad }, &answer.verdict));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_walk_shows_where_it_stops() {
        let answer: WhyAnswer = serde_json::from_value(json!({
            "subject": "GET http://hello.localhost/", "verdict": "no endpoint is ready", "works": false,
            "steps": [
                {"name": "host", "state": "passes", "text": "hello.localhost"},
                {"name": "route", "state": "warns", "text": "/ to hello/web, r2"},
                {"name": "endpoints", "state": "blocks", "text": "0 of 2 ready", "code": "E0503", "help": "shoal logs hello/web"},
            ],
        }))
        .expect("the shape of the API");
        expect![[r#"
            GET http://hello.localhost/
              host       ok    hello.localhost
              route      look  / to hello/web, r2
              endpoints  stop  0 of 2 ready [E0503]
                               = help: shoal logs hello/web
            no endpoint is ready"#]]
        .assert_eq(&text(&answer, false));
    }
}
