//! How a component is called, over both versions of `wasi:http`: what a request becomes inside a sandbox, and where the response comes out. Owns the
//! two interfaces; must never know how long a sandbox lives or who reads the response.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use tokio::sync::oneshot;
use wasmtime::{
    Engine, Store,
    component::{Accessor, GuestTaskId, InstancePre, Resource, TypedFuncCallConcurrent},
};
use wasmtime_wasi_http::{
    Error as HttpError, FieldMap, WasiBody,
    p2::{
        bindings::{Proxy, ProxyPre, http::types},
        types::{HostIncomingRequest, HostResponseOutparam},
    },
    p3::{
        self,
        bindings::{Service, ServicePre, http::types::ErrorCode},
    },
};

use crate::{capabilities::Host, error::SandboxError, program::Scheme};

/// The handler of a linked component, ready to be started.
pub(crate) enum Handler {
    /// `wasi:http/incoming-handler@0.2`.
    Wasi02(ProxyPre<Host>),
    /// `wasi:http/handler@0.3`.
    Wasi03(ServicePre<Host>),
}

/// The handler of a component that was started in a sandbox.
pub(crate) enum Instance {
    /// `wasi:http/incoming-handler@0.2`.
    Wasi02(Proxy),
    /// `wasi:http/handler@0.3`.
    Wasi03(Service),
}

/// What a guest answers.
pub(crate) type Answer = Result<http::Response<WasiBody>, HttpError>;

/// A request that lies in a sandbox, and where its answer goes.
pub(crate) enum Incoming {
    Wasi02 { request: Resource<HostIncomingRequest>, outparam: Resource<HostResponseOutparam> },
    Wasi03 { request: Incoming03, answer: oneshot::Sender<Answer> },
}

/// A request of WASI 0.3 that lies in a sandbox.
pub(crate) struct Incoming03 {
    request: Resource<p3::Request>,
    transmitted: Transmitted,
}

/// What became of a request's body, for the guest that asks.
type Transmitted = Pin<Box<dyn Future<Output = Result<(), HttpError>> + Send>>;

impl Handler {
    /// The handler that `linked` exports.
    ///
    /// # Errors
    /// It exports none.
    pub(crate) fn of(linked: InstancePre<Host>) -> wasmtime::Result<Self> {
        match ServicePre::new(linked.clone()) {
            Ok(service) => Ok(Self::Wasi03(service)),
            Err(_) => ProxyPre::new(linked).map(Self::Wasi02),
        }
    }

    /// Whether a response body whose guest failed looks as if it had ended.
    pub(crate) fn breaks_quietly(&self) -> bool {
        matches!(self, Self::Wasi03(_))
    }

    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Wasi02(handler) => handler.engine(),
            Self::Wasi03(handler) => handler.engine(),
        }
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<Instance> {
        match self {
            Self::Wasi02(handler) => handler.instantiate_async(store).await.map(Instance::Wasi02),
            Self::Wasi03(handler) => handler.instantiate_async(store).await.map(Instance::Wasi03),
        }
    }

    /// Puts a request into a sandbox of this handler. Nothing of the guest runs.
    ///
    /// # Errors
    /// The request cannot be handed to a guest.
    pub(crate) fn take<B>(
        &self,
        host: &mut Host,
        request: http::Request<B>,
        scheme: Scheme,
        answer: oneshot::Sender<Answer>,
    ) -> Result<Incoming, SandboxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        // Most requests have no body, and need no memory for one.
        if request.body().is_end_stream() {
            return self.take_read(host, request.map(|_| Empty::new().map_err(|never: Infallible| match never {})), scheme, answer);
        }
        let request = request.map(|body| body.map_err(|error| HttpError::InternalError(Some(error.into().to_string()))));
        self.take_read(host, request, scheme, answer)
    }

    fn take_read<B>(
        &self,
        host: &mut Host,
        request: http::Request<B>,
        scheme: Scheme,
        answer: oneshot::Sender<Answer>,
    ) -> Result<Incoming, SandboxError>
    where
        B: Body<Data = Bytes, Error = HttpError> + Send + 'static,
    {
        let taken = match self {
            Self::Wasi02(_) => take_02(host, request, scheme, answer),
            Self::Wasi03(_) => take_03(host, request, scheme).map(|request| Incoming::Wasi03 { request, answer }),
        };
        taken.map_err(|error| bad_request(&error))
    }
}

impl Instance {
    /// Answers one request, alone in the sandbox, and returns when the guest has nothing left to do for it.
    ///
    /// # Errors
    /// The guest trapped, or ended itself.
    pub(crate) async fn answer(&self, store: &mut Store<Host>, incoming: Incoming) -> wasmtime::Result<()> {
        match (self, incoming) {
            (Self::Wasi02(proxy), Incoming::Wasi02 { request, outparam }) => {
                proxy.wasi_http_incoming_handler().call_handle(store, request, outparam).await
            }
            (Self::Wasi03(service), Incoming::Wasi03 { request, answer }) => {
                let run = async |accessor: &Accessor<Host>| {
                    let read = Call03::begin(service, accessor, request, answer)?.finish(service, accessor).await?;
                    poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
                    // The engine hands the last of a body on only while it is driven.
                    read.await;
                    Ok(())
                };
                store.run_concurrent(run).await?
            }
            (Self::Wasi02(_), Incoming::Wasi03 { .. }) | (Self::Wasi03(_), Incoming::Wasi02 { .. }) => {
                wasmtime::bail!("a request was taken by a handler of another version")
            }
        }
    }
}

