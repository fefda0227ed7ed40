//! A component that is ready to answer: code, configuration and grants. Owns the way of one request through a sandbox; must never know how the request
//! came to this node or who else runs here.

use std::{
    collections::BTreeMap,
    error::Error,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use model::id::{ComponentId, RevisionNumber};
use tokio::sync::oneshot;
use wasmtime::component::InstancePre;

use crate::{
    body::{Remains, SandboxBody},
    capabilities::{Grants, Host},
    error::{OpenError, SandboxError},
    handler::{Answer, Handler},
    logs::{LogSink, SandboxLog, Source},
    runtime::Shared,
    sandbox::Sandbox,
};

/// What a program is made with, besides its code.
#[derive(Debug, Clone)]
pub struct ProgramConfig {
    /// The component, for its log lines.
    pub component: ComponentId,
    /// The revision, for its log lines.
    pub revision: RevisionNumber,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Arguments after the first, which is the component's name.
    pub args: Vec<String>,
    /// Values of `wasi:config/store`.
    pub config: BTreeMap<String, String>,
    /// Most memory of one sandbox, all its memories and tables together, in bytes.
    pub memory_bytes: u64,
    /// Longest time until the response begins.
    pub timeout: Duration,
}

/// What comes with a request besides itself.
#[derive(Debug, Clone)]
pub struct Call {
    /// Stands in every log line the request causes.
    pub request_id: Arc<str>,
    /// The scheme the client used.
    pub scheme: Scheme,
    /// A shorter time until the response begins than the program's own.
    pub timeout: Option<Duration>,
}

/// How a client reached the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// A component that is ready to answer.
pub struct Program {
    pub(crate) handler: Handler,
    pub(crate) grants: Grants,
    pub(crate) memory_bytes: usize,
    pub(crate) shared: Shared,
    timeout: Duration,
    source: Arc<Source>,
}

/// The guest at work on one request. It owns its sandbox: dropping it ends both at once.
pub(crate) type Guest = Pin<Box<dyn Future<Output = Result<(), SandboxError>> + Send>>;

impl Program {
    pub(crate) fn new(
        linked: InstancePre<Host>,
        config: ProgramConfig,
        memory_bytes: usize,
        sink: Arc<dyn LogSink>,
        shared: Shared,
    ) -> Result<Self, OpenError> {
        let handler = Handler::of(linked).map_err(|error| OpenError::Handler { reason: format!("{error:#}") })?;
        let grants = Grants::of(&config);
        let ProgramConfig { component: name, revision, timeout, .. } = config;
        Ok(Self { handler, grants, memory_bytes, shared, timeout, source: Arc::new(Source { component: name, revision, sink }) })
    }

    /// Starts one sandbox and lets it go: whether the component starts at all. Runs its start code, calls nothing.
    pub async fn probe(&self) -> Result<(), SandboxError> {
        let start = async {
            let mut sandbox = Sandbox::new(self, SandboxLog::new(&self.source, None))?;
            sandbox.instantiate(self).await.map(drop)
        };
        match tokio::time::timeout(self.timeout, start).await {
            Ok(started) => started,
            Err(_) => Err(self.timed_out(self.timeout, None)),
        }
    }

    /// Answers one request in a fresh sandbox, inside the caller's task: dropping the future or the response body ends the guest at once.
    /// The response's body drives the guest on while it is read.
    pub fn handle<B>(
        self: &Arc<Self>,
        request: http::Request<B>,
        call: Call,
    ) -> impl Future<Output = Result<http::Response<SandboxBody>, SandboxError>> + Send + use<B>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let program = Arc::clone(self);
        async move {
            let limit = call.timeout.map_or(program.timeout, |timeout| timeout.min(program.timeout));
            let remains =
                Remains::new(request.method(), program.shared.clone(), SandboxLog::new(&program.source, Some(call.request_id.clone())));
            let (mut guest, mut answer) = program.start(request, &call)?;
            let driven = tokio::time::timeout(limit, poll_fn(|context| drive(&mut guest, &mut answer, context))).await;
            match driven {
                Ok(Ok(Driven { answer: Some(Ok(response)), ended })) => SandboxBody::of(response, (!ended).then_some(guest), remains),
                Ok(Ok(Driven { answer, .. })) => Err(program.bad_answer(answer, call.request_id)),
                Ok(Err(error)) => Err(error),
                Err(_) => {
                    drop(guest);
                    Err(program.timed_out(limit, Some(call.request_id)))
                }
            }
        }
    }

    /// Puts the request into a fresh sandbox. Nothing of the guest has run yet.
    fn start<B>(self: &Arc<Self>, request: http::Request<B>, call: &Call) -> Result<(Guest, oneshot::Receiver<Answer>), SandboxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut sandbox = Sandbox::new(self, SandboxLog::new(&self.source, Some(call.request_id.clone())))?;
        let (sender, receiver) = oneshot::channel();
        let incoming = self.handler.take(sandbox.store.data_mut(), request, call.scheme, sender)?;
        let program = Arc::clone(self);
        let guest = Box::pin(async move {
            let instance = sandbox.instantiate(&program).await?;
            let answered = instance.answer(&mut sandbox.store, incoming).await;
            answered.map_err(|error| sandbox.failure(&error))
        });
        Ok((guest, receiver))
    }

    fn timed_out(&self, after: Duration, request_id: Option<Arc<str>>) -> SandboxError {
        let counters = &self.shared.counters;
        counters.count(&counters.timeouts);
        let error = SandboxError::Timeout { after };
        SandboxLog::new(&self.source, request_id).host(format!("{error}; the sandbox was ended"));
        error
    }

    fn bad_answer(&self, answer: Option<Answer>, request_id: Arc<str>) -> SandboxError {
        let counters = &self.shared.counters;
        counters.count(&counters.bad_responses);
        let error = match answer {
            Some(Err(code)) => SandboxError::Refused { reason: format!("{code:?}") },
            Some(Ok(_)) | None => SandboxError::NoResponse,
        };
        SandboxLog::new(&self.source, Some(request_id)).host(error.to_string());
        error
    }
}

/// What the guest has done when the response begins, or cannot begin any more.
struct Driven {
    answer: Option<Answer>,
    ended: bool,
}

/// Lets the guest work until it has answered, returned or failed.
fn drive(guest: &mut Guest, answer: &mut oneshot::Receiver<Answer>, context: &mut Context<'_>) -> Poll<Result<Driven, SandboxError>> {
    match guest.as_mut().poll(context) {
        // Its end dropped the sandbox and with it the sender, so the answer is there now or never.
        Poll::Ready(Ok(())) => return Poll::Ready(Ok(Driven { answer: answer.try_recv().ok(), ended: true })),
        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
        Poll::Pending => {}
    }
    Pin::new(answer).poll(context).map(|answer| Ok(Driven { answer: answer.ok(), ended: false }))
}
