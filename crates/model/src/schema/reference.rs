//! docs/reference/manifest.md. Owns the layout of the page; what it says comes from the tables.

use std::fmt::Write as _;

use super::type_of;
use crate::kinds::{KINDS, Kind, METADATA, Record, Shape, Standing};

/// The reference page of the format: every field of every kind with its type and default, as Markdown. Kept as docs/reference/manifest.md.
pub fn reference_page() -> String {
    let mut out = String::from(REFERENCE_HEAD);
    let mut written = Vec::new();
    for kind in KINDS {
        let _ = writeln!(out, "\n## {}\n\n{}{}", kind.name, kind.doc, standing(kind));
        if !kind.spec.fields.is_empty() {
            section(&mut out, "spec", kind.spec, &mut written);
        }
    }
    out.push_str("\n## metadata\n\nThe same for every kind.\n");
    table(&mut out, &METADATA);
    out
}

const REFERENCE_HEAD: &str = "# Manifest reference\n\n\
    Every field a manifest may hold. `shoal explain app.spec.components` shows the same in the terminal, `shoal schema` prints it as JSON Schema for\n\
    editors. Fields marked *later* are read and checked, and refused unless they hold their default. Until 1.0 a field marked *later* may still change;\n\
    the others change only with a new `apiVersion`.\n\n\
    A document holds `apiVersion: shoal.dev/v1`, `kind`, `metadata` and `spec`; `status` is what the cluster last said and is ignored. A file may hold\n\
    several documents between `---` lines. `${var.NAME}` stands for a variable of `spec.vars`, and `$${var.` for the text `${var.`. Durations are written\n\
    `500ms`, `30s`, `5m`, `2h`, `7d`; sizes `16Ki`, `64Mi`, `1Gi`, `10M` or bytes; processors `250m` or `1`.\n";

fn standing(kind: &Kind) -> &'static str {
    match kind.standing {
        Standing::Built => "",
        Standing::Later => " *Later.*",
        Standing::ReadOnly => " Read-only: the cluster writes it.",
    }
}

/// The table of `record` and, after it, those of the records inside that were not shown before.
fn section(out: &mut String, path: &str, record: &'static Record, written: &mut Vec<&'static str>) {
    if written.contains(&record.name) {
        return;
    }
    written.push(record.name);
    let _ = writeln!(out, "\n### {}\n\n`{path}`: {}", record.name, record.text());
    table(out, record);
    for field in record.fields {
        if let Some(inner) = field.shape.record() {
            let step = match field.shape {
                Shape::List(_) => format!("{path}.{}[]", field.name),
                shape if shape.is_map() => format!("{path}.{}.NAME", field.name),
                _ => format!("{path}.{}", field.name),
            };
            // `defaults` repeats the component, which is shown where it belongs.
            if !matches!(field.shape, Shape::Partial(_)) {
                section(out, &step, inner, written);
            }
        }
    }
}

fn table(out: &mut String, record: &Record) {
    let _ = writeln!(out, "\n| field | type | default | what |\n|---|---|---|---|");
    for field in record.fields {
        let default = match field.default {
            Some(default) => format!("`{default}`"),
            None if field.required => "required".to_owned(),
            None => String::new(),
        };
        let later = if field.later { " *Later.*" } else { "" };
        let _ = writeln!(out, "| `{}` | {} | {default} | {}{later} |", field.name, type_of(field), field.text());
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;

    #[test]
    fn the_reference_page_is_in_step_with_the_tables() {
        expect_file!["../../../../docs/reference/manifest.md"].assert_eq(&reference_page());
    }
}
