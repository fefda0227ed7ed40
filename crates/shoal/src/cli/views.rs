//! Objects of the API as rows of a table. Pure. Owns which columns a kind has and the words in them; must never ask a server.

use api::{
    node::Wanted,
    v1::{AppView, EventView, InstancePhase, InstanceView, NodeState, NodeView, RevisionView, RolloutPhase, Waiting},
};
use model::{
    app::AppSpec,
    id::{AppId, RevisionNumber, Timestamp},
};

use super::{age::age, progress::phase_word, table::Table, urls, verdict};

/// How a table is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// More columns.
    pub wide: bool,
    /// A namespace column first.
    pub namespaces: bool,
    /// What ages are counted to.
    pub now: Timestamp,
}

impl Shape {
    /// The usual columns, as of `now`.
    pub fn plain(now: Timestamp) -> Self {
        Self { wide: false, namespaces: false, now }
    }

    /// An empty table with the columns of this shape.
    pub(super) fn table(self, usual: &[&str], wide: &[&str]) -> Table {
        let first = self.namespaces.then_some("namespace");
        let more = if self.wide { wide } else { &[] };
        Table::new(first.iter().chain(usual).chain(more))
    }

    /// Appends a row to a table of this shape.
    pub(super) fn row<const U: usize, const W: usize>(self, table: &mut Table, app: Option<&AppId>, usual: [String; U], wide: [String; W]) {
        let first = self.namespaces.then(|| app.map(|app| app.namespace.to_string()).unwrap_or_default());
        let more = wide.into_iter().take(if self.wide { W } else { 0 });
        table.row(first.into_iter().chain(usual).chain(more));
    }
}

/// One word for how an app is.
pub fn app_word(app: &AppView) -> &'static str {
    let status = &app.status;
    let complete = status.components.iter().all(|component| component.ready >= component.wanted);
    match status.rollout.phase {
        _ if status.deleting => "deleting",
        RolloutPhase::Failed => "failed",
        _ if verdict::unplaced(app).next().is_some() => "waiting",
        RolloutPhase::Progressing => "progressing",
        RolloutPhase::Done if complete => "ready",
        RolloutPhase::Done => "degraded",
    }
}

/// The revision that serves because the wished one failed.
fn kept(app: &AppView) -> Option<RevisionNumber> {
    let status = &app.status;
    status.serving.filter(|serving| *serving != status.wanted && status.rollout.phase == RolloutPhase::Failed)
}

/// How many instances are ready of how many, counted on what serves.
fn ready_of(app: &AppView) -> String {
    let status = &app.status;
    let Some(serving) = kept(app) else {
        let ready: u32 = status.components.iter().map(|component| component.ready).sum();
        let wanted: u32 = status.components.iter().map(|component| component.wanted).sum();
        return format!("{ready}/{wanted}");
    };
    let of_it = || status.instances.iter().filter(|instance| instance.revision == serving && instance.wanted == Wanted::Run);
    format!("{}/{}", of_it().filter(|instance| instance.phase == InstancePhase::Ready).count(), of_it().count())
}

/// Apps.
pub fn apps(apps: &[AppView], shape: Shape) -> Table {
    let mut table = shape.table(&["name", "status", "ready", "revision", "url", "age"], &["components", "serving", "version"]);
    for app in apps {
        let status = &app.status;
        let components: Vec<&str> = status.components.iter().map(|component| component.name.as_str()).collect();
        let usual = [
            app.metadata.name.to_string(),
            app_word(app).to_owned(),
            ready_of(app),
            kept(app).map_or_else(|| status.wanted.to_string(), |serving| format!("{} ({serving} serves)", status.wanted)),
            status.urls.first().cloned().unwrap_or_default(),
            age(status.created_at.0, shape.now),
        ];
        let serving = status.serving.map(|revision| revision.to_string()).unwrap_or_default();
        let version = app.metadata.resource_version.map(|version| version.to_string()).unwrap_or_default();
        shape.row(&mut table, Some(&app.id()), usual, [components.join(","), serving, version]);
    }
    table
}

/// Components of apps.
pub fn components(apps: &[AppView], shape: Shape) -> Table {
    let mut table = shape.table(&["name", "ready", "revision", "artifact", "age"], &["digest"]);
    for app in apps {
        for component in &app.status.components {
            let usual = [
                format!("{}/{}", app.metadata.name, component.name),
                format!("{}/{}", component.ready, component.wanted),
                app.status.wanted.to_string(),
                component.digest.short(),
                age(app.status.created_at.0, shape.now),
            ];
            shape.row(&mut table, Some(&app.id()), usual, [component.digest.to_string()]);
        }
    }
    table
}

