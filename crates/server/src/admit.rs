//! Who is at the door: from how a request came and the token it shows to a principal. Owns the proof; what a principal may do is `wishes::principal`'s.
//!
//! Over the socket of the data directory and over loopback the owner needs no token: root, and the user the server runs as. Everybody else does; a call that
//! another server passes on carries the principal that server let in, and only servers can send one: their certificate says so.

use std::sync::Arc;

use api::{
    peer::{IDEMPOTENCY_HEADER, PRINCIPAL_HEADER},
    v1::{ApiRole, Principal},
};
use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use doors::{network::Admitted, via::Via};
use futures_util::StreamExt;
use model::id::{Timestamp, TokenId};
use state::State as ClusterState;
use transport::{ApiToken, TokenHash};
use wishes::{
    caller::Caller,
    principal::{self, Needs},
};

use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    limits::{IDEMPOTENCY_KEY_BYTES_MAX, TOKEN_LOOK_EVERY},
    streams::LINES,
};

/// What the history calls whoever asks over the socket without a token.
pub(crate) const OWNER: &str = "owner of this machine";

/// Who calls.
///
/// # Errors
/// E0423 when the token is missing, unknown or over.
pub(crate) fn caller(via: Via, headers: &HeaderMap, state: &ClusterState, now: Timestamp) -> Result<Caller, ApiError> {
    if via == Via::Server {
        let passed = headers.get(PRINCIPAL_HEADER).and_then(|value| serde_json::from_slice::<Passed>(value.as_bytes()).ok());
        let passed = passed.ok_or_else(|| ApiError::new("E0408", "a forwarded request says not who asks", ""))?;
        let Passed { principal, by_token, token, from } = passed;
        let caller = Caller { principal, by_token, token, from, key: key(headers)? };
        // The server that let it in may not have heard yet that the token was revoked.
        return if caller.holds(state, now) { Ok(caller) } else { Err(over_by_now()) };
    }
    let key = key(headers)?;
    let from = match via {
        Via::Tls(address) => address.ip().to_string(),
        Via::Socket | Via::Loopback | Via::Stranger(_) | Via::Server => String::new(),
    };
    match bearer(headers)? {
        Some(token) => {
            of_token(&token, state, now).map(|(token, principal)| Caller { principal, by_token: true, token: Some(token), from, key })
        }
        None if matches!(via, Via::Socket | Via::Loopback) => {
            let principal = Principal { name: OWNER.to_owned(), role: ApiRole::Admin, namespace: None };
            Ok(Caller { principal, by_token: false, token: None, from, key })
        }
        None if matches!(via, Via::Stranger(_)) => Err(stranger(via)),
        None => Err(refused("this call shows no token", "log in with   shoal login URL   or set SHOAL_TOKEN")),
    }
}

/// A caller as one server tells another.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Passed {
    principal: Principal,
    by_token: bool,
    token: Option<TokenId>,
    from: String,
}

/// The caller as the value of [`PRINCIPAL_HEADER`].
pub(crate) fn passed(caller: &Caller) -> Vec<u8> {
    let Caller { principal, by_token, token, from, .. } = caller.clone();
    serde_json::to_vec(&Passed { principal, by_token, token, from }).expect("a principal has string keys only")
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_HEADER) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= IDEMPOTENCY_KEY_BYTES_MAX);
    let wrong = || ApiError::new("E0408", "the Idempotency-Key is empty, too long or no text", "send a random one, such as a UUID");
    text.map(|text| Some(text.to_owned())).ok_or_else(wrong)
}

fn bearer(headers: &HeaderMap) -> Result<Option<ApiToken>, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().ok().and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, token) = text.ok_or_else(|| refused("the Authorization header is not `Bearer TOKEN`", ""))?;
    token.trim().parse().map(Some).map_err(|error| refused(&format!("the token cannot be read: {error}"), "copy it again, whole"))
}

fn of_token(token: &ApiToken, state: &ClusterState, now: Timestamp) -> Result<(TokenId, Principal), ApiError> {
    let known = token.id.to_string().parse().ok().and_then(|id| state.api_token(&id));
    // The same words for a wrong id and a wrong secret: whoever guesses learns nothing.
    let known = known.filter(|known| token.hash() == TokenHash::from_bytes(known.secret_hash));
    let Some(known) = known else { return Err(refused("this token is not known", "ask an admin for another one")) };
    if known.expired(now) {
        return Err(refused(&format!("the token `{}` has expired", known.id), "ask an admin for another one"));
    }
    Ok((known.id.clone(), Principal { name: known.name.clone(), role: role(known.role), namespace: known.namespace.clone() }))
}

