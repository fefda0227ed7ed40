//! Where each field of a document stands. Owns the way back from a field path to line and column; must never know what a field means.

use std::collections::BTreeMap;

use super::walk::join;
use crate::{
    problem::{Problem, Span},
    tree::{Node, Place, Value},
};

/// The places of all fields of one document.
#[derive(Debug, Clone, Default)]
pub struct Places {
    places: BTreeMap<String, Place>,
    keys: BTreeMap<String, Place>,
    root: Option<Place>,
}

impl Places {
    /// The places of `tree`.
    pub(super) fn of(tree: &Node) -> Self {
        let mut places = Self { places: BTreeMap::new(), keys: BTreeMap::new(), root: Some(tree.place.clone()) };
        places.walk(tree, "");
        places
    }

    /// Where the field at `path` stands: the value when it is a scalar or a list item, otherwise the key. A field that is not in the file is shown
    /// where the nearest thing around it stands.
    pub fn span(&self, path: &str) -> Option<Span> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(place.span());
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.root.as_ref().map(Place::span),
            }
        }
    }

    /// Where the key of the field at `path` stands, or the nearest thing around it.
    pub(super) fn key(&self, path: &str) -> Option<Span> {
        self.keys.get(path).map(Place::span).or_else(|| self.span(path))
    }

    /// Whether the field at `path` is written in the manifest, rather than left to its default.
    pub fn is_written(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// The file in which the document begins, as the user named it.
    pub fn file(&self) -> &str {
        self.root.as_ref().map_or("", |place| &place.file)
    }

    /// `problem` with its place, when it has a path and no place yet.
    #[must_use]
    pub fn locate(&self, mut problem: Problem) -> Problem {
        problem.span = problem.span.or_else(|| self.span(&problem.path));
        problem
    }

    fn walk(&mut self, node: &Node, path: &str) {
        match &node.value {
            Value::Scalar(_) => {}
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.walk(item, &path);
                    self.places.insert(path, item.place.clone());
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let path = join(path, &entry.key);
                    self.walk(&entry.node, &path);
                    let scalar = matches!(entry.node.value, Value::Scalar(_)) && !entry.node.is_null();
                    self.keys.insert(path.clone(), entry.key_place.clone());
                    self.places.insert(path, if scalar { entry.node.place.clone() } else { entry.key_place.clone() });
                }
            }
        }
    }
}
