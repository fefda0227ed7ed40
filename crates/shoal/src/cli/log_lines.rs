//! Log entries as lines for people. Pure. Owns the prefix and the order of an access line's parts; must never drop an entry.

use std::time::Duration;

use api::v1::{AccessLine, LogEntry, LogLine, LogStream};

use super::{
    table::shorten,
    terminal::{Ink, paint},
};

/// How lines are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    /// Color, each component with its own.
    pub color: bool,
    /// The moment first.
    pub timestamps: bool,
    /// The request id last.
    pub request_ids: bool,
}

/// The colors components are told apart by: none that means something elsewhere.
const COMPONENT_COLORS: [u8; 6] = [36, 35, 34, 96, 95, 94];

/// `entry` as one line, or several when the guest wrote several.
pub fn text(entry: &LogEntry, shape: Shape) -> String {
    match entry {
        LogEntry::Line(line) => guest_line(line, shape),
        LogEntry::Access(line) => access_line(line, shape),
        LogEntry::Absent { node, reason } => paint(shape.color, Ink::Bad, &format!("… the lines of node {node} are missing: {reason}")),
        LogEntry::Dropped { lines, component, access } => {
            let who = component.as_ref().map(|component| format!("{} ", prefix(&component.to_string(), shape))).unwrap_or_default();
            let what = if *access { "access lines" } else { "lines" };
            format!(
                "{who}{}",
                paint(shape.color, Ink::Bad, &format!("… {} {what} dropped: they came faster than they are kept", grouped(*lines)))
            )
        }
    }
}

fn guest_line(line: &LogLine, shape: Shape) -> String {
    let mark = match line.stream {
        LogStream::Stdout => "|",
        LogStream::Stderr => "!",
        LogStream::Host => "#",
    };
    let head = format!("{}{} {mark} ", moment(&line.at, shape), prefix(&line.component.to_string(), shape));
    let body = if line.stream == LogStream::Host { paint(shape.color, Ink::Moving, &line.text) } else { line.text.clone() };
    let request = line.request_id.as_ref().filter(|_| shape.request_ids).map(|id| format!("  request={id}")).unwrap_or_default();
    format!("{head}{}{}", body.replace('\n', &format!("\n{head}")), paint(shape.color, Ink::Quiet, &request))
}

fn access_line(line: &AccessLine, shape: Shape) -> String {
    let who = line.component.as_ref().map_or_else(|| "(no route)".to_owned(), ToString::to_string);
    let ink = match line.status {
        500.. => Ink::Bad,
        400..500 => Ink::Moving,
        _ => Ink::Good,
    };
    let status = paint(shape.color, ink, &line.status.to_string());
    let code = line.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
    let took = Duration::from_micros(line.duration_micros);
    format!(
        "{}{} > {} {}{} {status}{code} {:.1}ms {}B {} {}",
        moment(&line.at, shape),
        prefix(&who, shape),
        line.method,
        line.host,
        shorten(&line.path, 200),
        took.as_secs_f64() * 1_000.0,
        line.response_bytes,
        line.client,
        paint(shape.color, Ink::Quiet, &line.request_id),
    )
}

/// A number with its thousands apart.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let first = (digits.len() - 1) % 3 + 1;
    let (head, rest) = digits.split_at(first);
    let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group));
    groups.fold(head.to_owned(), |text, group| format!("{text},{group}"))
}

fn moment(at: &api::time::Time, shape: Shape) -> String {
    if shape.timestamps { format!("{at} ") } else { String::new() }
}

fn prefix(who: &str, shape: Shape) -> String {
    if !shape.color {
        return who.to_owned();
    }
    let sum = who.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    format!("\x1b[{}m{who}\x1b[0m", COMPONENT_COLORS[sum % COMPONENT_COLORS.len()])
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn check(entry: Value, shape: Shape, expected: Expect) {
        let entry: LogEntry = serde_json::from_value(entry).expect("the shape of the API");
        expected.assert_eq(&text(&entry, shape));
    }

    fn line(stream: &str, text: &str) -> Value {
        json!({"type": "line", "at": "2026-01-01T00:00:00.000Z", "component": "hello/web", "revision": 2, "node": "one",
               "stream": stream, "requestId": "r-1", "text": text})
    }

    #[test]
    fn a_guest_line_says_who_and_where_to() {
        check(line("stdout", "hi"), Shape::default(), expect!["hello/web | hi"]);
        check(line("stderr", "oh"), Shape { timestamps: true, ..Shape::default() }, expect!["2026-01-01T00:00:00.000Z hello/web ! oh"]);
        check(
            line("host", "trap\n  at main"),
            Shape { request_ids: true, ..Shape::default() },
            expect![[r#"
                hello/web # trap
                hello/web #   at main  request=r-1"#]],
        );
    }

    #[test]
    fn an_access_line_is_one_line() {
        let access = json!({"type": "access", "at": "2026-01-01T00:00:00.000Z", "requestId": "r-1", "component": "hello/web", "revision": 2,
            "ordinal": 1, "node": "one", "client": "127.0.0.1", "method": "GET", "host": "hello.localhost", "path": "/a?b", "protocol": "HTTP/1.1",
            "status": 503, "code": "E0503", "requestBytes": 0, "responseBytes": 5, "durationMicros": 1_250});
        check(access, Shape::default(), expect!["hello/web > GET hello.localhost/a?b 503 E0503 1.2ms 5B 127.0.0.1 r-1"]);
    }

    #[test]
    fn dropped_lines_say_whose_they_were() {
        check(
            json!({"type": "dropped", "lines": 1_204, "component": "hello/web"}),
            Shape::default(),
            expect!["hello/web … 1,204 lines dropped: they came faster than they are kept"],
        );
        check(
            json!({"type": "dropped", "lines": 7, "access": true}),
            Shape::default(),
            expect!["… 7 access lines dropped: they came faster than they are kept"],
        );
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
