//! YAML text to trees with places, and values to YAML text. The only door to serde-saphyr and its parser. Owns the budgets against hostile text;
//! must never know a field of a manifest.

use std::{collections::HashMap, sync::Arc};

use serde_saphyr::granit_parser::{self, ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span as ParserSpan, StrInput};

use crate::{
    limits,
    problem::Problem,
    tree::{Entry, Node, Place, Scalar, Style, Value},
};

/// What a text holds: one tree per document that is not empty, and everything wrong with its form.
pub(crate) struct Read {
    /// The documents that could be read.
    pub documents: Vec<Node>,
    /// What could not.
    pub problems: Vec<Problem>,
}

/// Reads all documents of `text`, which the user calls `file`. After a mistake it goes on with the next document.
pub(crate) fn read(text: &str, file: &str) -> Read {
    let mut reader = Reader::new(file, text);
    if text.len() > limits::MANIFEST_BYTES_MAX {
        let message = format!("{file} has {} bytes, and a manifest has at most {}", text.len(), limits::MANIFEST_BYTES_MAX);
        reader
            .problems
            .push(Problem::new("E0108", message).help("split it into several files; data belongs into files beside the manifest"));
    } else {
        reader.run();
    }
    Read { documents: reader.documents, problems: reader.problems }
}

/// `value` as YAML that [`read`] reads back to the same value.
pub(crate) fn write(value: &serde_json::Value) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).expect("JSON values always have a YAML form")
}

/// Reading this document cannot go on.
struct Stop;

struct Reader<'a> {
    file: Arc<str>,
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    documents: Vec<Node>,
    problems: Vec<Problem>,
    /// Nodes and text written out so far in the whole file.
    spent: Cost,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, Cost)>,
    root: Option<Node>,
}

/// What a subtree takes.
#[derive(Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.depth = self.depth.max(other.depth);
    }
}

/// A list or map whose end has not come.
struct Open {
    anchor: usize,
    place: Place,
    cost: Cost,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashMap<String, u32>, key: Option<(String, Place)>, skip: bool },
}

impl<'a> Reader<'a> {
    fn new(file: &str, text: &'a str) -> Self {
        let options = granit_parser::options! {
            emit_comments: false,
            emit_unresolved_aliases: true,
            flow_nesting_limit: limits::MANIFEST_DEPTH_MAX + 1,
            block_nesting_limit: limits::MANIFEST_DEPTH_MAX + 1
        };
        Self {
            file: file.into(),
            text,
            parser: Parser::new_from_str_with_options(text, options),
            documents: Vec::new(),
            problems: Vec::new(),
            spent: Cost::default(),
            open: Vec::new(),
            anchors: HashMap::new(),
            root: None,
        }
    }

    fn run(&mut self) {
        let mut documents = 0;
        while let Some(next) = self.parser.next_event() {
            let outcome = match next {
                Ok((Event::StreamEnd, _)) => return,
                Ok((Event::DocumentStart(..), _)) => {
                    documents += 1;
                    if documents > limits::MANIFEST_DOCUMENTS_MAX {
                        let message = format!("{} holds more than {} documents", self.file, limits::MANIFEST_DOCUMENTS_MAX);
                        return self.problems.push(Problem::new("E0108", message).help("split it into several files"));
                    }
                    Ok(())
                }
                Ok((event, span)) => self.event(event, span),
                Err(error) => {
                    self.problems.push(self.scan_problem(&error));
                    Err(Stop)
                }
            };
            let too_large = self.problems.last().is_some_and(|problem| problem.code == "E0108");
            if outcome.is_err() && (too_large || !self.next_document()) {
                return;
            }
        }
    }

    /// Leaves the document that could not be read. False at the end of the text.
    fn next_document(&mut self) -> bool {
        self.open.clear();
        self.anchors.clear();
        self.root = None;
        self.parser.proceed_next_document().unwrap_or(false)
    }

