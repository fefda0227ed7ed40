//! The defaults of the tables as values. Owns reading them, once; must never hold a default that is not in the tables.

use std::{collections::HashMap, ptr, sync::LazyLock};

use serde_json::Value as Json;

use super::walk::Walk;
use crate::{
    kinds::{Field, KINDS, METADATA, Record},
    yaml,
};

/// By the address of the field, which is part of a static table.
static DEFAULTS: LazyLock<HashMap<usize, Json>> = LazyLock::new(|| {
    let mut defaults = HashMap::new();
    let mut seen = Vec::new();
    gather(&METADATA, &mut defaults, &mut seen);
    for kind in KINDS {
        gather(kind.spec, &mut defaults, &mut seen);
    }
    defaults
});

/// The value that `field` has when it is left out, as the walk gives it.
pub(super) fn default_of(field: &'static Field) -> Option<&'static Json> {
    DEFAULTS.get(&ptr::from_ref(field).addr())
}

fn gather(record: &'static Record, defaults: &mut HashMap<usize, Json>, seen: &mut Vec<usize>) {
    let address = ptr::from_ref(record).addr();
    if seen.contains(&address) {
        return;
    }
    seen.push(address);
    for field in record.fields {
        if let Some(value) = read(field) {
            defaults.insert(ptr::from_ref(field).addr(), value);
        }
        if let Some(inner) = field.shape.record() {
            gather(inner, defaults, seen);
        }
    }
}

fn read(field: &'static Field) -> Option<Json> {
    let read = yaml::read(field.default?, field.name);
    Walk::default().value(field.shape, read.documents.first()?, field.name)
}
