//! Which server answers: writes go to the leader, once; reads wait until this server knows everything that was acknowledged before they were asked.
//! Owns these two waits; must never answer by itself.

use std::{sync::Arc, time::Duration};

use api::{
    peer::{DEADLINE_HEADER, FORWARD_PATH, IDEMPOTENCY_HEADER, PRINCIPAL_HEADER},
    v1::{SILENCE_HEADER, STALE_HEADER},
};
use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use consensus::Leadership;
use doors::via::Via;
use model::problem::chain;
use tokio::time::{Instant, timeout_at};
use transport::Sent;
use wishes::{
    caller::Caller,
    principal::{self, Needs},
};

use crate::{
    admit,
    api_error::ApiError,
    clock,
    core::Core,
    limits::{HANDLER_MAX, KNOWN_MAX, READ_BARRIER_MAX},
};

/// The code of what nobody answers for want of a leader.
const NO_LEADER: &str = "E0422";

/// Where a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Here, with whatever is known here.
    Here,
    /// Here, once everything acknowledged before is known.
    Fresh,
    /// By the leader.
    Leader,
}

/// How sure a caller wants to be of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consistency {
    /// Everything acknowledged before is in it, or there is none.
    Current,
    /// The same, when a leader answers soon; else what this server knows.
    Known,
    /// What this server knows.
    Stale,
}

impl Consistency {
    fn of(query: &str) -> Self {
        let said = query.split('&').find_map(|pair| pair.strip_prefix("consistency="));
        match said {
            Some("stale") => Self::Stale,
            Some("known") => Self::Known,
            _ => Self::Current,
        }
    }
}

/// Whether a request with `method` for the endpoint `path` may change something.
pub(crate) fn changes(method: &Method, path: &str) -> bool {
    !method.is_safe() && path != "/v1/plan"
}

fn place(method: &Method, path: &str, query: &str) -> Place {
    // Bytes belong to the server they were sent to; what it tells of itself needs nobody else.
    let own = path.starts_with("/v1/artifacts/") || principal::needs(method, path) == Needs::Nobody;
    let stale = Consistency::of(query) == Consistency::Stale;
    match () {
        () if own => Place::Here,
        () if path == "/v1/cluster" && !stale => Place::Leader,
        () if changes(method, path) => Place::Leader,
        () if stale => Place::Here,
        () => Place::Fresh,
    }
}

/// The middleware.
pub(crate) async fn route(State(core): State<Arc<Core>>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or_else(String::new, |path| path.as_str().to_owned());
    let forwarded = request.extensions().get::<Via>() == Some(&Via::Server);
    let query = request.uri().query().unwrap_or_default();
    let (place, consistency) = (place(request.method(), &path, query), Consistency::of(query));
    let until = Instant::now() + time_left(&request);
    if let Some(uri) = without_consistency(request.uri()) {
        *request.uri_mut() = uri;
    }
    match place {
        _ if consistency == Consistency::Known && request.method() == Method::GET && place != Place::Here && !forwarded => {
            known(&core, (place, &path), request, next).await
        }
        Place::Here if consistency == Consistency::Stale => stale(&core, request, next).await,
        Place::Here => next.run(request).await,
        Place::Fresh => match fresh(&core, request.extensions().get().cloned()).await {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        },
        Place::Leader => {
            let hop = hop(&core.consensus.leadership().borrow(), forwarded);
            match hop {
                // What is said of members, or done to them, is decided on what is known here: it must be what was acknowledged.
                Hop::Here if is_about_members(&path) => match fresh(&core, request.extensions().get().cloned()).await {
                    Ok(()) => next.run(request).await,
                    Err(error) => error.into_response(),
                },
                Hop::Here => next.run(request).await,
                Hop::To(leader) => match pass_on(&core, leader, &path, request, until).await {
                    Ok(response) => response,
                    Err(error) => error.into_response(),
                },
                Hop::Nowhere(why) => no_leader(why).into_response(),
            }
        }
    }
}