    fn event(&mut self, event: Event<'a>, span: ParserSpan) -> Result<(), Stop> {
        let place = self.place(&span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span)?;
                let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                let cost = Cost { nodes: 1, bytes: text.len(), depth: 0 };
                self.spend(cost, &place)?;
                let node = Node { value: Value::Scalar(Scalar { text: text.into_owned(), style }), place };
                self.remember(anchor, &node, cost);
                self.add(node, cost)
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(Content::List(Vec::new()), anchor, tag.is_some(), &span),
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Map { entries: Vec::new(), seen: HashMap::new(), key: None, skip: false };
                self.begin(content, anchor, tag.is_some(), &span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&span),
            Event::Alias(id) => match self.anchors.get(&id) {
                Some((node, cost)) => {
                    let (node, cost) = (node.clone(), *cost);
                    self.spend(cost, &place)?;
                    self.add(node, cost)
                }
                None => self.stop(Problem::new("E0101", "an alias stands inside the value it repeats"), &place),
            },
            Event::UnresolvedAlias(name) => {
                self.stop(Problem::new("E0101", format!("`*{name}` repeats a value that nothing before it names `&{name}`")), &place)
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                self.documents.extend(self.root.take().filter(|root| !root.is_null()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, content: Content, anchor: usize, tagged: bool, span: &ParserSpan) -> Result<(), Stop> {
        self.refuse_tag(tagged, span)?;
        let place = self.place(span);
        let cost = Cost { nodes: 1, bytes: 0, depth: 1 };
        self.spend(cost, &place)?;
        self.open.push(Open { anchor, place, cost, content });
        Ok(())
    }

    fn end(&mut self, span: &ParserSpan) -> Result<(), Stop> {
        let Some(Open { anchor, mut place, cost, content }) = self.open.pop() else { return Ok(()) };
        if u32::try_from(span.end.line()) == Ok(place.line) {
            place.width = column(&span.end).saturating_sub(place.column).max(1);
        }
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => {
                if let Some(first) =
                    entries.first().filter(|first| first.key_place.line == place.line && first.key_place.column == place.column)
                {
                    place.width = first.key_place.width;
                }
                Value::Map(entries)
            }
        };
        let node = Node { value, place };
        self.remember(anchor, &node, cost);
        self.add(node, cost)
    }

    /// Puts a finished node where it belongs: into the innermost open list or map, or at the root.
    fn add(&mut self, node: Node, cost: Cost) -> Result<(), Stop> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.cost.add(Cost { depth: cost.depth + 1, ..cost });
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key: key @ Some(_), skip, .. } => {
                let (key, key_place) = key.take().expect("the pattern asks for a key");
                if !std::mem::take(skip) {
                    entries.push(Entry { key, key_place, node });
                }
            }
            Content::Map { seen, key, skip, .. } => {
                let Value::Scalar(scalar) = node.value else {
                    return self.stop(Problem::new("E0101", "a key is a list or a map, and keys are text"), &node.place);
                };
                if let Some(line) = seen.insert(scalar.text.clone(), node.place.line) {
                    *skip = true;
                    let problem = Problem::new("E0104", format!("the key `{}` stands here twice", scalar.text))
                        .label(format!("first set on line {line}"))
                        .help("keep one of them")
                        .span(Some(node.place.span()));
                    self.problems.push(problem);
                }
                *key = Some((scalar.text, node.place));
            }
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, node: &Node, cost: Cost) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), cost));
        }
    }

    fn spend(&mut self, cost: Cost, place: &Place) -> Result<(), Stop> {
        self.spent.add(Cost { depth: 0, ..cost });
        let what = if self.open.len() + cost.depth > limits::MANIFEST_DEPTH_MAX {
            format!("{} levels of nesting", limits::MANIFEST_DEPTH_MAX)
        } else if self.spent.nodes > limits::MANIFEST_NODES_MAX {
            format!("{} values once its aliases are written out", limits::MANIFEST_NODES_MAX)
        } else if self.spent.bytes > limits::MANIFEST_EXPANDED_BYTES_MAX {
            format!("{} bytes once its aliases are written out", limits::MANIFEST_EXPANDED_BYTES_MAX)
        } else {
            return Ok(());
        };
        let problem = Problem::new("E0108", format!("{} has more than {what}", self.file)).label("reading stopped here");
        self.stop(problem.help("write fewer aliases or levels; a manifest needs ten levels and seldom an alias"), place)
    }

    fn refuse_tag(&mut self, tagged: bool, span: &ParserSpan) -> Result<(), Stop> {
        if !tagged {
            return Ok(());
        }
        let place = self.place(&span.tag_span().unwrap_or(*span));
        self.stop(
            Problem::new("E0101", "YAML tags mean nothing in a manifest").help("remove the tag; quote a value to make it text"),
            &place,
        )
    }

    fn stop(&mut self, problem: Problem, place: &Place) -> Result<(), Stop> {
        self.problems.push(problem.span(Some(place.span())));
        Err(Stop)
    }

    fn place(&self, span: &ParserSpan) -> Place {
        let width = if span.end.line() == span.start.line() { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        self.place_at(&span.start, width)
    }

    fn place_at(&self, start: &Marker, width: usize) -> Place {
        let line = u32::try_from(start.line()).unwrap_or(u32::MAX).max(1);
        Place { file: self.file.clone(), line, column: column(start), width: u32::try_from(width).unwrap_or(u32::MAX).max(1) }
    }

    fn scan_problem(&self, error: &ScanError) -> Problem {
        let line = error.marker().line().max(1);
        let source = self.text.lines().nth(line - 1).unwrap_or_default();
        let indent = source.len() - source.trim_start().len();
        let tab = source[..indent].contains('\t');
        let help = match error.kind() {
            _ if tab => "indent with spaces: this line starts with a tab",
            ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation | ErrorKind::TabInPlainScalar => {
                "replace the tab by spaces"
            }
            ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => "quote a text that holds `: `, or mend the indentation",
            _ if source.trim_start().starts_with("${") || source.contains(": ${") || source.contains("{${") => "quote it: \"${var.NAME}\"",
            _ => "mend the indentation, quotes or brackets around this place",
        };
        let place = self.place_at(error.marker(), 1);
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            let message = format!("{} has more than {} levels of nesting", self.file, limits::MANIFEST_DEPTH_MAX);
            let help = "write fewer levels; a manifest needs ten";
            return Problem::new("E0108", message).label("reading stopped here").help(help).span(Some(place.span()));
        }
        let message = format!("{} is not YAML: {}", self.file, error.info());
        Problem::new("E0101", message).label("reading stopped here").help(help).span(Some(place.span()))
    }
}

fn column(marker: &Marker) -> u32 {
    u32::try_from(marker.col()).unwrap_or(u32::MAX - 1) + 1
}
