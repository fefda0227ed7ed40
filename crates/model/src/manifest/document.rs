//! One document: its kind, then everything below. Owns the order in which a document is read; must never know how an app is built or checked.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value as Json;

use super::{
    build,
    check::{self, Finding, Mark},
    objects,
    places::Places,
    vars,
    walk::{Walk, join},
    words::near,
};
use crate::{
    kinds::{self, KINDS, KUBERNETES, Kind, Shape, Standing},
    limits,
    problem::{Problem, Span},
    tree::{self, Node, Value},
};

/// What a document turned out to be.
#[derive(Default)]
pub(super) struct Outcome {
    /// What it asks for, when nothing is wrong with it.
    pub asked: Option<super::Document>,
    /// The variables it declares.
    pub vars: Vec<String>,
}

/// Reads `document`, with variables put in and defaults merged, and adds what is wrong to `problems`.
pub(super) fn read(document: &mut Node, given: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Outcome {
    let kind = match kind(document) {
        Ok(kind) => kind,
        Err(problem) => {
            problems.push(*problem);
            return Outcome::default();
        }
    };
    if kind.standing == Standing::ReadOnly {
        problems.push(refuse_kind(kind, document));
        return Outcome::default();
    }
    let mut found = Vec::new();
    let substituted = vars::substitute(document, given, &mut found);
    let about_vars = found.len();
    if kind.name == "App" {
        merge_defaults(document, &mut found);
    }
    let values = walk(document, kind, &mut found);
    let asked = match kind.standing {
        Standing::Built => Some(asked(kind, document, &values, &mut found)),
        Standing::Later | Standing::ReadOnly => {
            found.push(refuse_kind(kind, document));
            None
        }
    };
    tidy(&mut found, about_vars, &substituted.failed);
    let asked = asked.filter(|_| found.is_empty());
    problems.append(&mut found);
    Outcome { asked, vars: substituted.declared }
}

fn kind(document: &Node) -> Result<&'static Kind, Box<Problem>> {
    let Value::Map(_) = &document.value else {
        let problem = Problem::new("E0103", format!("the document must be a map, and this is {}", super::words::found(document)));
        return Err(problem.help("a manifest starts with   apiVersion: shoal.dev/v1").span(Some(document.place.span())).into());
    };
    let text = |field: &str| document.get(field).and_then(Node::text).unwrap_or_default();
    let (version, name) = (text("apiVersion"), text("kind"));
    let at = |field: &str| Some(document.entry(field).map_or(&document.place, |entry| &entry.node.place).span());
    let example = "apiVersion: shoal.dev/v1";
    if let Some(problem) = kubernetes(version, name) {
        return Err(problem.at("kind").label("a Kubernetes kind").span(at("kind")).into());
    }
    for (field, line) in [("apiVersion", example), ("kind", "kind: App")] {
        if document.get(field).is_none_or(Node::is_null) {
            let problem = Problem::new("E0105", format!("the document has no `{field}`")).label(format!("`{field}` is missing here"));
            return Err(problem.at(field).help(format!("add   {line}")).span(at(field)).into());
        }
    }
    if version != kinds::API_VERSION {
        let problem = Problem::new("E0110", format!("`{version}` is not an apiVersion of shoal")).label("unknown");
        return Err(problem.at("apiVersion").help(format!("write {example}")).span(at("apiVersion")).into());
    }
    kinds::find(name).filter(|kind| kind.name == name).ok_or_else(|| {
        let help = match kinds::find(name).map(|kind| kind.name).or_else(|| near(name, KINDS.iter().map(|kind| kind.name))) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the kinds are {}", KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")),
        };
        Problem::new("E0110", format!("`{name}` is not a kind of shoal")).at("kind").label("unknown").help(help).span(at("kind")).into()
    })
}

/// The sentence for a document that is meant for Kubernetes.
fn kubernetes(version: &str, kind: &str) -> Option<Problem> {
    let foreign = KUBERNETES.iter().find(|(name, _)| *name == kind);
    let group = version.split('/').next().unwrap_or_default();
    let theirs = matches!(group, "v1" | "apps" | "batch" | "autoscaling" | "policy" | "extensions") || group.ends_with(".k8s.io");
    if !theirs && (foreign.is_none() || version == kinds::API_VERSION && kinds::find(kind).is_some()) {
        return None;
    }
    let named = if version.is_empty() || !theirs { format!("`{kind}`") } else { format!("`{kind}` of `{version}`") };
    let help = match (foreign, kinds::find(kind)) {
        (Some((_, ours)), _) => format!("here it is {ours}; documents start with   apiVersion: {}", kinds::API_VERSION),
        (None, Some(kind)) => format!("shoal has its own {}: apiVersion: {}", kind.name, kinds::API_VERSION),
        (None, None) => format!("shoal runs WebAssembly components, declared as   kind: App, apiVersion: {}", kinds::API_VERSION),
    };
    Some(Problem::new("E0109", format!("{named} is a Kubernetes kind, and shoal has its own")).help(help))
}

fn refuse_kind(kind: &Kind, document: &Node) -> Problem {
    let span = document.entry("kind").map(|entry| entry.node.place.span());
    let problem = match kind.standing {
        Standing::ReadOnly => Problem::new("E0106", format!("a {} is written by the cluster only", kind.name))
            .label("read-only")
            .help(format!("remove the document; `shoal get {}s` shows them", kind.name.to_lowercase())),
        _ => Problem::new("E0107", format!("the kind `{}` is not supported yet", kind.name))
            .label("not in effect in this version")
            .help("remove the document"),
    };
    problem.at("kind").span(span)
}

