//! `shoal events`: what happened, once or as it happens. Owns the options; the columns are `views`'.

use api::v1::EventQuery;
use clap::Args;

use super::{
    again::Again,
    age,
    failure::{Exit, Outcome},
    listing::events_listing,
    output::Format,
    session::Session,
    target::Target,
    views::Shape,
};

/// What `shoal events` takes.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only events of this app and its parts.
    #[arg(value_name = "app/NAME")]
    app: Option<String>,
    /// Keep watching.
    #[arg(short, long)]
    watch: bool,
    /// wide, json, yaml, name or custom-columns=TITLE:.path,…
    #[arg(short, long, value_name = "FORM")]
    output: Option<Format>,
}

impl EventsArgs {
    /// Whether it goes on.
    pub fn watches(&self) -> bool {
        self.watch
    }
}

/// Prints events, oldest first.
pub async fn run(args: EventsArgs, session: &Session) -> Outcome {
    let app = args.app.as_deref().map(|text| Target::app(text, &session.namespace())).transpose()?;
    let format = args.output.unwrap_or_default();
    let shape = || Shape { wide: format == Format::Wide, ..Shape::plain(age::now()) };
    let terminal = &session.terminal;
    let mut query = EventQuery { app: app.map(|app| app.to_string()), ..EventQuery::default() };
    let past = session.client().await?.events(&query).await?.items;
    let seen = events_listing(&past, shape());
    let text = seen.text(&format, terminal.width);
    if !text.is_empty() {
        terminal.data(text);
    }
    if !args.watch {
        return Ok(Exit::Done);
    }
    query.after = past.last().map(|event| event.sequence);
    query.watch = true;
    let mut again = Again::new(session);
    loop {
        let client = session.client().await?;
        let broke = match client.watch_events(&query).await {
            Ok(mut events) => loop {
                match events.next().await {
                    Ok(Some(event)) => {
                        again.went_on();
                        query.after = Some(event.sequence);
                        terminal.data(events_listing(&[event], shape()).news(&seen, &format, terminal.width));
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            },
            Err(error) => Some(error),
        };
        again.after(broke).await?;
    }
}
