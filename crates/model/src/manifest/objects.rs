//! Whether a Config, a Secret or a Namespace can be right. Owns every rule about their values, wherever they come from; must never say what a secret holds.

use serde::de::DeserializeOwned;

use super::check::{Check, Finding, clip, host};
use crate::{
    id::DEFAULT_NAMESPACE,
    limits,
    object::{Config, Given, Namespace, Secret, SecretType, TLS_CERTIFICATE, TLS_KEY},
    problem::{Problem, Problems},
};

pub(super) const DATA_KEY_HELP: &str = "use letters, digits, `-`, `_` and `.`, at most 253 of them";

/// What is wrong with `config`.
pub(super) fn config(config: &Config) -> Vec<Finding> {
    let mut check = Check::default();
    check.metadata(&config.metadata);
    let name = format!("Config `{}`", config.metadata.name);
    data(&mut check, &name, &config.spec.data, limits::CONFIG_BYTES_MAX, limits::CONFIG_VALUE_BYTES_MAX);
    check.findings
}

/// What is wrong with `secret`.
pub(super) fn secret(secret: &Secret) -> Vec<Finding> {
    let mut check = Check::default();
    check.metadata(&secret.metadata);
    let name = format!("Secret `{}`", secret.metadata.name);
    data(&mut check, &name, &secret.spec.data, limits::SECRET_BYTES_MAX, limits::SECRET_BYTES_MAX);
    if secret.spec.kind == SecretType::Tls {
        for key in [TLS_CERTIFICATE, TLS_KEY].into_iter().filter(|key| !secret.spec.data.contains_key(*key)) {
            let problem = Problem::new("E0105", format!("the {name} is of type tls and has no `{key}`"));
            check.add(problem.help(format!("add   {key}: {{fromFile: ./FILE.pem}}")), "spec.data".to_owned());
        }
    }
    check.findings
}

/// What is wrong with `namespace`.
pub(super) fn namespace(namespace: &Namespace) -> Vec<Finding> {
    let mut check = Check::default();
    check.metadata(&namespace.metadata);
    let (name, spec) = (&namespace.metadata.name, &namespace.spec);
    if namespace.metadata.namespace.as_str() != DEFAULT_NAMESPACE {
        let problem = Problem::new("E0106", format!("the Namespace `{name}` lies in no namespace"));
        check.add(problem.help("remove `namespace`"), "metadata.namespace".to_owned());
    }
    for (index, text) in spec.hosts.iter().flatten().enumerate() {
        if let Err(help) = host(text) {
            let problem = Problem::new("E0106", format!("`{}` is not a host", clip(text)));
            check.add(problem.label("invalid").help(help), format!("spec.hosts[{index}]"));
        }
    }
    for (index, text) in spec.interfaces.iter().flatten().enumerate() {
        if !is_interface(text) {
            let problem = Problem::new("E0106", format!("`{}` is not an interface", clip(text)));
            let help = "write wasi:keyvalue/store, or wasi:keyvalue for the whole package";
            check.add(problem.label("invalid").help(help), format!("spec.interfaces.allowed[{index}]"));
        }
    }
    let counts = [
        ("spec.hosts", spec.hosts.as_ref().map_or(0, |hosts| hosts.len())),
        ("spec.egress.allowed", spec.egress.as_ref().map_or(0, Vec::len)),
        ("spec.interfaces.allowed", spec.interfaces.as_ref().map_or(0, |names| names.len())),
    ];
    for (path, count) in counts.into_iter().filter(|(_, count)| *count > limits::CEILING_ENTRIES_MAX) {
        let problem = Problem::new("E0106", format!("`{path}` has {count} entries"));
        check.add(problem.help(format!("at most {} fit; use wildcards", limits::CEILING_ENTRIES_MAX)), path.to_owned());
    }
    check.findings
}

/// The Config in canonical JSON. For the server, which reads no files.
///
/// # Errors
/// Everything that is wrong with it.
pub fn config_from_canonical(value: serde_json::Value) -> Result<Config, Problems> {
    let read: Config = canonical("Config", value)?;
    let problems = config(&read).into_iter().map(|finding| finding.problem).chain(unread("Config", &read.spec.data));
    Problems(problems.collect()).or(read)
}

