//! Links between documents: every relative one leads somewhere.

use super::{File, Offence};

/// Checks the links of every `.md` file; `exists` tells whether a path, relative to the root, is there.
pub fn check(files: &[File], exists: impl Fn(&str) -> bool) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, target) in links(&file.text) {
            if let Some(message) = judge(file, &target, files, &exists) {
                offences.push(Offence { path: file.path.clone(), line, rule: "link", message });
            }
        }
    }
    offences
}

fn judge(file: &File, target: &str, files: &[File], exists: impl Fn(&str) -> bool) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { file.path.clone() } else { resolve(&file.path, path)? };
    if !exists(&path) && !files.iter().any(|file| file.path == path) {
        return Some(format!("`{target}` leads nowhere: there is no {path}"));
    }
    let document = files.iter().find(|file| file.path == path && path.ends_with(".md"))?;
    let missing = !anchor.is_empty() && !headings(&document.text).any(|heading| heading == anchor);
    missing.then(|| format!("`{target}` leads to no heading of {path}"))
}

/// `target` as seen from the file `from`, without `.` and `..`; none when it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// The lines outside code blocks, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((number + 1, line))
    })
}

/// The targets of `[text](target)` and `[name]: target`, each with its line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Every second part stands between backticks.
        let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split([')', ' ']).next().unwrap_or_default();
            found.push((number, target.to_owned()));
        }
        if let Some((_, target)) = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            found.push((number, target.split_whitespace().next().unwrap_or_default().to_owned()));
        }
    }
    found
}

/// The anchors that headings get: lower case, spaces to hyphens, nothing but letters and digits.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        kept.chars()
            .filter_map(
                |letter| if letter == ' ' { Some('-') } else { (letter.is_alphanumeric() || "-_".contains(letter)).then_some(letter) },
            )
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::tidy::told;

    #[test]
    fn links_lead_somewhere() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let files = [
            file(
                "README.md",
                "[a](docs/a.md) [b](docs/b.md) [c](https://x.example/y) [d](crates) [e](#try-it-now) [f](#nothing)\n\n# Try it, now\n",
            ),
            file(
                "docs/a.md",
                "[up](../README.md#try-it-now)\n[out](../../x)\n```\n[code](nowhere)\n```\n`[quoted](nowhere)`\n\n[ref]: ./c.md\n",
            ),
        ];
        let offences = check(&files, |path| path == "crates");
        expect![[r##"
            README.md:1: link: `docs/b.md` leads nowhere: there is no docs/b.md
            README.md:1: link: `#nothing` leads to no heading of README.md
            docs/a.md:8: link: `./c.md` leads nowhere: there is no docs/c.md
        "##]]
        .assert_eq(&told(&offences));
    }
}
