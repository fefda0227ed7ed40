//! What a request wishes of the state: its Configs, Secrets and Namespaces before its apps, whatever their order, so that an app may name what stands below
//! it. Owns this order, sealing, and what is so already; must never show the value of a secret.

use std::collections::BTreeMap;

use api::v1::{Change as Difference, ErrorDetail, Outcome, PlannedValue, Principal, ValueAnswer};
use inspect::Inspection;
use model::{
    app::Metadata,
    difference,
    id::{Index, Name, ObjectId},
    manifest::{self, Document},
    object::{Config, ConfigSpec, Given, Namespace, Secret},
    problem::Problem,
};
use serde_json::{Value, json};
use state::{
    Applied, ConfigRecord, NamespaceRecord, PutOutcome, SecretRecord, State,
    command::{Change, Deploy, Described, PutConfig, PutNamespace, PutSecret, SecretKind},
};
use transport::ClusterKey;

use crate::{
    documents::{Asked, Checked},
    principal::{self, Needs},
    values::{self, Values},
};

/// What a request comes to.
#[derive(Debug)]
pub struct Wished {
    /// Each with the document it is about: first what apps name, then the apps.
    pub changes: Vec<(usize, Change)>,
    /// What the changes that are about no app are about, in their order.
    values: Vec<Named>,
    /// Secrets that are so already.
    same: Vec<Named>,
    /// What the changes of Secrets are remembered by, by document, when the request has a key.
    pub keys: BTreeMap<usize, String>,
}

/// An object that is no app.
#[derive(Debug, Clone)]
struct Named {
    kind: &'static str,
    name: String,
    /// Its version before; 0 when it was not there.
    version: Index,
    changes: Vec<Difference>,
}

/// Whether `principal` may ask for all of it.
///
/// # Errors
/// E0421 naming what is missing.
pub fn allow(principal: &Principal, asked: &Asked) -> Result<(), ErrorDetail> {
    asked.apps.iter().try_for_each(|one| principal::within(principal, &one.app.metadata.namespace))?;
    asked.values.iter().try_for_each(|(_, document)| match document {
        Document::Namespace(namespace) => {
            principal::allow(principal, Needs::Admin, "change a Namespace")?;
            principal::within(principal, &namespace.metadata.name)
        }
        // That a value is what somebody guesses is worth as much as the value: whoever may only read is not told.
        Document::Secret(secret) => {
            principal::allow(principal, Needs::Deploy, "compare the values of a Secret")?;
            principal::within(principal, &secret.metadata.namespace)
        }
        other => principal::within(principal, &other.metadata().namespace),
    })
}

/// What `asked` comes to on `state`; `asker` is the key of the request.
///
/// # Errors
/// Every Secret whose values are not what its type says.
pub fn of(key: &ClusterKey, state: &State, asked: &Asked, asker: Option<&str>) -> Result<Wished, ErrorDetail> {
    let mut wished = Wished { changes: Vec::new(), values: Vec::new(), same: Vec::new(), keys: BTreeMap::new() };
    let mut problems = Vec::new();
    let mut values: Vec<&(usize, Document)> = asked.values.iter().collect();
    values.sort_by_key(|(_, document)| rank(document));
    for (number, document) in values {
        let (named, change) = match document {
            Document::Config(config) => put_config(state, config),
            Document::Namespace(namespace) => put_namespace(state, namespace),
            Document::Secret(secret) => match put_secret(key, state, secret) {
                Ok(put) => {
                    wished.keys.extend(asker.map(|asker| (*number, remembered(key, &format!("{asker}/{number}"), secret))));
                    put
                }
                Err(problem) => {
                    problems.push((*number, *problem));
                    continue;
                }
            },
            Document::App(_) => continue,
        };
        match change {
            Some(change) => {
                wished.changes.push((*number, change));
                wished.values.push(named);
            }
            None => wished.same.push(named),
        }
    }
    wished.changes.extend(asked.apps.iter().map(|one| (one.number, Change::Deploy(deploy(one)))));
    if problems.is_empty() { Ok(wished) } else { Err(ErrorDetail::problems(problems)) }
}

