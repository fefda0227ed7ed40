//! Rules about length: files, functions, crates. A file or function that may be longer is listed with its length, and the length may only shrink.

use std::collections::BTreeMap;

use super::{File, Offence, line_at, mask::mask};

/// Longest file in lines: what one reader keeps in mind.
const FILE_LINES_MAX: usize = 600;

/// Longest function in lines: a screen. Lines that stand wholly inside a text literal do not count: an expected output is as long as it is.
const FUNCTION_LINES_MAX: usize = 70;

/// Longest crate in lines of `src/`, tests aside: beyond it there is a seam to split at.
const CRATE_LINES_MAX: usize = 6_000;

/// Files (`path`), functions (`path function`) and crates over the limit, with the lines they have; a crate with some room. Only ever made shorter.
const RATCHET: &[(&str, usize)] = &[
    // What other machines may ask, and the ways to them, are the seam to split at.
    ("crates/server", 6_420),
    // One file per subcommand, those about the cluster among them, and the development mode, which is the next to go.
    ("crates/shoal", 10_470),
    // Logs, spans and figures are the seam to split at.
    ("crates/worker", 7_290),
    // Every record and how it changes; what apps are given (Configs, Secrets, ceilings) is the seam to split at.
    ("crates/state", 6_480),
    // The tables of the manifest format are the seam to split at.
    ("crates/model", 6_150),
    // Two engines, kept sandboxes and every host ability; the abilities are the seam to split at.
    ("crates/runtime", 8_000),
];

/// Checks every `.rs` file and every crate.
pub fn check(files: &[File]) -> Vec<Offence> {
    check_with(files, RATCHET)
}

fn check_with(files: &[File], ratchet: &[(&str, usize)]) -> Vec<Offence> {
    let mut offences = Vec::new();
    let mut crates = BTreeMap::<&str, usize>::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let lines = file.text.lines().count();
        if let Some((name, _)) = file.path.strip_prefix("crates/").and_then(|rest| rest.split_once("/src/")) {
            *crates.entry(name).or_default() += product_lines(file);
        }
        let judge = |subject: &str, line, lines, max| {
            let message = judge(subject, lines, max, ratchet)?;
            Some(Offence { path: file.path.clone(), line, rule: "length", message })
        };
        offences.extend(judge(&file.path, 0, lines, FILE_LINES_MAX));
        for function in functions(&file.text, &mask(&file.text)) {
            let subject = format!("{} {}", file.path, function.name);
            offences.extend(judge(&subject, function.line, function.lines, FUNCTION_LINES_MAX));
        }
    }
    for (name, lines) in crates {
        let path = format!("crates/{name}");
        let max = ratchet.iter().find(|(listed, _)| *listed == path).map_or(CRATE_LINES_MAX, |(_, allowed)| *allowed);
        if lines > max {
            offences.push(Offence {
                path,
                line: 0,
                rule: "length",
                message: format!("{lines} lines, and this crate has at most {max}: split it"),
            });
        }
    }
    offences
}

fn judge(subject: &str, lines: usize, max: usize, ratchet: &[(&str, usize)]) -> Option<String> {
    let what = subject.split_once(' ').map_or("a file".to_owned(), |(_, name)| format!("`{name}`"));
    match ratchet.iter().find(|(listed, _)| *listed == subject) {
        Some((_, allowed)) if lines > *allowed => Some(format!("{what} grew from {allowed} to {lines} lines; it may only shrink")),
        Some((_, allowed)) if lines < *allowed => Some(format!("{what} shrank from {allowed} to {lines} lines: lower its line in RATCHET")),
        Some(_) => None,
        None if lines > max => Some(format!("{what} has {lines} lines, and may have {max}: split it")),
        None => None,
    }
}

/// A function with a body.
struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

/// The lines of a file that are not tests.
fn product_lines(file: &File) -> usize {
    let is_test = file.path.ends_with("/tests.rs") || file.path.contains("/tests/");
    let product = if is_test { "" } else { file.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default() };
    product.lines().count()
}

