//! What changed between two looks at an app, one line per change. Pure. Owns the words of progress; the verdict is another's.

use std::collections::BTreeMap;

use ::inspect::estimate;
use api::{
    node::Wanted,
    v1::{AppView, InstancePhase, InstanceView},
};
use model::id::{Name, RevisionNumber, Timestamp};

use super::{terminal::Ink, verdict, views::bytes};

/// One line of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it is shown on a terminal.
    pub ink: Ink,
    /// What changed.
    pub text: String,
}

/// The lines from `before` (nothing seen yet when absent) to `now`, for somebody who wished for `revision`.
pub fn lines(before: Option<&AppView>, now: &AppView, revision: RevisionNumber) -> Vec<Line> {
    let mut lines = Vec::new();
    // The new instances first, then the traffic that moves to them, then the old ones that it leaves.
    let (new, old): (Vec<_>, Vec<_>) = now.status.instances.iter().partition(|instance| instance.revision == revision);
    let moved = before.filter(|before| before.status.serving != now.status.serving).and(now.status.serving);
    let traffic = moved.map(|serving| Line { ink: Ink::Good, text: format!("{} traffic goes to {serving}", now.id()) });
    let news = |instance: &InstanceView| {
        let earlier = before.and_then(|app| app.status.instances.iter().find(|other| other.placement == instance.placement));
        let has_begun = instance.compiling.is_some() && earlier.is_some_and(|earlier| earlier.compiling.is_none());
        let is_news = has_begun || earlier.map(|earlier| (earlier.phase, &earlier.message)) != Some((instance.phase, &instance.message));
        (is_news && (instance.revision == revision || earlier.is_some())).then(|| instance_line(instance))
    };
    lines.extend(new.into_iter().filter_map(news));
    lines.extend(traffic);
    lines.extend(old.into_iter().filter_map(news));
    for gone in before.iter().flat_map(|app| &app.status.instances) {
        let was_stopped = gone.phase == InstancePhase::Stopped;
        if !was_stopped && !now.status.instances.iter().any(|instance| instance.placement == gone.placement) {
            lines.push(Line { ink: Ink::Quiet, text: format!("{} {} stopped", gone.instance, gone.revision) });
        }
    }
    for wait in verdict::unplaced(now) {
        if !before.is_some_and(|app| app.status.waits.contains(wait)) {
            lines.push(Line { ink: Ink::Moving, text: verdict::wait_words(wait) });
        }
    }
    lines
}

/// How far an instance is, in one word.
pub fn phase_word(phase: InstancePhase) -> &'static str {
    match phase {
        InstancePhase::Assigned => "assigned",
        InstancePhase::Fetching => "fetching",
        InstancePhase::Compiling => "compiling",
        InstancePhase::Starting => "starting",
        InstancePhase::Ready => "ready",
        InstancePhase::Draining => "draining",
        InstancePhase::Stopped => "stopped",
        InstancePhase::Failed => "failed",
        InstancePhase::Unknown => "unknown",
    }
}

/// The color of a phase.
pub fn phase_ink(phase: InstancePhase) -> Ink {
    match phase {
        InstancePhase::Ready => Ink::Good,
        InstancePhase::Failed | InstancePhase::Unknown => Ink::Bad,
        InstancePhase::Stopped | InstancePhase::Draining => Ink::Quiet,
        InstancePhase::Assigned | InstancePhase::Fetching | InstancePhase::Compiling | InstancePhase::Starting => Ink::Moving,
    }
}

/// What is being compiled and for how long, one part per component, for a line that is rewritten: `compiling web: 6 s (13.4Mi)`.
pub fn compiling(app: &AppView, now: Timestamp) -> Vec<String> {
    let mut told: BTreeMap<&Name, String> = BTreeMap::new();
    for instance in &app.status.instances {
        if let Some(compiling) = &instance.compiling {
            let name = &instance.instance.component.component;
            let seconds = now.millis_since(compiling.since.0) / 1_000;
            let size = compiling.bytes.map(|size| format!(" ({})", bytes(size))).unwrap_or_default();
            told.entry(name).or_insert_with(|| format!("compiling {name}: {seconds} s{size}"));
        }
    }
    told.into_values().collect()
}

fn instance_line(instance: &InstanceView) -> Line {
    let code = instance.code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
    let size = instance.compiling.and_then(|compiling| compiling.bytes);
    let message = match size {
        Some(size) if instance.message.is_empty() => format!(": {}, {}", bytes(size), estimate::compile_words(size)),
        _ if instance.message.is_empty() => String::new(),
        _ => format!(": {}", instance.message),
    };
    let leaving = instance.wanted == Wanted::Stop && instance.phase == InstancePhase::Ready;
    let phase = if leaving { "stopping" } else { phase_word(instance.phase) };
    let text = format!("{} {} {phase} on {}{code}{message}", instance.instance, instance.revision, instance.node);
    Line { ink: phase_ink(instance.phase), text }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::samples;

    fn check(before: Option<Value>, now: Value, expected: Expect) {
        let before = before.map(|status| samples::app("hello", status));
        let now = samples::app("hello", now);
        let text: String = lines(before.as_ref(), &now, RevisionNumber(2)).into_iter().map(|line| line.text + "\n").collect();
        expected.assert_eq(&text);
    }

    fn placed(id: &str, revision: u64, placement: u64, phase: &str) -> Value {
        let mut instance = samples::instance(id, revision, phase);
        instance["placement"] = json!(placement);
        instance
    }

    #[test]
    fn a_first_look_shows_the_wished_revision_only() {
        check(
            None,
            json!({"instances": [placed("hello/web.1", 1, 5, "ready"), placed("hello/web.1", 2, 6, "compiling")],
                   "waits": [{"instance": "hello/web.2", "reason": "waits for memory: needs 256Mi"}]}),
            expect![[r#"
                hello/web.1 r2 compiling on one
                hello/web.2 waits for memory: needs 256Mi
            "#]],
        );
    }

    #[test]
    fn a_compilation_is_told_with_its_size_and_lives_on_a_terminal() {
        let mut instance = placed("hello/web.1", 2, 6, "compiling");
        instance["compiling"] = json!({"since": "2026-01-01T00:00:10.000Z", "bytes": 14_000_000});
        let status = json!({"instances": [instance]});
        check(
            None,
            status.clone(),
            expect![[r#"
            hello/web.1 r2 compiling on one: 13.4Mi, about 6 s
        "#]],
        );
        let app = samples::app("hello", status);
        let since: api::time::Time = "2026-01-01T00:00:10.000Z".parse().expect("a time");
        assert_eq!(compiling(&app, Timestamp(since.millis() + 6_900)), ["compiling web: 6 s (13.4Mi)"]);
        assert_eq!(compiling(&samples::app("hello", json!({})), Timestamp(0)), Vec::<String>::new());
    }

    #[test]
    fn only_what_changed_is_told() {
        let before = json!({"serving": 1, "instances": [placed("hello/web.1", 1, 5, "ready"), placed("hello/web.1", 2, 6, "compiling")]});
        check(Some(before.clone()), before.clone(), expect![""]);
        check(
            Some(before),
            json!({"serving": 2, "instances": [placed("hello/web.1", 2, 6, "ready")]}),
            expect![[r#"
                hello/web.1 r2 ready on one
                hello traffic goes to r2
                hello/web.1 r1 stopped
            "#]],
        );
    }
}