/// Namespaces hold for everything else, so they come first.
fn rank(document: &Document) -> usize {
    ["Namespace", "Config", "Secret"].iter().position(|kind| *kind == document.kind()).unwrap_or(usize::MAX)
}

fn deploy(checked: &Checked) -> Deploy {
    let mut deploy = Deploy::of(&checked.app).expect("a checked app has a digest for every source");
    for component in &mut deploy.frozen.spec.components {
        let facts = checked.facts.iter().find(|(name, _)| *name == component.name).and_then(|(_, facts)| facts.as_deref());
        component.imports = facts.and_then(|facts| facts.as_ref().ok()).map(Inspection::grantable).unwrap_or_default();
    }
    deploy
}

fn put_config(state: &State, config: &Config) -> (Named, Option<Change>) {
    let known = state.config(&config.id());
    let before = known.map_or(Value::Null, |known| manifest::config_to_value(&config_of(known)));
    let changes = differences(before, manifest::config_to_value(config));
    let named =
        Named { kind: "Config", name: config.id().to_string(), version: known.map(|known| known.version).unwrap_or_default(), changes };
    (named, PutConfig::of(config).map(Change::PutConfig))
}

fn put_namespace(state: &State, namespace: &Namespace) -> (Named, Option<Change>) {
    let name = &namespace.metadata.name;
    let known = state.namespace(name);
    let before = known.map_or(Value::Null, |known| manifest::namespace_to_value(&namespace_of(known)));
    let changes = differences(before, manifest::namespace_to_value(namespace));
    let version = known.map(|known| known.version).unwrap_or_default();
    (Named { kind: "Namespace", name: name.to_string(), version, changes }, Some(Change::PutNamespace(PutNamespace::of(namespace))))
}

fn put_secret(key: &ClusterKey, state: &State, secret: &Secret) -> Result<(Named, Option<Change>), Box<Problem>> {
    let (id, kind) = (secret.id(), SecretKind::from(secret.spec.kind));
    let data = values::encoded(secret.spec.data.iter().filter_map(|(key, value)| Some((key, value.text()?))));
    if let Some(problem) = values::unfit(&id, kind, &data.0) {
        return Err(problem.into());
    }
    let known = state.secret(&id);
    let newest = known.and_then(|known| values::open(key, known, known.versions.last()?.number));
    let described = Described::of(&secret.metadata);
    let version = known.map(|known| known.version).unwrap_or_default();
    let changes = differences(known.map_or(Value::Null, described_secret), asked_secret(secret, newest.as_deref(), &data));
    let named = Named { kind: "Secret", name: id.to_string(), version, changes };
    let expected = secret.metadata.resource_version;
    let is_so = known.is_some_and(|known| (known.kind, &known.described) == (kind, &described)) && newest.as_deref() == Some(&*data);
    if is_so && expected.is_none_or(|expected| expected == version) {
        return Ok((named, None));
    }
    let change = PutSecret {
        sealed: values::seal(key, &id, known, &data.0),
        id,
        described: Some(described),
        kind,
        keys: data.0.keys().cloned().collect(),
        // What was sealed for one version opens as no other: a write of somebody else in between is a conflict, whatever the caller expects.
        expect: expected.or(Some(version)),
    };
    Ok((named, Some(Change::PutSecret(change))))
}

/// What a Secret of a request is remembered by.
fn remembered(key: &ClusterKey, asker: &str, secret: &Secret) -> String {
    let data = values::encoded(secret.spec.data.iter().filter_map(|(key, value)| Some((key, value.text()?))));
    values::remembered(key, asker, &(&data.0, SecretKind::from(secret.spec.kind).as_str(), shown(&secret.metadata)))
}

