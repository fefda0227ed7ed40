//! `shoal explain app.spec.…`: one place of the format as text. Owns the layout; what it says comes from the tables.

use std::fmt::Write as _;

use super::type_of;
use crate::kinds::{self, API_VERSION, Field, Kind, METADATA, Record, Standing};

/// What stands at a path of the format: `app`, `app.spec.components.scale`. Names of components and the like may be left out.
/// Nothing when there is no such kind or field.
pub fn explain(path: &str) -> Option<String> {
    let mut segments = path.split('.').filter(|segment| !segment.is_empty());
    let kind = kinds::find(segments.next()?.trim_end_matches('s'))?;
    let mut at = Place { path: kind.name.to_lowercase(), record: None, field: None, name_may_follow: false };
    let mut rest: Vec<&str> = segments.map(|segment| segment.split('[').next().unwrap_or(segment)).collect();
    rest.reverse();
    match rest.pop() {
        None => return Some(explain_kind(kind)),
        Some("spec") => at.record = Some(kind.spec),
        Some("metadata") => at.record = Some(&METADATA),
        Some(_) => return None,
    }
    let top = if at.record.is_some_and(|record| std::ptr::eq(record, &METADATA)) { "metadata" } else { "spec" };
    at.path = format!("{}.{top}", at.path);
    while let Some(segment) = rest.pop() {
        at.step(segment)?;
    }
    Some(at.text())
}

/// A place in the format.
struct Place {
    path: String,
    record: Option<&'static Record>,
    field: Option<&'static Field>,
    name_may_follow: bool,
}

impl Place {
    /// Goes one segment down: a field, or the free name of an entry of a map.
    fn step(&mut self, segment: &str) -> Option<()> {
        let record = self.record?;
        if let Some(field) = record.field(segment) {
            self.path = format!("{}.{segment}", self.path);
            self.field = Some(field);
            self.record = field.shape.record();
            self.name_may_follow = field.shape.is_map();
            return Some(());
        }
        std::mem::take(&mut self.name_may_follow).then_some(())
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}", self.path);
        if let Some(field) = self.field {
            let _ = writeln!(out, "\n  {}\n", field.text());
            let _ = writeln!(out, "  type:     {}", type_of(field));
            if field.required {
                let _ = writeln!(out, "  required");
            }
            if let Some(default) = field.default {
                let _ = writeln!(out, "  default:  {default}");
            }
            if field.later {
                let _ = writeln!(out, "  not supported yet: only its default is accepted");
            }
        } else if let Some(record) = self.record {
            let _ = writeln!(out, "\n  {}", record.text());
        }
        if let Some(record) = self.record {
            fields(&mut out, record);
        }
        out
    }
}

fn explain_kind(kind: &Kind) -> String {
    let mut out = format!("{} ({API_VERSION})\n\n  {}\n", kind.name, kind.doc);
    match kind.standing {
        Standing::Built => {}
        Standing::Later => out.push_str("\n  not supported yet\n"),
        Standing::ReadOnly => out.push_str("\n  read-only: the cluster writes it\n"),
    }
    for (name, record) in [("metadata", &METADATA), ("spec", kind.spec)] {
        if !record.fields.is_empty() {
            let _ = writeln!(out, "\n{name}: {}", record.text());
            fields(&mut out, record);
        }
    }
    out
}

fn fields(out: &mut String, record: &Record) {
    let width = record.fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
    let _ = writeln!(out, "\nfields");
    for field in record.fields {
        let mut notes = Vec::new();
        if field.required {
            notes.push("required".to_owned());
        }
        notes.extend(field.default.map(|default| format!("[{default}]")));
        if field.later {
            notes.push("(not supported yet)".to_owned());
        }
        let notes = if notes.is_empty() { String::new() } else { format!(" {}", notes.join(" ")) };
        let _ = writeln!(out, "  {:width$}  {}{notes}", field.name, field.text());
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(path: &str, expected: Expect) {
        expected.assert_eq(&explain(path).unwrap_or_else(|| "nothing\n".to_owned()));
    }

    #[test]
    fn a_field_is_explained_with_what_is_inside() {
        check(
            "app.spec.components.scale",
            expect![[r#"
                app.spec.components.scale

                  How many instances.

                  type:     Scale

                fields
                  replicas   A fixed number of instances. [1]
                  min        Fewest instances. [0] (not supported yet)
                  max        Most instances. [100] (not supported yet)
                  target     What the number of instances follows. (not supported yet)
                  tolerance  How far from the target nothing is done yet. [10%] (not supported yet)
                  stabilize  How long a wish must last. (not supported yet)
                  idleAfter  How long without a request until the last instance goes. [60s] (not supported yet)
                  perNode    One instance on every node. [false] (not supported yet)
            "#]],
        );
        check(
            "app.spec.components.web.routes[0].maxBody",
            expect![[r#"
            app.spec.components.routes.maxBody

              Largest request body.

              type:     a size like 64Mi
              default:  10Mi
        "#]],
        );
        check(
            "queue.spec.topics.retention",
            expect![[r#"
            queue.spec.topics.retention

              Age at which a message goes.

              type:     a duration like 30s
        "#]],
        );
    }

    #[test]
    fn what_does_not_exist_is_not_explained() {
        for path in ["", "deployment", "app.spec.component", "app.status", "app.spec.rollout.web.gate", "app.spec.components.web.web"] {
            assert_eq!(explain(path), None, "{path}");
        }
    }
}