/// Instances, and those that nothing runs of yet.
pub fn instances(instances: &[InstanceView], waits: &[Waiting], shape: Shape) -> Table {
    let mut table = shape.table(&["name", "status", "revision", "node", "age"], &["placement", "message"]);
    for view in instances {
        let component = &view.instance.component;
        let usual = [
            format!("{}/{}.{}", component.app.name, component.component, view.instance.ordinal),
            phase_word(view.phase).to_owned(),
            view.revision.to_string(),
            view.node.clone(),
            age(view.since.0, shape.now),
        ];
        shape.row(&mut table, Some(&component.app), usual, [view.placement.to_string(), view.message.clone()]);
    }
    for wait in waits {
        let component = &wait.instance.component;
        let name = format!("{}/{}.{}", component.app.name, component.component, wait.instance.ordinal);
        let usual = [name, "waiting".to_owned(), String::new(), String::new(), String::new()];
        shape.row(&mut table, Some(&component.app), usual, [String::new(), wait.reason.clone()]);
    }
    table
}

/// Revisions, newest first.
pub fn revisions(revisions: &[RevisionView], shape: Shape) -> Table {
    let mut table = shape.table(&["app", "revision", "status", "by", "what", "age"], &["components"]);
    for view in revisions {
        let components: Vec<String> =
            view.components.iter().map(|component| format!("{}@{}", component.name, component.digest.short())).collect();
        let usual = [
            view.app.name.to_string(),
            view.number.to_string(),
            revision_word(view).to_owned(),
            view.by.clone(),
            what_changed(view),
            age(view.at.0, shape.now),
        ];
        shape.row(&mut table, Some(&view.app), usual, [components.join(",")]);
    }
    table
}

/// One word for how a revision is.
pub fn revision_word(view: &RevisionView) -> &'static str {
    match (view.serving, view.wanted) {
        (true, true) => "serving",
        (true, false) => "serving, replaced",
        (false, true) => "wanted",
        (false, false) => "old",
    }
}

/// What a revision changed, in a few words.
pub fn what_changed(view: &RevisionView) -> String {
    match view.changes.as_slice() {
        _ if !view.note.is_empty() => view.note.clone(),
        _ if view.number.0 == 1 => "created".to_owned(),
        [] => String::new(),
        [one] => short_path(&one.path).to_owned(),
        [one, rest @ ..] => format!("{} and {} more", short_path(&one.path), rest.len()),
    }
}

/// Nodes. `reported` is how long ago the worker last spoke.
pub fn nodes(nodes: &[NodeView], shape: Shape) -> Table {
    let shape = Shape { namespaces: false, ..shape };
    let mut table = shape.table(&["name", "status", "instances", "memory", "cpu", "reported"], &["id", "worker"]);
    for node in nodes {
        let status = match node.state {
            NodeState::Ready => "ready",
            NodeState::Silent => "silent",
            NodeState::Unknown => "unknown",
        };
        let usual = [
            node.name.clone(),
            status.to_owned(),
            node.instances.to_string(),
            format!("{}/{}", bytes(node.memory_booked.0), bytes(node.memory.0)),
            format!("{}m/{}m", node.cpu_booked.0, node.cpu.0),
            node.last_report_at.map(|at| age(at.0, shape.now)).unwrap_or_default(),
        ];
        shape.row(&mut table, None, usual, [node.id.to_string(), node.worker_pid.map(|pid| format!("pid {pid}")).unwrap_or_default()]);
    }
    table
}

/// Events, oldest first.
pub fn events(events: &[EventView], shape: Shape) -> Table {
    let shape = Shape { namespaces: false, ..shape };
    let mut table = shape.table(&["age", "kind", "object", "message"], &["sequence", "at"]);
    for event in events {
        let usual = [age(event.at.0, shape.now), event.kind.clone(), event.object.clone(), event.message.clone()];
        shape.row(&mut table, None, usual, [event.sequence.to_string(), event.at.to_string()]);
    }
    table
}

/// One route and who answers it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// The app.
    pub app: AppId,
    /// The component that answers.
    pub component: String,
    /// What it matches and how it is limited.
    #[serde(flatten)]
    pub route: model::app::Route,
    /// Where it answers.
    pub url: String,
}

/// Every route of every app, in order of host and path.
pub fn routes_of(apps: &[AppView]) -> Vec<RouteView> {
    let mut routes: Vec<RouteView> = apps
        .iter()
        .flat_map(|app| {
            let port = app.status.urls.iter().find_map(|url| urls::Url::parse(url)).map_or(80, |url| url.port);
            let spec = serde_json::from_value::<AppSpec>(app.spec.clone()).map(|spec| spec.components).unwrap_or_default();
            spec.into_iter().flat_map(move |(name, component)| {
                let app = app.id();
                component.routes.into_iter().map(move |route| RouteView {
                    app: app.clone(),
                    component: format!("{}/{name}", app.name),
                    url: urls::of_route(&route, port).to_string(),
                    route,
                })
            })
        })
        .collect();
    routes.sort_by(|one, other| (&one.route.host, &one.route.path).cmp(&(&other.route.host, &other.route.path)));
    routes
}

/// Routes.
pub fn routes(routes: &[RouteView], apps: &[AppView], shape: Shape) -> Table {
    let mut table = shape.table(&["host", "path", "methods", "component", "age"], &["url", "timeout"]);
    for view in routes {
        let route = &view.route;
        let created = apps.iter().find(|app| app.id() == view.app).map(|app| age(app.status.created_at.0, shape.now));
        let usual = [
            route.host.clone(),
            if route.exact { format!("={}", route.path) } else { route.path.clone() },
            if route.methods.is_empty() { "any".to_owned() } else { route.methods.join(",") },
            view.component.clone(),
            created.unwrap_or_default(),
        ];
        shape.row(&mut table, Some(&view.app), usual, [view.url.clone(), route.timeout.to_string()]);
    }
    table
}

