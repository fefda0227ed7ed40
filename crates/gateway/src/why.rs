//! Why a URL is answered as it is: the walk host → route → revision → endpoints → queue, told instead of done. Owns the answer's shape and sentences;
//! must never change anything.

use certificates::CertificateSet;
use http::{HeaderMap, Method, Uri, uri::Scheme};
use model::{
    app::Https,
    id::{ComponentId, RevisionNumber},
};
use serde::{Deserialize, Serialize};

use crate::{
    host,
    https::Ports,
    live::{Backend, Live},
    path,
    refusal::Reason,
    table::{Answer, Ask, Route},
};

/// The walk of one URL, as far as it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyAnswer {
    /// In order; the last one is where the walk ends.
    pub steps: Vec<WhyStep>,
    /// A request would be answered by an instance now.
    pub ok: bool,
    /// What a request would be told instead: `E05xx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Who answers, when a route was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentId>,
    /// Under which revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionNumber>,
}

/// One station of the walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyStep {
    /// `request`, `host`, `route`, `https`, `certificate`, `revision`, `endpoints` or `queue`.
    pub step: String,
    /// The walk goes on from here.
    pub ok: bool,
    /// What was found, in one sentence.
    pub message: String,
}

/// The TLS of a gateway that speaks it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tls<'a> {
    pub(crate) ports: Ports,
    pub(crate) certificates: &'a CertificateSet,
}

/// Walks `method url` through `live`.
pub(crate) fn why(live: &Live, tls: Option<Tls<'_>>, method: &Method, url: &str) -> WhyAnswer {
    let mut answer = WhyAnswer { steps: Vec::new(), ok: false, code: None, component: None, revision: None };
    match walk(live, tls, method, url, &mut answer) {
        Ok(()) => answer.ok = true,
        Err(code) => answer.code = Some(code.to_owned()),
    }
    answer
}

