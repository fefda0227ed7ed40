//! Whether an app in canonical form can be right. Owns every rule about values that hold wherever an app comes from, YAML or JSON; must never know
//! where a field stands in a file.

use std::collections::HashMap;

use super::document::component_path;
use crate::{
    app::{App, Component, Metadata, Resources, Route, Source},
    frozen::RouteKeyV1,
    limits,
    problem::Problem,
    quantity::Millis,
};

/// A problem, and what of its field is to be marked.
pub(super) struct Finding {
    /// The problem, with its path.
    pub problem: Problem,
    /// What is to be marked.
    pub mark: Mark,
}

/// What of a field is to be marked.
pub(super) enum Mark {
    /// Its value.
    Value,
    /// Its key, because that is what is wrong.
    Key,
}

/// What is wrong with `app`, made from a manifest.
pub(super) fn app(app: &App) -> Vec<Finding> {
    let mut check = Check::default();
    check.metadata(&app.metadata);
    let components = &app.spec.components;
    if components.is_empty() {
        let problem = Problem::new("E0105", format!("the App `{}` has no component", app.metadata.name));
        check.add(problem.help("add   components: {web: {source: ./app.wasm}}"), "spec.components".to_owned());
    }
    if components.len() > limits::COMPONENTS_PER_APP_MAX {
        let message = format!(
            "the App `{}` has {} components, and at most {} fit",
            app.metadata.name,
            components.len(),
            limits::COMPONENTS_PER_APP_MAX
        );
        check.add(Problem::new("E0106", message).help("split it into several apps"), "spec.components".to_owned());
    }
    for (name, component) in components {
        check.component(name.as_str(), component);
    }
    check.collisions(app);
    check.findings
}

/// What is wrong with `app`, which came as canonical JSON: the same, and whatever is not canonical or not in effect.
pub(super) fn canonical(app: &App) -> Vec<Problem> {
    let mut problems: Vec<Problem> = self::app(app).into_iter().map(|finding| finding.problem).collect();
    let defaults = Resources::default();
    for (name, component) in &app.spec.components {
        let path = |field: &str| component_path(name.as_str(), field);
        if let Source::File(file) = &component.source {
            let problem =
                Problem::new("E0106", format!("the source of component `{name}` is the file `{file}`, and a server reads no files"));
            problems.push(problem.at(path("source")).help("upload the file and send its digest: sha256:…"));
        }
        let Resources { memory, .. } = component.resources;
        if component.resources != (Resources { memory, ..defaults.clone() }) {
            let message = format!("`resources` of component `{name}` other than `memory` are not supported yet");
            problems.push(Problem::new("E0107", message).at(path("resources")).help("leave them at their defaults"));
        }
        for (index, route) in component.routes.iter().enumerate() {
            if !is_canonical(route) {
                let problem = Problem::new("E0106", format!("`routes[{index}]` of component `{name}` is not in canonical form"));
                let help = "host and header names in lower case, methods in upper case, sorted and once each";
                problems.push(problem.at(path(&format!("routes[{index}]"))).help(help));
            }
        }
    }
    problems
}

fn is_canonical(route: &Route) -> bool {
    let lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
    lower(&route.host)
        && route.headers.keys().all(|name| lower(name))
        && route.methods.iter().all(|method| !method.bytes().any(|byte| byte.is_ascii_lowercase()))
        && route.methods.is_sorted_by(|one, other| one < other)
}

#[derive(Default)]
struct Check {
    findings: Vec<Finding>,
}

impl Check {
    fn add(&mut self, problem: Problem, path: String) {
        self.findings.push(Finding { problem: problem.at(path), mark: Mark::Value });
    }

    fn add_key(&mut self, problem: Problem, path: String) {
        self.findings.push(Finding { problem: problem.at(path), mark: Mark::Key });
    }

    fn metadata(&mut self, metadata: &Metadata) {
        let bytes: usize = metadata.labels.iter().chain(&metadata.annotations).map(|(key, value)| key.len() + value.len()).sum();
        if bytes > limits::METADATA_BYTES_MAX {
            let message = format!("labels and annotations have {bytes} bytes, and at most {} fit", limits::METADATA_BYTES_MAX);
            self.add(Problem::new("E0106", message).help("keep data in `config`"), "metadata".to_owned());
        }
        for key in metadata.labels.keys().filter(|key| !is_label_key(key)) {
            let problem = Problem::new("E0106", format!("`{key}` is not a label key"));
            self.add_key(problem.help("use letters, digits, `-`, `_`, `.` and `/`"), format!("metadata.labels.{key}"));
        }
        for (key, value) in &metadata.labels {
            if value.len() > 63 || value.chars().any(|any| any.is_control() || any == ',' || any == '=') {
                let problem = Problem::new("E0106", format!("the label `{key}` has a value that cannot be selected by"));
                self.add(problem.help("at most 63 bytes, without `,` and `=`"), format!("metadata.labels.{key}"));
            }
        }
    }