/// Lays each component on a copy of `spec.defaults`.
fn merge_defaults(document: &mut Node, problems: &mut Vec<Problem>) {
    let Some(spec) = document.get_mut("spec") else { return };
    let Some(defaults) = spec.get("defaults").filter(|defaults| !defaults.entries().is_empty()).cloned() else { return };
    let Some(Node { value: Value::Map(components), .. }) = spec.get_mut("components") else { return };
    let copies = defaults.count().saturating_mul(components.len());
    if copies > limits::MANIFEST_NODES_MAX {
        let message = format!("`spec.defaults` written out for {} components has {copies} values", components.len());
        let problem =
            Problem::new("E0108", message).help(format!("at most {} are read; say less in `defaults`", limits::MANIFEST_NODES_MAX));
        problems.push(problem.at("spec.defaults").span(Some(defaults.place.span())));
        return;
    }
    for component in components {
        let own = std::mem::replace(&mut component.node, defaults.clone());
        if own.is_null() || matches!(own.value, Value::Map(_)) {
            tree::merge(&mut component.node, own);
        } else {
            component.node = own;
        }
    }
}

/// Holds every field against the tables. `status` is what the cluster last said of the object, and ignored.
fn walk(document: &Node, kind: &Kind, problems: &mut Vec<Problem>) -> Json {
    let mut walk = Walk::default();
    let mut values = serde_json::Map::new();
    for entry in document.entries() {
        let shape = match entry.key.as_str() {
            "apiVersion" | "kind" | "status" => continue,
            "metadata" => Shape::Record(&kinds::METADATA),
            "spec" => Shape::Record(kind.spec),
            key => {
                let help = match near(key, ["apiVersion", "kind", "metadata", "spec"].into_iter()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if kind.spec.field(key).is_some() => format!("write spec: {{{key}: …}}"),
                    None => "a document has apiVersion, kind, metadata and spec".to_owned(),
                };
                walk.at(Problem::new("E0102", format!("unknown field `{key}` in the document")).help(help), key, &entry.key_place);
                continue;
            }
        };
        if let Some(value) = walk.entry(shape, entry, &entry.key) {
            values.insert(entry.key.clone(), value);
        }
    }
    for field in ["metadata", "spec"].into_iter().filter(|field| document.get(field).is_none()) {
        let problem = Problem::new("E0105", format!("the {} has no `{field}`", kind.name)).label(format!("`{field}` is missing here"));
        walk.at(problem.help(format!("add   {field}: {{…}}")), field, &document.place);
    }
    problems.append(&mut walk.problems);
    Json::Object(values)
}

/// Builds the object from what is right, and checks it. Checks that fail beside, below or around a field already told of are not told.
fn asked(kind: &Kind, document: &Node, values: &Json, problems: &mut Vec<Problem>) -> super::Document {
    use super::Document;
    let (asked, findings) = match kind.name {
        "Config" => {
            let config = build::config(values);
            let findings = objects::config(&config);
            (Document::Config(config), findings)
        }
        "Secret" => {
            let secret = build::secret(values);
            let findings = objects::secret(&secret);
            (Document::Secret(secret), findings)
        }
        "Namespace" => {
            let namespace = build::namespace(values);
            let findings = objects::namespace(&namespace);
            (Document::Namespace(namespace), findings)
        }
        _ => {
            let app = build::app(values);
            let findings = check::app(&app);
            (Document::App(app), findings)
        }
    };
    let places = Places::of(document);
    let told: Vec<String> = problems.iter().map(|problem| problem.path.clone()).collect();
    let below = |path: &str, other: &str| path == other || path.strip_prefix(other).is_some_and(|rest| rest.starts_with(['.', '[']));
    let known = |path: &str| told.iter().any(|told| below(path, told) || below(told, path));
    let fresh = findings.into_iter().filter(|finding| !known(&finding.problem.path));
    problems.extend(fresh.map(|Finding { problem, mark }| match mark {
        Mark::Value => places.locate(problem),
        Mark::Key => {
            let span = places.key(&problem.path);
            problem.span(span)
        }
    }));
    asked
}

/// Drops what only follows from a variable that could not be replaced (told among the first `about_vars`), and what is told twice: what stands once in
/// `defaults` is walked once per component.
fn tidy(problems: &mut Vec<Problem>, about_vars: usize, failed: &HashSet<Span>) {
    let (mut owners, mut index) = (HashMap::new(), 0);
    problems.retain(|problem| {
        index += 1;
        let Some(span) = &problem.span else { return true };
        let follows = index > about_vars && failed.contains(span);
        let field = problem.path.rsplit('.').next().unwrap_or_default().to_owned();
        let owner = owner(&problem.path);
        !follows && *owners.entry((problem.code.clone(), field, span.clone())).or_insert_with(|| owner.clone()) == owner
    });
}

/// The component a path leads into, or whatever else stands at that depth.
fn owner(path: &str) -> String {
    path.split('.').take(3).collect::<Vec<_>>().join(".")
}

/// The path of a component's field, for checks that speak of it.
pub(super) fn component_path(component: &str, field: &str) -> String {
    join(&join("spec.components", component), field)
}
