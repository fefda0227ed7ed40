//! A plan as text for people: `+ ~ -` per app and per field, where instances start, what is compiled, what becomes reachable. Pure.

use std::collections::BTreeMap;

use api::v1::{Change, CompileNeed, Direction, Outcome, PlanAnswer, PlannedFile, PlannedObject, PlannedValue};

use ::inspect::estimate;

use super::{
    table::shorten,
    terminal::{Ink, paint},
    views::{bytes, short_path},
};

/// Longest value shown in a change, in characters; the rest is in `-o json`.
const VALUE_CHARS_MAX: usize = 80;
/// Most placements listed one by one; beyond that the number says it.
const PLACEMENTS_SHOWN_MAX: usize = 12;

/// The whole plan, without a final line end.
pub fn plan(answer: &PlanAnswer, color: bool) -> String {
    let mut lines = Vec::new();
    for value in &answer.values {
        lines.push(value_head(value, color));
        lines.extend(value.changes.iter().filter(|_| value.outcome != Outcome::Created).flat_map(|one| change(one, color)).map(indent));
    }
    for object in &answer.objects {
        lines.push(head(object, color));
        lines.extend(object.changes.iter().filter(|_| object.outcome != Outcome::Created).flat_map(|one| change(one, color)).map(indent));
        lines.extend(permissions(object, color).into_iter().map(indent));
        lines.extend(object.compile.iter().map(compile).map(indent));
        lines.extend(files(object).into_iter().map(indent));
        lines.extend(placements(object).into_iter().map(indent));
    }
    for wait in &answer.waits {
        lines.push(format!("{} {} would wait: {}", paint(color, Ink::Bad, "!"), wait.instance, wait.reason));
    }
    lines.push(summary(answer));
    lines.join("\n")
}

/// The changed fields of each object alone, without a final line end; empty when nothing would change.
pub fn diff(answer: &PlanAnswer, color: bool) -> String {
    let values = answer.values.iter().filter(|value| value.outcome != Outcome::Unchanged);
    let values = values.map(|value| (value_head(value, color), &value.changes));
    let apps = answer.objects.iter().filter(|object| object.outcome != Outcome::Unchanged);
    let changed = values.chain(apps.map(|object| (head(object, color), &object.changes)));
    let lines =
        changed.flat_map(|(head, changes)| std::iter::once(head).chain(changes.iter().flat_map(|one| change(one, color)).map(indent)));
    lines.collect::<Vec<_>>().join("\n")
}

/// One changed field: one line for what comes or goes, two for what is replaced.
pub fn change(change: &Change, color: bool) -> Vec<String> {
    let path = short_path(&change.path);
    let line = |ink, sign: &str, value: &str| paint(color, ink, &format!("{sign} {path}: {}", shorten(value, VALUE_CHARS_MAX)));
    match (&change.before, &change.after) {
        (None, None) => Vec::new(),
        (None, Some(after)) => vec![line(Ink::Good, "+", after)],
        (Some(before), None) => vec![line(Ink::Bad, "-", before)],
        (Some(before), Some(after)) => vec![line(Ink::Bad, "-", before), line(Ink::Good, "+", after)],
    }
}

fn words(outcome: Outcome) -> (Ink, &'static str, &'static str) {
    match outcome {
        Outcome::Created => (Ink::Good, "+", "would be created"),
        Outcome::Changed => (Ink::Moving, "~", "would change"),
        Outcome::Scaled => (Ink::Moving, "~", "would be scaled"),
        Outcome::Unchanged => (Ink::Quiet, "=", "is so already"),
    }
}

fn value_head(value: &PlannedValue, color: bool) -> String {
    let (ink, sign, what) = words(value.outcome);
    let version = if value.version.0 == 0 { String::new() } else { format!(" (version {})", value.version) };
    paint(color, ink, &format!("{sign} {} {} {what}{version}", value.kind.to_lowercase(), value.name))
}

fn head(object: &PlannedObject, color: bool) -> String {
    let (ink, sign, what) = words(object.outcome);
    let version = if object.version.0 == 0 { String::new() } else { format!(", version {}", object.version) };
    paint(color, ink, &format!("{sign} app {} {what} ({}{version})", object.app, object.revision))
}

fn permissions(object: &PlannedObject, color: bool) -> Vec<String> {
    let line = |change: &api::v1::PermissionChange| match change.direction {
        Direction::Gained => paint(color, Ink::Moving, &format!("+ {} may {}", change.component, change.what)),
        Direction::Lost => paint(color, Ink::Quiet, &format!("- {} may no longer {}", change.component, change.what)),
    };
    let mut lines: Vec<String> = object.permissions.iter().map(line).collect();
    let gains = object.permissions.iter().any(|change| change.direction == Direction::Gained);
    if gains && object.outcome != Outcome::Created {
        lines.push("  new permissions: apply needs --accept-permissions".to_owned());
    }
    lines
}

