//! `shoal logs`: what components wrote and what was answered, from every node, as a stream. Owns the options; the lines' form is `log_lines`'.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use api::v1::{LogEntry, LogQuery};
use clap::Args;
use model::id::Timestamp;

use super::{
    again::Again,
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
    let show = |entry: &LogEntry| match args.output {
        Some(_) => terminal.data(serde_json::to_string(entry).expect("an entry has string keys only")),
        None => terminal.data(log_lines::text(entry, shape)),
    };
    if args.follow {
        return follow(query, session, show).await;
    }
    let mut entries = session.client().await?.logs(&query).await?;
    let mut shown = 0_u64;
    while let Some(entry) = entries.next().await? {
        shown += 1;
        show(&entry);
    }
    if shown == 0 {
        // A name that was never there looks like a quiet app.
        if let Some(app) = &query.app {
            session.client().await?.app(app).await?;
        }
        terminal.hint("no lines");
    }
    Ok(Exit::Done)
}

/// Shows what comes until Ctrl-C, over as many servers as that takes.
async fn follow(mut query: LogQuery, session: &Session, show: impl Fn(&LogEntry)) -> Outcome {
    let (mut again, mut recent) = (Again::new(session), Recent::default());
    loop {
        let client = session.client().await?;
        let broke = match client.logs(&query).await {
            Ok(mut entries) => loop {
                match entries.next().await {
                    Ok(Some(entry)) => {
                        again.went_on();
                        if recent.take(&entry) {
                            show(&entry);
                        }
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            },
            Err(error) => Some(error),
        };
        query = LogQuery { since: recent.begin_again().map(Into::into).or(query.since), tail: None, ..query };
        again.after(broke).await?;
    }
}

/// How far the lines of one node may be behind those of another when a stream of both breaks off.
const OVERLAP_MILLIS: u64 = 5_000;

/// Lines that are remembered over the end of a stream.
const RECENT_MAX: usize = 20_000;

/// What was shown last, so that a log that is asked for again from a moment before shows nothing twice.
#[derive(Debug, Default)]
struct Recent {
    shown: VecDeque<(Timestamp, u64)>,
    /// Those that were shown over the connection before.
    before: HashSet<(Timestamp, u64)>,
}

impl Recent {
    /// Whether `entry` is to be shown.
    fn take(&mut self, entry: &LogEntry) -> bool {
        let at = match entry {
            LogEntry::Line(line) => line.at.0,
            LogEntry::Access(line) => line.at.0,
            // That something is missing is said of each connection.
            LogEntry::Absent { .. } | LogEntry::Dropped { .. } => return true,
        };
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(entry).expect("an entry has string keys only").hash(&mut hasher);
        let key = (at, hasher.finish());
        if self.before.contains(&key) {
            return false;
        }
        self.shown.push_back(key);
        while self.shown.len() > RECENT_MAX || self.shown.front().is_some_and(|(first, _)| first.0 + OVERLAP_MILLIS < at.0) {
            self.shown.pop_front();
        }
        true
    }

    /// The stream has ended: the moment from which it is asked for again, when anything was shown.
    fn begin_again(&mut self) -> Option<Timestamp> {
        self.before.extend(self.shown.iter().copied());
        let newest = self.shown.iter().map(|(at, _)| at.0).max()?;
        // What was forgotten for want of room would come again.
        let oldest = self.shown.front().filter(|_| self.shown.len() >= RECENT_MAX).map_or(0, |(at, _)| at.0 + 1);
        let since = newest.saturating_sub(OVERLAP_MILLIS).max(oldest);
        self.before.retain(|(at, _)| at.0 >= since);
        Some(Timestamp(since))
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_log_that_goes_on_shows_nothing_twice_and_leaves_nothing_out() {
        let line = |at: u64, text: &str| -> LogEntry {
            let at = api::time::Time(Timestamp(1_700_000_000_000 + at));
            serde_json::from_value(json!({"type": "line", "at": at, "component": "a/web", "revision": 1, "stream": "stdout", "text": text}))
                .expect("the shape of the API")
        };
        let mut recent = Recent::default();
        assert_eq!(recent.begin_again(), None, "nothing was shown: what was asked for is asked for again");
        assert!(recent.take(&line(0, "long ago")) && recent.take(&line(9_000, "x")) && recent.take(&line(9_000, "x")), "said twice");
        assert_eq!(recent.begin_again(), Some(Timestamp(1_700_000_004_000)));
        assert!(!recent.take(&line(9_000, "x")), "shown already");
        assert!(recent.take(&line(8_990, "of another node, which was behind")) && recent.take(&line(9_001, "y")));
        recent.begin_again();
        assert!(!recent.take(&line(9_000, "x")) && !recent.take(&line(8_990, "of another node, which was behind")));
        assert!(recent.take(&LogEntry::Absent { node: "n".to_owned(), reason: "away".to_owned() }));
    }
}
