//! `shoal audit`: who asked for which change, and what came of it. Owns the options.

use api::v1::AuditQuery;
use clap::Args;

use super::{ListArgs, values, views};
use crate::cli::{failure::Outcome, output::Listing, session::Session};

/// What `shoal audit` takes.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only changes after this one; -o wide shows the numbers.
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    #[command(flatten)]
    output: ListArgs,
}

/// Asks and prints, the oldest first.
pub async fn run(args: AuditArgs, session: &Session) -> Outcome {
    let changes = session.client().await?.audit(&AuditQuery { after: args.after }).await?.items;
    let names = changes.iter().map(|change| format!("audit/{}", change.sequence)).collect();
    let listing = Listing { table: views::audit(&changes, args.output.shape()), objects: values(&changes), names, single: false };
    args.output.show(&listing, "nobody asked for a change", session)
}
