//! `shoal describe`: everything about one object, for people. Owns the layout; machines use `get -o json`.

use std::fmt::Write as _;

use api::v1::{AppView, EventQuery, EventView, InstanceView, TopKind, TopQuery, TopView};
use clap::Args;
use model::app::{AppSpec, Component};

use super::{
    age,
    cluster::kinds,
    failure::{Exit, Failure, Outcome},
    listing::{self, Query},
    output::Format,
    progress::phase_word,
    session::Session,
    target::{self, Kind, Target},
    top_views, usage, verdict,
    views::{self, Shape, app_word, bytes},
};

/// How many of the latest events are shown: what led to now, not the history.
const EVENTS_SHOWN_MAX: usize = 10;

/// What `shoal describe` takes.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// app, component, instance, node, config, secret or member; KIND/NAME works too.
    #[arg(value_name = "KIND")]
    kind: String,
    /// Which one.
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Prints everything about the object.
pub async fn run(args: DescribeArgs, session: &Session) -> Outcome {
    let (kind, name) = target::kind_and_name(&args.kind, args.name.as_deref())?;
    let Some(name) = name else {
        return Err(Failure::usage(format!("which {}?", kind.singular()), format!("shoal describe {} NAME", kind.singular())));
    };
    let now = age::now();
    let text = match kind {
        Kind::App | Kind::Component | Kind::Instance => {
            let target = Target::parse(&name, &session.namespace())?;
            let client = session.client().await?;
            let app = client.app(&target.app).await?;
            let events = client.events(&EventQuery { app: Some(target.app.to_string()), ..EventQuery::default() }).await?.items;
            let events = &events[events.len().saturating_sub(EVENTS_SHOWN_MAX)..];
            // While the worker is away the rest is still worth telling.
            let question = TopQuery { kind: TopKind::Apps, namespace: Some(target.app.namespace.clone()) };
            let used = client.top(&question).await.ok();
            describe_part(&app, &target, events, used.as_ref(), Shape::plain(now))?
        }
        Kind::Config | Kind::Secret => kinds::describe(kind, &name, session, now).await?,
        _ => {
            let query =
                Query { kind, name: Some(name), all_namespaces: false, selector: None, shape: Shape { wide: true, ..Shape::plain(now) } };
            listing::list(&query, session).await?.text(&Format::Yaml, None)
        }
    };
    session.terminal.data(text);
    Ok(Exit::Done)
}

fn describe_part(app: &AppView, target: &Target, events: &[EventView], used: Option<&TopView>, shape: Shape) -> Result<String, Failure> {
    let spec: AppSpec = serde_json::from_value(app.spec.clone()).map_err(|error| {
        Failure::sentence(Exit::Error, format!("the server's `{}` is not understood: {error}", app.id()), "use `get -o json`")
    })?;
    let missing = || {
        let problem = model::problem::Problem::new("E0402", format!("`{}` has no such part", app.id()));
        Failure::of(problem.help(format!("`shoal describe app {}` lists its parts", app.metadata.name)))
    };
    match (&target.component, target.ordinal) {
        (None, _) => Ok(whole(app, &spec, events, used, shape)),
        (Some(name), None) => {
            let component = spec.components.get(name).ok_or_else(missing)?;
            Ok(component_text(app, name.as_str(), component, used))
        }
        (Some(name), Some(ordinal)) => {
            let of = |view: &&InstanceView| view.instance.component.component == *name && view.instance.ordinal == ordinal;
            let found: Vec<String> = app.status.instances.iter().filter(of).map(|view| instance_text(view, shape)).collect();
            if found.is_empty() { Err(missing()) } else { Ok(found.join("\n\n")) }
        }
    }
}

/// Everything about an app.
fn whole(app: &AppView, spec: &AppSpec, events: &[EventView], used: Option<&TopView>, shape: Shape) -> String {
    let status = &app.status;
    let mut text = String::new();
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<13}{value}");
    };
    field("Name:", app.metadata.name.to_string());
    field("Namespace:", app.metadata.namespace.to_string());
    field("Labels:", pairs(&app.metadata.labels));
    if app.metadata.protected {
        field("Protected:", "yes".to_owned());
    }
    field(
        "Status:",
        [app_word(app).to_owned(), status.rollout.message.clone()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": "),
    );
    let serving = status.serving.map_or_else(|| "nothing serves yet".to_owned(), |serving| format!("{serving} serves"));
    field("Revision:", format!("{} ({serving})", status.wanted));
    field("Version:", app.metadata.resource_version.map(|version| version.to_string()).unwrap_or_default());
    field("Created:", format!("{} ({} ago)", status.created_at, age::age(status.created_at.0, shape.now)));
    status.urls.iter().for_each(|url| field("URL:", url.clone()));
    for condition in &status.conditions {
        let answer = if condition.status { "yes" } else { "no" };
        field(&format!("{}:", condition.kind), format!("{answer}, {}: {}", condition.reason, condition.message));
    }
    for (name, component) in &spec.components {
        let _ = write!(text, "\n{}\n", component_text(app, name.as_str(), component, used));
    }
    let _ =
        write!(text, "\nInstances:\n{}\n", indented(&views::instances(&status.instances, &[], Shape { wide: true, ..shape }).render(None)));
    for wait in verdict::unplaced(app) {
        let _ = writeln!(text, "  {}", verdict::wait_words(wait));
    }
    if !events.is_empty() {
        let _ = write!(text, "\nEvents:\n{}\n", indented(&views::events(events, shape).render(None)));
    }
    text.truncate(text.trim_end().len());
    text
}

