//! Every endpoint in one table: from it come the router and the API's description, so that neither can miss one.
//! Owns paths, deadlines and counting; must never know what a handler does.

use std::sync::Arc;

use api::{
    openapi::{Content, Operation, Shape, shape},
    peer::FORWARD_PATH,
    v1,
};
use axum::{
    Extension, Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, head, post, put},
};
use doors::limits::STRANGER_BODY_BYTES_MAX;
use http_body_util::Limited;
use tokio::time::timeout;
use tower::ServiceExt;
use transport::Caller;

use crate::{
    admit,
    api_error::ApiError,
    core::Core,
    forward,
    handlers::{
        apply, apps, artifacts, authority, cluster, events, health, join, logs, members, node, peer, snapshot, tokens, top, values, watch,
        why,
    },
};

#[cfg(test)]
mod tests;

/// One endpoint.
pub(crate) struct Endpoint {
    /// What is asked and answered.
    pub(crate) operation: Operation,
    handler: MethodRouter<Arc<Core>>,
}

impl Endpoint {
    fn new(method: Method, path: &'static str, summary: &'static str, handler: MethodRouter<Arc<Core>>) -> Self {
        let operation = Operation { method, path, summary, query: None, request: Content::Nothing, answer: Content::Nothing };
        Self { operation, handler }
    }

    fn query(mut self, shape: Shape) -> Self {
        self.operation.query = Some(shape);
        self
    }

    fn takes(mut self, content: Content) -> Self {
        self.operation.request = content;
        self
    }

    fn answers(mut self, content: Content) -> Self {
        self.operation.answer = content;
        self
    }
}