/// A known secret in the shape of a manifest, with words in the place of its values.
fn described_secret(record: &SecretRecord) -> Value {
    let keys = record.versions.last().into_iter().flat_map(|newest| &newest.keys);
    let data: serde_json::Map<String, Value> = keys.map(|key| (key.clone(), json!("(its value)"))).collect();
    let metadata = metadata(&record.id, &record.described, record.version);
    json!({"metadata": shown(&metadata), "spec": {"type": record.kind.as_str(), "data": data}})
}

/// The same of one that is asked for: a value that is another one has other words.
fn asked_secret(secret: &Secret, newest: Option<&Values>, data: &Values) -> Value {
    let word = |key: &String, value: &String| match newest.and_then(|newest| newest.0.get(key)) {
        Some(before) if before != value => json!("(another value)"),
        _ => json!("(its value)"),
    };
    let data: serde_json::Map<String, Value> = data.0.iter().map(|(key, value)| (key.clone(), word(key, value))).collect();
    json!({"metadata": shown(&secret.metadata), "spec": {"type": secret.spec.kind.as_str(), "data": data}})
}

/// Metadata as a manifest writes it.
fn shown(metadata: &Metadata) -> Value {
    let bare = Config { metadata: metadata.clone(), spec: ConfigSpec { data: Default::default() } };
    manifest::config_to_value(&bare)["metadata"].take()
}

fn differences(before: Value, after: Value) -> Vec<Difference> {
    difference::between_documents(before, after).into_iter().map(Difference::from).collect()
}

/// A Config as a manifest has it.
fn config_of(record: &ConfigRecord) -> Config {
    let data = record.data.iter().map(|(key, value)| (key.clone(), Given::Text(value.clone()))).collect();
    Config { metadata: metadata(&record.id, &record.described, record.version), spec: ConfigSpec { data } }
}

/// A Namespace as a manifest has it.
fn namespace_of(record: &NamespaceRecord) -> Namespace {
    let id = ObjectId { namespace: Name::default_namespace(), name: record.name.clone() };
    Namespace { metadata: metadata(&id, &record.described, record.version), spec: record.ceilings.spec() }
}

fn metadata(id: &ObjectId, described: &Described, version: Index) -> Metadata {
    let Described { labels, annotations, protected } = described.clone();
    Metadata { name: id.name.clone(), namespace: id.namespace.clone(), labels, annotations, protected, resource_version: Some(version) }
}

impl Wished {
    /// What became of everything that is no app.
    pub fn answers(&self, applied: &[Applied]) -> Vec<ValueAnswer> {
        let done = self.outcomes(applied).map(|(named, outcome, version)| ValueAnswer {
            kind: named.kind.to_owned(),
            name: named.name.clone(),
            outcome,
            version,
        });
        done.collect()
    }

    /// What would become of it.
    pub fn planned(&self, applied: &[Applied]) -> Vec<PlannedValue> {
        let planned = self.outcomes(applied).map(|(named, outcome, _)| PlannedValue {
            kind: named.kind.to_owned(),
            name: named.name.clone(),
            outcome,
            version: named.version,
            changes: named.changes.clone(),
        });
        planned.collect()
    }

    fn outcomes<'a>(&'a self, applied: &'a [Applied]) -> impl Iterator<Item = (&'a Named, Outcome, Index)> {
        let put = self.values.iter().zip(applied).filter_map(|(named, applied)| match applied {
            Applied::Put { version, outcome, .. } => Some((named, outcome_of(*outcome), *version)),
            _ => None,
        });
        put.chain(self.same.iter().map(|named| (named, Outcome::Unchanged, named.version)))
    }
}

fn outcome_of(outcome: PutOutcome) -> Outcome {
    match outcome {
        PutOutcome::Created => Outcome::Created,
        PutOutcome::Changed => Outcome::Changed,
        PutOutcome::Unchanged => Outcome::Unchanged,
    }
}
