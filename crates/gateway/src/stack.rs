//! The request path as a list. Owns the order of the layers and the shape a request has between them; must never hold a rule itself. Each layer takes a
//! shape only the layer above can make, so the order is checked by the compiler.

use std::{convert::Infallible, future::Future, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, uri::Scheme};
use http_body::Body;
use hyper::body::Incoming;
use model::id::{ComponentId, RevisionNumber};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder};

use crate::{
    admit::Admit,
    answer::{Answer, AnswerBody, Record, RecordedBody},
    body::RequestBody,
    exchange::Exchange,
    forward::Forward,
    head_scan::HeadFacts,
    limit::{Deadline, LimitBody},
    live::Backend,
    normalize::Normalize,
    request_id::RequestId,
    route::FindRoute,
    table::Route,
    trace::RequestTrace,
};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// All layers around `bottom`.
pub(crate) fn stack<S: Bottom>(
    bottom: S,
) -> impl Service<Arrived, Response = Response<RecordedBody<S::Out>>, Error = Infallible, Future: Send> + Clone + Send + 'static {
    ServiceBuilder::new() // top to bottom: the order a request meets them
        // Outermost, so that every answer, the component's and ours, is counted and logged once, when its last byte is gone.
        .layer_fn(|inner| Record { inner })
        // The only place where an error becomes a status; below it every layer may simply fail.
        .layer_fn(|inner| Answer { inner })
        // Before anything reads the request: what two readers could understand differently goes no further.
        .layer_fn(|inner| Normalize { inner })
        // Who answers, or 404 and 405, or that the route wants TLS (308), while refusing is still cheap.
        .layer_fn(|inner| FindRoute { inner })
        // Above the queue, so that a body which will be refused does not wait for a turn first.
        .layer_fn(|inner| LimitBody { inner })
        // Above the queue as well: the time a client waits for a turn is time it waits.
        .layer_fn(|inner| Deadline { inner })
        // A place at an endpoint, held until the end of the response body; here requests are held while there is none.
        .layer_fn(|inner| Admit { inner })
        // Last, because a held request may find another route, and only the final one says what the component sees.
        .layer_fn(|inner| Forward { inner })
        // In this process or over the mesh: the caller of the gateway knows.
        .service(bottom)
}

/// What answers for an instance: the bottom of the stack. Implemented by every fitting `tower::Service`.
pub trait Bottom:
    Service<LocalRequest, Response = Response<Self::Out>, Error = CallError, Future = Self::Call> + Clone + Send + Sync + 'static
{
    /// Its response body.
    type Out: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
    /// Its future. Dropping it means that nobody waits for the answer any more.
    type Call: Future<Output = Result<Response<Self::Out>, CallError>> + Send + 'static;
}

impl<S, B> Bottom for S
where
    S: Service<LocalRequest, Response = Response<B>, Error = CallError> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Out = B;
    type Call = S::Future;
}

/// A request that was given a place at an endpoint.
#[derive(Debug)]
pub struct LocalRequest {
    /// Origin-form target, `Host` set, version 1.1, hop-by-hop headers gone (but for `te: trailers`), forwarding headers,
    /// `X-Request-Id` and `traceparent` set.
    pub request: Request<RequestBody>,
    /// Which instance.
    pub target: Arc<Target>,
    /// The request's name.
    pub request_id: RequestId,
    /// What the client spoke, as far as it is known: a trusted proxy may say it for its client.
    pub scheme: Scheme,
    /// Where the request stands in its trace; `traceparent` says the same.
    pub trace: RequestTrace,
    /// When the client is told 504. The future is dropped then.
    pub deadline: Instant,
}

/// An instance a request may be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The component.
    pub component: ComponentId,
    /// Its revision.
    pub revision: RevisionNumber,
    /// The instance's number.
    pub ordinal: u32,
}

/// Why the bottom service has no answer. The client learns the kind, the access log the code, nobody but a debugger the message.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct CallError {
    /// What the client is told.
    pub kind: CallErrorKind,
    /// `E03xx`.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallErrorKind {
    /// The component trapped, ran out of memory or sent no response: a bare 500.
    Failed,
    /// It took too long: 504.
    Timeout,
    /// There is no room for one more request, in the instance or on the node: 503, with the code.
    Overloaded,
    /// The instance went away before it took the request: 503.
    Gone,
}

impl CallErrorKind {
    /// The one sentence a client may read.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Failed => "the component failed",
            Self::Timeout => "the component did not answer in time",
            Self::Overloaded => "the node is overloaded",
            Self::Gone => "the instance went away",
        }
    }
}

/// A request as hyper read it.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) request: Request<Incoming>,
    pub(crate) facts: HeadFacts,
    pub(crate) exchange: Arc<Exchange>,
}

/// A request every reader understands the same way.
#[derive(Debug)]
pub(crate) struct Normal {
    pub(crate) request: Request<Incoming>,
    /// Lower case, without port; empty when there was none.
    pub(crate) host: String,
    pub(crate) exchange: Arc<Exchange>,
}

/// A request with a route.
#[derive(Debug)]
pub(crate) struct Routed<B> {
    pub(crate) request: Request<B>,
    pub(crate) host: String,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) route: Arc<Route>,
    pub(crate) backend: Arc<Backend>,
    pub(crate) deadline: Instant,
}

/// A request with a place at an endpoint.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) request: Request<RequestBody>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) route: Arc<Route>,
    pub(crate) target: Arc<Target>,
    pub(crate) deadline: Instant,
}

/// What comes up from the layers that know who answers.
pub(crate) type Answered<B> = Response<AnswerBody<B>>;