/// Where a request goes that the leader answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hop {
    /// This server leads.
    Here,
    /// This one does.
    To(u64),
    /// Nobody answers it, for this reason.
    Nowhere(&'static str),
}

fn hop(leadership: &Leadership, forwarded: bool) -> Hop {
    match leadership {
        Leadership::Leading { .. } => Hop::Here,
        // A second hop would only chase a leader that moves.
        _ if forwarded => Hop::Nowhere("the server this was passed on to does not lead"),
        Leadership::Following { leader, .. } => Hop::To(leader.id),
        Leadership::Unknown => Hop::Nowhere("no server leads at the moment"),
    }
}

/// What is current, when a leader says so soon; else what is known here.
async fn known(core: &Arc<Core>, (place, path): (Place, &str), request: Request, next: Next) -> Response {
    let (mut leadership, until) = (core.consensus.leadership(), Instant::now() + KNOWN_MAX);
    let found = timeout_at(until, leadership.wait_for(|now| *now != Leadership::Unknown)).await;
    let leader = match found.map(|found| found.map(|leadership| leadership.clone())) {
        Ok(Ok(Leadership::Following { leader, .. })) if place == Place::Leader => leader.id,
        Ok(Ok(_)) => {
            let caller = request.extensions().get().cloned();
            return match fresh_within(core, caller, until - Instant::now()).await {
                Ok(()) => next.run(request).await,
                Err(error) if error.code() == NO_LEADER => stale(core, request, next).await,
                // Not least a token that was revoked.
                Err(error) => error.into_response(),
            };
        }
        Ok(Err(_)) | Err(_) => return stale(core, request, next).await,
    };
    let (parts, _) = request.into_parts();
    let again = || Request::from_parts(parts.clone(), Body::empty());
    match timeout_at(until, pass_on(core, leader, path, again(), until)).await {
        Ok(Ok(answer)) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => answer,
        _ => stale(core, again(), next).await,
    }
}

/// What is known here, and who says it: the caller may not have asked for it.
async fn stale(core: &Core, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let silence = core.consensus.contact().unwrap_or_else(|| Duration::from_millis(core.started.uptime().0));
    if let Ok(node) = HeaderValue::from_str(&core.settings.node) {
        response.headers_mut().insert(STALE_HEADER, node);
    }
    let millis = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
    response.headers_mut().insert(SILENCE_HEADER, HeaderValue::from(millis));
    response
}

fn is_about_members(path: &str) -> bool {
    ["/v1/cluster", "/v1/leader", "/v1/members/", "/v1/nodes/"].iter().any(|part| path.starts_with(part))
}

/// Waits until this server knows everything that was acknowledged before, not least that the caller's token was revoked.
async fn fresh(core: &Core, caller: Option<Caller>) -> Result<(), ApiError> {
    fresh_within(core, caller, READ_BARRIER_MAX).await
}

async fn fresh_within(core: &Core, caller: Option<Caller>, within: Duration) -> Result<(), ApiError> {
    core.consensus.read_barrier(within).await.map_err(|error| no_leader(&chain(&error)))?;
    match caller {
        Some(caller) if !caller.holds(&core.state(), clock::now()) => Err(admit::over_by_now()),
        _ => Ok(()),
    }
}

/// The same without the word on consistency, which handlers do not know.
fn without_consistency(uri: &Uri) -> Option<Uri> {
    let query = uri.query().filter(|query| query.contains("consistency="))?;
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("consistency=")).collect();
    let separator = if rest.is_empty() { "" } else { "?" };
    format!("{}{separator}{}", uri.path(), rest.join("&")).parse().ok()
}

/// Nothing can be written or read at the moment.
pub(crate) fn no_leader(why: &str) -> ApiError {
    let help = "try again in a moment; `shoal member list` on a server shows which members answer";
    ApiError::new(NO_LEADER, format!("the cluster has no leader that answers: {why}"), help).status(StatusCode::SERVICE_UNAVAILABLE)
}