    fn component(&mut self, name: &str, component: &Component) {
        let path = |field: &str| component_path(name, field);
        if matches!(&component.source, Source::File(file) if file.trim().is_empty()) {
            let problem = Problem::new("E0106", format!("the source of component `{name}` names no file"));
            self.add(problem.help("write the file's path: source: ./app.wasm"), path("source"));
        }
        for (key, value) in &component.env {
            if key.is_empty() || key.contains(['=', '\0']) {
                let problem = Problem::new("E0106", format!("`{}` cannot name an environment variable", key.replace('\0', "\\0")));
                self.add_key(problem.help("a name has no `=`"), path(&format!("env.{key}")));
            }
            self.no_nul(value, &format!("env.{key}"), name);
        }
        for (index, argument) in component.args.iter().enumerate() {
            self.no_nul(argument, &format!("args[{index}]"), name);
        }
        if component.config.len() == 1 && component.config.contains_key("config") {
            let problem = Problem::new(
                "E0106",
                format!("`config` of component `{name}` holds nothing but the key `config`, which means a reference"),
            );
            self.add(problem.help("give the key another name"), path("config"));
        }
        if component.config.contains_key("") {
            self.add(Problem::new("E0106", format!("a key in `config` of component `{name}` is empty")).help("name it"), path("config"));
        }
        self.settings_size(name, component);
        let Resources { memory, instance_memory, .. } = &component.resources;
        if !(limits::SANDBOX_MEMORY_MIN..=*instance_memory).contains(memory) {
            let message = format!("`resources.memory` of component `{name}` is {memory}");
            let help =
                format!("one sandbox may have {} to {instance_memory}, which is all that its instance has", limits::SANDBOX_MEMORY_MIN);
            self.add(Problem::new("E0106", message).help(help), path("resources.memory"));
        }
        if !(1..=limits::REPLICAS_MAX).contains(&component.scale.replicas) {
            let message = format!(
                "`scale.replicas` of component `{name}` is {}, and it must be 1 to {}",
                component.scale.replicas,
                limits::REPLICAS_MAX
            );
            self.add(Problem::new("E0106", message), path("scale.replicas"));
        }
        if component.routes.len() > limits::ROUTES_PER_COMPONENT_MAX {
            let message =
                format!("component `{name}` has {} routes, and at most {} fit", component.routes.len(), limits::ROUTES_PER_COMPONENT_MAX);
            self.add(Problem::new("E0106", message).help("use a shorter path prefix or a wildcard host"), path("routes"));
        }
        for (index, route) in component.routes.iter().enumerate() {
            self.route(name, &path(&format!("routes[{index}]")), route);
        }
    }

    fn settings_size(&mut self, name: &str, component: &Component) {
        let pairs: usize = component.env.iter().chain(&component.config).map(|(key, value)| key.len() + value.len()).sum();
        let bytes = pairs + component.args.iter().map(String::len).sum::<usize>();
        if bytes > limits::SETTINGS_BYTES_MAX {
            let message =
                format!("env, config and args of component `{name}` have {bytes} bytes, and at most {} fit", limits::SETTINGS_BYTES_MAX);
            self.add(Problem::new("E0106", message).help("build large data into the component"), component_path(name, "env"));
        }
    }

    fn no_nul(&mut self, value: &str, field: &str, name: &str) {
        if value.contains('\0') {
            let problem = Problem::new("E0106", format!("`{}` of component `{name}` holds a zero byte", field.replace('\0', "\\0")));
            self.add(problem.help("remove it"), component_path(name, field));
        }
    }

