//! `wasi:http`: requests that come in, and those that go out as far as `egress` allows. Owns both ends of the interface and what is said about a refusal;
//! must never open a connection itself.

mod bodies;
mod client;
mod cluster;
mod connector;
mod destination;
mod errors;
mod stream;
mod surroundings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request, Response};
use model::egress::Verdict;
use tokio::sync::Semaphore;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks,
    p2::bindings::http::{outgoing_handler, types},
    p3::bindings::http as wasi03,
};

use self::{
    bodies::Sent,
    client::{Client, Failure},
    destination::{Denied, Destination},
};
use super::{Capability, Denials, Host, Surroundings};
use crate::{component_figures::ComponentFigures, error::OpenError, limits, logs::SandboxLog, program::ProgramConfig};

pub(crate) use cluster::ClusterSockets;
pub(crate) use surroundings::HttpSurroundings;

pub(super) struct Http;

/// What a program may reach, and how.
pub(super) struct Outside {
    client: Client,
    figures: Arc<ComponentFigures>,
}

pub(super) struct Exchange {
    context: WasiHttpCtx,
    outbound: Outbound,
}

/// Sends what the rules allow, and answers everything else with a refusal.
struct Outbound {
    outside: Arc<Outside>,
    log: SandboxLog,
    traceparent: Option<HeaderValue>,
    /// Made at the first request.
    counts: Option<Arc<Counts>>,
}

/// What one sandbox has done outside.
struct Counts {
    in_flight: Arc<Semaphore>,
    denials: Denials,
}

impl Capability for Http {
    type Grant = Arc<Outside>;
    type Part = Exchange;

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        types::add_to_linker::<_, WasiHttp>(linker, &types::LinkOptions::default(), Host::http)?;
        outgoing_handler::add_to_linker::<_, WasiHttp>(linker, Host::http)
    }

    fn link3(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        wasi03::types::add_to_linker::<_, WasiHttp>(linker, Host::http)?;
        wasi03::client::add_to_linker::<_, WasiHttp>(linker, Host::http)
    }

    fn grant(config: &ProgramConfig, surroundings: &Surroundings) -> Result<Arc<Outside>, OpenError> {
        let client = Client::new(Arc::new(config.egress.clone()), Arc::clone(&surroundings.http));
        Ok(Arc::new(Outside { client, figures: Arc::clone(&config.figures) }))
    }

    fn build(grant: &Arc<Outside>, log: &SandboxLog) -> Exchange {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(limits::HEADER_BYTES_MAX);
        Exchange { context, outbound: Outbound { outside: Arc::clone(grant), log: log.clone(), traceparent: None, counts: None } }
    }
}

impl Exchange {
    pub(super) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { hooks: &mut self.outbound, table, ctx: &mut self.context }
    }

    /// Outgoing requests belong to this trace, unless they say otherwise; what a sandbox may cause is counted anew.
    pub(super) fn begin_request(&mut self, traceparent: Option<HeaderValue>) {
        self.outbound.traceparent = traceparent;
        self.outbound.counts = None;
    }
}

type Answer = Box<dyn Future<Output = Result<(Response<WasiBody>, Sending), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The names of headers that are no guest's business, as they are: what wasmtime does by itself makes them anew for every header of every request.
static FORBIDDEN: [HeaderName; 9] = DEFAULT_FORBIDDEN_HEADERS;

impl WasiHttpHooks for Outbound {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        FORBIDDEN.contains(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| FORBIDDEN.contains(name))
    }

    fn send_request(&mut self, mut request: Request<WasiBody>, options: Option<RequestOptions>, _: Sending) -> Answer {
        let outside = Arc::clone(&self.outside);
        outside.figures.count(&outside.figures.egress_calls);
        let refused = match self.check(&request) {
            Ok(destination) => {
                if let Some(traceparent) = &self.traceparent {
                    request.headers_mut().entry(TRACEPARENT).or_insert_with(|| traceparent.clone());
                }
                return Box::new(send(outside, Arc::clone(self.counts()), self.log.clone(), destination, request, options));
            }
            Err(error) => error,
        };
        outside.client.let_finish(Sent::new(request.into_body()));
        Box::new(async move { Err(refused) })
    }

    /// The client does it: HTTP/2 has none.
    fn set_host_header(&mut self) -> bool {
        false
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl Outbound {
    /// What can be said before anything is resolved.
    fn check(&mut self, request: &Request<WasiBody>) -> Result<Destination, Error> {
        let destination = Destination::of(request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
        if destination.decide(self.outside.client.egress()) == Verdict::Denied {
            let counts = Arc::clone(self.counts());
            deny(&self.outside, &counts, &self.log, &destination, &Denied::NoRule);
            return Err(Error::HttpRequestDenied);
        }
        // A tunnel would carry what no rule can judge.
        if request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        Ok(destination)
    }

    fn counts(&mut self) -> &Arc<Counts> {
        self.counts.get_or_insert_with(|| {
            Arc::new(Counts { in_flight: Arc::new(Semaphore::new(limits::EGRESS_IN_FLIGHT_OF_SANDBOX_MAX)), denials: Denials::default() })
        })
    }
}

async fn send(
    outside: Arc<Outside>,
    counts: Arc<Counts>,
    log: SandboxLog,
    destination: Destination,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<(Response<WasiBody>, Sending), Error> {
    match outside.client.send(request, options, Arc::clone(&counts.in_flight)).await {
        // The connection is driven elsewhere, so there is nothing left to wait for.
        Ok(response) => Ok((response, Box::new(async { Ok(()) }))),
        Err(Failure::Denied(denied)) => {
            deny(&outside, &counts, &log, &destination, &denied);
            Err(Error::HttpRequestDenied)
        }
        Err(Failure::Failed(error, words)) => {
            if let Some(words) = words {
                counts.denials.log(&log, || format!("outbound HTTP to {destination} failed: {words}"));
            }
            Err(error)
        }
    }
}

fn deny(outside: &Outside, counts: &Counts, log: &SandboxLog, destination: &Destination, denied: &Denied) {
    outside.figures.count(&outside.figures.egress_denials);
    counts.denials.log(log, || denial(outside, log, destination, denied));
}

/// Names who, where to, and the one line that will allow it. The path stays out: it may hold what nobody should read in a log.
fn denial(outside: &Outside, log: &SandboxLog, destination: &Destination, denied: &Denied) -> String {
    let component = log.component();
    let why = match denied {
        Denied::NoRule => format!("no rule of `{component}` allows it"),
        Denied::Address { address, why } => format!("it leads to {address}, which is {why}"),
        Denied::Closed { address } => {
            return format!(
                "E0313: outbound HTTP to {destination} denied: it leads to {address}, by which the cluster is run; no rule opens it"
            );
        }
    };
    let Some(rule) = destination.rule(denied) else {
        return format!("E0313: outbound HTTP to {destination} denied: {why}, and no rule can: it is not a host");
    };
    let mut rules: Vec<_> = outside.client.egress().allow.iter().map(|rule| format!("{:?}", rule.to_string())).collect();
    rules.push(format!("{:?}", rule.to_string()));
    format!(
        "E0313: outbound HTTP to {destination} denied: {why}; in the component, this line allows it:\n  egress: {{allow: [{}]}}",
        rules.join(", ")
    )
}
