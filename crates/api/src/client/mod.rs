//! Typed clients: one method per endpoint, a deadline on every call that is not a stream. Owns dialing, the choice among several servers and the translation
//! of answers; must never send twice what may have had its effect, print, or decide what an error means for the user.

mod cluster;
mod connection;
mod download;
mod error;
mod found;
mod known;
mod lines;
mod node;
mod peer;
mod query;
mod servers;
mod token;
mod upload;
mod watch;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, StatusCode};
use model::id::{AppId, Digest, Name};
use serde::{Serialize, de::DeserializeOwned};
use transport::AuthorityDigest;

use self::servers::Servers;
pub use self::{
    connection::{Body, Server, Tied, empty, full},
    download::{DIGEST_HEADER, Download},
    error::ClientError,
    found::Found,
    known::Stale,
    lines::Lines,
    node::NodeClient,
    peer::{Proven, form, join, standing},
    token::{InvalidToken, Token},
    watch::{Watch, Watched},
};
use crate::{
    limits::{CALL_MAX, JSON_BYTES_MAX},
    time::Time,
    v1::{
        AppView, ApplyAnswer, ApplyRequest, DeleteAnswer, ErrorDetail, EventQuery, EventView, InstanceView, List, LogEntry, LogQuery,
        NodeView, ObjectAnswer, PlanAnswer, PlanRequest, Principal, ReadyView, RevisionView, TopQuery, TopView, UndoRequest, VersionView,
        WatchEvent, WhyAnswer, WhyQuery,
    },
};

/// Calls the public API of one cluster. Cheap to clone; dials anew for each call.
#[derive(Debug, Clone)]
pub struct Client {
    servers: Servers,
}

impl Client {
    /// A client of `server`. Nothing is dialed yet.
    pub fn new(server: Server) -> Self {
        Self::of(vec![server])
    }

    /// A client of a cluster with these servers, at least one: a call goes to the one that answered last, and to the next when nobody listens there.
    pub fn of(servers: Vec<Server>) -> Self {
        Self { servers: Servers::new(servers) }
    }

