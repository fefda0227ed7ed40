//! Holds a tree against the tables of `kinds`: every unknown field, wrong type, missing field and field not in effect, each with its place and remedy.
//! Owns the wording of these problems; must never decide what a value means to an app.

use serde_json::{Map, Value as Json};

use super::{
    defaults::default_of,
    words::{found, near, object},
};
use crate::{
    egress::{EgressRule, Scheme},
    id::{Digest, InvalidId, Name},
    kinds::{Field, Record, Shape},
    problem::Problem,
    quantity::{Bytes, CpuMillis, Millis},
    tree::{Entry, Node, Place, Resolved, Scalar, Style, Value},
};

/// The walk over one document. Values come out as JSON with the user's keys: durations in milliseconds, sizes in bytes, processors in thousandths.
#[derive(Default)]
pub(super) struct Walk {
    /// What was wrong.
    pub problems: Vec<Problem>,
}

impl Walk {
    /// The value of `node`, which stands at `path`, or nothing when it is wrong.
    pub fn value(&mut self, shape: Shape, node: &Node, path: &str) -> Option<Json> {
        match (shape, &node.value) {
            (Shape::Record(record), Value::Map(_)) => Some(self.record(record, node, &node.place, path, true)),
            (Shape::Partial(record), Value::Map(_)) => Some(self.record(record, node, &node.place, path, false)),
            (Shape::WordOr(_, record) | Shape::RawOr(record), Value::Map(_)) => Some(self.record(record, node, &node.place, path, true)),
            (Shape::Settings, Value::Map(entries)) => self.settings(entries, path),
            (Shape::Map(inner), Value::Map(entries)) => Some(self.map(*inner, entries, path)),
            (Shape::Names(inner), Value::Map(entries)) => Some(self.names(*inner, entries, path)),
            (Shape::List(inner), Value::List(items)) => {
                let values = items.iter().enumerate().filter_map(|(index, item)| self.value(*inner, item, &format!("{path}[{index}]")));
                Some(Json::Array(values.collect()))
            }
            (_, Value::Scalar(scalar)) => self.scalar(shape, scalar, node, path),
            _ => self.wrong_type(shape, node, path),
        }
    }

    /// The fields of `record` in `node`. `place` is marked when one is missing.
    pub fn record(&mut self, record: &'static Record, node: &Node, place: &Place, path: &str, complete: bool) -> Json {
        let mut values = Map::new();
        for entry in node.entries() {
            let Some(field) = record.field(&entry.key) else {
                self.unknown(record, entry, path);
                continue;
            };
            let path = join(path, &entry.key);
            if entry.node.is_null() && !field.required {
                continue;
            }
            let Some(value) = self.entry(field.shape, entry, &path) else { continue };
            if field.later && !is_default(field, &value) {
                self.not_yet(field, entry, &path);
            }
            values.insert(entry.key.clone(), value);
        }
        if complete {
            for field in record.fields.iter().filter(|field| field.required && node.get(field.name).is_none()) {
                self.missing(field, place, path);
            }
        }
        self.exclusive(record, node, path);
        Json::Object(values)
    }

    fn map(&mut self, inner: Shape, entries: &[Entry], path: &str) -> Json {
        let mut values = Map::new();
        for entry in entries {
            if let Some(value) = self.entry(inner, entry, &join(path, &entry.key)) {
                values.insert(entry.key.clone(), value);
            }
        }
        Json::Object(values)
    }

    fn names(&mut self, inner: Shape, entries: &[Entry], path: &str) -> Json {
        for entry in entries {
            if let Err(invalid) = entry.key.parse::<Name>() {
                let problem = Problem::new("E0106", format!("`{}` cannot name an entry of {}", entry.key, object(path)));
                self.at(problem.label("not a name").help(name_help(&entry.key, &invalid)), &join(path, &entry.key), &entry.key_place);
            }
        }
        let valid: Vec<Entry> = entries.iter().filter(|entry| entry.key.parse::<Name>().is_ok()).cloned().collect();
        self.map(inner, &valid, path)
    }

