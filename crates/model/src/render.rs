//! Problems as text, in the way rustc prints them. Owns the layout and the colors; must never read a file: the caller hands in the sources.

use std::fmt::Write as _;

use crate::problem::{Problem, Problems, Span};

/// Widest source line printed whole; a longer one is cut around the marked place, because manifests may hold one-line JSON.
const LINE_CHARACTERS_MAX: usize = 160;

const RED: &str = "\u{1b}[1;31m";
const BLUE: &str = "\u{1b}[1;34m";
const BOLD: &str = "\u{1b}[1m";
const RESET: &str = "\u{1b}[0m";

/// All problems as text, one after the other with an empty line between them, ending in a newline. `source` gives the text of a file the user named;
/// where it has none, the place is named without its line. With `color`, ANSI sequences for a terminal.
pub fn render(problems: &Problems, source: impl Fn(&str) -> Option<String>, color: bool) -> String {
    let mut text = String::new();
    for (number, problem) in problems.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        one(&mut text, problem, &source, Paint { color });
    }
    text
}

#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

impl Paint {
    fn with(self, style: &str, text: &str) -> String {
        if self.color { format!("{style}{text}{RESET}") } else { text.to_owned() }
    }
}

fn one(out: &mut String, problem: &Problem, source: &impl Fn(&str) -> Option<String>, paint: Paint) {
    let head = paint.with(RED, &format!("error[{}]", printable(&problem.code)));
    let _ = writeln!(out, "{head}{}", paint.with(BOLD, &format!(": {}", printable(&problem.message))));
    let margin = match &problem.span {
        Some(span) => place(out, problem, span, source(&span.file), paint),
        None => {
            if !problem.path.is_empty() {
                let _ = writeln!(out, "  {} {}", paint.with(BLUE, "-->"), printable(&problem.path));
            }
            1
        }
    };
    for help in problem.help.lines() {
        let _ = writeln!(out, "{:margin$} {} {}", "", paint.with(BLUE, "="), paint.with(BOLD, "help: ") + &printable(help));
    }
}

/// Prints `--> file:line:column` and, where the source is known, the line with its mark. Returns the width of the line numbers' column.
fn place(out: &mut String, problem: &Problem, span: &Span, source: Option<String>, paint: Paint) -> usize {
    let number = span.line.to_string();
    let margin = number.len();
    let bar = paint.with(BLUE, "|");
    let _ = writeln!(out, "{:margin$}{} {}:{}:{}", "", paint.with(BLUE, "-->"), printable(&span.file), span.line, span.column);
    let line = source.as_deref().and_then(|text| text.lines().nth((span.line as usize).saturating_sub(1)));
    let Some(line) = line else { return margin };
    let (line, before, width) = window(line, span);
    let _ = writeln!(out, "{:margin$} {bar}", "");
    let _ = writeln!(out, "{} {bar} {line}", paint.with(BLUE, &number));
    let mark = format!("{} {}", "^".repeat(width), printable(&problem.label));
    let _ = writeln!(out, "{:margin$} {bar} {:before$}{}", "", "", paint.with(RED, mark.trim_end()));
    margin
}

/// The part of `line` that is printed, how many characters stand before the mark, and how wide the mark is.
fn window(line: &str, span: &Span) -> (String, usize, usize) {
    let characters: Vec<char> = printable(line.trim_end()).chars().collect();
    let before = (span.column as usize).saturating_sub(1).min(characters.len());
    let width = (span.width as usize).min(characters.len() - before).max(1);
    if characters.len() <= LINE_CHARACTERS_MAX {
        return (characters.into_iter().collect(), before, width);
    }
    let first = before.saturating_sub(LINE_CHARACTERS_MAX / 4);
    let last = (first + LINE_CHARACTERS_MAX).min(characters.len());
    let lead = if first > 0 { "…" } else { "" };
    let tail = if last < characters.len() { "…" } else { "" };
    let text: String = characters[first..last].iter().collect();
    (format!("{lead}{text}{tail}"), before - first + lead.chars().count(), width.min(last - before).max(1))
}

/// Control characters must not reach a terminal from a file; a tab becomes one space so that columns still meet.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\t' => ' ',
            control if control.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(problem: Problem, line: u32, column: u32, width: u32, expected: Expect) {
        let source = "spec:\n  components:\n    api:\n      source: ./api.wasm\n";
        let span = Span { file: "drones.yaml".into(), line, column, width };
        let problems = Problems(vec![problem.span(Some(span))]);
        expected.assert_eq(&render(&problems, |file| (file == "drones.yaml").then(|| source.to_owned()), false));
    }

    fn unmet() -> Problem {
        Problem::new("E0204", "component `api` imports `wasi:keyvalue/store@0.2.0-draft`, and nothing provides it")
            .label("this import has no entry under `links`")
            .help("add   links: {wasi:keyvalue: {tracks: {to: tracks}}}")
    }

    #[test]
    fn a_problem_looks_like_rustc_s() {
        check(
            unmet(),
            3,
            5,
            3,
            expect![[r#"
                error[E0204]: component `api` imports `wasi:keyvalue/store@0.2.0-draft`, and nothing provides it
                 --> drones.yaml:3:5
                  |
                3 |     api:
                  |     ^^^ this import has no entry under `links`
                  = help: add   links: {wasi:keyvalue: {tracks: {to: tracks}}}
            "#]],
        );
    }

    #[test]
    fn a_place_outside_the_file_is_still_named() {
        check(
            unmet(),
            99,
            1,
            1,
            expect![[r#"
                error[E0204]: component `api` imports `wasi:keyvalue/store@0.2.0-draft`, and nothing provides it
                  --> drones.yaml:99:1
                   = help: add   links: {wasi:keyvalue: {tracks: {to: tracks}}}
            "#]],
        );
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let problem = Problem::new("E0106", "`\u{1b}[2J` is not a name").at("metadata.name");
        let text = render(&problem.into(), |_| None, false);
        expect![[r#"
            error[E0106]: `�[2J` is not a name
              --> metadata.name
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn color_changes_nothing_but_color() {
        let problems = Problems(vec![unmet()]);
        let colored = render(&problems, |_| None, true);
        let stripped = [RED, BLUE, BOLD, RESET].iter().fold(colored.clone(), |text, style| text.replace(style, ""));
        assert_ne!(colored, stripped);
        assert_eq!(stripped, render(&problems, |_| None, false));
    }
}
