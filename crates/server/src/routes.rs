//! Every endpoint in one table: from it come the router and the API's description, so that neither can miss one.
//! Owns paths, deadlines and counting; must never know what a handler does.

use std::{sync::Arc, time::Duration};

use api::v1;
use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, head, post, put},
};
use tokio::time::timeout;

use crate::{
    api_error::ApiError,
    core::Core,
    handlers::{apply, apps, artifacts, cluster, events, health, logs, node, top, why},
    limits::HANDLER_MAX,
    openapi::{Content, Shape, shape},
};

/// One endpoint.
pub(crate) struct Endpoint {
    /// Its method.
    pub(crate) method: Method,
    /// Its path, with `{names}`.
    pub(crate) path: &'static str,
    /// What it does, in a line.
    pub(crate) summary: &'static str,
    /// What its query may hold.
    pub(crate) query: Option<Shape>,
    /// What is sent.
    pub(crate) request: Content,
    /// What is answered.
    pub(crate) answer: Content,
    handler: MethodRouter<Arc<Core>>,
}

impl Endpoint {
    fn new(method: Method, path: &'static str, summary: &'static str, handler: MethodRouter<Arc<Core>>) -> Self {
        Self { method, path, summary, query: None, request: Content::Nothing, answer: Content::Nothing, handler }
    }

    fn query(mut self, shape: Shape) -> Self {
        self.query = Some(shape);
        self
    }

    fn takes(mut self, content: Content) -> Self {
        self.request = content;
        self
    }

    fn answers(mut self, content: Content) -> Self {
        self.answer = content;
        self
    }
}

/// Everything users' tools may call.
pub(crate) fn public_endpoints() -> Vec<Endpoint> {
    let mut endpoints = app_endpoints();
    endpoints.extend(write_endpoints());
    endpoints.extend(cluster_endpoints());
    endpoints
}

fn app_endpoints() -> Vec<Endpoint> {
    const APP: &str = "/v1/namespaces/{namespace}/apps/{app}";
    const REVISIONS: &str = "/v1/namespaces/{namespace}/apps/{app}/revisions";
    const UNDO: &str = "/v1/namespaces/{namespace}/apps/{app}/undo";
    const WATCH: &str = "/v1/namespaces/{namespace}/apps/{app}/watch";
    vec![
        Endpoint::new(Method::GET, "/v1/apps", "List apps, a page at a time: `next` says after which app to ask again", get(apps::list))
            .query(shape::<apps::Page>())
            .answers(Content::List(shape::<v1::AppView>())),
        Endpoint::new(Method::GET, APP, "Read an app", get(apps::read)).answers(Content::Json(shape::<v1::AppView>())),
        Endpoint::new(Method::DELETE, APP, "Delete an app", delete(apps::delete))
            .query(shape::<apps::By>())
            .answers(Content::Json(shape::<v1::DeleteAnswer>())),
        Endpoint::new(Method::GET, REVISIONS, "List an app's revisions, the newest first", get(apps::revisions))
            .answers(Content::List(shape::<v1::RevisionView>())),
        Endpoint::new(Method::POST, UNDO, "Go back to an earlier revision", post(apps::undo))
            .takes(Content::Json(shape::<v1::UndoRequest>()))
            .answers(Content::Json(shape::<v1::ObjectAnswer>())),
        Endpoint::new(Method::GET, WATCH, "Watch an app's status", get(apps::watch)).answers(Content::Lines(shape::<v1::WatchEvent>())),
    ]
}

fn write_endpoints() -> Vec<Endpoint> {
    const ARTIFACT: &str = "/v1/artifacts/{digest}";
    vec![
        Endpoint::new(Method::HEAD, ARTIFACT, "Whether an artifact is stored", head(artifacts::head)),
        Endpoint::new(Method::PUT, ARTIFACT, "Store an artifact", put(artifacts::put)).takes(Content::Bytes),
        Endpoint::new(Method::POST, "/v1/plan", "What an apply would do", post(apply::plan))
            .takes(Content::Json(shape::<v1::PlanRequest>()))
            .answers(Content::Json(shape::<v1::PlanAnswer>())),
        Endpoint::new(Method::POST, "/v1/apply", "Write apps: all of them or none", post(apply::apply))
            .takes(Content::Json(shape::<v1::ApplyRequest>()))
            .answers(Content::Json(shape::<v1::ApplyAnswer>())),
    ]
}

