//! `shoal doctor`: whether this machine and the way to the servers are fit for a cluster. Owns the options and the text; measuring and judging are apart.

mod judge;
mod measure;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use self::judge::{Line, Measured, Profile, Status};
use super::{
    discovery::SYSTEM_DATA_DIRECTORY,
    failure::{Exit, Outcome},
    session::{self, Session},
    terminal::{Ink, paint},
};

/// What `shoal doctor` takes.
#[derive(Debug, Args)]
#[command(after_help = "The disk is measured in --data-dir or SHOAL_DATA_DIR; exit code 1 when something is broken.")]
pub struct DoctorArgs {
    /// How long members wait for each other: what disk and network are measured against.
    #[arg(long, value_enum, default_value = "lan")]
    profile: Profile,
    /// Print JSON.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

/// Measures, judges, prints.
pub async fn run(args: DoctorArgs, session: &Session) -> Outcome {
    let directory =
        session::data_directory(&session.globals).or_else(|| Some(PathBuf::from(SYSTEM_DATA_DIRECTORY)).filter(|path| path.is_dir()));
    let disk = match &directory {
        Some(directory) => {
            session.terminal.live("writing to the disk …");
            let directory = directory.clone();
            tokio::task::spawn_blocking(move || measure::disk(&directory)).await.ok()
        }
        None => None,
    };
    let choice = session.choice()?;
    session.terminal.live("asking servers …");
    // Without a word about where, the addresses are guesses, and nobody misses who is not there.
    let guessed = !choice.is_one_cluster && choice.addresses.len() > 1;
    let servers = measure::servers(&choice, guessed).await;
    let members = match measure::cluster(&choice).await {
        Some(cluster) => measure::members(&cluster).await,
        None => Vec::new(),
    };
    let measured = Measured { disk, system: measure::system(), servers, members };
    let lines = judge::judge(&measured, args.profile, env!("CARGO_PKG_VERSION"));
    let terminal = &session.terminal;
    if args.output.is_some() {
        terminal.data(format!("{:#}", json!({ "checks": lines })));
    } else {
        terminal.data(text(&lines, terminal.out_color));
        if measured.disk.is_none() {
            terminal.hint("the disk was not measured; next, on a node: shoal doctor --data-dir DIR");
        }
        if measured.servers.is_empty() {
            terminal.hint("no server was asked: none answers on this machine, and none was named");
        }
    }
    Ok(if lines.iter().any(|line| line.status == Status::Broken) { Exit::Error } else { Exit::Done })
}

/// One line for each check, its remedy below it.
fn text(lines: &[Line], color: bool) -> String {
    let width = lines.iter().map(|line| line.check.chars().count()).max().unwrap_or(0);
    let one = |line: &Line| {
        let (word, ink) = match line.status {
            Status::Ok => ("ok     ", Ink::Good),
            Status::Warning => ("warning", Ink::Moving),
            Status::Broken => ("broken ", Ink::Bad),
        };
        let mut text = format!("{}  {:<width$}  {}", paint(color, ink, word), line.check, line.found);
        if !line.remedy.is_empty() {
            text.push_str(&format!("\n         = help: {}", line.remedy));
        }
        text
    };
    lines.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_how_it_is_and_what_to_do() {
        let line = |status, check: &str, remedy: &str| Line { status, check: check.into(), found: "found".into(), remedy: remedy.into() };
        let lines =
            [line(Status::Ok, "disk space", ""), line(Status::Warning, "clock", "set it"), line(Status::Broken, "server", "start it")];
        expect_test::expect![[r#"
            ok       disk space  found
            warning  clock       found
                     = help: set it
            broken   server      found
                     = help: start it"#]]
        .assert_eq(&text(&lines, false));
    }
}
