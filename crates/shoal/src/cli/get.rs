//! `shoal get`: lists of objects, once or watched. Owns the options; what is asked and shown is `listing`'s.

use std::time::Duration;

use api::{
    client::{Watch, Watched},
    v1::ObjectQuery,
};
use clap::Args;
use tokio::time::timeout;

use super::{
    age,
    failure::{Exit, Failure, Outcome},
    listing::{self, Query},
    output::{Format, Listing},
    selector::Selector,
    session::Session,
    target::{self, Kind},
    views::Shape,
};

/// How often members are looked at while they are watched: an election takes about as long.
const MEMBERS_LOOK_EVERY: Duration = Duration::from_secs(1);

/// What `shoal get` takes.
#[derive(Debug, Args)]
#[command(after_help = "Kinds: apps, components, instances, revisions, nodes, events, routes, configs, secrets, namespaces, members.")]
pub struct GetArgs {
    /// apps, components, instances, revisions, nodes, events, routes, configs, secrets, namespaces, members; KIND/NAME works too.
    #[arg(value_name = "KIND")]
    kind: String,
    /// One object or several: an app, APP/COMPONENT, APP/COMPONENT.N, a node.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only apps with these labels, and parts of such apps: KEY=VALUE, KEY!=VALUE, KEY, !KEY.
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Selector>,
    /// wide, json, yaml, name or custom-columns=TITLE:.path,…
    #[arg(short, long, value_name = "FORM")]
    output: Option<Format>,
    /// Keep watching and print what changes.
    #[arg(short, long)]
    watch: bool,
}

impl GetArgs {
    /// Whether it goes on.
    pub fn watches(&self) -> bool {
        self.watch
    }
}

/// Lists and, with `-w`, keeps listing what changes.
pub async fn run(args: GetArgs, session: &Session) -> Outcome {
    let (kind, first) = target::kind_and_name(&args.kind, args.names.first().map(String::as_str))?;
    let more: Vec<String> = args.names.into_iter().skip(1).collect();
    let format = args.output.unwrap_or_default();
    let shape = Shape { wide: format == Format::Wide, namespaces: args.all_namespaces, now: age::now() };
    let mut query = Query { kind, name: first, all_namespaces: args.all_namespaces, selector: args.selector, shape };
    let terminal = &session.terminal;
    // Opened before the list, so that nothing falls between.
    let watch = match args.watch {
        true => Some(begin(kind, session).await?),
        false => None,
    };
    let mut seen = all(&query, &more, session).await?;
    let text = seen.text(&format, terminal.width);
    if !text.is_empty() {
        terminal.data(text);
    } else if !args.watch {
        let everywhere = args.all_namespaces || matches!(kind, Kind::Node | Kind::Namespace | Kind::Member);
        let within = if everywhere { String::new() } else { format!(" in namespace {}", session.namespace()) };
        terminal.hint(format!("no {}s{within}", kind.singular()));
    }
    let Some(mut watch) = watch else { return Ok(Exit::Done) };
    loop {
        let told = match kind {
            // Who leads is no object: it is looked at.
            Kind::Member => timeout(MEMBERS_LOOK_EVERY, watch.next()).await.ok().transpose()?,
            _ => Some(watch.next().await?),
        };
        if told == Some(Watched::Compacted) {
            watch = begin(kind, session).await?;
        }
        query.shape.now = age::now();
        let now = all(&query, &more, session).await?;
        if kind == Kind::Member {
            seen.take_over(&now, &["behind", "heard"]);
        }
        let news = now.news(&seen, &format, terminal.width);
        if !news.is_empty() {
            terminal.data(news);
        }
        seen = now;
    }
}

/// A watch of what lists of `kind` show, which has begun.
async fn begin(kind: Kind, session: &Session) -> Result<Watch, Failure> {
    let question = ObjectQuery { kind: watched(kind).map(str::to_owned), ..ObjectQuery::default() };
    let mut watch = session.client().await?.watch(question);
    // The first thing it says is where it begins.
    watch.next().await?;
    Ok(watch)
}

/// The kinds of objects that lists of `kind` are made of; all when it cannot be told.
fn watched(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::App | Kind::Component | Kind::Instance | Kind::Revision | Kind::Route => Some("App,Revision,Instance,Node"),
        Kind::Node | Kind::Member => Some("Node"),
        Kind::Config => Some("Config"),
        Kind::Secret => Some("Secret"),
        Kind::Namespace | Kind::Event => None,
    }
}

/// What `query` asks for, and the same of each further name.
async fn all(query: &Query, more: &[String], session: &Session) -> Result<Listing, Failure> {
    let mut listing = listing::list(query, session).await?;
    for name in more {
        let other = Query { name: Some(name.clone()), ..query.clone() };
        listing = listing.and(listing::list(&other, session).await?);
    }
    Ok(listing)
}