fn cluster_endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(Method::GET, "/v1/instances", "List instances", get(cluster::instances))
            .query(shape::<apps::Selection>())
            .answers(Content::List(shape::<v1::InstanceView>())),
        Endpoint::new(Method::GET, "/v1/nodes", "List nodes", get(cluster::nodes)).answers(Content::List(shape::<v1::NodeView>())),
        Endpoint::new(Method::GET, "/v1/events", "List events; with `watch` a stream of lines, one EventView each", get(events::events))
            .query(shape::<v1::EventQuery>())
            .answers(Content::List(shape::<v1::EventView>())),
        Endpoint::new(Method::GET, "/v1/logs", "Log lines; with `follow` a stream that does not end", get(logs::logs))
            .query(shape::<v1::LogQuery>())
            .answers(Content::Lines(shape::<v1::LogEntry>())),
        Endpoint::new(Method::GET, "/v1/top", "What is used, counted since each process began; a rate needs two readings", get(top::top))
            .query(shape::<v1::TopQuery>())
            .answers(Content::Json(shape::<v1::TopView>())),
        Endpoint::new(Method::GET, "/v1/why", "Why something does not answer", get(why::why))
            .query(shape::<v1::WhyQuery>())
            .answers(Content::Json(shape::<v1::WhyAnswer>())),
        Endpoint::new(Method::GET, "/v1/version", "Version and limits", get(cluster::version))
            .answers(Content::Json(shape::<v1::VersionView>())),
        Endpoint::new(Method::GET, "/healthz", "The process is alive", get(health::alive)).answers(Content::Text),
        Endpoint::new(Method::GET, "/readyz", "Reads and writes are answered; 503 says what is missing", get(health::ready))
            .answers(Content::Json(shape::<v1::ReadyView>())),
        Endpoint::new(Method::GET, "/openapi.json", "This description", get(health::openapi)).answers(Content::Text),
    ]
}

fn node_endpoints() -> Vec<Endpoint> {
    use api::node::{ASSIGNMENTS_PATH, REPORT_PATH};
    vec![
        Endpoint::new(Method::GET, ASSIGNMENTS_PATH, "The assignment, and each newer one", get(node::assignments)),
        Endpoint::new(Method::POST, REPORT_PATH, "How everything is", post(node::report)),
        Endpoint::new(Method::GET, "/node/v1/artifacts/{digest}", "An artifact's bytes", get(artifacts::get)),
    ]
}

/// The public API.
pub(crate) fn public(core: &Arc<Core>) -> Router {
    router(core, public_endpoints())
}

/// The node protocol.
pub(crate) fn node(core: &Arc<Core>) -> Router {
    router(core, node_endpoints())
}

/// The page Prometheus reads.
pub(crate) fn metrics(core: &Arc<Core>) -> Router {
    router(core, vec![Endpoint::new(Method::GET, "/metrics", "Metrics of this node", get(health::metrics))])
}

fn router(core: &Arc<Core>, endpoints: Vec<Endpoint>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints {
        // An upload takes as long as it takes: what bounds it is the time between two pieces.
        let handler = if matches!(endpoint.request, Content::Bytes) { endpoint.handler } else { endpoint.handler.layer(from_fn(deadline)) };
        router = router.route(endpoint.path, handler.layer(from_fn_with_state(core.clone(), count)));
    }
    router
        .fallback(|request: Request| async move {
            ApiError::new("E0402", format!("there is no {}", request.uri().path()), "/openapi.json lists what there is").into_response()
        })
        .method_not_allowed_fallback(|request: Request| async move {
            let message = format!("{} does not take {}", request.uri().path(), request.method());
            ApiError::new("E0408", message, "/openapi.json lists what there is").status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .with_state(core.clone())
}

/// Until the head of the answer; a stream may go on after it.
async fn deadline(request: Request, next: Next) -> Response {
    let late =
        |after: Duration| ApiError::new("E0407", format!("no answer within {} s", after.as_secs()), "the disk may be slow; try again");
    match timeout(HANDLER_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => late(HANDLER_MAX).into_response(),
    }
}

async fn count(State(core): State<Arc<Core>>, route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    core.metrics.answered(&method, route.as_ref().map(MatchedPath::as_str), response.status());
    response
}
