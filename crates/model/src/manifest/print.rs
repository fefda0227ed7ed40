//! An app as a manifest again. Owns the shortest form: what holds its default is left out, and what is printed parses to the same app.

use serde_json::{Map, Value as Json, json};

use super::{defaults::default_of, vars};
use crate::{
    app::{App, Component, FileMount, Metadata, Resources, Reuse, Route, Source},
    id::DEFAULT_NAMESPACE,
    kinds::{API_VERSION, COMPONENT, RESOURCES, REUSE, ROUTE, Record},
    object::{Config, Namespace, NamespaceSpec},
    quantity::{Bytes, CpuMillis, Millis},
    yaml,
};

/// `app` as YAML that can be applied again. A source that is resolved stands as its digest.
pub fn to_yaml(app: &App) -> String {
    yaml::write(&to_value(app))
}

/// The same as [`to_yaml`], as JSON in the shape of a manifest.
pub fn to_value(app: &App) -> Json {
    let components: Map<String, Json> =
        app.spec.components.iter().map(|(name, component)| (name.to_string(), self::component(component))).collect();
    document("App", &app.metadata, json!({"components": components}))
}

/// `config` as YAML that can be applied again.
pub fn config_to_yaml(config: &Config) -> String {
    yaml::write(&config_to_value(config))
}

/// The same as [`config_to_yaml`], as JSON in the shape of a manifest.
pub fn config_to_value(config: &Config) -> Json {
    document("Config", &config.metadata, json!({"data": config.spec.data}))
}

/// `namespace` as YAML that can be applied again.
pub fn namespace_to_yaml(namespace: &Namespace) -> String {
    yaml::write(&namespace_to_value(namespace))
}

/// The same as [`namespace_to_yaml`], as JSON in the shape of a manifest.
pub fn namespace_to_value(namespace: &Namespace) -> Json {
    let NamespaceSpec { quota, hosts, egress, interfaces } = &namespace.spec;
    let (mut spec, mut quotas) = (Map::new(), Map::new());
    quotas.extend(quota.memory.map(|memory| ("memory".to_owned(), json!(memory.to_string()))));
    quotas.extend(quota.cpu.map(|cpu| ("cpu".to_owned(), json!(cpu.to_string()))));
    quotas.extend(quota.instances.map(|instances| ("instances".to_owned(), json!(instances))));
    quotas.extend(quota.apps.map(|apps| ("apps".to_owned(), json!(apps))));
    if !quotas.is_empty() {
        spec.insert("quota".into(), Json::Object(quotas));
    }
    spec.extend(hosts.as_ref().map(|hosts| ("hosts".to_owned(), json!(hosts))));
    spec.extend(egress.as_ref().map(|rules| ("egress".to_owned(), json!({"allowed": rules}))));
    spec.extend(interfaces.as_ref().map(|names| ("interfaces".to_owned(), json!({"allowed": names}))));
    document("Namespace", &namespace.metadata, Json::Object(spec))
}

fn document(kind: &str, metadata: &Metadata, spec: Json) -> Json {
    let mut document = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": self::metadata(metadata), "spec": spec});
    escape(&mut document);
    document
}

fn metadata(metadata: &Metadata) -> Json {
    let mut out = Map::new();
    out.insert("name".into(), metadata.name.as_str().into());
    if metadata.namespace.as_str() != DEFAULT_NAMESPACE {
        out.insert("namespace".into(), metadata.namespace.as_str().into());
    }
    for (field, texts) in [("labels", &metadata.labels), ("annotations", &metadata.annotations)] {
        if !texts.is_empty() {
            out.insert(field.into(), json!(texts));
        }
    }
    if metadata.protected {
        out.insert("protected".into(), true.into());
    }
    if let Some(version) = metadata.resource_version {
        out.insert("resourceVersion".into(), version.0.into());
    }
    Json::Object(out)
}

fn component(component: &Component) -> Json {
    let mut out = Map::new();
    out.insert("source".into(), source(&component.source).into());
    if let Some(build) = &component.build {
        let record = COMPONENT.field("build").and_then(|field| field.shape.record()).expect("the table gives this field a record");
        let mut printed = Printed { record, out: Map::new() };
        printed.put("command", json!(build.command), json!(build.command));
        printed.put("dir", json!(build.dir), json!(build.dir));
        printed.put("watch", json!(build.watch), json!(build.watch));
        out.insert("build".into(), Json::Object(printed.out));
    }
    for (field, texts) in [("env", &component.env), ("config", &component.config)] {
        if !texts.is_empty() {
            out.insert(field.into(), json!(texts));
        }
    }
    if !component.args.is_empty() {
        out.insert("args".into(), json!(component.args));
    }
    if !component.files.is_empty() {
        let file = |file: &FileMount| json!({"from": source(&file.source), "to": file.to});
        out.insert("files".into(), component.files.iter().map(file).collect());
    }
    if !component.routes.is_empty() {
        out.insert("routes".into(), component.routes.iter().map(route).collect());
    }
    if component.scale.replicas != 1 {
        out.insert("scale".into(), json!({"replicas": component.scale.replicas}));
    }
    let resources = resources(&component.resources);
    if resources.as_object().is_some_and(|resources| !resources.is_empty()) {
        out.insert("resources".into(), resources);
    }
    if let Some(reuse) = &component.reuse {
        out.insert("reuse".into(), self::reuse(reuse));
    }
    if let Some(config) = &component.config_from {
        out.insert("config".into(), json!({"config": config}));
    }
    if !component.secrets.is_empty() {
        out.insert("secrets".into(), json!(component.secrets));
    }
    if !component.egress.is_empty() {
        out.insert("egress".into(), json!({"allow": component.egress.allow}));
    }
    Json::Object(out)
}

