//! Whether an app in canonical form can be right. Owns every rule about values that hold wherever an app comes from, YAML or JSON; must never know
//! where a field stands in a file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::document::component_path;
use crate::{
    app::{App, Component, FileMount, Https, Metadata, Resources, Route, Source},
    egress::Scheme,
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
        for (index, file) in component.files.iter().enumerate() {
            if let Source::File(from) = &file.source {
                let message = format!("`files[{index}]` of component `{name}` is the file `{from}`, and a server reads no files");
                let problem = Problem::new("E0106", message).at(path(&format!("files[{index}].from")));
                problems.push(problem.help("upload the file and send its digest: sha256:…"));
            }
        }
        let paths: BTreeSet<&str> = component.files.iter().map(|file| file.to.as_str()).collect();
        for (index, FileMount { to, .. }) in component.files.iter().enumerate() {
            let inside = to.match_indices('/').skip(1).map(|(end, _)| &to[..end]).find(|above| paths.contains(above));
            if to.ends_with('/') || inside.is_some() {
                let what = inside.map_or("a directory".to_owned(), |above| format!("inside the file {above}"));
                let problem = Problem::new("E0106", format!("`files[{index}]` of component `{name}` stands at `{}`, {what}", clip(to)));
                problems.push(problem.at(path(&format!("files[{index}].to"))).help("name the path of a file"));
            }
        }
        if component.resources.cpu != defaults.cpu {
            let message = format!("`resources.cpu` of component `{name}` is not supported yet");
            problems.push(Problem::new("E0107", message).at(path("resources.cpu")).help("leave it at its default"));
        }
        for rule in component.egress.allow.iter().filter(|rule| rule.scheme == Scheme::Tcp) {
            let problem = Problem::new("E0107", format!("`egress.allow` of component `{name}`: {rule} is not supported yet"));
            problems.push(problem.at(path("egress.allow")).help("allow http:// and https:// only"));
        }
        if !component.egress.allow.is_sorted_by(|one, other| one < other) {
            let problem = Problem::new("E0106", format!("`egress.allow` of component `{name}` is not in canonical form"));
            problems.push(problem.at(path("egress.allow")).help("sorted and once each"));
        }
        for (index, route) in component.routes.iter().enumerate() {
            if !is_canonical(route) {
                let problem = Problem::new("E0106", format!("`routes[{index}]` of component `{name}` is not in canonical form"));
                let help =
                    "host and header names in lower case, methods in upper case, sorted and once each; no `https` that `tls` says already";
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
        && route.https.is_none_or(|https| https != Https::default_of(route.tls.as_ref()))
}

#[derive(Default)]
pub(super) struct Check {
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Check {
    pub(super) fn add(&mut self, problem: Problem, path: String) {
        self.findings.push(Finding { problem: problem.at(path), mark: Mark::Value });
    }

    pub(super) fn add_key(&mut self, problem: Problem, path: String) {
        self.findings.push(Finding { problem: problem.at(path), mark: Mark::Key });
    }

    pub(super) fn metadata(&mut self, metadata: &Metadata) {
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
        self.secrets(name, component);
        if component.config_from.is_some() && !component.config.is_empty() {
            let problem = Problem::new("E0112", format!("`config` of component `{name}` names a Config and holds values too"));
            self.add(problem.help("keep one of them"), path("config"));
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
        self.budgets(name, component);
        self.egress(name, component);
        self.files(name, component);
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

    /// What an instance may use and how its sandboxes are used again.
    fn budgets(&mut self, name: &str, component: &Component) {
        let resources = &component.resources;
        let mut outside = |field: &str, value: String, is_inside: bool, range: String| {
            if !is_inside {
                let problem = Problem::new("E0106", format!("`{field}` of component `{name}` is {value}")).label("out of range");
                self.add(problem.help(format!("write {range}")), component_path(name, field));
            }
        };
        let (least, most) = (limits::SANDBOX_MEMORY_MIN, limits::INSTANCE_MEMORY_MAX);
        let memory = resources.instance_memory;
        outside("resources.instanceMemory", memory.to_string(), (least..=most).contains(&memory), format!("{least} to {most}"));
        let budgets = [("resources.timeout", resources.timeout), ("resources.cpuTime", resources.cpu_time)];
        let age = component.reuse.as_ref().and_then(|reuse| reuse.max_age).map(|age| ("reuse.maxAge", age));
        for (field, time) in budgets.into_iter().chain(age) {
            let most = if field == "reuse.maxAge" { limits::IDLE_TIMEOUT_MAX } else { limits::TIMEOUT_MAX };
            outside(field, time.to_string(), (Millis(1)..=most).contains(&time), format!("1ms to {most}"));
        }
        let wait = resources.queue_wait;
        outside("resources.queue.wait", wait.to_string(), wait <= limits::TIMEOUT_MAX, format!("at most {}", limits::TIMEOUT_MAX));
        let count = 1..=limits::COUNT_MAX;
        let (in_flight, length) = (resources.max_in_flight, resources.queue_length);
        outside("resources.maxInFlight", in_flight.to_string(), count.contains(&in_flight), format!("1 to {}", limits::COUNT_MAX));
        outside("resources.queue.length", length.to_string(), length <= limits::COUNT_MAX, format!("at most {}", limits::COUNT_MAX));
        if let Some(reuse) = &component.reuse {
            let at_once = reuse.max_concurrent;
            outside("reuse.maxConcurrent", at_once.to_string(), count.contains(&at_once), format!("1 to {}", limits::COUNT_MAX));
            let (kept, requests) = (reuse.sandboxes.unwrap_or(1), reuse.max_requests);
            outside("reuse.sandboxes", kept.to_string(), count.contains(&kept), format!("1 to {}", limits::COUNT_MAX));
            outside("reuse.maxRequests", requests.to_string(), requests <= limits::COUNT_MAX, format!("at most {}", limits::COUNT_MAX));
        }
    }

    fn egress(&mut self, name: &str, component: &Component) {
        let rules = &component.egress.allow;
        if rules.len() > limits::EGRESS_RULES_MAX {
            let message =
                format!("`egress.allow` of component `{name}` has {} rules, and at most {} fit", rules.len(), limits::EGRESS_RULES_MAX);
            self.add(Problem::new("E0106", message).help("use *.SUFFIX or a network"), component_path(name, "egress.allow"));
        }
    }

    fn files(&mut self, name: &str, component: &Component) {
        if component.files.len() > limits::FILES_PER_COMPONENT_MAX {
            let (count, most) = (component.files.len(), limits::FILES_PER_COMPONENT_MAX);
            let problem = Problem::new("E0212", format!("component `{name}` has {count} files, and at most {most} fit"));
            self.add(problem.help("pack them into fewer, or build them into the component"), component_path(name, "files"));
        }
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, FileMount { source, to }) in component.files.iter().enumerate() {
            let path = |field: &str| component_path(name, &format!("files[{index}].{field}"));
            if let Err(help) = file_path(to) {
                let problem = Problem::new("E0106", format!("`{}` in `files` of component `{name}` is no path of a file", clip(to)));
                self.add(problem.label("invalid").help(help), path("to"));
            }
            if matches!(source, Source::File(from) if from.trim().is_empty() || from.contains('\0') || from.starts_with("sha256:")) {
                let problem = Problem::new("E0106", format!("`files[{index}].from` of component `{name}` names no file")).label("invalid");
                self.add(problem.help("write the path of a file or directory beside the manifest"), path("from"));
            }
            if let Some(first) = seen.insert(to.trim_end_matches('/'), index) {
                let problem = Problem::new("E0106", format!("`files[{index}]` of component `{name}` stands where `files[{first}]` stands"));
                self.add(problem.label("taken").help("give one of them another `to`"), path("to"));
            }
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

    fn secrets(&mut self, name: &str, component: &Component) {
        let path = |field: &str| component_path(name, field);
        if component.secrets.len() > limits::SECRETS_PER_COMPONENT_MAX {
            let message = format!("component `{name}` has {} secrets", component.secrets.len());
            let help = format!("at most {} fit", limits::SECRETS_PER_COMPONENT_MAX);
            self.add(Problem::new("E0106", message).help(help), path("secrets"));
        }
        for (key, reference) in &component.secrets {
            let taken = [("env", &component.env), ("config", &component.config)].into_iter().find(|(_, texts)| texts.contains_key(key));
            if let Some((field, _)) = taken {
                let problem = Problem::new("E0112", format!("`{key}` of component `{name}` is a secret and stands in `{field}` too"));
                self.add_key(problem.help("keep one of them"), path(&format!("secrets.{key}")));
            }
            if key.is_empty() || key.contains(['=', '\0']) {
                let problem = Problem::new("E0106", format!("`{}` cannot name an environment variable", key.replace('\0', "\\0")));
                self.add_key(problem.help("a name has no `=`"), path(&format!("secrets.{key}")));
            }
            if !super::objects::is_data_key(&reference.key) {
                let problem = Problem::new("E0106", format!("`{}` is not a key of a Secret", clip(&reference.key)));
                self.add(problem.help(super::objects::DATA_KEY_HELP), path(&format!("secrets.{key}.key")));
            }
            if reference.version == Some(0) {
                let problem = Problem::new("E0106", format!("`secrets.{key}` of component `{name}` names version 0"));
                self.add(problem.help("versions count from 1"), path(&format!("secrets.{key}.version")));
            }
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
pub(super) fn host(text: &str) -> Result<(), &'static str> {
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

/// Whether a guest can find a file, or a directory of them, at `text`; otherwise how to write it.
fn file_path(text: &str) -> Result<(), &'static str> {
    if !text.starts_with('/') {
        return Err("it starts with `/`");
    }
    if text.chars().any(char::is_control) {
        return Err("write it without line breaks and other control characters");
    }
    let inner = text[1..].strip_suffix('/').unwrap_or(&text[1..]);
    if !inner.is_empty() && inner.split('/').any(|element| matches!(element, "" | "." | "..") || element.len() > 255) {
        return Err("write it without `//`, `.` and `..`, and no element longer than 255 bytes");
    }
    if text.len() > limits::FILE_PATH_BYTES_MAX { Err("it may have 1,024 bytes") } else { Ok(()) }
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

pub(super) fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