/// The functions of `text`, nested ones too; `code` is the same text, masked.
fn functions<'a>(text: &str, code: &'a str) -> Vec<Function<'a>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_word = at == 0 || !code.as_bytes()[at - 1].is_ascii_alphanumeric() && code.as_bytes()[at - 1] != b'_';
        let rest = code[at + 3..].trim_start();
        let length = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
        if !starts_word || length == 0 {
            continue;
        }
        if let Some(end) = end_of_body(code, at) {
            let lines = text[at..=end].lines().zip(code[at..=end].lines()).filter(|(line, code)| !is_literal(line, code)).count();
            found.push(Function { name: &rest[..length], line: line_at(code, at), lines });
        }
    }
    found
}

/// True for a line that stands wholly inside a text literal.
fn is_literal(line: &str, code: &str) -> bool {
    code.trim().is_empty() && !line.trim().is_empty() && !line.trim_start().starts_with("//")
}

/// The place of the brace that closes the body of the function at `at`; none for a declaration.
fn end_of_body(code: &str, at: usize) -> Option<usize> {
    let mut braces = 0usize;
    let mut others = 0isize;
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => others += 1,
            b')' | b']' => others -= 1,
            b';' if braces == 0 && others == 0 => return None,
            b'{' => braces += 1,
            b'}' if braces <= 1 => return (braces == 1).then_some(offset),
            b'}' => braces -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::tidy::told;

    fn long_function(name: &str, lines: usize) -> String {
        format!("fn {name}(x: [u8; 3]) -> bool {{\n{}}}\n", "    call();\n".repeat(lines - 2))
    }

    fn check_text(text: &str, ratchet: &[(&str, usize)], expected: Expect) {
        let file = File { path: "crates/a/src/a.rs".into(), text: text.into() };
        expected.assert_eq(&told(&check_with(&[file], ratchet)));
    }

    #[test]
    fn a_function_is_as_long_as_its_lines() {
        check_text(&long_function("short", FUNCTION_LINES_MAX), &[], expect![""]);
        let text = format!("trait T {{\n    fn declared(&self);\n}}\n{}", long_function("long", FUNCTION_LINES_MAX + 1));
        check_text(
            &text,
            &[],
            expect![[r#"
                crates/a/src/a.rs:4: length: `long` has 71 lines, and may have 70: split it
            "#]],
        );
    }

    #[test]
    fn an_expected_output_is_as_long_as_it_is() {
        let text = format!("fn quotes() {{\n    check(\n        \"\n{}\",\n    );\n}}\n", "line\n".repeat(200));
        check_text(&text, &[], expect![""]);
    }

    #[test]
    fn the_ratchet_only_turns_one_way() {
        let text = long_function("long", 80);
        check_text(&text, &[("crates/a/src/a.rs long", 80)], expect![""]);
        check_text(
            &text,
            &[("crates/a/src/a.rs long", 79)],
            expect![[r#"
                crates/a/src/a.rs:1: length: `long` grew from 79 to 80 lines; it may only shrink
            "#]],
        );
        check_text(
            &text,
            &[("crates/a/src/a.rs long", 90)],
            expect![[r#"
                crates/a/src/a.rs:1: length: `long` shrank from 90 to 80 lines: lower its line in RATCHET
            "#]],
        );
    }

    #[test]
    fn files_and_crates_have_a_limit() {
        check_text(
            &"// line\n".repeat(CRATE_LINES_MAX + 1),
            &[],
            expect![[r#"
                crates/a/src/a.rs: length: a file has 6001 lines, and may have 600: split it
                crates/a: length: 6001 lines, and this crate has at most 6000: split it
            "#]],
        );
    }

    #[test]
    fn unbalanced_code_is_no_reason_to_panic() {
        for code in ["fn ", "fn a", "fn a(", "fn a() {", "fn a() }", "}}}fn a() {}", "fn", "ffn a() {}"] {
            functions(code, code);
        }
    }
}