/// An amount of bytes in the largest unit that leaves no more than one decimal: `64Mi`, `1.5Gi`.
pub fn bytes(amount: u64) -> String {
    let units = [("Gi", 1_u64 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    match units.iter().find(|(_, size)| amount >= *size) {
        Some((unit, size)) if amount.is_multiple_of(*size) => format!("{}{unit}", amount / size),
        // One decimal is all that is shown: the precision lost above 2^53 does not reach it.
        #[allow(clippy::cast_precision_loss)]
        Some((unit, size)) => format!("{:.1}{unit}", amount as f64 / *size as f64),
        None => amount.to_string(),
    }
}

/// A field's path without the parts every app has.
pub fn short_path(path: &str) -> &str {
    path.strip_prefix("spec.components.").or_else(|| path.strip_prefix("spec.")).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::cli::samples;

    fn shape(wide: bool, namespaces: bool) -> Shape {
        // Three minutes and twelve seconds after the samples were made.
        let made: api::time::Time = "2026-01-01T00:00:00.000Z".parse().expect("a time");
        Shape { wide, namespaces, now: Timestamp(made.millis() + 192_000) }
    }

    fn check(table: &Table, expected: Expect) {
        expected.assert_eq(&table.render(None));
    }

    #[test]
    fn apps_show_how_they_are() {
        let all = [
            samples::app("hello", json!({})),
            samples::app("late", json!({"components": [samples::component("web", 2, 1)]})),
            samples::app("new", json!({"rollout": {"phase": "progressing", "message": ""}, "serving": null, "urls": []})),
        ];
        check(
            &apps(&all, shape(false, false)),
            expect![[r#"
            NAME    STATUS        READY   REVISION   URL                            AGE
            hello   ready         2/2     r2         http://hello.localhost:8080/   3m12s
            late    degraded      1/2     r2         http://late.localhost:8080/    3m12s
            new     progressing   2/2     r2         -                              3m12s"#]],
        );
        check(
            &apps(&all[..1], shape(true, true)),
            expect![[r#"
            NAMESPACE   NAME    STATUS   READY   REVISION   URL                            AGE     COMPONENTS   SERVING   VERSION
            default     hello   ready    2/2     r2         http://hello.localhost:8080/   3m12s   web          r2        7"#]],
        );
    }

    #[test]
    fn a_failed_revision_hides_not_what_serves() {
        let failed = json!({"rollout": {"phase": "failed", "code": "E0309", "message": "the sandbox did not start"}, "serving": 1,
            "components": [samples::component("web", 1, 0)], "urls": [],
            "instances": [samples::instance("hello/web.1", 1, "ready"), samples::instance("hello/web.1", 2, "failed")]});
        check(
            &apps(&[samples::app("hello", failed)], shape(false, false)),
            expect![[r#"
            NAME    STATUS   READY   REVISION         URL   AGE
            hello   failed   1/1     r2 (r1 serves)   -     3m12s"#]],
        );
    }

    #[test]
    fn parts_of_apps_have_their_own_tables() {
        let all = [samples::app("hello", json!({}))];
        check(
            &components(&all, shape(false, false)),
            expect![[r#"
            NAME        READY   REVISION   ARTIFACT       AGE
            hello/web   2/2     r2         0123456789ab   3m12s"#]],
        );
        check(
            &instances(&all[0].status.instances, &all[0].status.waits, shape(false, false)),
            expect![[r#"
            NAME          STATUS   REVISION   NODE   AGE
            hello/web.1   ready    r2         one    3m2s
            hello/web.2   ready    r2         one    3m2s"#]],
        );
        let waits = json!([{"instance": "hello/web.3", "reason": "waits for memory: needs 256Mi"}]);
        let waiting = samples::app("hello", json!({"instances": [samples::instance("hello/web.1", 2, "ready")], "waits": waits}));
        check(
            &instances(&waiting.status.instances, &waiting.status.waits, shape(true, false)),
            expect![[r#"
            NAME          STATUS    REVISION   NODE   AGE    PLACEMENT      MESSAGE
            hello/web.1   ready     r2         one    3m2s   placement-11   -
            hello/web.3   waiting   -          -      -      -              waits for memory: needs 256Mi"#]],
        );
        check(
            &routes(&routes_of(&all), &all, shape(true, false)),
            expect![[r#"
            HOST              PATH   METHODS   COMPONENT   AGE     URL                            TIMEOUT
            hello.localhost   /      any       hello/web   3m12s   http://hello.localhost:8080/   30s"#]],
        );
    }

    #[test]
    fn bytes_are_short() {
        for (amount, text) in [(0, "0"), (1023, "1023"), (1024, "1Ki"), (64 << 20, "64Mi"), (3 << 29, "1.5Gi"), (1_500, "1.5Ki")] {
            assert_eq!(bytes(amount), text);
        }
    }
}
