//! `-l`: choosing objects by their labels, with kubectl's grammar for equality and existence. Pure.

use std::collections::BTreeMap;

/// Requirements that must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Equals(String, String),
    Differs(String, String),
    Exists(String),
    Missing(String),
}

impl std::str::FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|part| requirement(part.trim())).collect::<Result<_, _>>().map(Self)
    }
}

impl Selector {
    /// Whether `labels` fulfil every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Equals(key, value) => labels.get(key) == Some(value),
            Requirement::Differs(key, value) => labels.get(key) != Some(value),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Missing(key) => !labels.contains_key(key),
        })
    }
}

fn requirement(part: &str) -> Result<Requirement, String> {
    let pair = |key: &str, value: &str| (key.trim().to_owned(), value.trim_start_matches('=').trim().to_owned());
    let wrong = || format!("`{part}` is not a requirement on labels; write KEY=VALUE, KEY!=VALUE, KEY or !KEY");
    if let Some((key, value)) = part.split_once("!=") {
        let (key, value) = pair(key, value);
        return if key.is_empty() { Err(wrong()) } else { Ok(Requirement::Differs(key, value)) };
    }
    if let Some((key, value)) = part.split_once('=') {
        let (key, value) = pair(key, value);
        return if key.is_empty() { Err(wrong()) } else { Ok(Requirement::Equals(key, value)) };
    }
    match part.strip_prefix('!') {
        Some("") => Err(wrong()),
        Some(key) => Ok(Requirement::Missing(key.to_owned())),
        None if part.is_empty() => Err(wrong()),
        None => Ok(Requirement::Exists(part.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_selected_as_in_kubectl() {
        let labels = BTreeMap::from([("team".to_owned(), "fleet".to_owned()), ("tier".to_owned(), String::new())]);
        for (text, matches) in [
            ("team=fleet", true),
            ("team==fleet", true),
            ("team=other", false),
            ("team!=other", true),
            ("zone!=a", true),
            ("tier", true),
            ("!zone", true),
            ("!team", false),
            ("team=fleet,zone", false),
        ] {
            assert_eq!(text.parse::<Selector>().map(|selector| selector.matches(&labels)), Ok(matches), "{text}");
        }
        for wrong in ["", "=a", "!", "a,,b"] {
            assert!(wrong.parse::<Selector>().is_err(), "{wrong}");
        }
    }
}