/// A request without a body that this server makes of the leader for `caller`.
pub(crate) fn in_the_name_of(caller: &Caller, method: Method, path: &str) -> Result<Request, ApiError> {
    let wrong = |_| ApiError::new("E0408", "the request cannot be passed on", "");
    let passed = HeaderValue::from_bytes(&admit::passed(caller)).map_err(|_| wrong(()))?;
    let mut request = Request::builder().method(method).uri(format!("{FORWARD_PATH}{path}")).header(PRINCIPAL_HEADER, passed);
    if let Some(key) = &caller.key {
        request = request.header(IDEMPOTENCY_HEADER, key);
    }
    request.body(Body::empty()).map_err(|_| wrong(()))
}

/// What is sent to the leader for `request`, which has `left` of its time.
fn passed_on(request: Request, left: Duration) -> Result<Request, ApiError> {
    let (mut parts, body) = request.into_parts();
    let target = format!("{FORWARD_PATH}{}", parts.uri.path_and_query().map_or("/", |text| text.as_str()));
    parts.uri = Uri::try_from(target).map_err(|error| ApiError::new("E0408", format!("the request cannot be passed on: {error}"), ""))?;
    let caller = parts.extensions.get::<Caller>().expect("nobody gets here without being let in");
    let caller = HeaderValue::from_bytes(&admit::passed(caller));
    let caller = caller.map_err(|_| ApiError::new("E0408", "the name of whoever asks cannot be passed on", ""))?;
    parts.headers.insert(PRINCIPAL_HEADER, caller);
    parts.headers.insert(DEADLINE_HEADER, HeaderValue::from(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)));
    parts.headers.remove(header::AUTHORIZATION);
    parts.headers.remove(header::HOST);
    parts.headers.remove(header::CONNECTION);
    parts.extensions.clear();
    Ok(Request::from_parts(parts, body))
}

async fn pass_on(core: &Arc<Core>, leader: u64, path: &str, request: Request, until: Instant) -> Result<Response, ApiError> {
    let (changes, left) = (changes(request.method(), path), until.saturating_duration_since(Instant::now()));
    let request = passed_on(request, left)?;
    let mut leadership = core.consensus.leadership();
    // One that is gone may not answer for long: nobody waits long for it once another one leads.
    let moved = async move {
        let is_closed = leadership.wait_for(|now| leads_elsewhere(now, leader)).await.is_err();
        if is_closed {
            std::future::pending::<()>().await;
        }
    };
    let answer = core.peers.request_unless(leader, request, left, moved).await;
    let mut answer = answer.map_err(|error| {
        let why = format!("node-{leader} does not answer: {}", chain(&error));
        if changes { unanswered(error.sent(), &why) } else { no_leader(&why) }
    })?;
    answer.headers_mut().remove(header::CONNECTION);
    Ok(answer.map(Body::new))
}

/// What is said of a change that the leader does not answer.
fn unanswered(sent: Sent, why: &str) -> ApiError {
    match sent {
        Sent::Never => no_leader(why),
        Sent::Perhaps => ApiError::in_doubt(&format!("the leader broke off: {why}")),
    }
}

/// Whether somebody else than `leader` is known to lead.
fn leads_elsewhere(leadership: &Leadership, leader: u64) -> bool {
    match leadership {
        Leadership::Leading { .. } => true,
        Leadership::Following { leader: now, .. } => now.id != leader,
        Leadership::Unknown => false,
    }
}

/// What is left of a request's time.
pub(crate) fn time_left(request: &Request) -> Duration {
    let told = request.headers().get(DEADLINE_HEADER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    told.map_or(HANDLER_MAX, |millis| Duration::from_millis(millis).min(HANDLER_MAX))
}

#[cfg(test)]
mod tests;