    fn route(&mut self, component: &str, path: &str, route: &Route) {
        let mut wrong = |field: &str, message: String, help: &str| {
            let problem = Problem::new("E0106", format!("{message} in a route of component `{component}`"));
            self.add(problem.label("invalid").help(help), format!("{path}.{field}"));
        };
        if let Err(help) = host(&route.host) {
            wrong("host", format!("`{}` is not a host", clip(&route.host)), help);
        }
        for (field, value) in [("path", Some(&route.path)), ("rewrite", route.rewrite.as_ref())] {
            if let Some((value, help)) = value.and_then(|value| Some((value, self::path(value).err()?))) {
                wrong(field, format!("`{}` is not a path", clip(value)), help);
            }
        }
        for method in &route.methods {
            if !is_token(method) {
                wrong("methods", format!("`{}` is not a method", clip(method)), "write GET, POST and the like");
            } else if method == "CONNECT" {
                wrong("methods", "`CONNECT` cannot be routed".to_owned(), "remove it: the gateway is no tunnel");
            }
        }
        for (field, value, max) in
            [("timeout", route.timeout, limits::TIMEOUT_MAX), ("idleTimeout", route.idle_timeout, limits::IDLE_TIMEOUT_MAX)]
        {
            if value == Millis(0) || value > max {
                wrong(field, format!("`{field}: {value}` is out of range"), &format!("write 1ms to {max}"));
            }
        }
        if route.max_body > limits::BODY_BYTES_MAX {
            wrong(
                "maxBody",
                format!("`maxBody: {}` is out of range", route.max_body),
                &format!("write at most {}", limits::BODY_BYTES_MAX),
            );
        }
        for (name, value) in &route.headers {
            self.header(component, path, name, value);
        }
    }

    fn header(&mut self, component: &str, path: &str, name: &str, value: &str) {
        let wrong = if !is_token(name) {
            Some((format!("`{}` is not a header name", clip(name)), "write a name like x-version"))
        } else if value.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            Some((format!("the value of `{name}` is not a header value"), "write it in one line"))
        } else {
            reserved(name).map(|help| (format!("the header `{name}` cannot be matched"), help))
        };
        if let Some((message, help)) = wrong {
            let problem = Problem::new("E0106", format!("{message} in a route of component `{component}`")).label("invalid");
            self.add_key(problem.help(help), format!("{path}.headers.{name}"));
        }
    }

    /// Routes that match on the same things, whichever components they belong to.
    fn collisions(&mut self, app: &App) {
        let mut owners: HashMap<RouteKeyV1, String> = HashMap::new();
        for (name, component) in &app.spec.components {
            for (index, route) in component.routes.iter().enumerate() {
                if let Some(owner) = owners.insert(RouteKeyV1::of(route), format!("`routes[{index}]` of component `{name}`")) {
                    let message =
                        format!("`routes[{index}]` of component `{name}` matches the same as {owner}: {}{}", route.host, route.path);
                    let problem = Problem::new("E0401", message).label("the same host, path, methods and headers");
                    let place = if route.host.is_empty() { "" } else { ".host" };
                    self.add(
                        problem.help("give one of them another host or path"),
                        component_path(name.as_str(), &format!("routes[{index}]{place}")),
                    );
                }
            }
        }
    }
}

/// Whether `text` is an exact host or `*.suffix`; otherwise how to write it.
fn host(text: &str) -> Result<(), &'static str> {
    if text.contains("://") {
        return Err("write the host alone, without the scheme");
    }
    if text.contains('/') {
        return Err("write the host alone; the path has its own field");
    }
    if text.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("write the host without the port");
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.contains('*') || name.is_empty() {
        return Err("write example.com, or *.example.com for every name below it");
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > limits::HOST_BYTES_MAX || !name.split('.').all(label) {
        return Err("use letters, digits, `-` and dots; international names as xn--…");
    }
    Ok(())
}

/// Whether `text` can be a path or its beginning; otherwise how to write it.
fn path(text: &str) -> Result<(), &'static str> {
    if !text.starts_with('/') {
        return Err("a path starts with `/`");
    }
    if text.contains('*') {
        return Err("a path is a prefix by itself: /v1 matches /v1/…; write no `*`");
    }
    if text.contains(['?', '#']) {
        return Err("a path holds no query and no fragment");
    }
    if text.contains("//") || text.split('/').any(|element| element == "." || element == "..") {
        return Err("write it without `//`, `.` and `..`: requests are brought into that form before they are matched");
    }
    if text.len() > limits::PATH_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("use visible ASCII; write anything else as %XX");
    }
    Ok(())
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_label_key(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
}

/// Why a route cannot match on this header, when it cannot.
fn reserved(name: &str) -> Option<&'static str> {
    match name {
        "host" => Some("match the host with `host`"),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "content-length"
        | "expect" => Some("it belongs to the connection, not to the request"),
        "forwarded" | "x-request-id" | "proxy-status" | "via" => Some("the gateway writes it itself"),
        _ if name.starts_with("x-forwarded-") => Some("the gateway writes it itself"),
        _ => None,
    }
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
