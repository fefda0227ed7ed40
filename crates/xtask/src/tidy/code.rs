//! Rules about what stands in a `.rs` file: how it opens, what must not be left in it, and what the pure crates must not touch.

use super::{File, Offence, line_at, mask::mask};

/// Left-overs that never belong in the repository.
const LEFT_OVERS: [(&str, &str); 4] = [
    ("todo!(", "unfinished code"),
    ("unimplemented!(", "unfinished code"),
    ("dbg!(", "a trace of debugging"),
    ("#[ignore", "a test that does not run proves nothing"),
];

/// Crates that decide and never do: the time and everything else from outside come in as arguments.
const PURE: [&str; 4] = ["crates/model/src/", "crates/state/src/", "crates/inspect/src/", "crates/scheduler/src/"];

/// What a pure crate would touch the outside with. Addresses are values; sockets and resolving are not.
const OUTSIDE: [&str; 10] = [
    "SystemTime::now",
    "Instant::now",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::thread",
    "std::process",
    "std::env::",
];

/// Checks every `.rs` file.
pub fn check(files: &[File]) -> Vec<Offence> {
    files.iter().filter(|file| file.path.ends_with(".rs")).flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Offence> {
    let offence = |line, rule, message| Offence { path: file.path.clone(), line, rule, message };
    let mut offences = Vec::new();
    if !file.text.starts_with("//! ") {
        offences.push(offence(1, "opening", "the first line is `//!` and says what the file owns and what it must never know".to_owned()));
    }
    let code = mask(&file.text);
    for (word, why) in LEFT_OVERS {
        for (at, _) in code.match_indices(word) {
            offences.push(offence(line_at(&code, at), "left-over", format!("`{word}`: {why}")));
        }
    }
    if PURE.iter().any(|directory| file.path.starts_with(directory)) {
        // Tests stand at the bottom and may read their examples.
        let product = &code[..code.find("#[cfg(test)]\nmod ").unwrap_or(code.len())];
        for word in OUTSIDE {
            for (at, _) in product.match_indices(word) {
                offences.push(offence(line_at(&code, at), "pure", format!("`{word}` in a crate that decides only: pass it in")));
            }
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::tidy::told;

    fn check_text(path: &str, text: &str, expected: Expect) {
        expected.assert_eq(&told(&check(&[File { path: path.into(), text: text.into() }])));
    }

    #[test]
    fn left_overs_are_found_in_code_only() {
        check_text(
            "crates/gateway/src/a.rs",
            "//! Owns a.\n\n// todo!() in a comment\nfn a() {\n    todo!(\"{}\", \"dbg!()\")\n}\n\n#[ignore = \"slow\"]\nfn b() {}\n",
            expect![[r#"
                crates/gateway/src/a.rs:5: left-over: `todo!(`: unfinished code
                crates/gateway/src/a.rs:8: left-over: `#[ignore`: a test that does not run proves nothing
            "#]],
        );
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        check_text(
            "crates/gateway/src/a.rs",
            "// Owns a.\n",
            expect![[r#"
                crates/gateway/src/a.rs:1: opening: the first line is `//!` and says what the file owns and what it must never know
            "#]],
        );
    }

    #[test]
    fn a_pure_crate_reads_no_clock_outside_its_tests() {
        let text = "//! Owns a.\nfn a() { SystemTime::now(); }\n\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        check_text(
            "crates/state/src/a.rs",
            text,
            expect![[r#"
                crates/state/src/a.rs:2: pure: `SystemTime::now` in a crate that decides only: pass it in
            "#]],
        );
        check_text("crates/gateway/src/a.rs", text, expect![""]);
        check_text("docs/a.md", text, expect![""]);
    }
}
