//! Query strings. Owns escaping; must never need a type it does not serialise.

use std::fmt::Write as _;

use serde::Serialize;

/// `path`, and behind it every field of `question` that is set.
pub(super) fn append(path: &str, question: &impl Serialize) -> String {
    let fields = serde_json::to_value(question).expect("questions have string keys only");
    let fields = fields.as_object().expect("a question is an object");
    let mut text = path.to_owned();
    let mut separator = '?';
    for (name, value) in fields {
        let value = match value {
            serde_json::Value::Null | serde_json::Value::Bool(false) => continue,
            serde_json::Value::String(value) => value.clone(),
            other => other.to_string(),
        };
        let _ = write!(text, "{separator}{name}={}", escape(&value));
        separator = '&';
    }
    text
}

/// `text` as it may stand behind `=` in a query.
pub(super) fn escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::LogQuery;

    #[test]
    fn only_what_is_set_is_asked() {
        assert_eq!(append("/v1/logs", &LogQuery::default()), "/v1/logs");
        let question =
            LogQuery { app: "team/hello".parse().ok(), follow: true, tail: Some(5), grep: Some("a b&c".into()), ..Default::default() };
        assert_eq!(append("/v1/logs", &question), "/v1/logs?app=team%2Fhello&follow=true&tail=5&grep=a%20b%26c");
    }
}
