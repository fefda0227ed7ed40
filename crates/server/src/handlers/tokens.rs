//! Tokens: those that let nodes join, and those that open the API. A secret is shown once, in the answer that makes it; the log has its hash only.

use std::sync::Arc;

use api::v1::{
    ApiRole, ApiTokenRequest, ApiTokenView, JoinRole, JoinTokenRequest, JoinTokenView, List, NewApiToken, NewJoinToken, Principal,
    WriteAnswer,
};
use axum::{Extension, extract::State};
use model::{
    id::{Timestamp, TokenId},
    quantity::Millis,
};
use state::command::{self, Change, CreateApiToken, CreateJoinToken, NodeRole, RevokeApiToken, RevokeJoinToken};
use transport::{ApiToken, JoinToken, Role};
use wishes::{caller::Caller, decision::Wish};

use crate::{
    admit,
    api_error::ApiError,
    authority, clock,
    core::Core,
    extract::{Answer, IdPath, Json},
    limits::{API_TOKEN_LIFE_MAX, JOIN_TOKEN_LIFE_MAX, TOKEN_NAME_BYTES_MAX},
};

pub(crate) async fn create_join_token(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<JoinTokenRequest>,
) -> Result<Answer<NewJoinToken>, ApiError> {
    let (now, role) = (clock::now(), join_role(request.role));
    let expires_at = end(now, request.ttl.0, JOIN_TOKEN_LIFE_MAX.as_millis())?;
    let token = JoinToken::create(role, authority::pinned(&core));
    let id = token_id(&token.id)?;
    let change = CreateJoinToken {
        id: id.clone(),
        secret_hash: token.hash().to_bytes(),
        role: match role {
            Role::Server => NodeRole::Server,
            Role::Worker => NodeRole::Worker,
        },
        expires_at,
        uses: request.uses,
        note: request.note,
    };
    core.writer.write(Wish::change(&once(caller), "", now, Change::CreateJoinToken(change))).await?;
    // Nobody joins a server that has no port for others: there is nothing to run.
    let command = core.settings.introduction.peer.as_ref();
    let command =
        command.map(|peer| format!("SHOAL_JOIN_TOKEN={token} shoal {role} --data-dir /var/lib/shoal --join {peer}")).unwrap_or_default();
    Ok(Answer(NewJoinToken { token: token.to_string(), id: id.to_string(), expires_at: expires_at.into(), command }))
}

pub(crate) async fn join_tokens(State(core): State<Arc<Core>>) -> Answer<List<JoinTokenView>> {
    let (state, now) = (core.state(), clock::now());
    let items = state.join_tokens().filter(|token| !token.expired(now)).map(|token| JoinTokenView {
        id: token.id.to_string(),
        role: match token.role {
            NodeRole::Server => JoinRole::Server,
            NodeRole::Worker => JoinRole::Worker,
        },
        expires_at: token.expires_at.into(),
        uses_left: token.uses_left,
        by: token.created_by.clone(),
        note: token.note.clone(),
    });
    Answer(List { resource_version: state.index(), items: items.collect(), next: None })
}

pub(crate) async fn revoke_join_token(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    IdPath(id): IdPath<TokenId>,
) -> Result<Answer<WriteAnswer>, ApiError> {
    let change = Change::RevokeJoinToken(RevokeJoinToken { id });
    let written = core.writer.write(Wish::change(&caller, "", clock::now(), change)).await?;
    Ok(Answer(WriteAnswer { index: written.index, version: None }))
}

