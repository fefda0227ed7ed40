//! `shoal logs`: what components wrote and what was answered, from every node, as a stream. Owns the options; the lines' form is `log_lines`'.

use api::v1::LogQuery;
use clap::Args;

use super::{
    age,
    failure::{Exit, Failure, Outcome},
    log_lines,
    session::Session,
    target::Target,
};

/// What `shoal logs` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Marks: `|` written to stdout, `!` to stderr, `#` said by the host about the guest, `>` a request that was answered."
)]
pub struct LogsArgs {
    /// An app or one of its components; may be left out with --request.
    #[arg(value_name = "APP[/COMPONENT]", required_unless_present = "request")]
    target: Option<String>,
    /// Keep showing what comes.
    #[arg(short, long)]
    follow: bool,
    /// Requests that were answered, too.
    #[arg(long)]
    access: bool,
    /// Only from this moment on: a span before now (10m) or a time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only the last so many lines.
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Only lines with this text.
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Only what belongs to this request id.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only requests answered with this status: 404, 5xx; implies --access.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// The moment before each line.
    #[arg(short, long)]
    timestamps: bool,
    /// One JSON object a line.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

/// Prints lines until the end of the log, or until Ctrl-C with `-f`.
pub async fn run(args: LogsArgs, session: &Session) -> Outcome {
    let terminal = &session.terminal;
    let query = query(&args, session)?;
    let shape = log_lines::Shape { color: terminal.out_color, timestamps: args.timestamps, request_ids: args.request.is_some() };
    let mut entries = session.client().await?.logs(&query).await?;
    let mut shown = 0_u64;
    while let Some(entry) = entries.next().await? {
        shown += 1;
        match args.output {
            Some(_) => terminal.data(serde_json::to_string(&entry).expect("an entry has string keys only")),
            None => terminal.data(log_lines::text(&entry, shape)),
        }
    }
    if shown == 0 {
        // A name that was never there looks like a quiet app.
        if let Some(app) = &query.app {
            session.client().await?.app(app).await?;
        }
        terminal.hint("no lines");
    }
    // A followed log has no end of its own: the server went away.
    Ok(if args.follow { Exit::Unreachable } else { Exit::Done })
}

fn query(args: &LogsArgs, session: &Session) -> Result<LogQuery, Failure> {
    let target = args.target.as_deref().map(|text| Target::parse(text, &session.namespace())).transpose()?;
    let since = args.since.as_deref().map(|text| age::parse_since(text, age::now())).transpose();
    let (app, component) = target.map(|target| (target.app, target.component)).unzip();
    Ok(LogQuery {
        app,
        component: component.flatten(),
        follow: args.follow,
        tail: args.tail,
        since: since.map_err(|message| Failure::usage(message, ""))?,
        grep: args.grep.clone(),
        access: args.access || args.status.is_some(),
        request: args.request.clone(),
        status: args.status.clone(),
    })
}
