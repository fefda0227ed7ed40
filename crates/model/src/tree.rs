//! A YAML document as a tree in which every node knows its place. Owns how bare scalars are read (YAML 1.2); must never know a field of a manifest.

use std::{collections::HashMap, sync::Arc};

use crate::problem::Span;

/// Where a node or a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Marked characters, at least 1.
    pub width: u32,
}

impl Place {
    /// The place in the shape problems carry.
    pub fn span(&self) -> Span {
        Span { file: self.file.to_string(), line: self.line, column: self.column, width: self.width }
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// What stands there.
    pub value: Value,
    /// Where.
    pub place: Place,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// One scalar.
    Scalar(Scalar),
    /// `[a, b]`
    List(Vec<Node>),
    /// `{a: b}`, in the order of the file; keys are unique.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_place: Place,
    /// Its value.
    pub node: Node,
}

/// A scalar as written, its type not yet decided.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    /// The text without quotes.
    pub text: String,
    /// How it was written.
    pub style: Style,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Bare: `8080` is a number, `true` a boolean.
    Plain,
    /// Quoted or a block: always text.
    Quoted,
    /// It held a variable: whatever the field wants, quoted or not, because `${` must be quoted inside braces.
    Substituted,
}

/// What a bare scalar means by the core schema of YAML 1.2, in which `no` is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// Empty, `~` or `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// Digits, maybe signed.
    Integer,
    /// Any other number.
    Float,
    /// Anything else.
    Text,
}

impl Scalar {
    /// What this scalar is when nothing else is said about it.
    pub fn resolve(&self) -> Resolved {
        if self.style == Style::Plain { resolve(&self.text) } else { Resolved::Text }
    }
}

/// What the bare `text` means.
pub(crate) fn resolve(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
        "true" | "True" | "TRUE" => return Resolved::Boolean(true),
        "false" | "False" | "FALSE" => return Resolved::Boolean(false),
        ".nan" | ".NaN" | ".NAN" => return Resolved::Float,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |text: &str, radix| !text.is_empty() && text.chars().all(|digit| char::is_digit(digit, radix));
    if digits(unsigned, 10)
        || text.strip_prefix("0o").is_some_and(|rest| digits(rest, 8))
        || text.strip_prefix("0x").is_some_and(|rest| digits(rest, 16))
    {
        return Resolved::Integer;
    }
    let numeric = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.contains(|any: char| any.is_ascii_digit())
        && unsigned.chars().all(|any| any.is_ascii_digit() || matches!(any, '.' | 'e' | 'E' | '+' | '-'));
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || (numeric && unsigned.parse::<f64>().is_ok()) {
        return Resolved::Float;
    }
    Resolved::Text
}

impl Node {
    /// The value under `key`, when this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entry of `key`, when this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The same, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node),
            _ => None,
        }
    }

    /// The text of a scalar, whatever its type.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether nothing was written here.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.resolve() == Resolved::Null)
    }

    /// How many nodes this is in all.
    pub fn count(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Node::count).sum(),
            Value::Map(entries) => entries.iter().map(|entry| 1 + entry.node.count()).sum(),
        }
    }
}

/// Lays `over` on `base`: maps are merged key by key, anything else is replaced. A null in `over` leaves the base as it is.
pub(crate) fn merge(base: &mut Node, over: Node) {
    if over.is_null() {
        return;
    }
    match (&mut base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => merge_entries(base, over),
        (_, value) => *base = Node { value, place: over.place },
    }
}

fn merge_entries(base: &mut Vec<Entry>, over: Vec<Entry>) {
    let known: HashMap<String, usize> = base.iter().enumerate().map(|(index, entry)| (entry.key.clone(), index)).collect();
    for entry in over {
        match known.get(&entry.key) {
            Some(&index) => {
                let slot = &mut base[index];
                if !entry.node.is_null() {
                    slot.key_place = entry.key_place;
                }
                merge(&mut slot.node, entry.node);
            }
            None => base.push(entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_scalars_follow_yaml_1_2() {
        let rows = [
            (
                Resolved::Text,
                &["no", "NO", "yes", "on", "1.2.3", "1e", "0x", "0o9", "-", "+", ".", "1_000", "12:30", "e3", "nan", "inf"][..],
            ),
            (Resolved::Null, &["", "~", "null", "NULL"]),
            (Resolved::Integer, &["0", "-1", "+12", "0x1F", "0o17", "007"]),
            (Resolved::Float, &["1.5", "-.5", "1e3", "1.", ".inf", "-.INF", ".nan"]),
            (Resolved::Boolean(true), &["true", "True"]),
            (Resolved::Boolean(false), &["false", "FALSE"]),
        ];
        for (expected, texts) in rows {
            for text in texts {
                assert_eq!(resolve(text), expected, "{text}");
            }
        }
    }
}
