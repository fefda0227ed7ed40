//! What a new revision may do that the one before may not: shown by a plan, and held against an apply. Owns the comparison of two apps; what a permission is,
//! `inspect` says. Must never write.

use std::collections::BTreeSet;

use api::v1::{Direction, ErrorDetail, PermissionChange};
use inspect::permission::{self, Permission};
use model::{
    app::App,
    id::{Digest, Name, RevisionNumber},
    problem::Problem,
};
use state::State;

use crate::{
    documents::{Checked, Stored},
    planned::Parsed,
};

/// What the components of `checked` may do and those of `before` may not, and the other way round; by component, what is gained first.
pub fn changes(stored: &Stored, before: Option<&App>, checked: &Checked) -> Vec<PermissionChange> {
    let mut changes = Vec::new();
    for (name, had, has) in compared(stored, before, checked) {
        let change = |direction| {
            let name = name.clone();
            move |one: &Permission| PermissionChange { component: name.clone(), direction, what: one.to_string() }
        };
        changes.extend(permission::gained(&had, &has).map(change(Direction::Gained)));
        changes.extend(permission::gained(&has, &had).map(change(Direction::Lost)));
    }
    changes
}

/// Refuses whatever gains a permission over the revision its app wishes for in `state`. Returns these revisions: what the refusal would have been
/// about, so that the writer can see whether it still is.
///
/// # Errors
/// E0211 for everything that is gained.
pub fn hold(stored: &Stored, state: &State, checked: &[Checked], parsed: Parsed<'_>) -> Result<Vec<Option<RevisionNumber>>, ErrorDetail> {
    let (mut seen, mut problems) = (Vec::new(), Vec::new());
    for one in checked {
        let record = state.app(&one.app.id());
        seen.push(record.map(|record| record.wanted));
        let Some(record) = record else { continue };
        let before = state.revision(&record.id, record.wanted).and_then(parsed);
        for (name, had, has) in compared(stored, before.as_deref(), one) {
            problems.extend(permission::gained(&had, &has).map(|gained| (one.number, refusal(&name, gained))));
        }
    }
    if problems.is_empty() { Ok(seen) } else { Err(ErrorDetail::problems(problems)) }
}

/// What the components are made of that `asked` replaces: to be known before permissions are compared.
pub fn replaced(state: &State, asked: &[Checked], parsed: Parsed<'_>) -> BTreeSet<Digest> {
    let wanted = asked.iter().filter_map(|one| state.app(&one.app.id())).filter_map(|record| state.revision(&record.id, record.wanted));
    wanted
        .filter_map(parsed)
        .flat_map(|app| app.spec.components.values().filter_map(|component| component.source.digest()).collect::<Vec<_>>())
        .collect()
}

fn refusal(component: &Name, gained: &Permission) -> Problem {
    let field = match gained {
        Permission::Reach(_) => "egress.allow",
        Permission::Share => "reuse",
        Permission::Call(_) => "source",
    };
    let problem = Problem::new("E0211", format!("component `{component}` gains a permission: {gained}"));
    problem.at(format!("spec.components.{component}.{field}")).label("new").help("accept it with --accept-permissions, or take it out")
}

/// The permissions of every component of either app, before and after.
fn compared(stored: &Stored, before: Option<&App>, checked: &Checked) -> Vec<(Name, BTreeSet<Permission>, BTreeSet<Permission>)> {
    let names: BTreeSet<&Name> =
        before.iter().flat_map(|app| app.spec.components.keys()).chain(checked.app.spec.components.keys()).collect();
    let mut compared = Vec::new();
    for name in names {
        let had = match before.and_then(|app| app.spec.components.get(name)) {
            Some(component) => {
                let known = component.source.digest().and_then(|digest| stored.facts.get(&digest));
                permission::of(component, known.map(AsRef::as_ref).and_then(|facts| facts.as_ref().ok()))
            }
            None => BTreeSet::new(),
        };
        let facts = checked.facts.iter().find(|(known, _)| known == name).and_then(|(_, facts)| facts.as_deref());
        let has = checked.app.spec.components.get(name);
        let has = has.map(|component| permission::of(component, facts.and_then(|facts| facts.as_ref().ok()))).unwrap_or_default();
        compared.push((name.clone(), had, has));
    }
    compared
}
