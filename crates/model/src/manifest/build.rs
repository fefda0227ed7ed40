//! The app from the values the walk found. Owns the step from the user's form to the canonical one: defaults filled in, hosts and methods in their case.
//! Must never complain: what is missing or wrong has been told, and holds its default here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::defaults::default_of;
use crate::{
    app::{
        App, AppSpec, Build, Component, FileMount, Https, Metadata, Resources, Reuse, ReuseMode, Route, RouteTls, Scale, SecretReference,
        Source,
    },
    egress::{Egress, EgressRule},
    id::{Digest, Index, Name},
    kinds::{COMPONENT, METADATA, RESOURCES, REUSE, ROUTE, Record, SECRET},
    object::{Config, ConfigSpec, Given, Namespace, NamespaceSpec, Quota, Secret, SecretSpec, SecretType},
    quantity::{Bytes, CpuMillis, Millis},
};

/// The app whose document holds `values`.
pub(super) fn app(values: &Json) -> App {
    let components = entries(&values["spec"]["components"])
        .filter_map(|(name, component)| Some((name.parse().ok()?, self::component(component))))
        .collect();
    App { metadata: metadata(&values["metadata"]), spec: AppSpec { components } }
}

fn metadata(values: &Json) -> Metadata {
    let fields = Fields { record: &METADATA, values };
    let name = fields.text("name").parse().unwrap_or_else(|_| Name::default_namespace());
    Metadata {
        name,
        namespace: fields.text("namespace").parse().unwrap_or_else(|_| Name::default_namespace()),
        labels: fields.texts("labels"),
        annotations: fields.texts("annotations"),
        protected: fields.boolean("protected"),
        resource_version: values["resourceVersion"].as_u64().map(Index),
    }
}

fn component(values: &Json) -> Component {
    let fields = Fields { record: &COMPONENT, values };
    let build = values.get("build").map(|build| {
        let fields = fields.inside("build", build);
        Build { command: fields.text("command"), dir: fields.text("dir"), watch: fields.list("watch") }
    });
    Component {
        source: source(&fields.text("source")),
        build,
        env: fields.texts("env"),
        config: if values["config"].is_string() { BTreeMap::new() } else { fields.texts("config") },
        args: fields.list("args"),
        files: values["files"].as_array().into_iter().flatten().map(file).collect(),
        routes: values["routes"].as_array().into_iter().flatten().map(route).collect(),
        scale: Scale { replicas: fields.inside("scale", &values["scale"]).number32("replicas") },
        resources: resources(&values["resources"]),
        reuse: values.get("reuse").map(reuse).filter(|reuse| *reuse != Reuse::default()),
        egress: egress(&fields.inside("egress", &values["egress"]).list("allow")),
        config_from: values["config"].as_str().and_then(|name| name.parse().ok()),
        secrets: entries(&values["secrets"]).filter_map(|(name, reference)| Some((name.clone(), secret_reference(reference)?))).collect(),
    }
}

fn secret_reference(values: &Json) -> Option<SecretReference> {
    let key = values["key"].as_str()?.to_owned();
    Some(SecretReference { secret: values["secret"].as_str()?.parse().ok()?, key, version: values["version"].as_u64() })
}

/// The Config whose document holds `values`.
pub(super) fn config(values: &Json) -> Config {
    Config { metadata: metadata(&values["metadata"]), spec: ConfigSpec { data: given(&values["spec"]["data"]).collect() } }
}

/// The Secret whose document holds `values`.
pub(super) fn secret(values: &Json) -> Secret {
    let fields = Fields { record: &SECRET, values: &values["spec"] };
    let kind = SecretType::ALL.into_iter().find(|kind| kind.as_str() == fields.text("type")).unwrap_or_default();
    Secret { metadata: metadata(&values["metadata"]), spec: SecretSpec { kind, data: given(&values["spec"]["data"]).collect() } }
}

/// The Namespace whose document holds `values`.
pub(super) fn namespace(values: &Json) -> Namespace {
    let spec = &values["spec"];
    let texts = |list: &Json| -> Option<BTreeSet<String>> {
        let items = list.as_array()?;
        Some(items.iter().filter_map(Json::as_str).map(str::to_ascii_lowercase).collect())
    };
    let quota = Quota {
        memory: spec["quota"]["memory"].as_u64().map(Bytes),
        cpu: spec["quota"]["cpu"].as_u64().map(|millis| CpuMillis(u32::try_from(millis).unwrap_or(u32::MAX))),
        instances: spec["quota"]["instances"].as_u64(),
        apps: spec["quota"]["apps"].as_u64(),
    };
    let rules = texts(&spec["egress"]["allowed"]).map(|rules| egress(&rules.into_iter().collect::<Vec<_>>()).allow);
    let spec = NamespaceSpec { quota, hosts: texts(&spec["hosts"]), egress: rules, interfaces: texts(&spec["interfaces"]["allowed"]) };
    Namespace { metadata: metadata(&values["metadata"]), spec }
}

