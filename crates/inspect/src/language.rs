//! The language a component was written in, from the notes its tools leave. A guess to show; must never be decided on.

use crate::Interface;

/// What a note contains, in lower case, and the language it speaks for. The first that is found wins: an interpreter brings its C library along and
/// Rust's standard library is linked with one, so the tool that ran last speaks before the compiler of a part.
const SIGNS: [(&str, &str); 16] = [
    ("componentize-py", "Python"),
    ("python", "Python"),
    ("componentize-js", "JavaScript"),
    ("componentizejs", "JavaScript"),
    ("starlingmonkey", "JavaScript"),
    ("javascript", "JavaScript"),
    ("tinygo", "Go"),
    ("go", "Go"),
    ("dotnet", "C#"),
    ("c#", "C#"),
    ("moonbit", "MoonBit"),
    ("rust", "Rust"),
    ("zig", "Zig"),
    ("swift", "Swift"),
    ("c_plus_plus", "C++"),
    ("c11", "C"),
];

/// Packages that every component with a C library imports, which is every compiled language: start, standard streams, time and files.
const LIBRARY: [&str; 5] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random"];

/// True when the runtime of `language` brings `interface` into every component: the interpreter of Python uses sockets, that of JavaScript has `fetch`.
pub(crate) fn brings(language: &str, interface: &Interface<'_>) -> bool {
    match (language, interface.package, interface.name) {
        ("Python", "wasi:sockets", _) | ("JavaScript", "wasi:http", "types" | "outgoing-handler" | "client") => true,
        (_, package, _) => LIBRARY.contains(&package),
    }
}

/// The language that `notes` (languages, tools and kits by name) speak for.
pub(crate) fn guess(notes: &[String]) -> Option<String> {
    let notes: Vec<String> = notes.iter().map(|note| note.to_lowercase()).collect();
    // A short sign such as `go` would be found inside other words.
    let says = |sign: &str| notes.iter().any(|note| note == sign || sign.len() > 3 && note.contains(sign));
    SIGNS.iter().find(|(sign, _)| says(sign)).map(|(_, language)| (*language).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_that_ran_last_speaks_first() {
        let guess = |notes: &[&str]| guess(&notes.iter().map(|&note| note.to_owned()).collect::<Vec<_>>());
        assert_eq!(guess(&["C11", "clang", "Rust", "rustc", "wit-component"]).as_deref(), Some("Rust"));
        assert_eq!(guess(&["C11", "C_plus_plus_14", "ComponentizeJS"]).as_deref(), Some("JavaScript"));
        assert_eq!(guess(&["Rust", "C11", "componentize-py"]).as_deref(), Some("Python"));
        assert_eq!(guess(&["Go", "TinyGo"]).as_deref(), Some("Go"));
        assert_eq!(guess(&["cargo"]), None, "`go` is a part of another word");
        assert_eq!(guess(&[]), None);
    }
}
