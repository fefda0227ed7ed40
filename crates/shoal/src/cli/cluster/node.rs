//! `shoal node`: machines of the cluster. Owns the options and the question; what goes with a node, the servers say.

use clap::{Args, Subcommand};

use crate::cli::{
    failure::{Exit, Outcome},
    session::Session,
    sure::sure,
};

/// What `shoal node` takes.
#[derive(Debug, Args)]
#[command(after_help = "`shoal get nodes` lists them, `shoal describe node NAME` shows one.")]
pub struct NodeArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Removes a node: its certificate is refused from then on, and it stops what it runs once it hears of it.
    #[command(visible_alias = "rm")]
    Remove {
        /// The node.
        name: String,
        /// It will not come back: do not wait for it to stop its instances.
        #[arg(long)]
        lost: bool,
        /// Do not ask; required where nobody can answer.
        #[arg(short, long)]
        yes: bool,
    },
}

/// Runs one of them.
pub async fn run(args: NodeArgs, session: &Session) -> Outcome {
    let What::Remove { name, lost, yes } = args.what;
    let name = name.strip_prefix("node/").unwrap_or(&name);
    sure(&session.terminal, yes, &format!("remove node {name}"), &question(name, lost))?;
    let answer = session.client().await?.remove_node(name, lost).await?;
    session.terminal.data(format!("node/{}: {}", answer.node, answer.message));
    session.terminal.hint("next: shoal get nodes");
    Ok(Exit::Done)
}

fn question(name: &str, lost: bool) -> String {
    match lost {
        true => format!(
            "Remove node {name}, which is lost? If it is alive, it serves on until it hears of it, and it can only join again as a new node."
        ),
        false => format!("Remove node {name} with everything on it? It can only join again as a new node."),
    }
}
