//! The language a component was written in, from the notes its tools leave. A guess to show; must never be decided on.

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