fn given(values: &Json) -> impl Iterator<Item = (String, Given)> {
    entries(values).map(|(key, value)| {
        let given = match value {
            Json::String(text) => Given::Text(text.clone()),
            other => match (other["fromFile"].as_str(), other["fromEnv"].as_str()) {
                (Some(file), _) => Given::File { from_file: file.to_owned() },
                (None, Some(variable)) => Given::Env { from_env: variable.to_owned() },
                (None, None) => Given::Nothing {},
            },
        };
        (key.clone(), given)
    })
}

fn file(values: &Json) -> FileMount {
    let text = |name: &str| values[name].as_str().unwrap_or_default();
    FileMount { source: source(text("from")), to: text("to").to_owned() }
}

/// How sandboxes are used again; the fields of `values` that are set, and the defaults of the rest.
pub(super) fn reuse(values: &Json) -> Reuse {
    let fields = Fields { record: &REUSE, values };
    Reuse {
        mode: match values["mode"].as_str() {
            Some("fresh") => Some(ReuseMode::Fresh),
            Some("serial") => Some(ReuseMode::Serial),
            Some("concurrent") => Some(ReuseMode::Concurrent),
            _ => None,
        },
        sandboxes: values.get("sandboxes").map(|_| fields.number32("sandboxes")),
        max_concurrent: fields.number32("maxConcurrent"),
        max_requests: fields.number32("maxRequests"),
        max_age: values["maxAge"].as_u64().map(Millis),
    }
}

/// In order and once each: the order has no meaning.
fn egress(rules: &[String]) -> Egress {
    let mut allow: Vec<EgressRule> = rules.iter().filter_map(|rule| rule.parse().ok()).collect();
    allow.sort();
    allow.dedup();
    Egress { allow }
}

fn source(text: &str) -> Source {
    match text.parse::<Digest>() {
        Ok(digest) => Source::Digest { digest, from: text.to_owned() },
        Err(_) => Source::File(text.to_owned()),
    }
}

fn route(values: &Json) -> Route {
    let fields = Fields { record: &ROUTE, values };
    let mut methods: Vec<String> = fields.list("methods").iter().map(|method| method.to_ascii_uppercase()).collect();
    methods.sort();
    methods.dedup();
    let tls = values["tls"]["secret"].as_str().and_then(|name| name.parse().ok()).map(|secret| RouteTls { secret });
    let https = [Https::Redirect, Https::Both].into_iter().find(|known| values["https"].as_str() == Some(known.as_str()));
    Route {
        host: fields.text("host").to_ascii_lowercase(),
        path: fields.text("path"),
        exact: fields.boolean("exact"),
        methods,
        headers: fields.texts("headers").into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
        rewrite: values["rewrite"].as_str().map(str::to_owned),
        timeout: Millis(fields.number("timeout")),
        idle_timeout: Millis(fields.number("idleTimeout")),
        max_body: Bytes(fields.number("maxBody")),
        https: https.filter(|https| *https != Https::default_of(tls.as_ref())),
        tls,
    }
}

/// What an instance may use; the fields of `values` that are set, and the defaults of the rest.
pub(super) fn resources(values: &Json) -> Resources {
    let fields = Fields { record: &RESOURCES, values };
    let queue = fields.inside("queue", &values["queue"]);
    Resources {
        memory: Bytes(fields.number("memory")),
        instance_memory: Bytes(fields.number("instanceMemory")),
        cpu: CpuMillis(fields.number32("cpu")),
        max_in_flight: fields.number32("maxInFlight"),
        queue_length: queue.number32("length"),
        queue_wait: Millis(queue.number("wait")),
        timeout: Millis(fields.number("timeout")),
        cpu_time: Millis(fields.number("cpuTime")),
    }
}

/// The values of a record's fields, with its defaults.
struct Fields<'a> {
    record: &'static Record,
    values: &'a Json,
}

impl Fields<'_> {
    fn value(&self, name: &str) -> Json {
        let default = || self.record.field(name).and_then(default_of).cloned().unwrap_or_default();
        self.values.get(name).cloned().unwrap_or_else(default)
    }

    fn text(&self, name: &str) -> String {
        self.value(name).as_str().unwrap_or_default().to_owned()
    }

    fn boolean(&self, name: &str) -> bool {
        self.value(name).as_bool().unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.value(name).as_u64().unwrap_or_default()
    }

    fn number32(&self, name: &str) -> u32 {
        u32::try_from(self.number(name)).unwrap_or(u32::MAX)
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.value(name).as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
    }

    fn texts(&self, name: &str) -> BTreeMap<String, String> {
        entries(&self.value(name)).filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    fn inside<'a>(&self, name: &str, values: &'a Json) -> Fields<'a> {
        let record = self.record.field(name).and_then(|field| field.shape.record());
        Fields { record: record.expect("the table gives this field a record"), values }
    }
}

fn entries(value: &Json) -> impl Iterator<Item = (&String, &Json)> {
    value.as_object().into_iter().flatten()
}
