//! Requests one after the other through the same sandboxes: a request takes an idle one, drives it like a fresh one, and leaves it for the next. Owns that
//! way; must never let two requests into one sandbox.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Body;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use super::{
    Given, anonymous,
    pool::{Counted, Pool, Warm},
};
use crate::{
    body::{Remains, SandboxBody},
    error::SandboxError,
    handler::{Incoming, Instance},
    lane::{Ended, Guest},
    logs::SandboxLog,
    meter::Meter,
    program::Program,
    sandbox::Sandbox,
};

pub(super) async fn answer<B>(
    program: Arc<Program>,
    request: http::Request<B>,
    given: Given,
) -> Result<http::Response<SandboxBody>, SandboxError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let pool = program.kept.pool(given.ordinal);
    let (permit, left) = pool.permit(given.limit).await?;
    let (mut kept, left) = match pool.pop(&program) {
        Some(warm) => (InUse::from(warm), left),
        None => InUse::new(&program, &given, left).await?,
    };
    kept.log.hand_to(Some(Arc::clone(&given.request_id)));
    let remains = Remains::new(request.method(), Arc::clone(&program), kept.log.clone());
    let (sender, answered) = oneshot::channel();
    let host = kept.sandbox.store.data_mut();
    host.memory.forget_denial();
    host.begin_request(request.headers().get("traceparent").cloned());
    let incoming = match program.handler.take(host, request, given.scheme, sender) {
        Ok(incoming) => incoming,
        Err(error) => {
            // Nothing of the request went into it.
            kept.park(&program, &pool);
            return Err(error);
        }
    };
    if kept.requests > 0 {
        kept.meter.begin_request();
    }
    let meter = Arc::clone(&kept.meter);
    let guest = Guest::new(kept.work(Arc::clone(&program), pool, incoming, permit), meter, program.share());
    program.see_through(guest, answered, left, given.limit, remains, &given.log).await
}

impl Pool {
    /// The right to use a sandbox, and how much of `limit` is left then.
    async fn permit(&self, limit: Duration) -> Result<(OwnedSemaphorePermit, Duration), SandboxError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok((permit, limit));
        }
        let begin = Instant::now();
        let permit = Arc::clone(&self.permits).acquire_owned();
        match tokio::time::timeout(self.policy.wait.min(limit), permit).await {
            Ok(Ok(permit)) => Ok((permit, limit.saturating_sub(begin.elapsed()))),
            _ => Err(SandboxError::Busy { sandboxes: self.policy.sandboxes }),
        }
    }
}

/// A sandbox with a request in it.
struct InUse {
    sandbox: Sandbox,
    /// None until it was started.
    instance: Option<Instance>,
    meter: Arc<Meter>,
    log: SandboxLog,
    born: Instant,
    requests: u32,
    counted: Counted,
}

impl From<Warm> for InUse {
    fn from(warm: Warm) -> Self {
        let Warm { sandbox, instance, meter, log, born, requests, counted } = warm;
        Self { sandbox, instance: Some(instance), meter, log, born, requests, counted }
    }
}

impl InUse {
    async fn new(program: &Arc<Program>, given: &Given, left: Duration) -> Result<(Self, Duration), SandboxError> {
        let (portion, left) = program.portion(given.ordinal, left, &given.log).await?;
        let log = anonymous(program);
        let sandbox = Sandbox::new(program, Some(portion), log.clone())?;
        let meter = program.meter(&log);
        let counted = Counted::new(&program.shared.counters);
        Ok((Self { sandbox, instance: None, meter, log, born: Instant::now(), requests: 0, counted }, left))
    }

    fn park(self, program: &Arc<Program>, pool: &Pool) {
        let Self { sandbox, instance, meter, log, born, requests, counted } = self;
        if let Some(instance) = instance {
            log.hand_to(None);
            pool.park(program, Warm { sandbox, instance, meter, log, born, requests, counted });
        }
    }

    async fn work(mut self, program: Arc<Program>, pool: Arc<Pool>, incoming: Incoming, permit: OwnedSemaphorePermit) -> Ended {
        if self.instance.is_none() {
            match self.sandbox.instantiate(&program).await {
                Ok(instance) => self.instance = Some(instance),
                Err(error) => return Ended { result: Err(error), sandbox: Some(self.sandbox) },
            }
        }
        let instance = self.instance.as_ref().expect("it was started just now, or before");
        self.requests = self.requests.saturating_add(1);
        if let Err(error) = instance.answer(&mut self.sandbox.store, incoming).await {
            let result = Err(self.sandbox.failure(&error));
            return Ended { result, sandbox: Some(self.sandbox) };
        }
        self.park(&program, &pool);
        // Whoever gets it finds the sandbox.
        drop(permit);
        Ended { result: Ok(()), sandbox: None }
    }
}