fn walk(live: &Live, tls: Option<Tls<'_>>, method: &Method, url: &str, answer: &mut WhyAnswer) -> Result<(), &'static str> {
    let Target { uri, host, path } = answer.step("request", "E0507", target(url))?;
    let known = match live.table.knows_host(&host) {
        true => Ok((format!("some route names `{host}`"), ())),
        false => Err(format!("no route names `{host}`")),
    };
    answer.step("host", "E0501", known)?;
    let headers = HeaderMap::new();
    let found = match live.table.answer(Ask { host: &host, path: &path, method, headers: &headers }) {
        Answer::Route(route) => Ok((describe(route), route)),
        Answer::Methods(methods) => {
            answer.note("route", false, format!("`{path}` is routed, but not for {method}: {methods:?} only"));
            return Err("E0502");
        }
        Answer::Nothing => Err(format!("no route of this host matches `{path}` (headers are not looked at here)")),
    };
    let route = answer.step("route", "E0501", found)?;
    secure(route, tls, (&uri, &host), answer)?;
    let backend = live.backend(route);
    answer.component = Some(backend.component.id.clone());
    answer.revision = Some(backend.revision);
    answer.note("revision", true, format!("`{}` serves {} here", backend.component.id, backend.revision));
    let full = answer.step("endpoints", "E0503", endpoints(backend))?;
    answer.step("queue", "E0504", queue(backend, full))
}

impl WhyAnswer {
    fn note(&mut self, step: &str, ok: bool, message: String) {
        self.steps.push(WhyStep { step: step.to_owned(), ok, message });
    }

    fn step<T>(&mut self, step: &str, code: &'static str, found: Result<(String, T), String>) -> Result<T, &'static str> {
        match found {
            Ok((message, value)) => {
                self.note(step, true, message);
                Ok(value)
            }
            Err(message) => {
                self.note(step, false, message);
                Err(code)
            }
        }
    }
}

/// What a URL is about.
struct Target {
    uri: Uri,
    host: String,
    path: String,
}

/// Whether the request comes as the route wants it, and is shown a certificate where it comes with TLS or is sent there.
fn secure(route: &Route, tls: Option<Tls<'_>>, (uri, host): (&Uri, &str), answer: &mut WhyAnswer) -> Result<(), &'static str> {
    let (is_https, redirects) = (uri.scheme() == Some(&Scheme::HTTPS), route.rule.https == Https::Redirect);
    if !is_https && !redirects {
        return Ok(());
    }
    let Some(Tls { ports, certificates }) = tls else {
        let none = "this node speaks no TLS; start it with --https".to_owned();
        let in_the_clear = "the route wants TLS, and this node speaks none: the request is answered in the clear".to_owned();
        return answer.step("https", "E0513", if is_https { Err(none) } else { Ok((in_the_clear, ())) });
    };
    if !is_https {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let location = ports.location(authority, uri.path_and_query().map_or("/", |target| target.as_str()));
        let location = location.as_ref().and_then(|location| location.to_str().ok()).unwrap_or("https://");
        answer.note("https", true, format!("a request without TLS is sent to {location} (308), and there:"));
    }
    let shown = certificates.certificate(Some(host));
    let shown = shown.map(|certificate| (format!("the certificate `{}` answers for `{host}`", certificate.name()), ()));
    answer.step("certificate", "E0513", shown.ok_or_else(|| format!("no certificate here has the name `{host}`: TLS is refused")))
}

fn target(url: &str) -> Result<(String, Target), String> {
    let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = full.parse().map_err(|_| format!("`{url}` is not a URL"))?;
    let authority = uri.authority().ok_or_else(|| format!("`{url}` has no host"))?;
    let host = host::normal(authority.as_str()).ok_or_else(|| format!("`{authority}` is not a host"))?;
    let path = path::normal(uri.path()).map_err(|error| format!("refused: {error}"))?.into_owned();
    Ok((format!("host `{host}`, path `{path}`"), Target { uri, host, path }))
}

fn describe(route: &Route) -> String {
    let rule = &route.rule;
    let kind = if rule.exact { "exactly" } else { "prefix" };
    let mut text = format!("{kind} `{}{}` of `{}`", rule.host, rule.path, rule.component);
    if !rule.methods.is_empty() {
        text.push_str(&format!(", {}", rule.methods.join(" ")));
    }
    if let Some(rewrite) = &rule.rewrite {
        text.push_str(&format!(", rewritten to `{rewrite}`"));
    }
    text
}

/// Whether all endpoints are full.
fn endpoints(backend: &Backend) -> Result<(String, bool), String> {
    let all = backend.endpoints.all();
    if all.is_empty() {
        return Err(format!("no instance of `{}` is ready; requests are held for up to {:?}", backend.component.id, backend.queue_wait));
    }
    let one = |endpoint: &std::sync::Arc<crate::endpoint::EndpointState>| {
        format!(".{} ({} of {} in flight)", endpoint.target.ordinal, endpoint.in_flight(), endpoint.capacity())
    };
    let full = all.iter().all(|endpoint| endpoint.in_flight() >= endpoint.capacity());
    Ok((format!("{} ready: {}", all.len(), all.iter().map(one).collect::<Vec<_>>().join(", ")), full))
}

fn queue(backend: &Backend, full: bool) -> Result<(String, ()), String> {
    let (waiting, length) = (backend.component.waiting(), backend.queue_length);
    let metrics = &backend.component.metrics;
    let refused =
        [(Reason::QueueFull, "found it full"), (Reason::QueueWait, "waited in vain"), (Reason::InstanceMemory, "found no instance memory")];
    let refused = refused.map(|(reason, words)| (metrics.refused(reason), words));
    let mut since: Vec<_> = refused.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
    if !since.is_empty() {
        since.insert(0, "since the worker's start".to_owned());
    }
    let since = if since.is_empty() { String::new() } else { format!("; {}", since.join(" ")) };
    let text = format!("{waiting} of {length} wait, {:?} at most{since}", backend.queue_wait);
    if full && waiting >= length as usize { Err(format!("full: {text}")) } else { Ok((text, ())) }
}
