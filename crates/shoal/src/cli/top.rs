//! `shoal top`: what nodes, apps and instances use right now. Owns the two readings and the time between; rates are `usage`'s, columns `top_views`'.

use std::{collections::BTreeSet, time::Duration};

use api::v1::{TopKind, TopQuery, TopView};
use clap::Args;
use model::id::AppId;
use serde_json::{Value, json};

use super::{
    age,
    failure::{Exit, Failure, Outcome},
    output::{Format, Listing},
    selector::Selector,
    session::Session,
    target::{self, Kind},
    top_views::{self, Order},
    usage,
    views::Shape,
};

/// Readings closer together say nothing: the system counts CPU time in hundredths of a second.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// What `shoal top` takes.
#[derive(Debug, Args)]
#[command(after_help = "Kinds: nodes, apps (one row per component), instances. Rates are of the time between two readings.")]
pub struct TopArgs {
    /// nodes, apps or instances.
    #[arg(value_name = "KIND")]
    kind: String,
    /// All namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only apps with these labels, and instances of such apps: KEY=VALUE, KEY!=VALUE, KEY, !KEY.
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Selector>,
    /// The largest first.
    #[arg(long, value_enum)]
    sort: Option<Order>,
    /// The time between two readings.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = age::parse_span)]
    interval: Duration,
    /// wide, json, yaml, name or custom-columns=TITLE:.path,…
    #[arg(short, long, value_name = "FORM")]
    output: Option<Format>,
    /// Go on reading.
    #[arg(short, long)]
    watch: bool,
}

impl TopArgs {
    /// Whether it goes on.
    pub fn watches(&self) -> bool {
        self.watch
    }
}

/// Reads twice and prints; with `-w` goes on.
pub async fn run(args: TopArgs, session: &Session) -> Outcome {
    let kind = kind_of(&args.kind)?;
    let format = args.output.clone().unwrap_or_default();
    let terminal = &session.terminal;
    let rewrites = args.watch && terminal.out_color && matches!(format, Format::Table | Format::Wide);
    let mut before = read(kind, &args, session).await?;
    loop {
        tokio::time::sleep(args.interval.max(INTERVAL_MIN)).await;
        let now = match read(kind, &args, session).await {
            Ok(now) => now,
            // The next reading says what the two are apart.
            Err(failure) if args.watch && failure.exit == Exit::Unreachable => {
                terminal.hint("the server does not answer; going on when it does");
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let listing = listing(kind, &args, &format, &before, &now);
        let over = format!("rates over {}", age::brief(usage::window(&before, &now)));
        let text = listing.text(&format, terminal.width);
        match (rewrites, args.watch, &format) {
            // Home, and clear to the end of the screen.
            (true, _, _) => terminal.data(format!("\x1b[H\x1b[2J{over}\n{text}")),
            (_, true, Format::Json) => listing.objects.iter().for_each(|object| terminal.data(object)),
            _ if text.is_empty() => terminal.hint(format!("no {} use anything here", args.kind)),
            _ => {
                terminal.hint(over);
                terminal.data(text);
            }
        }
        if !args.watch {
            return Ok(Exit::Done);
        }
        before = now;
    }
}

fn kind_of(text: &str) -> Result<TopKind, Failure> {
    match target::Kind::parse(text)? {
        Kind::Node => Ok(TopKind::Nodes),
        Kind::App | Kind::Component => Ok(TopKind::Apps),
        Kind::Instance => Ok(TopKind::Instances),
        _ => Err(Failure::usage(format!("nobody counts what {text} use"), "one of nodes, apps, instances".to_owned())),
    }
}

async fn read(kind: TopKind, args: &TopArgs, session: &Session) -> Result<TopView, Failure> {
    let namespace = (!args.all_namespaces && kind != TopKind::Nodes).then(|| session.namespace());
    let client = session.client().await?;
    let mut view = client.top(&TopQuery { kind, namespace: namespace.clone() }).await?;
    if let Some(selector) = &args.selector {
        let apps = client.apps(namespace.as_ref()).await?.items;
        let wanted: BTreeSet<AppId> = apps.iter().filter(|app| selector.matches(&app.metadata.labels)).map(|app| app.id()).collect();
        view.components.retain(|usage| wanted.contains(&usage.component.app));
        view.instances.retain(|usage| wanted.contains(&usage.instance.component.app));
    }
    Ok(view)
}

fn listing(kind: TopKind, args: &TopArgs, format: &Format, before: &TopView, now: &TopView) -> Listing {
    let shape = Shape { wide: *format == Format::Wide, namespaces: args.all_namespaces, now: now.at.0 };
    match kind {
        TopKind::Nodes => {
            let mut rows = usage::nodes(before, now);
            let table = top_views::nodes(&mut rows, args.sort, shape);
            let names = rows.iter().map(|row| format!("node/{}", row.usage.node)).collect();
            Listing { table, objects: values(&rows), names, single: false }
        }
        TopKind::Apps => {
            let mut rows = usage::components(before, now);
            let table = top_views::components(&mut rows, args.sort, shape);
            let names = rows.iter().map(|row| format!("component/{}", row.usage.component)).collect();
            Listing { table, objects: values(&rows), names, single: false }
        }
        TopKind::Instances => {
            let mut rows = usage::instances(before, now);
            let table = top_views::instances(&mut rows, args.sort, shape);
            let names = rows.iter().map(|row| format!("instance/{}", row.usage.instance)).collect();
            Listing { table, objects: values(&rows), names, single: false }
        }
    }
}

fn values<T: serde::Serialize>(rows: &[T]) -> Vec<Value> {
    rows.iter().map(|row| json!(row)).collect()
}
