//! A component that is ready to answer: code, configuration and grants. Owns the way of one request through a sandbox; must never know how the request
//! came to this node or who else runs here.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    future::poll_fn,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::Body;
use model::{
    app::Reuse,
    egress::Egress,
    id::{ComponentId, RevisionNumber},
};
use tokio::sync::oneshot;
use wasmtime::component::InstancePre;

use crate::{
    body::{Remains, SandboxBody},
    capabilities::{Grants, Host},
    component_figures::{ComponentFigures, RequestUsage},
    error::{OpenError, SandboxError},
    failure_log::FailureLog,
    handler::{Answer, Handler},
    instance::Portion,
    kept::{Given, Kept, Mode, Policy},
    lane::{Ended, Guest, Share},
    logs::{LogSink, SandboxLog, Source},
    meter::Meter,
    room::Room,
    runtime::Shared,
    sandbox::Sandbox,
};

/// What a program is made with, besides its code.
#[derive(Clone)]
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
    /// Most memory all sandboxes of one instance hold together, in bytes.
    pub instance_memory_bytes: u64,
    /// Most processor time for one request, and again for every piece of its response.
    pub cpu_time: Duration,
    /// Longest time a request waits for memory of its instance.
    pub queue_wait: Duration,
    /// Most requests an instance answers at once; as many may wait for its memory.
    pub max_in_flight: u32,
    /// Longest time until the response begins.
    pub timeout: Duration,
    /// How its sandboxes are used again; nothing when its WASI version decides.
    pub reuse: Option<Reuse>,
    /// What it may reach outside.
    pub egress: Egress,
    /// Directory with the guest's files, shown to it as `/`, for reading only.
    pub files: Option<PathBuf>,
    /// The counters of the component.
    pub figures: Arc<ComponentFigures>,
}

/// Its environment and values may be secret: they are not shown.
impl fmt::Debug for ProgramConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ProgramConfig").field("component", &self.component).field("revision", &self.revision).finish_non_exhaustive()
    }
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
    /// The instance whose memory the sandbox takes.
    pub ordinal: u32,
    /// The trace the request belongs to, in the form of W3C Trace Context.
    pub traceparent: Option<HeaderValue>,
    /// Where what the request uses is told.
    pub usage: Option<Arc<RequestUsage>>,
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
    pub(crate) figures: Arc<ComponentFigures>,
    timeout: Duration,
    cpu_time: Duration,
    /// Sandboxes that answer more than one request.
    pub(crate) kept: Kept,
    room: Room,
    share: Arc<Share>,
    source: Arc<Source>,
}

impl Program {
    pub(crate) fn new(
        linked: InstancePre<Host>,
        config: ProgramConfig,
        memory_bytes: usize,
        sink: Arc<dyn LogSink>,
        shared: Shared,
    ) -> Result<Self, OpenError> {
        let handler = Handler::of(linked).map_err(|error| OpenError::Handler { reason: format!("{error:#}") })?;
        let kept = Kept::new(Policy::of(&config, &handler));
        let (grants, room, share) = (Grants::of(&config, &shared.surroundings)?, Room::of(&config), Share::new(&shared.lanes));
        let ProgramConfig { component: name, revision, timeout, cpu_time, figures, .. } = config;
        let source = Arc::new(Source { component: name, revision, sink, failures: FailureLog::default() });
        Ok(Self { handler, grants, memory_bytes, shared, figures, timeout, cpu_time, kept, room, share, source })
    }

    /// What the sandboxes of the instance `ordinal` hold now, in bytes: what was set aside for them, or more where they grew.
    pub fn held_bytes(&self, ordinal: u32) -> u64 {
        self.room.held_bytes(ordinal)
    }

    /// Starts one sandbox and lets it go: whether the component starts at all. Runs its start code, calls nothing.
    pub async fn probe(self: &Arc<Self>) -> Result<(), SandboxError> {
        let log = SandboxLog::new(&self.source, None);
        let mut sandbox = Sandbox::new(self, None, log.clone())?;
        let program = Arc::clone(self);
        let start = async move {
            let result = sandbox.instantiate(&program).await.map(drop);
            Ended { result, sandbox: Some(sandbox) }
        };
        let guest = Guest::new(start, self.meter(&log), &self.share);
        match tokio::time::timeout(self.timeout, guest).await {
            Ok(started) => started,
            Err(_) => Err(self.timed_out(self.timeout, &log)),
        }
    }

