//! The machine's own apt sources, read in both their formats and written back with a second suite. Pure: text in, text out.

use std::collections::BTreeMap;

/// One `deb` entry. Keys are spelled as in a `.sources` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    fields: BTreeMap<String, String>,
}

impl Entry {
    fn words(&self, key: &str) -> impl Iterator<Item = &str> {
        self.fields.get(key).map(String::as_str).unwrap_or_default().split_whitespace()
    }

    /// True for an enabled mirror of Debian's main archive or its security archive.
    fn is_debian(&self) -> bool {
        let enabled = self.words("Enabled").next() != Some("no");
        let debian =
            self.words("URIs").any(|uri| uri.trim_end_matches('/').rsplit('/').next().is_some_and(|end| end.starts_with("debian")));
        enabled && debian && self.words("Types").any(|kind| kind == "deb") && self.words("Components").any(|name| name == "main")
    }

    /// The same mirror with another suite; none for the security archive, which has no such suite.
    fn with_suite(&self, suite: &str) -> Option<Self> {
        let release = self.words("Suites").find(|name| !name.contains('-') && !name.contains('/'))?;
        assert!(!release.is_empty(), "split_whitespace gives no empty words");
        let mut entry = self.clone();
        entry.fields.insert("Suites".into(), suite.into());
        entry.fields.insert("Components".into(), "main".into());
        Some(entry)
    }

    fn write(&self) -> String {
        self.fields.iter().map(|(key, value)| format!("{key}: {}\n", value.trim_end())).collect()
    }
}

/// The Debian entries of a file; `name` tells its format.
pub fn parse(name: &str, text: &str) -> Vec<Entry> {
    let entries = if name.ends_with(".sources") { parse_stanzas(text) } else { text.lines().filter_map(parse_line).collect() };
    entries.into_iter().filter(Entry::is_debian).collect()
}

/// A `.sources` file with `entries` as they are and, from the first that has a release, the suite `suite`. None when none has.
pub fn with_second_suite(entries: &[Entry], suite: &str) -> Option<String> {
    let second = entries.iter().find_map(|entry| entry.with_suite(suite))?;
    let stanzas: Vec<String> = entries.iter().chain([&second]).map(Entry::write).collect();
    Some(stanzas.join("\n"))
}

/// Stanzas of `Key: value` lines; a line that starts with a space goes on with the value above it.
fn parse_stanzas(text: &str) -> Vec<Entry> {
    let mut entries = vec![Entry { fields: BTreeMap::new() }];
    let mut key = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let entry = entries.last_mut().expect("the list starts with one entry and only grows");
        if line.trim().is_empty() {
            entries.push(Entry { fields: BTreeMap::new() });
        } else if line.starts_with([' ', '\t']) {
            let value = entry.fields.entry(key.clone()).or_default();
            value.push('\n');
            value.push_str(line);
        } else if let Some((name, value)) = line.split_once(':') {
            key = name.trim().to_owned();
            entry.fields.insert(key.clone(), value.trim().to_owned());
        }
    }
    entries
}

/// `deb [key=value …] URI SUITE COMPONENT…`.
fn parse_line(line: &str) -> Option<Entry> {
    let rest = line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split('#').next().unwrap_or_default().split_whitespace();
    let mut fields = BTreeMap::from([("Types".to_owned(), "deb".to_owned())]);
    fields.insert("URIs".into(), words.next()?.into());
    fields.insert("Suites".into(), words.next()?.into());
    fields.insert("Components".into(), words.collect::<Vec<_>>().join(" "));
    for (key, value) in options.split_whitespace().filter_map(|option| option.split_once('=')) {
        let key = match key {
            "arch" => "Architectures",
            "signed-by" => "Signed-By",
            "trusted" => "Trusted",
            "check-valid-until" => "Check-Valid-Until",
            _ => continue,
        };
        fields.insert(key.into(), value.replace(',', " "));
    }
    Some(Entry { fields })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(name: &str, text: &str, expected: Expect) {
        let written = with_second_suite(&parse(name, text), "sid");
        expected.assert_eq(written.as_deref().unwrap_or("no mirror of Debian"));
    }

    #[test]
    fn stanzas_keep_their_keyring_and_gain_the_suite() {
        check(
            "debian.sources",
            "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/k.gpg\n\n\
             Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n",
            expect![[r#"
                Components: main
                Signed-By: /usr/share/keyrings/k.gpg
                Suites: bookworm bookworm-updates
                Types: deb
                URIs: http://mirror.example/debian

                Components: main
                Suites: bookworm-security
                Types: deb
                URIs: http://mirror.example/debian-security

                Components: main
                Signed-By: /usr/share/keyrings/k.gpg
                Suites: sid
                Types: deb
                URIs: http://mirror.example/debian
            "#]],
        );
    }

    #[test]
    fn lines_are_read_with_their_options() {
        check(
            "sources.list",
            "# deb http://old.example/debian buster main\ndeb-src http://mirror.example/debian trixie main\n\
             deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian/ trixie main contrib # ours\n",
            expect![[r#"
                Architectures: amd64
                Components: main contrib
                Signed-By: /usr/share/keyrings/k.gpg
                Suites: trixie
                Types: deb
                URIs: http://mirror.example/debian/

                Architectures: amd64
                Components: main
                Signed-By: /usr/share/keyrings/k.gpg
                Suites: sid
                Types: deb
                URIs: http://mirror.example/debian/
            "#]],
        );
    }

    #[test]
    fn a_key_inside_the_stanza_stays_whole() {
        check(
            "debian.sources",
            "Types: deb\nURIs: https://mirror.example/debian\nSuites: trixie\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n",
            expect![[r#"
                Components: main
                Signed-By: 
                 -----BEGIN
                 .
                 abc
                Suites: trixie
                Types: deb
                URIs: https://mirror.example/debian

                Components: main
                Signed-By: 
                 -----BEGIN
                 .
                 abc
                Suites: sid
                Types: deb
                URIs: https://mirror.example/debian
            "#]],
        );
    }

    #[test]
    fn other_vendors_and_disabled_entries_do_not_count() {
        check("x.list", "deb https://vendor.example/node_20.x nodistro main\n", expect!["no mirror of Debian"]);
        check("x.list", "deb https://vendor.example/linux/debian bookworm stable\n", expect!["no mirror of Debian"]);
        check("x.list", "deb http://mirror.example/ubuntu noble main\n", expect!["no mirror of Debian"]);
        let disabled = "Enabled: no\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n";
        check("x.sources", disabled, expect!["no mirror of Debian"]);
        check("x.sources", "\u{0}garbage\n : \n\n\n", expect!["no mirror of Debian"]);
    }
}