fn source(source: &Source) -> String {
    match source {
        Source::File(file) => file.clone(),
        Source::Digest { digest, .. } => digest.to_string(),
    }
}

fn reuse(reuse: &Reuse) -> Json {
    let mut printed = Printed { record: &REUSE, out: Map::new() };
    if let Some(mode) = reuse.mode {
        printed.out.insert("mode".into(), mode.as_str().into());
    }
    if let Some(sandboxes) = reuse.sandboxes {
        printed.out.insert("sandboxes".into(), sandboxes.into());
    }
    printed.put("maxConcurrent", json!(reuse.max_concurrent), json!(reuse.max_concurrent));
    printed.put("maxRequests", json!(reuse.max_requests), json!(reuse.max_requests));
    if let Some(age) = reuse.max_age {
        printed.out.insert("maxAge".into(), age.to_string().into());
    }
    Json::Object(printed.out)
}

fn route(route: &Route) -> Json {
    let mut printed = Printed { record: &ROUTE, out: Map::new() };
    printed.put("host", json!(route.host), json!(route.host));
    // A path is printed even where it is the default: a route reads better whole.
    printed.out.insert("path".into(), json!(route.path));
    printed.put("exact", json!(route.exact), json!(route.exact));
    if !route.methods.is_empty() {
        printed.out.insert("methods".into(), json!(route.methods));
    }
    if !route.headers.is_empty() {
        printed.out.insert("headers".into(), json!(route.headers));
    }
    if let Some(rewrite) = &route.rewrite {
        printed.out.insert("rewrite".into(), json!(rewrite));
    }
    printed.time("timeout", route.timeout);
    printed.time("idleTimeout", route.idle_timeout);
    printed.size("maxBody", route.max_body);
    if let Some(tls) = &route.tls {
        printed.out.insert("tls".into(), json!(tls));
    }
    if let Some(https) = route.https {
        printed.out.insert("https".into(), https.as_str().into());
    }
    Json::Object(printed.out)
}

fn resources(resources: &Resources) -> Json {
    let mut printed = Printed { record: &RESOURCES, out: Map::new() };
    printed.size("memory", resources.memory);
    printed.size("instanceMemory", resources.instance_memory);
    let CpuMillis(millis) = resources.cpu;
    printed.put("cpu", json!(millis), json!(resources.cpu.to_string()));
    printed.put("maxInFlight", json!(resources.max_in_flight), json!(resources.max_in_flight));
    let record = RESOURCES.field("queue").and_then(|field| field.shape.record()).expect("the table gives this field a record");
    let mut queue = Printed { record, out: Map::new() };
    queue.put("length", json!(resources.queue_length), json!(resources.queue_length));
    queue.time("wait", resources.queue_wait);
    if !queue.out.is_empty() {
        printed.out.insert("queue".into(), Json::Object(queue.out));
    }
    printed.time("timeout", resources.timeout);
    printed.time("cpuTime", resources.cpu_time);
    Json::Object(printed.out)
}

/// The fields of a record that do not hold their defaults.
struct Printed {
    record: &'static Record,
    out: Map<String, Json>,
}

impl Printed {
    /// Prints `shown` unless `value` is what leaving the field out means.
    fn put(&mut self, name: &str, value: Json, shown: Json) {
        if self.record.field(name).and_then(default_of) != Some(&value) {
            self.out.insert(name.to_owned(), shown);
        }
    }

    fn time(&mut self, name: &str, value: Millis) {
        self.put(name, json!(value.0), json!(value.to_string()));
    }

    fn size(&mut self, name: &str, value: Bytes) {
        self.put(name, json!(value.0), json!(value.to_string()));
    }
}

/// What looks like a variable was text: it is printed so that it stays text.
fn escape(value: &mut Json) {
    match value {
        Json::String(text) => *text = vars::escape(text),
        Json::Array(items) => items.iter_mut().for_each(escape),
        Json::Object(fields) => fields.values_mut().for_each(escape),
        _ => {}
    }
}
