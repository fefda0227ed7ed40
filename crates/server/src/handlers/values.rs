//! Configs and secrets, one at a time, and the audit log. A secret is sealed before it is written anywhere; what comes back says what there is, never a value.

use std::sync::Arc;

use api::v1::{AuditQuery, AuditView, ConfigRequest, ConfigView, List, NamespaceView, SecretRequest, SecretView, WriteAnswer};
use axum::{
    Extension,
    extract::{Path, State},
};
use data_encoding::BASE64;
use model::{
    id::{Index, Name, ObjectId},
    object::SecretType,
};
use serde::Deserialize;
use state::{
    Applied, ConfigRecord, NamespaceRecord, SecretRecord,
    command::{Change, DeleteNamespace, DeleteObject, PutConfig, PutSecret, SecretKind},
};
use utoipa::ToSchema;
use wishes::{
    caller::Caller,
    decision::{Wish, Written},
    principal,
    route_certificates::{Known, shown},
    values,
};

use super::apps::Selection;
use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    extract::{Answer, Json, Query},
};

/// Which version a deletion is about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Expectation {
    /// Refuse unless it still has this version.
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    expect: Option<Index>,
}

pub(crate) async fn configs(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Query(selection): Query<Selection>,
) -> Result<Answer<List<ConfigView>>, ApiError> {
    let namespace = principal::listed(&caller.principal, selection.namespace)?;
    let state = core.state();
    let within = |record: &&ConfigRecord| namespace.as_ref().is_none_or(|namespace| record.id.namespace == *namespace);
    let items = state.configs().filter(within).map(views::values::config).collect();
    Ok(Answer(List { resource_version: state.index(), items, next: None }))
}

pub(crate) async fn config(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(names): Path<(String, String)>,
) -> Result<Answer<ConfigView>, ApiError> {
    let id = object(&caller, names)?;
    core.state().config(&id).map(views::values::config).map(Answer).ok_or_else(|| ApiError::not_found(&format!("config `{id}`")))
}

pub(crate) async fn put_config(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(names): Path<(String, String)>,
    Json(request): Json<ConfigRequest>,
) -> Result<Answer<WriteAnswer>, ApiError> {
    let id = object(&caller, names)?;
    let change = Change::PutConfig(PutConfig { id, described: None, data: request.data, expect: request.expect });
    let written = core.writer.write(Wish::change(&caller, "", clock::now(), change)).await?;
    Ok(Answer(answer(&written)))
}

pub(crate) async fn delete_config(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(names): Path<(String, String)>,
    Query(Expectation { expect }): Query<Expectation>,
) -> Result<Answer<WriteAnswer>, ApiError> {
    let change = Change::DeleteConfig(DeleteObject { id: object(&caller, names)?, expect });
    let written = core.writer.write(Wish::change(&caller, "", clock::now(), change)).await?;
    Ok(Answer(WriteAnswer { index: written.index, version: None }))
}

pub(crate) async fn secrets(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Query(selection): Query<Selection>,
) -> Result<Answer<List<SecretView>>, ApiError> {
    let namespace = principal::listed(&caller.principal, selection.namespace)?;
    let state = core.state();
    let within = |record: &&SecretRecord| namespace.as_ref().is_none_or(|namespace| record.id.namespace == *namespace);
    let items = state.secrets().filter(within).map(|record| views::values::secret(record, shown(&core.cluster_key, record))).collect();
    Ok(Answer(List { resource_version: state.index(), items, next: None }))
}

pub(crate) async fn put_secret(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(names): Path<(String, String)>,
    Json(request): Json<SecretRequest>,
) -> Result<Answer<WriteAnswer>, ApiError> {
    let id = object(&caller, names)?;
    let state = core.state();
    let known = state.secret(&id);
    let kind = match request.kind.as_deref() {
        None => known.map_or(SecretKind::Opaque, |known| known.kind),
        Some(text) => kind_of(text)?,
    };
    check(&request)?;
    if let Some(problem) = values::unfit(&id, kind, &request.data) {
        return Err(ApiError::problems(vec![(0, problem)]));
    }
    let parsed = |revision: &_| core.apps.of(revision);
    Known { state: &state, parsed: &parsed, key: &core.cluster_key, now: clock::now() }.check_secret(&id, kind, &request.data)?;
    let change = Change::PutSecret(PutSecret {
        id: id.clone(),
        described: None,
        kind,
        keys: request.data.keys().cloned().collect(),
        sealed: values::seal(&core.cluster_key, &id, known, &request.data),
        // What was sealed for one version opens as no other: a write of somebody else in between is a conflict, whatever the caller expects.
        expect: request.expect.or(Some(known.map_or(Index(0), |known| known.version))),
    });
    let asked = (id.to_string(), &request.data, &request.kind, request.expect);
    let key = caller.key.as_ref().map(|key| values::remembered(&core.cluster_key, key, &asked));
    let written = core.writer.write(Wish::change(&Caller { key, ..caller }, "", clock::now(), change)).await?;
    Ok(Answer(answer(&written)))
}