pub(crate) async fn create_api_token(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<ApiTokenRequest>,
) -> Result<Answer<NewApiToken>, ApiError> {
    let now = clock::now();
    let expires_at = end(now, request.ttl.0, API_TOKEN_LIFE_MAX.as_millis())?;
    refuse_name(&request.name)?;
    let token = ApiToken::create();
    let id = token_id(&token.id)?;
    let change = CreateApiToken {
        id: id.clone(),
        secret_hash: token.hash().to_bytes(),
        name: request.name,
        role: match request.role {
            ApiRole::Viewer => command::ApiRole::Viewer,
            ApiRole::Deployer => command::ApiRole::Deployer,
            ApiRole::Admin => command::ApiRole::Admin,
        },
        namespace: request.namespace,
        expires_at: Some(expires_at),
    };
    core.writer.write(Wish::change(&once(caller), "", now, Change::CreateApiToken(change))).await?;
    let address = core.settings.introduction.api.clone().unwrap_or_default();
    let digest = authority::pinned(&core);
    let command = format!("shoal login https://{address} --ca-digest {digest}");
    Ok(Answer(NewApiToken { token: token.to_string(), id: id.to_string(), expires_at: expires_at.into(), command }))
}

pub(crate) async fn api_tokens(State(core): State<Arc<Core>>) -> Answer<List<ApiTokenView>> {
    let (state, now) = (core.state(), clock::now());
    let items = state.api_tokens().filter(|token| !token.expired(now)).map(|token| ApiTokenView {
        id: token.id.to_string(),
        name: token.name.clone(),
        role: admit::role(token.role),
        namespace: token.namespace.clone(),
        expires_at: token.expires_at.unwrap_or(Timestamp(u64::MAX)).into(),
        by: token.created_by.clone(),
    });
    Answer(List { resource_version: state.index(), items: items.collect(), next: None })
}

pub(crate) async fn revoke_api_token(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    IdPath(id): IdPath<TokenId>,
) -> Result<Answer<WriteAnswer>, ApiError> {
    let change = Change::RevokeApiToken(RevokeApiToken { id });
    let written = core.writer.write(Wish::change(&caller, "", clock::now(), change)).await?;
    Ok(Answer(WriteAnswer { index: written.index, version: None }))
}

pub(crate) async fn whoami(Extension(caller): Extension<Caller>) -> Answer<Principal> {
    Answer(caller.principal)
}

/// The caller without a key to be remembered by: an answer from memory would carry a secret that nobody knows, so asking again makes another token.
fn once(caller: Caller) -> Caller {
    Caller { key: None, ..caller }
}

/// The name stands in the history and in the audit log, where nobody is to be taken for somebody else.
fn refuse_name(name: &str) -> Result<(), ApiError> {
    let is_fit =
        !name.trim().is_empty() && name.len() <= TOKEN_NAME_BYTES_MAX && !name.chars().any(char::is_control) && name != admit::OWNER;
    let wrong = || {
        let message =
            format!("`{}` is no name for a token: it has 1 to {TOKEN_NAME_BYTES_MAX} bytes without line breaks", name.escape_debug());
        ApiError::new("E0408", message, "name whoever will use it, such as ana or ci")
    };
    is_fit.then_some(()).ok_or_else(wrong)
}

fn join_role(role: JoinRole) -> Role {
    match role {
        JoinRole::Server => Role::Server,
        JoinRole::Worker => Role::Worker,
    }
}

fn token_id(id: &transport::TokenId) -> Result<TokenId, ApiError> {
    id.to_string().parse().map_err(|error: model::id::InvalidId| ApiError::new("E0408", error.to_string(), ""))
}

/// When a token that is made at `now` for `ttl` milliseconds ends.
fn end(now: Timestamp, ttl: u64, longest: u128) -> Result<Timestamp, ApiError> {
    if ttl == 0 || u128::from(ttl) > longest {
        let longest = Millis(u64::try_from(longest).unwrap_or(u64::MAX));
        let message = format!("a token for {}: it may be good for {} to {longest}", Millis(ttl), Millis(1));
        return Err(ApiError::new("E0408", message, "name a time with --ttl, such as 1h or 30d"));
    }
    Ok(Timestamp(now.0.saturating_add(ttl)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_that_is_too_long_is_told_as_it_was_written() {
        let day = 24 * 3_600 * 1_000;
        assert_eq!(end(Timestamp(5), day, u128::from(day)).ok(), Some(Timestamp(5 + day)));
        let told = end(Timestamp(5), 100_000 * day, 732 * u128::from(day)).expect_err("too long");
        assert_eq!(told.message(), "a token for 100000d: it may be good for 1ms to 732d");
    }
}