    /// The same client, showing `token` with every call.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.servers.token = Some(token);
        self
    }

    /// The same client, asking again for as long as `patience` while no server leads; without it, it never does.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.servers.patience = patience;
        self
    }

    /// The same client, taking what one server knows where no leader answers in time; `tell` hears of the first such answer before it is returned.
    #[must_use]
    pub fn or_stale(mut self, tell: impl Fn(&Stale) + Send + Sync + 'static) -> Self {
        self.servers.known = Some(known::Known::new(tell));
        self
    }

    /// The server that answered last; before the first call, the one it will begin with.
    pub fn server(&self) -> &Server {
        self.servers.preferred()
    }

    /// The authority of the cluster when the pinned one has been replaced since and vouches for it, as far as calls have shown.
    pub fn followed(&self) -> Option<AuthorityDigest> {
        self.servers.followed()
    }

    /// All its servers.
    pub fn servers(&self) -> &[Server] {
        self.servers.all()
    }

    /// The next call begins at the server behind the one that answered last: that one is away.
    pub fn pass_over(&self) {
        self.servers.pass_over();
    }

    /// As [`Client::version`], and the server's clock in whole seconds, when it tells it.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn version_and_date(&self) -> Result<(VersionView, Option<Time>), ClientError> {
        let (server, answer) = self.servers.exchange(Method::GET, "/v1/version", None, JSON_BYTES_MAX).await?;
        if !answer.status.is_success() {
            return Err(ClientError::refused(&server, answer.status, &answer.bytes));
        }
        Ok((connection::parse(&server, &answer.bytes)?, answer.date))
    }

    /// Version and limits of the server.
    pub async fn version(&self) -> Result<VersionView, ClientError> {
        self.get("/v1/version").await
    }

    /// Whether the server answers reads and writes, and what it waits for when not.
    pub async fn ready(&self) -> Result<ReadyView, ClientError> {
        // That it is not ready is the answer: asking again would only hide it.
        let impatient = self.clone().with_patience(Duration::ZERO);
        let (server, answer) = impatient.servers.exchange(Method::GET, "/readyz", None, JSON_BYTES_MAX).await?;
        match answer.status {
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => connection::parse(&server, &answer.bytes),
            status => Err(ClientError::refused(&server, status, &answer.bytes)),
        }
    }

    /// Whether the server has the artifact.
    pub async fn has_artifact(&self, digest: &Digest) -> Result<bool, ClientError> {
        let (server, answer) = self.servers.exchange(Method::HEAD, &format!("/v1/artifacts/{digest}"), None, JSON_BYTES_MAX).await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => {
                // The answer to a question for a head has no body: another question is refused for the same reason, in words.
                let asked = self.whoami().await?;
                Err(match status {
                    StatusCode::FORBIDDEN => ClientError::Refused { status, error: Box::new(forbidden(&asked)) },
                    _ => ClientError::refused(&server, status, &answer.bytes),
                })
            }
        }
    }

    /// Uploads the file at `path` as the artifact `digest`; `progress` hears bytes sent and bytes in all, and ends with both equal.
    pub async fn put_artifact(
        &self,
        digest: &Digest,
        path: &Path,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<(), ClientError> {
        let progress: upload::Progress = Arc::new(Mutex::new(progress));
        let token = self.servers.token.as_ref();
        let put = |server| {
            let progress = progress.clone();
            async move { upload::put_artifact(&server, token, digest, path, progress).await }
        };
        self.servers.first(put).await
    }

    /// What an apply would do.
    pub async fn plan(&self, request: &PlanRequest) -> Result<PlanAnswer, ClientError> {
        self.post("/v1/plan", request).await
    }

    /// Writes wishes.
    pub async fn apply(&self, request: &ApplyRequest) -> Result<ApplyAnswer, ClientError> {
        self.post("/v1/apply", request).await
    }

    /// All apps, or those of one namespace, page by page. An app that is made or deleted meanwhile may be missing or there still.
    pub async fn apps(&self, namespace: Option<&Name>) -> Result<List<AppView>, ClientError> {
        let path = in_namespace("/v1/apps", namespace);
        let mut all: List<AppView> = self.get(&path).await?;
        while let Some(next) = all.next.take() {
            let separator = if namespace.is_some() { '&' } else { '?' };
            let page: List<AppView> = self.get(&format!("{path}{separator}after={}", query::escape(&next.to_string()))).await?;
            all.items.extend(page.items);
            all.next = page.next;
        }
        Ok(all)
    }

    /// One app.
    pub async fn app(&self, app: &AppId) -> Result<AppView, ClientError> {
        self.get(&app_path(app, "")).await
    }

    /// Starts to delete an app.
    pub async fn delete(&self, app: &AppId, by: &str) -> Result<DeleteAnswer, ClientError> {
        let path = format!("{}?by={}", app_path(app, ""), query::escape(by));
        self.call(Method::DELETE, &path, None).await
    }

    /// An app's revisions, the newest first.
    pub async fn revisions(&self, app: &AppId) -> Result<List<RevisionView>, ClientError> {
        self.get(&app_path(app, "/revisions")).await
    }

    /// Makes an earlier revision the newest.
    pub async fn undo(&self, app: &AppId, request: &UndoRequest) -> Result<ObjectAnswer, ClientError> {
        self.post(&app_path(app, "/undo"), request).await
    }

    /// First how the app is, then each change, until it is gone.
    pub async fn watch_app(&self, app: &AppId) -> Result<Lines<WatchEvent>, ClientError> {
        self.stream(&app_path(app, "/watch")).await
    }

    /// All instances, or those of one namespace.
    pub async fn instances(&self, namespace: Option<&Name>) -> Result<List<InstanceView>, ClientError> {
        self.get(&in_namespace("/v1/instances", namespace)).await
    }

    /// All nodes.
    pub async fn nodes(&self) -> Result<List<NodeView>, ClientError> {
        self.get("/v1/nodes").await
    }

    /// What is used, counted since each process began.
    pub async fn top(&self, question: &TopQuery) -> Result<TopView, ClientError> {
        self.get(&query::append("/v1/top", question)).await
    }

    /// What happened, the oldest first.
    pub async fn events(&self, question: &EventQuery) -> Result<List<EventView>, ClientError> {
        self.get(&query::append("/v1/events", &EventQuery { watch: false, ..question.clone() })).await
    }

    /// What happened, then what happens.
    pub async fn watch_events(&self, question: &EventQuery) -> Result<Lines<EventView>, ClientError> {
        self.stream(&query::append("/v1/events", &EventQuery { watch: true, ..question.clone() })).await
    }

    /// Log lines; with `follow` they do not end.
    pub async fn logs(&self, question: &LogQuery) -> Result<Lines<LogEntry>, ClientError> {
        self.stream(&query::append("/v1/logs", question)).await
    }

    /// Why something does not answer.
    pub async fn why(&self, question: &WhyQuery) -> Result<WhyAnswer, ClientError> {
        self.get(&query::append("/v1/why", question)).await
    }

    async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ClientError> {
        self.call(Method::GET, path, None).await
    }

    async fn post<A: DeserializeOwned>(&self, path: &str, request: &impl Serialize) -> Result<A, ClientError> {
        let body = serde_json::to_vec(request).expect("wire types have string keys only");
        self.call(Method::POST, path, Some(body)).await
    }

    async fn put<A: DeserializeOwned>(&self, path: &str, request: &impl Serialize) -> Result<A, ClientError> {
        let body = serde_json::to_vec(request).expect("wire types have string keys only");
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn call<A: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<A, ClientError> {
        let (server, answer) = self.servers.exchange(method, path, body, JSON_BYTES_MAX * 4).await?;
        if answer.status.is_success() {
            connection::parse(&server, &answer.bytes)
        } else {
            Err(ClientError::refused(&server, answer.status, &answer.bytes))
        }
    }

    async fn stream<L: DeserializeOwned>(&self, path: &str) -> Result<Lines<L>, ClientError> {
        let token = self.servers.token.as_ref();
        self.servers.first(|server| async move { lines::open(&server, token, path, CALL_MAX).await }).await
    }

    async fn messages(&self, path: &str) -> Result<lines::Messages, ClientError> {
        let token = self.servers.token.as_ref();
        self.servers.first(|server| async move { lines::open_messages(&server, token, path, CALL_MAX).await }).await
    }

    fn signed(&self, mut request: Request<Body>) -> Request<Body> {
        if let Some(token) = &self.servers.token {
            token.sign(request.headers_mut());
        }
        request
    }
}

/// A deadline in words, for errors.
/// What a server says to somebody who may ask who they are, and not whether an artifact is stored.
fn forbidden(asked: &Principal) -> ErrorDetail {
    let message = format!("{} may only read, and deploying takes the role deployer", asked.name);
    ErrorDetail::new("E0421", message, "ask an admin for a token:   shoal token create --role deployer NAME")
}

fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs())
}

fn app_path(app: &AppId, rest: &str) -> String {
    format!("/v1/namespaces/{}/apps/{}{rest}", app.namespace, app.name)
}

fn in_namespace(path: &str, namespace: Option<&Name>) -> String {
    namespace.map_or_else(|| path.to_owned(), |namespace| format!("{path}?namespace={namespace}"))
}