pub(crate) async fn delete_secret(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(names): Path<(String, String)>,
    Query(Expectation { expect }): Query<Expectation>,
) -> Result<Answer<WriteAnswer>, ApiError> {
    let change = Change::DeleteSecret(DeleteObject { id: object(&caller, names)?, expect });
    let written = core.writer.write(Wish::change(&caller, "", clock::now(), change)).await?;
    Ok(Answer(WriteAnswer { index: written.index, version: None }))
}

pub(crate) async fn namespaces(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
) -> Result<Answer<List<NamespaceView>>, ApiError> {
    let only = principal::listed(&caller.principal, None)?;
    let state = core.state();
    let within = |record: &&NamespaceRecord| only.as_ref().is_none_or(|only| record.name == *only);
    let items = state.namespaces().filter(within).map(views::values::namespace).collect();
    Ok(Answer(List { resource_version: state.index(), items, next: None }))
}

pub(crate) async fn namespace(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Answer<NamespaceView>, ApiError> {
    let name = namespace_name(&caller, &name)?;
    let found = core.state().namespace(&name).map(views::values::namespace);
    found.map(Answer).ok_or_else(|| ApiError::not_found(&format!("namespace `{name}`")))
}

pub(crate) async fn delete_namespace(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(Expectation { expect }): Query<Expectation>,
) -> Result<Answer<WriteAnswer>, ApiError> {
    let change = Change::DeleteNamespace(DeleteNamespace { name: namespace_name(&caller, &name)?, expect });
    let written = core.writer.write(Wish::change(&caller, "", clock::now(), change)).await?;
    Ok(Answer(WriteAnswer { index: written.index, version: None }))
}

pub(crate) async fn audit(State(core): State<Arc<Core>>, Query(question): Query<AuditQuery>) -> Answer<List<AuditView>> {
    let state = core.state();
    let items = state.audit_after(question.after.unwrap_or(0)).map(views::values::audit);
    Answer(List { resource_version: state.index(), items: items.collect(), next: None })
}

/// The version is that of this write: by now somebody else may have written, and whoever compares with theirs would undo it unseen.
fn answer(written: &Written) -> WriteAnswer {
    let version = written.applied.iter().find_map(|applied| match applied {
        Applied::Put { version, .. } => Some(*version),
        _ => None,
    });
    WriteAnswer { index: written.index, version }
}

fn namespace_name(caller: &Caller, text: &str) -> Result<Name, ApiError> {
    let name: Name = text.parse().map_err(|error: model::id::InvalidId| ApiError::new("E0408", error.to_string(), ""))?;
    principal::within(&caller.principal, &name)?;
    Ok(name)
}

fn object(caller: &Caller, (namespace, name): (String, String)) -> Result<ObjectId, ApiError> {
    let wrong = |error: model::id::InvalidId| ApiError::new("E0408", error.to_string(), "");
    let namespace: Name = namespace.parse().map_err(wrong)?;
    principal::within(&caller.principal, &namespace)?;
    Ok(ObjectId { namespace, name: name.parse().map_err(wrong)? })
}

/// Every value must be what it says it is. Only that one is wrong is said: the value itself must not get into a log.
fn check(request: &SecretRequest) -> Result<(), ApiError> {
    let wrong = |key: &str| ApiError::new("E0408", format!("the value of `{key}` is not base64"), "`shoal secret set` encodes it");
    request.data.iter().try_for_each(|(key, value)| BASE64.decode(value.as_bytes()).map(drop).map_err(|_| wrong(key)))
}

fn kind_of(text: &str) -> Result<SecretKind, ApiError> {
    let known = SecretType::ALL.into_iter().find(|kind| kind.as_str() == text);
    known
        .map(SecretKind::from)
        .ok_or_else(|| ApiError::new("E0408", format!("`{text}` is no type of secret"), "one of opaque, tls, registry, apiKeys"))
}
