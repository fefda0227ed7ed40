//! `shoal version`: this program, and the server when one answers. Owns nothing.

use clap::Args;

use super::{
    failure::{Exit, Outcome},
    session::Session,
};

/// What `shoal version` takes.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// This program only.
    #[arg(long)]
    client: bool,
    /// Print JSON.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

/// Prints the versions. A server that does not answer is no failure: the question was what is here.
pub async fn run(args: VersionArgs, session: &Session) -> Outcome {
    let own = env!("CARGO_PKG_VERSION");
    let server = if args.client {
        None
    } else {
        match session.client().await {
            Ok(client) => client.version().await.ok(),
            Err(_) => None,
        }
    };
    if args.output.is_some() {
        session.terminal.data(format!("{:#}", serde_json::json!({"client": {"version": own}, "server": server})));
        return Ok(Exit::Done);
    }
    session.terminal.data(format!("shoal {own}"));
    match server {
        Some(server) => session.terminal.data(format!("server {} on {} (API {})", server.version, server.node, server.api.join(", "))),
        None if !args.client => session.terminal.hint("no server answers"),
        None => {}
    }
    Ok(Exit::Done)
}
