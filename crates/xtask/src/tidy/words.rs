//! Words that do not belong into any file: what is true of one machine only, and promises instead of work.

use super::{File, Offence};

/// This file, the only one that may spell the words out.
const HERE: &str = "crates/xtask/src/tidy/words.rs";

/// The word and why it does not belong.
const FORBIDDEN: [(&str, &str); 7] = [
    ("/root/.cargo", "a path of one machine"),
    ("/root/.rustup", "a path of one machine"),
    ("/home/", "a path of one machine"),
    ("/Users/", "a path of one machine"),
    ("TODO", "a promise: do it or leave it"),
    ("FIXME", "a promise: do it or leave it"),
    ("<<<<<<<", "a merge that was not finished"),
];

/// Checks every file.
pub fn check(files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.path != HERE) {
        for (number, line) in file.text.lines().enumerate() {
            for (word, why) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
                offences.push(Offence { path: file.path.clone(), line: number + 1, rule: "word", message: format!("`{word}`: {why}") });
            }
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forbidden_word_is_found_in_any_file_but_this_one() {
        for (word, why) in FORBIDDEN {
            let at = |path: &str| check(&[File { path: path.into(), text: format!("fine\nsee {word}x\n") }]);
            let offences = at("docs/a.md");
            assert_eq!(offences.len(), 1, "{word}");
            assert_eq!((offences[0].line, offences[0].message.contains(why)), (2, true));
            assert_eq!(at(HERE), []);
        }
    }
}