    /// Answers one request, in a sandbox of its own unless the program keeps its sandboxes. A sandbox that nobody shares is driven inside the caller's task
    /// and by the response's body: dropping either ends it. A shared one goes on without the request.
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
            program.figures.count(&program.figures.requests);
            let limit = call.timeout.map_or(program.timeout, |timeout| timeout.min(program.timeout));
            let log = SandboxLog::new(&program.source, Some(Arc::clone(&call.request_id)));
            if program.kept.policy.mode != Mode::Fresh {
                let Call { request_id, scheme, ordinal, .. } = call;
                let given = Given { request_id, scheme, ordinal, limit, log };
                // In a box, so that a request with a fresh sandbox does not carry the room for it.
                return Box::pin(Kept::answer(program, request, given)).await;
            }
            if let Some(usage) = call.usage {
                log.measured_by(usage);
            }
            let (portion, left) = program.portion(call.ordinal, limit, &log).await?;
            let remains = Remains::new(request.method(), Arc::clone(&program), log.clone());
            let (guest, answer) = program.start(request, (call.scheme, call.traceparent), portion, &log)?;
            program.see_through(guest, answer, left, limit, remains, &log).await
        }
    }

    /// Drives a guest that nobody shares until its response begins, for as long as is `left` of `limit`.
    pub(crate) async fn see_through(
        &self,
        mut guest: Guest,
        mut answer: oneshot::Receiver<Answer>,
        left: Duration,
        limit: Duration,
        remains: Remains,
        log: &SandboxLog,
    ) -> Result<http::Response<SandboxBody>, SandboxError> {
        let driven = tokio::time::timeout(left, poll_fn(|context| drive(&mut guest, &mut answer, context))).await;
        match driven {
            Ok(Ok(Driven { answer: Some(Ok(response)), ended })) => SandboxBody::of(response, (!ended).then_some(guest), remains),
            Ok(Ok(Driven { answer, .. })) => Err(self.bad_answer(answer, log)),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                drop(guest);
                Err(self.timed_out(limit, log))
            }
        }
    }

    /// Room for a sandbox in the memory of an instance, and how much of `limit` is left then.
    pub(crate) async fn portion(&self, ordinal: u32, limit: Duration, log: &SandboxLog) -> Result<(Portion, Duration), SandboxError> {
        match self.room.try_take(ordinal, &self.figures) {
            Some(portion) => Ok((portion, limit)),
            None => self.room.take(ordinal, limit, &self.figures, &self.shared.counters, log).await,
        }
    }

    /// Puts the request into a fresh sandbox. Nothing of the guest has run yet.
    fn start<B>(
        self: &Arc<Self>,
        request: http::Request<B>,
        (scheme, traceparent): (Scheme, Option<HeaderValue>),
        portion: Portion,
        log: &SandboxLog,
    ) -> Result<(Guest, oneshot::Receiver<Answer>), SandboxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut sandbox = Sandbox::new(self, Some(portion), log.clone())?;
        sandbox.store.data_mut().begin_request(traceparent);
        let (sender, receiver) = oneshot::channel();
        let incoming = self.handler.take(sandbox.store.data_mut(), request, scheme, sender)?;
        let program = Arc::clone(self);
        let work = async move {
            let result = match sandbox.instantiate(&program).await {
                Ok(instance) => {
                    let answered = instance.answer(&mut sandbox.store, incoming).await;
                    answered.map_err(|error| sandbox.failure(&error))
                }
                Err(error) => Err(error),
            };
            Ended { result, sandbox: Some(sandbox) }
        };
        Ok((Guest::new(work, self.meter(log), &self.share), receiver))
    }

    pub(crate) fn share(&self) -> &Arc<Share> {
        &self.share
    }

    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// A kept sandbox was replaced though it could have gone on.
    pub(crate) fn recycled(&self) {
        self.shared.counters.count(&self.shared.counters.recycled);
        self.figures.count(&self.figures.recycled);
    }

    /// A guest was still at work when its time after its last response was over.
    pub(crate) fn overrun(&self, limit: Duration, log: &SandboxLog) {
        self.shared.counters.count(&self.shared.counters.overruns);
        log.host(format!("the component was still at work {} ms after its response; the sandbox was ended", limit.as_millis()));
    }

    pub(crate) fn meter(&self, log: &SandboxLog) -> Arc<Meter> {
        Meter::new(self.cpu_time, Arc::clone(&self.figures), log.clone())
    }

    pub(crate) fn timed_out(&self, after: Duration, log: &SandboxLog) -> SandboxError {
        let counters = &self.shared.counters;
        counters.count(&counters.timeouts);
        self.figures.count(&self.figures.timeouts);
        let error = SandboxError::Timeout { after };
        log.host(format!("{error}; the sandbox was ended; raise `resources.timeout` of the component or `timeout` of its route"));
        error
    }

    pub(crate) fn bad_answer(&self, answer: Option<Answer>, log: &SandboxLog) -> SandboxError {
        let counters = &self.shared.counters;
        counters.count(&counters.bad_responses);
        let error = match answer {
            Some(Err(code)) => SandboxError::Refused { reason: format!("{code:?}") },
            Some(Ok(_)) | None => SandboxError::NoResponse,
        };
        log.host(error.to_string());
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
    if let Poll::Ready(ended) = Pin::new(&mut *guest).poll(context) {
        return Poll::Ready(ended.map(|()| Driven::at_end(answer)));
    }
    if !answer.is_terminated()
        && let Ok(answer) = ready!(Pin::new(&mut *answer).poll(context))
    {
        return Poll::Ready(Ok(Driven { answer: Some(answer), ended: false }));
    }
    // The sender is gone. In the slow lane that may be the first thing to be seen of the guest's end, and what it died of comes next.
    match Pin::new(&mut *guest).poll(context) {
        Poll::Ready(ended) => Poll::Ready(ended.map(|()| Driven::at_end(answer))),
        Poll::Pending if guest.is_away() => Poll::Pending,
        Poll::Pending => Poll::Ready(Ok(Driven { answer: None, ended: false })),
    }
}

impl Driven {
    /// Its end dropped the sandbox and with it the sender, so the answer is there now or never.
    fn at_end(answer: &mut oneshot::Receiver<Answer>) -> Self {
        let answer = if answer.is_terminated() { None } else { answer.try_recv().ok() };
        Self { answer, ended: true }
    }
}