/// The Secret in canonical JSON. For the server, which reads no files.
///
/// # Errors
/// Everything that is wrong with it; none of it quotes a value.
pub fn secret_from_canonical(value: serde_json::Value) -> Result<Secret, Problems> {
    let read: Secret = canonical("Secret", value)?;
    let problems = secret(&read).into_iter().map(|finding| finding.problem).chain(unread("Secret", &read.spec.data));
    Problems(problems.collect()).or(read)
}

/// The Namespace in canonical JSON.
///
/// # Errors
/// Everything that is wrong with it.
pub fn namespace_from_canonical(value: serde_json::Value) -> Result<Namespace, Problems> {
    let read: Namespace = canonical("Namespace", value)?;
    let mut problems: Vec<Problem> = namespace(&read).into_iter().map(|finding| finding.problem).collect();
    if read.spec.egress.as_ref().is_some_and(|rules| !rules.is_sorted_by(|one, other| one < other)) {
        let problem = Problem::new("E0106", format!("`egress` of the Namespace `{}` is not in canonical form", read.metadata.name));
        problems.push(problem.at("spec.egress").help("sorted and once each"));
    }
    Problems(problems).or(read)
}

fn canonical<T: DeserializeOwned>(kind: &str, value: serde_json::Value) -> Result<T, Problems> {
    // What serde says of a wrong value may quote it, and it may be a secret: only where it is wrong is told.
    serde_json::from_value(value).map_err(|error| {
        let message = match kind {
            "Secret" => format!("the body is not a {kind} in canonical form"),
            _ => format!("the body is not a {kind} in canonical form: {error}"),
        };
        Problems::from(Problem::new("E0103", message).help("send what `shoal apply` sends"))
    })
}

/// Values a server cannot read.
fn unread<'a>(kind: &'a str, data: &'a std::collections::BTreeMap<String, Given>) -> impl Iterator<Item = Problem> + 'a {
    data.iter().filter(|(_, value)| value.text().is_none()).map(move |(key, _)| {
        let problem =
            Problem::new("E0106", format!("`{}` of the {kind} stands in a file or a variable, and a server reads none", clip(key)));
        problem.at(format!("spec.data.{key}")).help("read it and send the value")
    })
}

fn data(check: &mut Check, name: &str, data: &std::collections::BTreeMap<String, Given>, all: usize, one: usize) {
    for (key, value) in data {
        let path = format!("spec.data.{key}");
        if !is_data_key(key) {
            let problem = Problem::new("E0106", format!("`{}` is not a key of the {name}", clip(key)));
            check.add_key(problem.label("invalid").help(DATA_KEY_HELP), path.clone());
        }
        match value {
            Given::Text(text) if text.len() > one => {
                let problem = Problem::new("E0106", format!("`{}` of the {name} has {} bytes", clip(key), text.len()));
                check.add(problem.help(format!("a value has at most {one} bytes")), path);
            }
            Given::Text(text) if text.contains('\0') => {
                let problem = Problem::new("E0106", format!("`{}` of the {name} holds a zero byte", clip(key)));
                check.add(problem.help("remove it"), path);
            }
            Given::Nothing {} => {
                let problem = Problem::new("E0105", format!("`{}` of the {name} has no value", clip(key)));
                check.add(problem.help("write the value, {fromFile: ./FILE} or {fromEnv: VARIABLE}"), path);
            }
            Given::Text(_) | Given::File { .. } | Given::Env { .. } => {}
        }
    }
    let bytes: usize = data.iter().map(|(key, value)| key.len() + value.text().map_or(0, str::len)).sum();
    if bytes > all {
        let problem = Problem::new("E0106", format!("the {name} has {bytes} bytes"));
        check.add(problem.help(format!("at most {all} fit; split it")), "spec.data".to_owned());
    }
}

/// Whether `key` can name a value of a Config or a Secret.
pub(super) fn is_data_key(key: &str) -> bool {
    (1..=limits::DATA_KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_interface(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'@'))
    };
    let Some((package, rest)) = text.split_once(':') else { return false };
    text.len() <= limits::HOST_BYTES_MAX && word(package) && rest.splitn(2, '/').all(word)
}