/// Somebody on this machine who is not the owner and shows no token.
fn stranger(via: Via) -> ApiError {
    let who = match via {
        Via::Stranger(Some(user)) => format!("user {user} of this machine is not the one the server runs as"),
        _ => "it cannot be told which user of this machine asks".to_owned(),
    };
    let help = "log in with   shoal login URL   or set SHOAL_TOKEN; or ask as the user the server runs as, or as root:   \
                sudo shoal --data-dir DIR …";
    refused(&format!("{who}, and this call shows no token"), help)
}

/// The role as the wire has it.
pub(crate) fn role(role: state::command::ApiRole) -> ApiRole {
    match role {
        state::command::ApiRole::Viewer => ApiRole::Viewer,
        state::command::ApiRole::Deployer => ApiRole::Deployer,
        state::command::ApiRole::Admin => ApiRole::Admin,
    }
}

/// E0423: the token that let a caller in does not any more.
pub(crate) fn over_by_now() -> ApiError {
    refused("this token was revoked", "ask an admin for another one")
}

fn refused(why: &str, help: &str) -> ApiError {
    ApiError::new("E0423", why, help).status(StatusCode::UNAUTHORIZED)
}

/// The middleware: lets in who may, tells the handler who it is, and ends a stream with the token that opened it.
pub(crate) async fn admit(State(core): State<Arc<Core>>, mut request: Request, next: Next) -> Response {
    let via = request.extensions().get::<Via>().copied().unwrap_or(Via::Stranger(None));
    let path = request.extensions().get::<MatchedPath>().map_or_else(String::new, |path| path.as_str().to_owned());
    let needs = principal::needs(request.method(), &path);
    if needs == Needs::Nobody {
        return next.run(request).await;
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let known = caller(via, request.headers(), &core.state(), clock::now());
    let let_in = known.as_ref().map_err(Clone::clone);
    let let_in =
        let_in.and_then(|caller| Ok(principal::allow(&caller.principal, needs, &format!("{method} {path}")).map(|()| caller.clone())?));
    let response = match let_in {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    };
    // Whoever passed it on has said so.
    if via != Via::Server && matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let who = known.as_ref().map_or("nobody", |caller| &caller.principal.name);
        tracing::warn!(by = who, from = %via, http.method = %method, url.path = path, status = response.status().as_u16(), "a call was refused");
    }
    match known {
        Ok(caller) if caller.token.is_some() && is_stream(&response) => {
            response.map(|body| Body::from_stream(body.into_data_stream().take_until(over(core, caller))))
        }
        _ => response,
    }
}

/// The middleware behind [`admit`]: whoever gets here with a name is no stranger any more.
pub(crate) async fn remember(request: Request, next: Next) -> Response {
    let extensions = request.extensions();
    if let (Some(admitted), Some(_)) = (extensions.get::<Admitted>(), extensions.get::<Caller>()) {
        admitted.let_in();
    }
    next.run(request).await
}

/// Whether an answer may go on for long: lines that are followed. Watches of objects look at the token themselves, before each event.
fn is_stream(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == LINES)
}

/// Returns once the token of `caller` is revoked or has expired.
async fn over(core: Arc<Core>, caller: Caller) {
    while caller.holds(&core.state(), clock::now()) {
        tokio::time::sleep(TOKEN_LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware::from_fn, routing::get};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn only_a_name_makes_a_stranger_known() {
        let router = Router::new().route("/", get(|| async { "in" })).layer(from_fn(remember));
        let ask = async |caller: Option<Caller>| {
            let admitted = Admitted::default();
            let mut request = Request::get("/").extension(admitted.clone());
            if let Some(caller) = caller {
                request = request.extension(caller);
            }
            let request = request.body(Body::empty()).expect("a request");
            router.clone().oneshot(request).await.expect("never fails");
            admitted.holds()
        };
        let principal = Principal { name: "ana".into(), role: ApiRole::Viewer, namespace: None };
        assert!(ask(Some(Caller { principal, by_token: true, token: None, from: String::new(), key: None })).await);
        assert!(!ask(None).await, "what anybody may ask makes nobody known");
    }
}