fn component_text(app: &AppView, name: &str, component: &Component, used: Option<&TopView>) -> String {
    let mut text = format!("Component {}/{name}:\n", app.metadata.name);
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    if let Some(status) = app.status.components.iter().find(|status| status.name.as_str() == name) {
        field("ready:", format!("{}/{}", status.ready, status.wanted));
    }
    let from = match &component.source {
        model::app::Source::File(file) => file.clone(),
        model::app::Source::Digest { digest, from } if *from == digest.to_string() => digest.to_string(),
        model::app::Source::Digest { digest, from } => format!("{digest} from {from}"),
    };
    field("source:", from);
    for route in &component.routes {
        let methods = if route.methods.is_empty() { String::new() } else { format!(" [{}]", route.methods.join(", ")) };
        let exact = if route.exact { " exactly" } else { "" };
        field("route:", format!("{}{}{exact}{methods}", route.host, route.path));
    }
    let limits = &component.resources;
    field("memory:", format!("{} per sandbox, {} per instance", bytes(limits.memory.0), bytes(limits.instance_memory.0)));
    field("requests:", format!("{} at once per instance, {} may wait {}", limits.max_in_flight, limits.queue_length, limits.queue_wait));
    for (what, values) in [("env:", &component.env), ("config:", &component.config)] {
        if !values.is_empty() {
            field(what, pairs(values));
        }
    }
    if !component.args.is_empty() {
        field("args:", component.args.join(" "));
    }
    for (what, value) in used.map(|used| used_by(app, name, used)).unwrap_or_default() {
        field(what, value);
    }
    text.truncate(text.trim_end().len());
    text
}

/// What the component uses, averaged since its worker counts.
fn used_by(app: &AppView, name: &str, used: &TopView) -> Vec<(&'static str, String)> {
    let id = app.id();
    let of_it = used.components.iter().filter(|usage| usage.component.app == id && usage.component.component.as_str() == name);
    let told = of_it.flat_map(|usage| {
        let since = ("counted:", format!("since {}, {}", usage.since, age::age(usage.since.0, used.at.0)));
        std::iter::once(since).chain(top_views::summary(usage, &usage::since_start(usage, used)))
    });
    told.collect()
}

fn instance_text(view: &InstanceView, shape: Shape) -> String {
    let mut text = format!("{:<13}{}\n", "Name:", view.instance);
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<13}{value}");
    };
    field("Status:", phase_word(view.phase).to_owned());
    if !view.message.is_empty() {
        field("Why:", format!("{}{}", view.code.as_ref().map(|code| format!("[{code}] ")).unwrap_or_default(), view.message));
    }
    field("Revision:", view.revision.to_string());
    field("Node:", view.node.clone());
    field("Placement:", view.placement.to_string());
    field("Since:", format!("{} ({} ago)", view.since, age::age(view.since.0, shape.now)));
    text.truncate(text.trim_end().len());
    text
}

fn pairs(values: &std::collections::BTreeMap<String, String>) -> String {
    if values.is_empty() {
        "-".to_owned()
    } else {
        values.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use model::id::{Name, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::cli::samples;

    #[test]
    fn an_app_is_described_whole() {
        let app = samples::app(
            "hello",
            json!({"waits": [{"instance": "hello/web.3", "reason": "waits for memory: needs 256Mi"}],
                   "conditions": [{"type": "Progressing", "status": false, "reason": "Done", "message": "r2 serves"}]}),
        );
        let made = app.status.created_at.millis();
        let event = json!({"sequence": 4, "at": "2026-01-01T00:00:05.000Z", "kind": "Deployed", "object": "hello", "message": "r2 by ana"});
        let event: EventView = serde_json::from_value(event).expect("the shape of the API");
        let counted =
            json!({"component": "hello/web", "node": "one", "since": "2026-01-01T00:00:00.000Z", "requests": 120, "cpuMicros": 600_000});
        let used = json!({"at": "2026-01-01T00:01:00.000Z", "components": [counted]});
        let used: TopView = serde_json::from_value(used).expect("the shape of the API");
        let target = Target::parse("hello", &Name::default_namespace()).expect("an app");
        let text = describe_part(&app, &target, &[event], Some(&used), Shape::plain(Timestamp(made + 60_000))).expect("a description");
        expect![[r#"
            Name:        hello
            Namespace:   default
            Labels:      team=fleet
            Status:      waiting
            Revision:    r2 (r2 serves)
            Version:     7
            Created:     2026-01-01T00:00:00.000Z (1m ago)
            URL:         http://hello.localhost:8080/
            Progressing: no, Done: r2 serves

            Component hello/web:
              ready:      2/2
              source:     sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef from ./hello.wasm
              route:      hello.localhost/
              memory:     64Mi per sandbox, 256Mi per instance
              requests:   100 at once per instance, 1024 may wait 5s
              env:        COLOR=blue
              counted:    since 2026-01-01T00:00:00.000Z, 1m
              cpu:        10m on average
              held:       0 now, 0 at most in one sandbox
              traffic:    120 requests, 2.0 req/s, 0 in flight, 0 waiting

            Instances:
              NAME          STATUS   REVISION   NODE   AGE   PLACEMENT      MESSAGE
              hello/web.1   ready    r2         one    50s   placement-11   -
              hello/web.2   ready    r2         one    50s   placement-11   -
              hello/web.3 waits for memory: needs 256Mi

            Events:
              AGE   KIND       OBJECT   MESSAGE
              55s   Deployed   hello    r2 by ana"#]]
        .assert_eq(&text);
        let target = Target::parse("hello/none", &Name::default_namespace()).expect("a component");
        assert_eq!(describe_part(&app, &target, &[], None, Shape::plain(Timestamp(made))).expect_err("no such part").exit, Exit::NotFound);
    }
}
