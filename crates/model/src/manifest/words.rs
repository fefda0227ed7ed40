//! How problems speak about a manifest: what a path is called, what was found, what was probably meant. Owns these words; must never find a problem itself.

use crate::tree::{Node, Resolved, Style, Value};

/// What the user calls the thing at `path`: ``component `web` ``, ``` `scale.replicas` of component `web` ```.
pub(super) fn object(path: &str) -> String {
    if path.is_empty() {
        return "the document".to_owned();
    }
    let Some(rest) = path.strip_prefix("spec.components.") else { return format!("`{path}`") };
    match rest.split_once('.') {
        None => format!("component `{rest}`"),
        Some((component, field)) => format!("`{field}` of component `{component}`"),
    }
}

/// What stands at a node.
pub(super) fn found(node: &Node) -> String {
    match &node.value {
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
        Value::Scalar(scalar) => match scalar.resolve() {
            Resolved::Null => "empty".to_owned(),
            Resolved::Boolean(value) => format!("the boolean {value}"),
            Resolved::Integer | Resolved::Float => format!("the number {}", clip(&scalar.text)),
            Resolved::Text if scalar.style == Style::Quoted => format!("the text \"{}\"", clip(&scalar.text)),
            Resolved::Text => format!("`{}`", clip(&scalar.text)),
        },
    }
}

fn clip(text: &str) -> String {
    let mut clipped: String = text.chars().take(40).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

/// The one of `words` that was probably meant by `word`.
pub(super) fn near<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
    let (distance, best) = words.map(|candidate| (distance(candidate), candidate)).min_by_key(|(distance, _)| *distance)?;
    (distance <= 1.max(word.chars().count().min(best.len()) / 3)).then_some(best)
}

/// The name this format has for a field that other formats call `key`.
pub(super) fn foreign(key: &str) -> Option<&'static str> {
    const OTHERS: &[(&str, &str)] = &[
        ("image", "source"),
        ("wasm", "source"),
        ("artifact", "source"),
        ("module", "source"),
        ("environment", "env"),
        ("variables", "vars"),
        ("arguments", "args"),
        ("command", "args"),
        ("route", "routes"),
        ("ingress", "routes"),
        ("ports", "routes"),
        ("hostname", "host"),
        ("prefix", "path"),
        ("pathPrefix", "path"),
        ("method", "methods"),
        ("limits", "resources"),
        ("services", "components"),
        ("containers", "components"),
        ("allowedOutboundHosts", "egress"),
        ("allowed_outbound_hosts", "egress"),
        ("livenessProbe", "health"),
        ("readinessProbe", "health"),
        ("nodeSelector", "placement"),
        ("instances", "replicas"),
        ("count", "replicas"),
    ];
    OTHERS.iter().find(|(other, _)| *other == key).map(|(_, ours)| *ours)
}
