//! Objects of one kind, asked for, selected and put into rows. Owns which question each kind needs; the columns are `views`'.

use api::v1::{AppView, EventQuery, EventView, RevisionView};
use model::id::{AppId, InstanceId, Name};
use serde_json::{Value, json};

use super::{
    cluster::kinds,
    failure::Failure,
    output::Listing,
    selector::Selector,
    session::Session,
    target::{Kind, Target},
    views::{self, Shape},
};

/// What is listed.
#[derive(Debug, Clone)]
pub struct Query {
    /// The kind.
    pub kind: Kind,
    /// One object, or the parts of one app.
    pub name: Option<String>,
    /// All namespaces.
    pub all_namespaces: bool,
    /// Only apps with these labels, and parts of such apps.
    pub selector: Option<Selector>,
    /// How the table is wanted.
    pub shape: Shape,
}

/// Asks the server and makes the rows.
///
/// # Errors
/// E0402 when an object asked for by name does not exist; what the server refuses.
pub async fn list(query: &Query, session: &Session) -> Result<Listing, Failure> {
    let shape = query.shape;
    match query.kind {
        Kind::Node => nodes(query, session).await,
        Kind::Event => events(query, session).await,
        Kind::Config => kinds::configs(query, session).await,
        Kind::Secret => kinds::secrets(query, session).await,
        Kind::Namespace => kinds::namespaces(query, session).await,
        Kind::Member => kinds::members(query, session).await,
        Kind::App => {
            let apps = apps(query, session).await?;
            let names = apps.iter().map(|app| format!("app/{}", app.metadata.name)).collect();
            let objects = apps.iter().map(app_object).collect();
            Ok(Listing { table: views::apps(&apps, shape), objects, names, single: query.name.is_some() })
        }
        Kind::Component => {
            let mut apps = apps(query, session).await?;
            if let Some(component) = part(query, session)?.component {
                apps.iter_mut().for_each(|app| app.status.components.retain(|found| found.name == component));
                exists(apps.iter().any(|app| !app.status.components.is_empty()), query)?;
            }
            let parts = apps.iter().flat_map(|app| app.status.components.iter().map(|component| (app.id(), component)));
            let (names, objects) =
                parts.map(|(app, component)| (format!("component/{}/{}", app.name, component.name), with_app(&app, component))).unzip();
            Ok(Listing { table: views::components(&apps, shape), objects, names, single: is_part(query) })
        }
        Kind::Instance => {
            let wanted = part(query, session)?;
            let is_wanted = |instance: &InstanceId| {
                wanted.component.as_ref().is_none_or(|component| instance.component.component == *component)
                    && wanted.ordinal.is_none_or(|ordinal| instance.ordinal == ordinal)
            };
            let (mut instances, mut waits) = (Vec::new(), Vec::new());
            for app in apps(query, session).await? {
                instances.extend(app.status.instances.into_iter().filter(|view| is_wanted(&view.instance)));
                waits.extend(app.status.waits.into_iter().filter(|wait| is_wanted(&wait.instance)));
            }
            exists(wanted.component.is_none() || !instances.is_empty() || !waits.is_empty(), query)?;
            let names = instances.iter().map(|view| format!("instance/{}", view.instance)).collect();
            let table = views::instances(&instances, &waits, shape);
            Ok(Listing { table, objects: values(&instances), names, single: wanted.ordinal.is_some() })
        }
        Kind::Revision => {
            let revisions = revisions(query, session).await?;
            let names = revisions.iter().map(|view| format!("revision/{}.{}", view.app.name, view.number)).collect();
            Ok(Listing { table: views::revisions(&revisions, shape), objects: values(&revisions), names, single: false })
        }
        Kind::Route => {
            let apps = apps(query, session).await?;
            let routes = views::routes_of(&apps);
            let names = routes.iter().map(|view| format!("route/{}{}", view.route.host, view.route.path)).collect();
            Ok(Listing { table: views::routes(&routes, &apps, shape), objects: values(&routes), names, single: false })
        }
    }
}

