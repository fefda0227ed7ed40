//! Configs and secrets, one at a time, and the audit log. A secret is sealed before it is written anywhere; what comes back says what there is, never a value.

use std::{collections::BTreeMap, sync::Arc};

use api::v1::{
    About, AuditQuery, AuditView, ConfigRequest, ConfigView, List, NamespaceView, SecretRequest, SecretVersionView, SecretView, WriteAnswer,
};
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
    Applied, AuditOutcome, ConfigRecord, NamespaceRecord, SecretRecord,
    command::{Change, DeleteNamespace, DeleteObject, Described, PutConfig, PutSecret, SecretKind},
};
use utoipa::ToSchema;

use super::apps::Selection;
use crate::{
    admit::Caller,
    api_error::ApiError,
    clock,
    core::Core,
    extract::{Answer, Json, Query},
    principal, values,
    writer::{Wish, Written},
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
    let items = state.configs().filter(within).map(config_view).collect();
    Ok(Answer(List { resource_version: state.index(), items, next: None }))
}

pub(crate) async fn config(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(names): Path<(String, String)>,
) -> Result<Answer<ConfigView>, ApiError> {
    let id = object(&caller, names)?;
    core.state().config(&id).map(config_view).map(Answer).ok_or_else(|| ApiError::not_found(&format!("config `{id}`")))
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
    let items = state.secrets().filter(within).map(secret_view).collect();
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
    let change = Change::PutSecret(PutSecret {
        id: id.clone(),
        described: None,
        kind,
        keys: request.data.keys().cloned().collect(),
        sealed: values::seal(&core.cluster_key, &id, known, &request.data),
        // What was sealed for one version opens as no other: a write of somebody else in between is a conflict, whatever the caller expects.
        expect: request.expect.or(Some(known.map_or(Index(0), |known| known.version))),
    });
    // An answer from memory would be about other values, whose seal nobody can compare: asking again is a conflict, which says the same.
    let written = core.writer.write(Wish::change(&Caller { key: None, ..caller }, "", clock::now(), change)).await?;
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
    let items = state.namespaces().filter(within).map(namespace_view).collect();
    Ok(Answer(List { resource_version: state.index(), items, next: None }))
}

pub(crate) async fn namespace(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Answer<NamespaceView>, ApiError> {
    let name = namespace_name(&caller, &name)?;
    let found = core.state().namespace(&name).map(namespace_view);
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
    let items = state.audit_after(question.after.unwrap_or(0)).map(|entry| AuditView {
        sequence: entry.sequence,
        at: entry.at.into(),
        by: if entry.from.is_empty() { entry.by.clone() } else { format!("{} ({})", entry.by, entry.from) },
        verb: entry.verb.clone(),
        object: entry.object.clone(),
        outcome: match &entry.outcome {
            AuditOutcome::Done => "done".to_owned(),
            AuditOutcome::Refused { message, .. } => message.clone(),
        },
    });
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

fn about(described: &Described) -> About {
    let Described { labels, annotations, protected } = described.clone();
    About { labels, annotations, protected }
}

/// A namespace as its list shows it.
pub(crate) fn namespace_view(record: &NamespaceRecord) -> NamespaceView {
    NamespaceView {
        name: record.name.clone(),
        about: about(&record.described),
        spec: record.ceilings.spec(),
        version: record.version,
        created_at: record.created_at.into(),
    }
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

/// A config as its list shows it.
pub(crate) fn config_view(record: &ConfigRecord) -> ConfigView {
    ConfigView {
        namespace: record.id.namespace.clone(),
        name: record.id.name.clone(),
        about: about(&record.described),
        data: record.data.clone(),
        version: record.version,
        created_at: record.created_at.into(),
        changed_at: record.changed_at.into(),
    }
}

/// A secret as its list shows it.
pub(crate) fn secret_view(record: &SecretRecord) -> SecretView {
    let newest = record.versions.last();
    let versions: BTreeMap<_, _> = record.versions.iter().map(|one| (one.number, one)).collect();
    SecretView {
        namespace: record.id.namespace.clone(),
        name: record.id.name.clone(),
        about: about(&record.described),
        kind: values::kind_word(record.kind).to_owned(),
        keys: newest.map(|newest| newest.keys.iter().cloned().collect()).unwrap_or_default(),
        version: record.version,
        versions: versions
            .values()
            .rev()
            .map(|one| SecretVersionView { number: one.number, at: one.at.into(), by: one.by.clone() })
            .collect(),
    }
}