fn compile(need: &CompileNeed) -> String {
    let size = need.size.map(|size| format!(", {}, {}", bytes(size), estimate::compile_words(size))).unwrap_or_default();
    let first = if need.stored { "compile" } else { "upload and compile" };
    format!("{first} {} ({}{size})", need.component, need.digest.short())
}

/// One line per component with files: a thousand of them are read elsewhere.
fn files(object: &PlannedObject) -> Vec<String> {
    let mut components: BTreeMap<&str, Vec<&PlannedFile>> = BTreeMap::new();
    for file in &object.files {
        components.entry(file.component.as_str()).or_default().push(file);
    }
    let line = |(component, files): (&str, Vec<&PlannedFile>)| {
        let size: u64 = files.iter().filter_map(|file| file.size).sum();
        let upload = files.iter().filter(|file| !file.stored).count();
        let first = files.first().map(|file| file.to.as_str()).unwrap_or_default();
        let names = if files.len() == 1 { first.to_owned() } else { format!("{first} and {} more", files.len() - 1) };
        let upload = if upload == 0 { String::new() } else { format!(", {upload} to upload") };
        format!("files of {component}: {} ({}{upload})", shorten(&names, VALUE_CHARS_MAX), bytes(size))
    };
    components.into_iter().map(line).collect()
}

fn placements(object: &PlannedObject) -> Vec<String> {
    let mut lines: Vec<String> =
        object.placements.iter().take(PLACEMENTS_SHOWN_MAX).map(|place| format!("start {} on {}", place.instance, place.node)).collect();
    if object.placements.len() > PLACEMENTS_SHOWN_MAX {
        lines.push(format!("start {} more", object.placements.len() - PLACEMENTS_SHOWN_MAX));
    }
    if !object.stops.is_empty() {
        lines.push(format!("then stop {}", object.stops.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    }
    lines
}

fn summary(answer: &PlanAnswer) -> String {
    let outcomes = || answer.objects.iter().map(|object| object.outcome).chain(answer.values.iter().map(|value| value.outcome));
    let count = |outcome: Outcome| outcomes().filter(|found| *found == outcome).count();
    if !answer.has_changes() {
        return "No changes.".to_owned();
    }
    format!(
        "{} to create, {} to change, {} to scale, {} unchanged (planned on version {}).",
        count(Outcome::Created),
        count(Outcome::Changed),
        count(Outcome::Scaled),
        count(Outcome::Unchanged),
        answer.index
    )
}

fn indent(line: String) -> String {
    format!("    {line}")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_says_everything_an_apply_would_do() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let answer: PlanAnswer = serde_json::from_value(json!({
            "index": 41,
            "objects": [
                {"app": "hello", "outcome": "changed", "version": 17, "revision": 3, "warnings": [],
                 "changes": [{"path": "spec.components.web.env.COLOR", "before": "blue", "after": "green"},
                             {"path": "spec.components.web.args[0]", "after": "--fast"}],
                 "placements": [{"instance": "hello/web.1", "node": "one"}], "stops": ["hello/web.1"],
                 "compile": [{"component": "web", "digest": digest, "size": 240_000, "stored": false}],
                 "files": [{"component": "web", "to": "/etc/a", "digest": digest, "size": 2048, "stored": true},
                           {"component": "web", "to": "/etc/b", "digest": digest, "size": 1024, "stored": false}],
                 "permissions": [{"component": "web", "direction": "gained", "what": "reach https://api.example:443"},
                                 {"component": "web", "direction": "lost", "what": "call wasi:sockets"}]},
                {"app": "other", "outcome": "unchanged", "version": 9, "revision": 1, "changes": [], "placements": [], "stops": [], "compile": [], "permissions": []},
            ],
            "waits": [{"instance": "hello/web.2", "reason": "needs 256Mi, the freest node has 100Mi"}],
        }))
        .expect("the shape of the API");
        expect![[r#"
            ~ app hello would change (r3, version 17)
                - web.env.COLOR: blue
                + web.env.COLOR: green
                + web.args[0]: --fast
                + web may reach https://api.example:443
                - web may no longer call wasi:sockets
                  new permissions: apply needs --accept-permissions
                upload and compile web (0123456789ab, 234.4Ki, less than a second)
                files of web: /etc/a and 1 more (3Ki, 1 to upload)
                start hello/web.1 on one
                then stop hello/web.1
            = app other is so already (r1, version 9)
            ! hello/web.2 would wait: needs 256Mi, the freest node has 100Mi
            0 to create, 1 to change, 0 to scale, 1 unchanged (planned on version 41)."#]]
        .assert_eq(&plan(&answer, false));
        expect![[r#"
            ~ app hello would change (r3, version 17)
                - web.env.COLOR: blue
                + web.env.COLOR: green
                + web.args[0]: --fast"#]]
        .assert_eq(&diff(&answer, false));
    }
}