    /// The value of `entry`, which stands at `path`. An empty record is one whose fields are all missing.
    pub fn entry(&mut self, inner: Shape, entry: &Entry, path: &str) -> Option<Json> {
        match (inner, &entry.node.value) {
            (Shape::Record(record), Value::Map(_)) => Some(self.record(record, &entry.node, &entry.key_place, path, true)),
            (Shape::Record(record), _) if entry.node.is_null() => Some(self.record(record, &entry.node, &entry.key_place, path, true)),
            _ => self.value(inner, &entry.node, path),
        }
    }

    /// `config` is a map of values, or `{config: NAME}`, which names a Config: that comes out as the name alone.
    fn settings(&mut self, entries: &[Entry], path: &str) -> Option<Json> {
        match entries {
            [Entry { key, node: node @ Node { value: Value::Scalar(_), .. }, .. }] if key == "config" => {
                self.value(Shape::Name, node, &join(path, key))
            }
            _ => Some(self.map(Shape::Raw, entries, path)),
        }
    }

    fn scalar(&mut self, shape: Shape, scalar: &Scalar, node: &Node, path: &str) -> Option<Json> {
        let text = scalar.text.as_str();
        let bare = scalar.style != Style::Quoted;
        match shape {
            Shape::Raw | Shape::RawOr(_) if scalar.resolve() != Resolved::Null => Some(text.into()),
            Shape::Text if scalar.resolve() == Resolved::Text => Some(text.into()),
            Shape::Name if scalar.resolve() == Resolved::Text => self.name(text, node, path),
            Shape::Source if scalar.resolve() == Resolved::Text => self.source(text, node, path),
            Shape::Egress if scalar.resolve() == Resolved::Text => self.egress(text, node, path),
            Shape::Boolean if bare => match text {
                "true" => Some(true.into()),
                "false" => Some(false.into()),
                _ => self.wrong_type(shape, node, path),
            },
            Shape::Integer { min, max } if bare => self.integer(text, min, max, node, path),
            Shape::Duration => self.parsed(text.parse::<Millis>().map(|millis| millis.0.into()), node, path),
            Shape::Size => self.parsed(text.parse::<Bytes>().map(|bytes| bytes.0.into()), node, path),
            Shape::Cpu => self.parsed(text.parse::<CpuMillis>().map(|millis| millis.0.into()), node, path),
            Shape::Percent | Shape::CountOrPercent => self.share(shape, text, node, path),
            Shape::Word(words) | Shape::WordOr(words, _) if scalar.resolve() != Resolved::Null => self.word(words, text, node, path),
            _ => self.wrong_type(shape, node, path),
        }
    }

    fn name(&mut self, text: &str, node: &Node, path: &str) -> Option<Json> {
        match text.parse::<Name>() {
            Ok(name) => Some(name.as_str().into()),
            Err(invalid) => {
                let problem = Problem::new("E0106", format!("`{text}` is not a name for {}", object(path))).label("not a name");
                self.at(problem.help(name_help(text, &invalid)), path, &node.place);
                None
            }
        }
    }

