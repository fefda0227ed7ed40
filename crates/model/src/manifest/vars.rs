//! `${var.NAME}`, the only interpolation. Owns its grammar (`$${var.` is the text `${var.`) and its budget; must never look at what a field means.

use std::collections::{BTreeMap, HashSet};

use super::{walk::join, words::near};
use crate::{
    limits,
    problem::{Problem, Span},
    tree::{Node, Place, Style, Value},
};

const OPEN: &str = "${var.";
const ESCAPED: &str = "$${var.";

/// Values by name; `None` is declared and has no value.
type Known = BTreeMap<String, Option<String>>;

/// What came of it.
pub(super) struct Substituted {
    /// The names the document declares.
    pub declared: Vec<String>,
    /// Where a variable could not be replaced: nothing else that is wrong there is worth telling.
    pub failed: HashSet<Span>,
}

/// Puts the values of variables into `document`: those of `given`, and the defaults of its `spec.vars`.
pub(super) fn substitute(document: &mut Node, given: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Substituted {
    let known = declared(document, given, problems);
    let budget = limits::MANIFEST_EXPANDED_BYTES_MAX;
    let mut substitution = Substitution { known: &known, budget, problems, failed: HashSet::new() };
    if let Value::Map(entries) = &mut document.value {
        for entry in entries.iter_mut().filter(|entry| entry.key != "status") {
            match &mut entry.node.value {
                Value::Map(fields) if entry.key == "spec" => {
                    for field in fields.iter_mut().filter(|field| field.key != "vars") {
                        substitution.node(&mut field.node, &join("spec", &field.key));
                    }
                }
                _ => substitution.node(&mut entry.node, &entry.key),
            }
        }
    }
    let failed = substitution.failed;
    Substituted { declared: known.into_keys().collect(), failed }
}

/// `text` such that [`substitute`] leaves it as it is.
pub(super) fn escape(text: &str) -> String {
    text.replace(OPEN, ESCAPED)
}

fn declared(document: &Node, given: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Known {
    let mut known = Known::new();
    let Some(vars) = document.get("spec").and_then(|spec| spec.get("vars")) else { return known };
    for entry in vars.entries() {
        if !is_name(&entry.key) {
            let message = format!("`{}` cannot name a variable", entry.key);
            let problem = Problem::new("E0106", message).help("use letters, digits, `_` and `-`").at(join("spec.vars", &entry.key));
            problems.push(problem.span(Some(entry.key_place.span())));
        }
        let default = entry.node.get("default").filter(|default| !default.is_null()).and_then(Node::text);
        let value = given.get(&entry.key).map(String::as_str).or(default);
        if value.is_none() {
            let message = format!("the variable `{}` has no value", entry.key);
            let help = format!("give it one: --var {name}=VALUE, or {name}: {{default: VALUE}}", name = entry.key);
            let problem =
                Problem::new("E0111", message).label("no default, and none was given").help(help).at(join("spec.vars", &entry.key));
            problems.push(problem.span(Some(entry.key_place.span())));
        }
        known.insert(entry.key.clone(), value.map(str::to_owned));
    }
    known
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

struct Substitution<'a> {
    known: &'a Known,
    budget: usize,
    problems: &'a mut Vec<Problem>,
    failed: HashSet<Span>,
}

impl Substitution<'_> {
    fn node(&mut self, node: &mut Node, path: &str) {
        match &mut node.value {
            Value::Scalar(scalar) => {
                if !scalar.text.contains(OPEN) {
                    return;
                }
                let Some((text, substituted)) = self.text(&scalar.text, &node.place, path) else {
                    self.failed.insert(node.place.span());
                    return;
                };
                scalar.text = text;
                if substituted {
                    scalar.style = Style::Substituted;
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &format!("{path}[{index}]"));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let path = join(path, &entry.key);
                    self.node(&mut entry.node, &path);
                }
            }
        }
    }

    /// The text with its variables replaced, and whether there were any.
    fn text(&mut self, text: &str, place: &Place, path: &str) -> Option<(String, bool)> {
        let mut out = String::new();
        let mut substituted = false;
        let mut rest = text;
        while let Some(at) = rest.find(OPEN) {
            if at > 0 && rest.as_bytes()[at - 1] == b'$' {
                out.push_str(&rest[..at - 1]);
                out.push_str(OPEN);
                rest = &rest[at + OPEN.len()..];
                continue;
            }
            out.push_str(&rest[..at]);
            let after = &rest[at + OPEN.len()..];
            let name = after.split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            let Some(name) = name else {
                let problem = Problem::new("E0106", "`${var.` opens a variable whose name does not end");
                self.problems.push(problem.help("write ${var.NAME}, or $${var. for the text itself").at(path).span(Some(place.span())));
                return None;
            };
            let value = self.value(name, place, path)?;
            self.budget = self.budget.checked_sub(value.len()).or_else(|| self.too_long(place, path))?;
            out.push_str(&value);
            substituted = true;
            rest = &after[name.len() + 1..];
        }
        out.push_str(rest);
        Some((out, substituted))
    }

    fn value(&mut self, name: &str, place: &Place, path: &str) -> Option<String> {
        match self.known.get(name) {
            // A variable without a value has been told of where it is declared.
            Some(value) => value.clone(),
            None => {
                let help = match near(name, self.known.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean ${{var.{near}}}?"),
                    None => format!("declare it: spec: {{vars: {{{name}: {{default: VALUE}}}}}}"),
                };
                let problem = Problem::new("E0111", format!("the variable `{name}` is not declared under `spec.vars`"));
                self.problems.push(problem.label("not declared").help(help).at(path).span(Some(place.span())));
                None
            }
        }
    }

    fn too_long<T>(&mut self, place: &Place, path: &str) -> Option<T> {
        let message = format!("with its variables written out the document has more than {} bytes", limits::MANIFEST_EXPANDED_BYTES_MAX);
        self.problems.push(Problem::new("E0108", message).help("use shorter values or fewer of them").at(path).span(Some(place.span())));
        None
    }
}