/// Everything users' tools may call.
pub(crate) fn public_endpoints() -> Vec<Endpoint> {
    let mut endpoints = app_endpoints();
    endpoints.extend(write_endpoints());
    endpoints.extend(cluster_endpoints());
    endpoints.extend(member_endpoints());
    endpoints.extend(value_endpoints());
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
        Endpoint::new(Method::GET, "/v1/watch", "Watch objects from where a list was read on: server-sent events", get(watch::watch))
            .query(shape::<v1::ObjectQuery>())
            .answers(Content::Events(shape::<v1::ObjectEvent>())),
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

fn member_endpoints() -> Vec<Endpoint> {
    const JOIN_TOKEN: &str = "/v1/join-tokens/{id}";
    const TOKEN: &str = "/v1/tokens/{id}";
    vec![
        Endpoint::new(Method::GET, "/v1/cluster", "The group of servers that holds the state", get(members::cluster))
            .answers(Content::Json(shape::<v1::ClusterView>())),
        Endpoint::new(Method::GET, "/v1/authority", "Who signs the nodes' certificates, and how far replacing it is", get(authority::read))
            .answers(Content::Json(shape::<v1::AuthorityView>())),
        Endpoint::new(Method::POST, "/v1/authority/rotate", "Let another authority take its place", post(authority::rotate))
            .answers(Content::Json(shape::<v1::AuthorityView>())),
        Endpoint::new(Method::POST, "/v1/members/{name}/promote", "Give a server a vote", post(members::promote))
            .answers(Content::Json(shape::<v1::MemberAnswer>())),
        Endpoint::new(Method::DELETE, "/v1/members/{name}", "Remove a server", delete(members::remove))
            .answers(Content::Json(shape::<v1::MemberAnswer>())),
        Endpoint::new(Method::DELETE, "/v1/nodes/{name}", "Remove a node with everything on it", delete(members::remove_node))
            .query(shape::<members::Removal>())
            .answers(Content::Json(shape::<v1::MemberAnswer>())),
        Endpoint::new(Method::POST, "/v1/leader", "Hand leadership over", post(members::transfer))
            .takes(Content::Json(shape::<v1::TransferRequest>()))
            .answers(Content::Json(shape::<v1::MemberAnswer>())),
        Endpoint::new(Method::POST, "/v1/join-tokens", "Make a token that lets nodes join", post(tokens::create_join_token))
            .takes(Content::Json(shape::<v1::JoinTokenRequest>()))
            .answers(Content::Json(shape::<v1::NewJoinToken>())),
        Endpoint::new(Method::GET, "/v1/join-tokens", "List the tokens that let nodes join", get(tokens::join_tokens))
            .answers(Content::List(shape::<v1::JoinTokenView>())),
        Endpoint::new(Method::DELETE, JOIN_TOKEN, "Revoke a token that lets nodes join", delete(tokens::revoke_join_token))
            .answers(Content::Json(shape::<v1::WriteAnswer>())),
        Endpoint::new(Method::POST, "/v1/tokens", "Make a token of the API", post(tokens::create_api_token))
            .takes(Content::Json(shape::<v1::ApiTokenRequest>()))
            .answers(Content::Json(shape::<v1::NewApiToken>())),
        Endpoint::new(Method::GET, "/v1/tokens", "List the tokens of the API", get(tokens::api_tokens))
            .answers(Content::List(shape::<v1::ApiTokenView>())),
        Endpoint::new(Method::DELETE, TOKEN, "Revoke a token of the API", delete(tokens::revoke_api_token))
            .answers(Content::Json(shape::<v1::WriteAnswer>())),
        Endpoint::new(Method::GET, "/v1/whoami", "Who asks, as the server sees it", get(tokens::whoami))
            .answers(Content::Json(shape::<v1::Principal>())),
    ]
}

fn value_endpoints() -> Vec<Endpoint> {
    const CONFIG: &str = "/v1/namespaces/{namespace}/configs/{name}";
    const NAMESPACE: &str = "/v1/namespaces/{name}";
    const SECRET: &str = "/v1/namespaces/{namespace}/secrets/{name}";
    vec![
        Endpoint::new(Method::GET, "/v1/configs", "List configs", get(values::configs))
            .query(shape::<apps::Selection>())
            .answers(Content::List(shape::<v1::ConfigView>())),
        Endpoint::new(Method::GET, CONFIG, "Read a config", get(values::config)).answers(Content::Json(shape::<v1::ConfigView>())),
        Endpoint::new(Method::PUT, CONFIG, "Write a config whole", put(values::put_config))
            .takes(Content::Json(shape::<v1::ConfigRequest>()))
            .answers(Content::Json(shape::<v1::WriteAnswer>())),
        Endpoint::new(Method::DELETE, CONFIG, "Delete a config", delete(values::delete_config))
            .query(shape::<values::Expectation>())
            .answers(Content::Json(shape::<v1::WriteAnswer>())),
        Endpoint::new(Method::GET, "/v1/secrets", "List secrets without their values", get(values::secrets))
            .query(shape::<apps::Selection>())
            .answers(Content::List(shape::<v1::SecretView>())),
        Endpoint::new(Method::PUT, SECRET, "Set all values of a secret: a new version", put(values::put_secret))
            .takes(Content::Json(shape::<v1::SecretRequest>()))
            .answers(Content::Json(shape::<v1::WriteAnswer>())),
        Endpoint::new(Method::DELETE, SECRET, "Delete a secret with all its versions", delete(values::delete_secret))
            .query(shape::<values::Expectation>())
            .answers(Content::Json(shape::<v1::WriteAnswer>())),
        Endpoint::new(Method::GET, "/v1/namespaces", "List the namespaces with ceilings", get(values::namespaces))
            .answers(Content::List(shape::<v1::NamespaceView>())),
        Endpoint::new(Method::GET, NAMESPACE, "Read the ceilings of a namespace", get(values::namespace))
            .answers(Content::Json(shape::<v1::NamespaceView>())),
        Endpoint::new(Method::DELETE, NAMESPACE, "Take the ceilings of a namespace away", delete(values::delete_namespace))
            .query(shape::<values::Expectation>())
            .answers(Content::Json(shape::<v1::WriteAnswer>())),
        Endpoint::new(Method::GET, "/v1/snapshot", "The whole state as one file", get(snapshot::save))
            .query(shape::<v1::SnapshotQuery>())
            .answers(Content::Bytes),
        Endpoint::new(Method::GET, "/v1/audit", "Every change somebody asked for, the oldest first", get(values::audit))
            .query(shape::<v1::AuditQuery>())
            .answers(Content::List(shape::<v1::AuditView>())),
    ]
}

fn peer_endpoints() -> Vec<Endpoint> {
    use api::peer::{
        ARTIFACTS_PATH, ATTEST_PATH, CLUSTER_KEY_PATH, CONSENSUS_PATH, JOIN_PATH, MEMBER_PATH, RENEW_PATH, REPORT_PATH, STANDING_PATH,
    };
    const ARTIFACT: &str = "/peer/v1/artifacts/{digest}";
    debug_assert!(ARTIFACT.starts_with(ARTIFACTS_PATH));
    vec![
        Endpoint::new(Method::POST, JOIN_PATH, "Let a node in", post(join::join)),
        Endpoint::new(Method::POST, RENEW_PATH, "A new certificate over the same key", post(peer::renew)),
        Endpoint::new(Method::POST, STANDING_PATH, "What is known of a server", post(peer::standing)),
        // The last piece of a snapshot is answered once it is restored; whoever sends it has its own deadline.
        Endpoint::new(Method::POST, CONSENSUS_PATH, "A message of consensus", post(peer::consensus)).takes(Content::Bytes),
        Endpoint::new(Method::GET, CLUSTER_KEY_PATH, "The key that opens what is sealed", get(peer::cluster_key)),
        Endpoint::new(Method::POST, REPORT_PATH, "A report that came to another server", post(peer::report)),
        Endpoint::new(Method::POST, MEMBER_PATH, "What is new about a node", post(peer::member)),
        Endpoint::new(Method::POST, ATTEST_PATH, "What the state of a member hashed to", post(peer::attest)),
        Endpoint::new(Method::GET, ARTIFACT, "An artifact's bytes", get(artifacts::give)),
        Endpoint::new(Method::POST, ARTIFACT, "Fetch an artifact from whoever asks", post(artifacts::fetch)),
    ]
}

fn node_endpoints() -> Vec<Endpoint> {
    use api::node::{ASSIGNMENTS_PATH, RENEW_PATH, REPORT_PATH};
    vec![
        Endpoint::new(Method::GET, ASSIGNMENTS_PATH, "The assignment, and each newer one", get(node::assignments)),
        Endpoint::new(Method::POST, REPORT_PATH, "How everything is", post(node::report)),
        Endpoint::new(Method::POST, RENEW_PATH, "A new certificate over the same key", post(node::renew)),
        Endpoint::new(Method::GET, "/node/v1/artifacts/{digest}", "An artifact's bytes", get(artifacts::get)),
    ]
}

/// The public API: who asks is known before where it is answered, and that before what is done.
pub(crate) fn public(core: &Arc<Core>) -> Router {
    router(core, public_endpoints(), |handler, core| {
        let handler = handler.layer(from_fn_with_state(core.clone(), forward::route)).layer(from_fn(admit::remember));
        handler.layer(from_fn_with_state(core.clone(), admit::admit))
    })
}

/// The node protocol, for the worker of this node.
pub(crate) fn node(core: &Arc<Core>) -> Router {
    router(core, node_endpoints(), |handler, _| handler).layer(Extension(node::Worker(core.node)))
}

/// What other nodes may call: the node protocol for workers, the public API for servers that pass a call on, and what is between servers.
pub(crate) fn peer(core: &Arc<Core>) -> Router {
    let (node, public) = (router(core, node_endpoints(), |handler, _| handler), public(core));
    let own = router(core, peer_endpoints(), |handler, _| handler);
    let core = core.clone();
    Router::new().fallback(move |Extension(caller): Extension<Caller>, mut request: Request| async move {
        let from = peer::From(caller);
        request.extensions_mut().insert(from);
        // Before a byte of a body is read: what is collected of one is memory, whoever sends it.
        if let Err(error) = from.still_known(&core).and_then(|()| from.may_call(request.uri().path())) {
            return error.into_response();
        }
        let mut request = if from.is_stranger() { request.map(small) } else { request };
        let path = request.uri().path();
        let answered = if path.starts_with("/node/") {
            match from.worker() {
                Ok(worker) => {
                    request.extensions_mut().insert(node::Worker(worker.node));
                    node.oneshot(request).await
                }
                Err(error) => return error.into_response(),
            }
        } else if let Some(rest) = request.uri().path_and_query().and_then(|path| path.as_str().strip_prefix(FORWARD_PATH)) {
            let (uri, server) = (rest.parse(), from.server());
            match (uri, server) {
                (Ok(uri), Ok(_)) => {
                    *request.uri_mut() = uri;
                    public.oneshot(request).await
                }
                (_, Err(error)) => return error.into_response(),
                (Err(_), _) => return ApiError::new("E0408", "the path that was passed on is none", "").into_response(),
            }
        } else {
            own.oneshot(request).await
        };
        answered.unwrap_or_else(|never| match never {})
    })
}

/// A body of somebody who has shown no certificate.
fn small(body: Body) -> Body {
    Body::new(Limited::new(body, STRANGER_BODY_BYTES_MAX))
}

/// The page Prometheus reads.
pub(crate) fn metrics(core: &Arc<Core>) -> Router {
    router(core, vec![Endpoint::new(Method::GET, "/metrics", "Metrics of this node", get(health::metrics))], |handler, _| handler)
}

fn router(
    core: &Arc<Core>,
    endpoints: Vec<Endpoint>,
    guarded: impl Fn(MethodRouter<Arc<Core>>, &Arc<Core>) -> MethodRouter<Arc<Core>>,
) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints {
        // An upload takes as long as it takes: what bounds it is the time between two pieces.
        let handler =
            if matches!(endpoint.operation.request, Content::Bytes) { endpoint.handler } else { endpoint.handler.layer(from_fn(deadline)) };
        router = router.route(endpoint.operation.path, guarded(handler, core).layer(from_fn_with_state(core.clone(), count)));
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

/// Until the head of the answer; a stream may go on after it. What was passed on has what is left of its time. A change that is given up may have been begun.
async fn deadline(path: MatchedPath, request: Request, next: Next) -> Response {
    let (within, changes) = (forward::time_left(&request), forward::changes(request.method(), path.as_str()));
    if let Ok(response) = timeout(within, next.run(request)).await {
        return response;
    }
    let message = format!("no answer within {} ms", within.as_millis());
    match changes {
        true => ApiError::in_doubt(&message).into_response(),
        false => ApiError::new("E0407", message, "the disk may be slow, or a majority of the servers away; try again").into_response(),
    }
}

async fn count(State(core): State<Arc<Core>>, route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    core.metrics.answered(&method, route.as_ref().map(MatchedPath::as_str), response.status());
    response
}
