//! `wasi:http`: requests that come in, and the refusal of requests that would go out. Owns both ends of the interface; must never open a connection.

use http_body_util::BodyExt;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    p2::bindings::http::{outgoing_handler, types},
    p3::bindings::http as wasi03,
};

use super::{Capability, Denials, Host};
use crate::{limits, logs::SandboxLog, program::ProgramConfig};

pub(super) struct Http;

pub(super) struct Exchange {
    context: WasiHttpCtx,
    outbound: Outbound,
}

/// Answers every outgoing request with a refusal.
struct Outbound {
    log: SandboxLog,
    denials: Denials,
}

impl Capability for Http {
    type Grant = ();
    type Part = Exchange;

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        types::add_to_linker::<_, WasiHttp>(linker, &types::LinkOptions::default(), Host::http)?;
        outgoing_handler::add_to_linker::<_, WasiHttp>(linker, Host::http)
    }

    fn link3(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        wasi03::types::add_to_linker::<_, WasiHttp>(linker, Host::http)?;
        wasi03::client::add_to_linker::<_, WasiHttp>(linker, Host::http)
    }

    fn grant(_: &ProgramConfig) {}

    fn build((): &(), log: &SandboxLog) -> Exchange {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(limits::HEADER_BYTES_MAX);
        Exchange { context, outbound: Outbound { log: log.clone(), denials: Denials::default() } }
    }
}

impl Exchange {
    pub(super) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { hooks: &mut self.outbound, table, ctx: &mut self.context }
    }
}

type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sending), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Outbound {
    fn send_request(&mut self, request: http::Request<WasiBody>, _: Option<RequestOptions>, _: Sending) -> Sent {
        self.denials.log(&self.log, || denial(&self.log, request.uri()));
        // The request is read to its end: a guest whose pipe breaks while it writes would report that instead of the refusal.
        let mut body = request.into_body();
        Box::new(async move {
            let drain = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = tokio::time::timeout(limits::DENIED_REQUEST_DRAIN, drain).await;
            Err(Error::HttpRequestDenied)
        })
    }
}

/// Names who, where to, and the lines that will allow it. The path stays out: it may hold what nobody should read in a log.
fn denial(log: &SandboxLog, target: &http::Uri) -> String {
    let component = log.component();
    let (scheme, authority) = (target.scheme_str().unwrap_or("https"), target.authority().map_or("", |authority| authority.as_str()));
    format!(
        "outbound HTTP to {scheme}://{authority} denied: `{component}` was not granted it, `egress` is not supported yet; it will be granted in the component by\n  egress:\n    allow: [\"{scheme}://{authority}\"]"
    )
}