fn take_02<B>(host: &mut Host, request: http::Request<B>, scheme: Scheme, answer: oneshot::Sender<Answer>) -> wasmtime::Result<Incoming>
where
    B: Body<Data = Bytes, Error = HttpError> + Send + 'static,
{
    let scheme = match scheme {
        Scheme::Http => types::Scheme::Http,
        Scheme::Https => types::Scheme::Https,
    };
    let request = host.http().new_incoming_request(scheme, request)?;
    let outparam = host.http().new_response_outparam_from_callback(move |answered| {
        // Nobody waits any more: the request was given up.
        let _ = answer.send(answered.map_err(HttpError::from));
    })?;
    Ok(Incoming::Wasi02 { request, outparam })
}

/// Puts a request into a sandbox. Nothing of the guest runs.
///
/// # Errors
/// The request cannot be handed to a guest; see [`bad_request`].
pub(crate) fn take_03<B>(host: &mut Host, request: http::Request<B>, scheme: Scheme) -> wasmtime::Result<Incoming03>
where
    B: Body<Data = Bytes, Error = HttpError> + Send + 'static,
{
    let (head, body) = request.into_parts();
    let authority = match (head.uri.authority(), head.headers.get(http::header::HOST)) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => Authority::try_from(host.as_bytes())?,
        (None, None) => wasmtime::bail!("it names no host"),
    };
    let scheme = match scheme {
        Scheme::Http => http::uri::Scheme::HTTP,
        Scheme::Https => http::uri::Scheme::HTTPS,
    };
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let view = host.http();
    let headers = FieldMap::new_immutable(view.hooks, head.headers);
    let (request, transmitted) = p3::Request::new(head.method, Some(scheme), Some(authority), Some(path), headers, None, body);
    let request = view.table.push(request)?;
    Ok(Incoming03 { request, transmitted: Box::pin(transmitted) })
}

/// What it means that a request could not be put into a sandbox.
pub(crate) fn bad_request(error: &wasmtime::Error) -> SandboxError {
    SandboxError::BadRequest { reason: format!("{error:#}") }
}

/// What a handler of WASI 0.3 returns.
type Answered03 = (Result<Resource<p3::Response>, ErrorCode>,);

/// A call of a handler of WASI 0.3 that was begun. Others may be under way in the same sandbox.
pub(crate) struct Call03 {
    call: TypedFuncCallConcurrent<Host, (Resource<p3::Request>,), Answered03>,
    transmitted: Transmitted,
    answer: oneshot::Sender<Answer>,
}

impl Call03 {
    /// Begins a call. The guest runs when the engine is driven.
    ///
    /// # Errors
    /// The engine refused it: the sandbox is of no more use.
    pub(crate) fn begin(
        service: &Service,
        accessor: &Accessor<Host>,
        request: Incoming03,
        answer: oneshot::Sender<Answer>,
    ) -> wasmtime::Result<Self> {
        let Incoming03 { request, transmitted } = request;
        let call = accessor.with(|store| service.wasi_http_handler().func_handle().start_call_concurrent(store, (request,)))?;
        Ok(Self { call, transmitted, answer })
    }

    /// Which of the guest's tasks it is.
    pub(crate) fn task(&self) -> GuestTaskId {
        self.call.task()
    }

    /// Hands the answer out when there is one. The guest may work on: for its response's body, or after it.
    /// What is returned ends when nobody reads the response any more.
    ///
    /// # Errors
    /// The guest trapped.
    pub(crate) async fn finish(self, service: &Service, accessor: &Accessor<Host>) -> wasmtime::Result<impl Future<Output = ()> + use<>> {
        let Self { call, transmitted, answer } = self;
        let (answered,) = service.wasi_http_handler().func_handle().finish_call_concurrent(accessor, call).await?;
        let (reading, read) = oneshot::channel::<()>();
        let answered = match answered {
            Ok(response) => {
                let response = accessor.with(|mut store| {
                    let response = store.get().http().table.delete(response)?;
                    response.into_http_with_getter(&mut store, transmitted, Host::http)
                })?;
                Ok(response.map(|body| Followed { body, reading: Some(reading) }.boxed_unsync()))
            }
            Err(code) => Err(HttpError::from(code)),
        };
        // Nobody waits any more: the request was given up, and with it whoever would read.
        let _ = answer.send(answered);
        Ok(async move { drop(read.await) })
    }
}

/// A body that says when it was read to its end or dropped.
struct Followed {
    body: WasiBody,
    reading: Option<oneshot::Sender<()>>,
}

impl Body for Followed {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || this.body.is_end_stream() {
            this.reading = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