    fn integer(&mut self, text: &str, min: u64, max: u64, node: &Node, path: &str) -> Option<Json> {
        if crate::tree::resolve(text) != Resolved::Integer {
            return self.wrong_type(Shape::Integer { min, max }, node, path);
        }
        match text.strip_prefix('+').unwrap_or(text).parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Some(number.into()),
            _ => {
                let bounds = if max == u64::MAX { format!("at least {min}") } else { format!("{min} to {max}") };
                let problem = Problem::new("E0106", format!("{} is {text}, and it must be {bounds}", object(path)));
                self.at(problem.label("out of range").help(format!("write a whole number, {bounds}")), path, &node.place);
                None
            }
        }
    }

    fn share(&mut self, shape: Shape, text: &str, node: &Node, path: &str) -> Option<Json> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
        match (shape, text.strip_suffix('%')) {
            (_, Some(percent)) if number(percent.trim_end()).is_some_and(|percent| percent <= 1_000) => {
                Some(format!("{}%", percent.trim_end()).into())
            }
            (Shape::CountOrPercent, None) if number(text).is_some() => number(text).map(Into::into),
            _ => self.wrong_type(shape, node, path),
        }
    }

    fn word(&mut self, words: &[&str], text: &str, node: &Node, path: &str) -> Option<Json> {
        if words.contains(&text) {
            return Some(text.into());
        }
        let problem = Problem::new("E0106", format!("{} is `{text}`, and it must be one of {}", object(path), words.join(", ")));
        let help = near(text, words.iter().copied())
            .map_or_else(|| format!("write one of {}", words.join(", ")), |word| format!("did you mean `{word}`?"));
        self.at(problem.label("not one of the words").help(help), path, &node.place);
        None
    }

    fn source(&mut self, text: &str, node: &Node, path: &str) -> Option<Json> {
        if let Some((scheme @ ("http" | "https" | "oci"), _)) = text.split_once("://") {
            let problem = Problem::new("E0107", format!("{}: a source from {scheme}:// is not supported yet", object(path)));
            self.at(
                problem.label("not in effect in this version").help("download it and write the file's path: source: ./app.wasm"),
                path,
                &node.place,
            );
            return None;
        }
        if text.starts_with("sha256:") {
            return self.parsed(text.parse::<Digest>().map(|digest| digest.to_string().into()), node, path);
        }
        if text.trim().is_empty() || text.contains('\0') {
            let problem = Problem::new("E0106", format!("{} names no file", object(path)));
            self.at(problem.help("write the file's path: source: ./app.wasm"), path, &node.place);
            return None;
        }
        Some(text.into())
    }

    fn egress(&mut self, text: &str, node: &Node, path: &str) -> Option<Json> {
        let rule = text.parse::<EgressRule>();
        if rule.as_ref().is_ok_and(|rule| rule.scheme == Scheme::Tcp) {
            let problem = Problem::new("E0107", format!("{}: tcp:// is not supported yet", object(path)));
            let help = "allow http:// and https:// only";
            self.at(problem.label("not in effect in this version").help(help), path, &node.place);
            return None;
        }
        self.parsed(rule.map(|rule| rule.to_string().into()), node, path)
    }

    /// The value of something with its own grammar, or its complaint.
    fn parsed(&mut self, result: Result<Json, impl std::error::Error>, node: &Node, path: &str) -> Option<Json> {
        match result {
            Ok(value) => Some(value),
            Err(invalid) => {
                let message = invalid.to_string();
                let (what, rule) = message.split_once(": ").unwrap_or((&message, ""));
                let problem = Problem::new("E0106", format!("{}: {what}", object(path)));
                self.at(problem.label("invalid").help(rule), path, &node.place);
                None
            }
        }
    }

    fn wrong_type<T>(&mut self, shape: Shape, node: &Node, path: &str) -> Option<T> {
        let problem = Problem::new("E0103", format!("{} must be {}, and this is {}", object(path), shape.called(), found(node)));
        let last = path.rsplit('.').next().unwrap_or(path);
        let key = last.split('[').next().unwrap_or(last);
        let help = match (shape, &node.value) {
            (Shape::Text | Shape::Raw, Value::Scalar(_)) if node.is_null() => format!("for the empty text write {key}: \"\""),
            (_, Value::Scalar(_)) if node.is_null() => String::new(),
            (Shape::Text | Shape::Name | Shape::Source | Shape::Raw, Value::Scalar(scalar)) => {
                format!("quote it: {key}: \"{}\"", scalar.text)
            }
            (Shape::Boolean, Value::Scalar(scalar)) => match scalar.text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" | "1" => format!("write {key}: true"),
                "no" | "off" | "n" | "false" | "0" => format!("write {key}: false"),
                _ => String::new(),
            },
            (Shape::Integer { .. }, Value::Scalar(Scalar { text, style: Style::Quoted }))
                if crate::tree::resolve(text) == Resolved::Integer =>
            {
                format!("remove the quotes: {key}: {text}")
            }
            (Shape::List(_), Value::Scalar(scalar)) => format!("put it into a list: {key}: [{}]", scalar.text),
            (Shape::List(_), Value::Map(_)) => format!("put a `-` in front: {key} is a list"),
            _ => String::new(),
        };
        self.at(problem.label(format!("expected {}", short(shape))).help(help), path, &node.place);
        None
    }

    fn unknown(&mut self, record: &Record, entry: &Entry, path: &str) {
        let key = entry.key.as_str();
        let problem = Problem::new("E0102", format!("unknown field `{key}` in {}", object(path)));
        let names = || record.fields.iter().map(|field| field.name);
        let inside = record.fields.iter().find(|field| field.shape.record().is_some_and(|inner| inner.field(key).is_some()));
        let problem = if key == "<<" {
            problem.label("merge keys are not read").help("say once what all components share: spec: {defaults: {…}}")
        } else if let Some(name) = super::words::foreign(key).filter(|name| record.field(name).is_some()) {
            problem.label(format!("here it is called `{name}`")).help(format!("write `{name}`"))
        } else if let Some(name) = near(key, names()) {
            problem.label(format!("did you mean `{name}`?")).help(format!("write `{name}`"))
        } else if let Some(field) = inside {
            problem.label(format!("`{key}` belongs under `{}`", field.name)).help(format!("write {}: {{{key}: …}}", field.name))
        } else if record.fields.is_empty() {
            problem.label("nothing may stand here").help("remove it")
        } else {
            let known = names().collect::<Vec<_>>().join(", ");
            problem.label("not a field of this").help(format!("the fields are {known}"))
        };
        self.at(problem, &join(path, key), &entry.key_place);
    }

    fn missing(&mut self, field: &Field, place: &Place, path: &str) {
        let problem = Problem::new("E0105", format!("{} has no `{}`", object(path), field.name));
        let example = match field.shape {
            Shape::Source => "./app.wasm",
            Shape::Name => "NAME",
            Shape::Map(_) | Shape::Names(_) | Shape::Record(_) => "{…}",
            Shape::List(_) => "[…]",
            _ => "…",
        };
        let label = format!("`{}` is missing here", field.name);
        self.at(problem.label(label).help(format!("add   {}: {example}", field.name)), &join(path, field.name), place);
    }

    fn not_yet(&mut self, field: &Field, entry: &Entry, path: &str) {
        let problem = Problem::new("E0107", format!("{} is not supported yet", object(path)));
        let label = match field.default {
            Some(default) => format!("only its default `{default}` is in effect"),
            None => "not in effect in this version".to_owned(),
        };
        let help = match field.instead {
            "" => "remove it".to_owned(),
            line => line.replace("VALUE", entry.node.text().unwrap_or("N")),
        };
        self.at(problem.label(label).help(help), path, &entry.key_place);
    }

    fn exclusive(&mut self, record: &Record, node: &Node, path: &str) {
        let used = |group: &[&str]| node.entries().iter().find(|entry| !entry.node.is_null() && group.contains(&entry.key.as_str()));
        let mut uses: Vec<&Entry> = record.exclusive.iter().filter_map(|group| used(group)).collect();
        uses.sort_by_key(|entry| (entry.key_place.line, entry.key_place.column));
        if let [first, second, ..] = uses.as_slice() {
            let problem = Problem::new("E0112", format!("`{}` and `{}` of {} exclude each other", first.key, second.key, object(path)));
            let label = format!("`{}` is set on line {}", first.key, first.key_place.line);
            self.at(problem.label(label).help("keep one of them"), &join(path, &second.key), &second.key_place);
        }
    }

    /// Notes a problem at a place.
    pub fn at(&mut self, problem: Problem, path: &str, place: &Place) {
        self.problems.push(problem.at(path).span(Some(place.span())));
    }
}

/// The path of `key` under `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether `value` says no more than leaving the field out.
fn is_default(field: &'static Field, value: &Json) -> bool {
    if default_of(field).is_some_and(|default| default == value) {
        return true;
    }
    match (value, field.shape.record()) {
        (Json::Object(values), Some(record)) if !field.shape.is_map() => {
            values.iter().all(|(name, value)| record.field(name).is_some_and(|field| is_default(field, value)))
        }
        (Json::Object(values), _) => values.is_empty(),
        (Json::Array(values), _) => values.is_empty() && field.default.is_none(),
        _ => false,
    }
}

fn short(shape: Shape) -> String {
    match shape {
        Shape::Record(_) | Shape::Partial(_) => "a map".to_owned(),
        other => other.called(),
    }
}

/// How to write the name that `text` tried to be.
fn name_help(text: &str, invalid: &InvalidId) -> String {
    let name = text.to_ascii_lowercase().replace(['_', '.', ' '], "-");
    if name.parse::<Name>().is_ok() { format!("write `{name}`: {}", invalid.rule) } else { invalid.rule.to_owned() }
}