/// An app in the form it can be applied in again, with its status.
pub fn app_object(app: &AppView) -> Value {
    let canonical = json!({"metadata": app.metadata, "spec": app.spec});
    // A newer server may send what this program does not know: then its own form is better than none.
    let mut object = match model::manifest::from_canonical(canonical) {
        Ok(known) => model::manifest::to_value(&known),
        Err(_) => json!({"apiVersion": app.api_version, "kind": app.kind, "metadata": app.metadata, "spec": app.spec}),
    };
    object["status"] = json!(app.status);
    object
}

async fn apps(query: &Query, session: &Session) -> Result<Vec<AppView>, Failure> {
    let client = session.client().await?;
    if query.name.is_some() {
        return Ok(vec![client.app(&part(query, session)?.app).await?]);
    }
    let namespace = (!query.all_namespaces).then(|| session.namespace());
    let mut apps = client.apps(namespace.as_ref()).await?.items;
    if let Some(selector) = &query.selector {
        apps.retain(|app| selector.matches(&app.metadata.labels));
    }
    Ok(apps)
}

async fn revisions(query: &Query, session: &Session) -> Result<Vec<RevisionView>, Failure> {
    let mut all = Vec::new();
    for app in apps(query, session).await? {
        let mut revisions = session.client().await?.revisions(&app.id()).await?.items;
        revisions.sort_by_key(|view| std::cmp::Reverse(view.number));
        all.extend(revisions);
    }
    Ok(all)
}

async fn nodes(query: &Query, session: &Session) -> Result<Listing, Failure> {
    let mut nodes = session.client().await?.nodes().await?.items;
    if let Some(name) = &query.name {
        nodes.retain(|node| node.name == *name);
        exists(!nodes.is_empty(), query)?;
    }
    let names = nodes.iter().map(|node| format!("node/{}", node.name)).collect();
    Ok(Listing { table: views::nodes(&nodes, query.shape), objects: values(&nodes), names, single: query.name.is_some() })
}

async fn events(query: &Query, session: &Session) -> Result<Listing, Failure> {
    let app = query.name.as_ref().map(|name| Target::app(name, &session.namespace())).transpose()?;
    let question = EventQuery { app: app.map(|app| app.to_string()), ..EventQuery::default() };
    let events = session.client().await?.events(&question).await?.items;
    Ok(events_listing(&events, query.shape))
}

/// Events as a listing.
pub fn events_listing(events: &[EventView], shape: Shape) -> Listing {
    let names = events.iter().map(|event| format!("event/{}", event.sequence)).collect();
    Listing { table: views::events(events, shape), objects: values(events), names, single: false }
}

/// The app, component or instance that was named; the app alone is a stand-in when none was.
fn part(query: &Query, session: &Session) -> Result<Target, Failure> {
    match &query.name {
        Some(name) => Target::parse(name, &session.namespace()),
        None => {
            Ok(Target { app: AppId { namespace: session.namespace(), name: Name::default_namespace() }, component: None, ordinal: None })
        }
    }
}

fn is_part(query: &Query) -> bool {
    query.name.as_ref().is_some_and(|name| name.contains('/'))
}

fn exists(found: bool, query: &Query) -> Result<(), Failure> {
    if found {
        return Ok(());
    }
    let (kind, name) = (query.kind.singular(), query.name.as_deref().unwrap_or_default());
    let problem = model::problem::Problem::new("E0402", format!("{kind} `{name}` does not exist"));
    Err(Failure::of(problem.help(format!("`shoal get {kind}s` lists what does"))))
}

fn with_app<T: serde::Serialize>(app: &AppId, part: &T) -> Value {
    let mut object = json!({"app": app});
    if let (Value::Object(into), Value::Object(fields)) = (&mut object, json!(part)) {
        into.extend(fields);
    }
    object
}

fn values<T: serde::Serialize>(items: &[T]) -> Vec<Value> {
    items.iter().map(|item| json!(item)).collect()
}
