//! JSON values as YAML that reads well and parses back to the same value. Pure. Owns the choice of quotes; must never know a manifest field.

use serde_json::Value;

/// `value` as a YAML document without a final line end.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0, Place::Start);
    text.truncate(text.trim_end().len());
    text
}

/// What stands before a value on its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    AfterKey,
    AfterDash,
}

fn write(text: &mut String, value: &Value, indent: usize, place: Place) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            if place == Place::AfterKey {
                text.push('\n');
            }
            for (at, (key, value)) in fields.iter().enumerate() {
                if at > 0 || place == Place::AfterKey {
                    text.extend(std::iter::repeat_n(' ', indent));
                }
                text.push_str(&scalar(key));
                text.push(':');
                write(text, value, indent + 2, Place::AfterKey);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            // A list under a key starts on its own line at the key's own indent, as everybody writes it.
            let indent = if place == Place::AfterKey { indent - 2 } else { indent };
            if place == Place::AfterKey {
                text.push('\n');
            }
            for (at, item) in items.iter().enumerate() {
                if at > 0 || place == Place::AfterKey {
                    text.extend(std::iter::repeat_n(' ', indent));
                }
                text.push_str("- ");
                write(text, item, indent + 2, Place::AfterDash);
            }
        }
        leaf => {
            if place == Place::AfterKey {
                text.push(' ');
            }
            text.push_str(&match leaf {
                Value::Object(_) => "{}".to_owned(),
                Value::Array(_) => "[]".to_owned(),
                Value::String(string) => scalar(string),
                other => other.to_string(),
            });
            text.push('\n');
        }
    }
}

/// `string` plain where YAML 1.2 and 1.1 both read it as a string, else in double quotes (JSON's escapes are YAML's).
fn scalar(string: &str) -> String {
    let first_is_safe = string.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '/' | '.' | '_' | '$'));
    let inner = |other: char| other.is_ascii_alphanumeric() || "/._-+$(){}@=, ".contains(other);
    let chars_are_safe = string.chars().enumerate().all(|(at, other)| inner(other) || (other == ':' && colon_is_safe(string, at)));
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"];
    let is_word = !reserved.contains(&string.to_ascii_lowercase().as_str());
    let is_path_or_word = !string.starts_with('.') || string.starts_with("./") || string.starts_with("..");
    let plain = first_is_safe && chars_are_safe && is_word && is_path_or_word && !string.ends_with([' ', ':']);
    if plain { string.to_owned() } else { Value::from(string).to_string() }
}

fn colon_is_safe(string: &str, at: usize) -> bool {
    string[at + 1..].starts_with(|next: char| !next.is_whitespace())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(value: &Value, expected: Expect) {
        expected.assert_eq(&to_yaml(value));
    }

    #[test]
    fn a_manifest_reads_as_one_would_write_it() {
        check(
            &json!({
                "apiVersion": "shoal.dev/v1",
                "metadata": {"name": "hello", "labels": {}},
                "spec": {"components": {"web": {
                    "source": "sha256:00ff",
                    "args": ["--since", "24h"],
                    "routes": [{"host": "*.localhost", "path": "/", "exact": false, "methods": ["GET"]}, {"host": "b"}],
                    "scale": {"replicas": 2},
                }}},
            }),
            expect![[r#"
                apiVersion: shoal.dev/v1
                metadata:
                  name: hello
                  labels: {}
                spec:
                  components:
                    web:
                      source: sha256:00ff
                      args:
                      - "--since"
                      - "24h"
                      routes:
                      - host: "*.localhost"
                        path: /
                        exact: false
                        methods:
                        - GET
                      - host: b
                      scale:
                        replicas: 2"#]],
        );
    }

    #[test]
    fn what_yaml_would_misread_is_quoted() {
        check(
            &json!([
                "NO",
                "null",
                "1.5",
                "0x1",
                "",
                " a",
                "a: b",
                "a #b",
                "http://a:80/",
                "line\nbreak",
                "täg",
                "- x",
                "~",
                "ok then",
                "./a.wasm",
                ".5",
                true,
                7,
                null,
                [],
                [["x"]]
            ]),
            expect![[r#"
                - "NO"
                - "null"
                - "1.5"
                - "0x1"
                - ""
                - " a"
                - "a: b"
                - "a #b"
                - http://a:80/
                - "line\nbreak"
                - "täg"
                - "- x"
                - "~"
                - ok then
                - ./a.wasm
                - ".5"
                - true
                - 7
                - null
                - []
                - - - x"#]],
        );
    }
}
