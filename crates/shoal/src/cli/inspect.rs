//! `shoal inspect`: what a .wasm is, without running or compiling it. Owns the layout; the facts are `inspect`'s.

use std::path::PathBuf;

use ::inspect::{Handler, Import, Inspection, estimate, inspect, offer};
use clap::Args;
use model::problem::Problem;

use super::{
    failure::{Exit, Failure, Outcome, io_words},
    session::Session,
    temporary,
    terminal::{Ink, paint},
    views::bytes,
};

/// What `shoal inspect` takes.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The component.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Print JSON.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

/// Reads and prints.
pub fn run(args: &InspectArgs, session: &Session) -> Outcome {
    let shown = args.file.display();
    let unreadable = |error: std::io::Error| Failure::of(Problem::new("E0207", format!("cannot read `{shown}`: {}", io_words(&error))));
    let content = std::fs::read(&args.file).map_err(unreadable)?;
    let inspection = inspect(&content).map_err(|error| {
        // The problem is told of a component of an app; here there is only a file.
        let told = error.problem(&temporary::name_of(&args.file));
        Failure::of(Problem::new(&told.code, format!("`{shown}` {error}")).help(told.help))
    })?;
    let terminal = &session.terminal;
    if args.output.is_some() {
        terminal.data(serde_json::to_string_pretty(&inspection).expect("an inspection has string keys only"));
    } else {
        terminal.data(text(&shown.to_string(), &inspection, terminal.out_color));
    }
    terminal.hint(match inspection.handler {
        _ if inspection.imports.iter().any(|import| !offer::is_offered(&import.name)) => "next: shoal explain E0204".to_owned(),
        _ if offer::answers_http(&inspection) => format!("next: shoal run {shown}"),
        _ => "it answers no HTTP requests, so it cannot have routes".to_owned(),
    });
    Ok(Exit::Done)
}

fn text(file: &str, inspection: &Inspection, color: bool) -> String {
    let handler = match inspection.handler {
        Handler::Http02 => "answers HTTP requests (wasi:http 0.2)",
        Handler::Http03 => "answers HTTP requests (wasi:http 0.3)",
        Handler::Command => "runs once and ends (wasi:cli/run)",
        Handler::None => "exports nothing a host calls",
    };
    let mut lines = vec![
        format!("{:<10}{file}", "File:"),
        format!("{:<10}{} ({} bytes)", "Size:", bytes(inspection.size), inspection.size),
        format!("{:<10}{} to compile", "Cost:", estimate::compile_words(inspection.size)),
        format!("{:<10}{}", "Digest:", inspection.digest),
        format!("{:<10}{}", "Language:", inspection.language.as_deref().unwrap_or("unknown")),
        format!("{:<10}{handler}", "Handler:"),
    ];
    let (runtime, own): (Vec<_>, Vec<_>) = inspection.imports.iter().partition(|import| inspection.is_of_the_runtime(import));
    let language = inspection.language.as_deref().unwrap_or("language");
    for (title, imports) in [("Imports:".to_owned(), own), (format!("Imported by the {language} runtime:"), runtime)] {
        if !imports.is_empty() || title == "Imports:" {
            lines.push(title);
        }
        lines.extend(imports.into_iter().map(|import| self::import(import, color)));
    }
    lines.push("Exports:".to_owned());
    lines.extend(inspection.exports.iter().map(|export| format!("  {}", export.name)));
    lines.join("\n")
}

fn import(import: &Import, color: bool) -> String {
    let missing =
        if offer::is_offered(&import.name) { String::new() } else { format!("  {}", paint(color, Ink::Bad, "(nothing provides it)")) };
    format!("  {}{missing}", import.name)
}
