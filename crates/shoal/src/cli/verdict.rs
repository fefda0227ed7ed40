//! How a rollout ended, judged from the cluster's state alone. Pure: the caller brings the state, this says the verdict, its sentence and its exit code.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api::{
    node::Wanted,
    v1::{AppView, ComponentStatus, InstancePhase, InstanceView, RolloutPhase, Waiting},
};
use model::id::{AppId, InstanceId, RevisionNumber};

use super::{age, failure::Exit};

/// How the server's words for a wait begin when there is no room. The colon keeps them apart from a wait for a node of such a name.
const ROOM_WAITS: [&str; 3] = ["waits for a node:", "waits for memory:", "waits for a place:"];

/// What the server's words for a wait for a node that does not report begin and end with.
const SILENT_NODE_WAITS: (&str, &str) = ("waits for ", ", which does not report");

/// How the server's words for an instance on such a node begin; one whose node has not reported yet is as unknown.
const SILENT_NODE: &str = "its node is silent";

/// The end of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every wished instance of the revision is ready and traffic goes there.
    Done {
        /// Instances that take requests.
        ready: u32,
        /// Nodes that do not report: they get the revision when they come back.
        silent: Vec<String>,
    },
    /// It cannot run; what served before, if anything, still serves.
    Failed {
        /// `E0301` and the like.
        code: Option<String>,
        /// Why.
        reason: String,
        /// What serves instead.
        serving: Option<RevisionNumber>,
    },
    /// Nothing moves any more, and instances wait for room.
    CannotPlace {
        /// Who waits for what.
        waits: Vec<Waiting>,
    },
    /// Somebody wished for another revision meanwhile.
    Replaced {
        /// The revision wished for instead.
        by: RevisionNumber,
    },
    /// Somebody deleted the app meanwhile.
    Deleted,
    /// Not there when the time was up; the cluster keeps working on it.
    TimedOut {
        /// What is missing.
        missing: String,
    },
}

/// Judges `app` for somebody who wished for `revision`; none while it is still on its way.
pub fn judge(app: &AppView, revision: RevisionNumber) -> Option<Verdict> {
    let status = &app.status;
    if status.deleting {
        return Some(Verdict::Deleted);
    }
    if status.wanted != revision {
        return Some(Verdict::Replaced { by: status.wanted });
    }
    let wished = || status.instances.iter().filter(|instance| instance.revision == revision && instance.wanted == Wanted::Run);
    let failed = wished().find(|instance| instance.phase == InstancePhase::Failed);
    match status.rollout.phase {
        RolloutPhase::Failed => {
            Some(Verdict::Failed { code: status.rollout.code.clone(), reason: status.rollout.message.clone(), serving: status.serving })
        }
        RolloutPhase::Done if failed.is_some() => failed.map(|instance| failure_of(instance, status.serving)),
        _ if status.instances.iter().any(is_moving) && unplaced(app).next().is_some() => None,
        // What failed is a failure, whoever else waits for room. The server says so itself shortly, unless it tries again.
        RolloutPhase::Progressing if failed.is_some() => failed.map(|instance| failure_of(instance, status.serving)),
        _ if unplaced(app).next().is_some() => Some(Verdict::CannotPlace { waits: unplaced(app).cloned().collect() }),
        RolloutPhase::Progressing => None,
        RolloutPhase::Done => {
            let silences = silences(app);
            let excused =
                |component: &ComponentStatus| silences.keys().filter(|instance| instance.component.component == component.name).count();
            let lacking = |component: &ComponentStatus| component.wanted.saturating_sub(component.ready) as usize;
            let complete = status.components.iter().all(|component| lacking(component) <= excused(component));
            let wanted = status.components.iter().any(|component| component.wanted > 0);
            let ready: u32 = status.components.iter().map(|component| component.ready).sum();
            // Whoever asks any gateway after this must meet the revision that was wished for; where nobody speaks, nobody says that it does.
            (complete && status.routed && (ready > 0 || !wanted)).then(|| {
                let silent: BTreeSet<_> = silences.into_values().map(str::to_owned).collect();
                Verdict::Done { ready, silent: silent.into_iter().collect() }
            })
        }
    }
}

/// Whose node does not report, and which node that is: nobody waits with it. Of one that may report yet nothing is known, and that is waited for.
fn silences(app: &AppView) -> BTreeMap<&InstanceId, &str> {
    let (before, behind) = SILENT_NODE_WAITS;
    let waits = app.status.waits.iter();
    let waits = waits.filter_map(move |wait| Some((&wait.instance, wait.reason.strip_prefix(before)?.strip_suffix(behind)?)));
    let of_silent = |instance: &&InstanceView| {
        let is_wished = instance.wanted == Wanted::Run && instance.revision == app.status.wanted;
        is_wished && instance.phase == InstancePhase::Unknown && instance.message.starts_with(SILENT_NODE)
    };
    let instances = app.status.instances.iter().filter(of_silent).map(|instance| (&instance.instance, instance.node.as_str()));
    waits.chain(instances).collect()
}

fn failure_of(instance: &InstanceView, serving: Option<RevisionNumber>) -> Verdict {
    Verdict::Failed { code: instance.code.clone(), reason: format!("{}: {}", instance.instance, instance.message), serving }
}

/// What is still missing, for the verdict when the time is up.
pub fn missing(app: &AppView) -> String {
    let status = &app.status;
    let short = status.components.iter().filter(|component| component.ready < component.wanted);
    let mut parts: Vec<String> =
        short.map(|component| format!("{} has {} of {} instances ready", component.name, component.ready, component.wanted)).collect();
    parts.extend(unplaced(app).map(wait_words));
    let unknown = status.instances.iter().filter(|instance| instance.phase == InstancePhase::Unknown);
    parts.extend(unknown.map(|instance| format!("{} on {}: {}", instance.instance, instance.node, instance.message)));
    if parts.is_empty() && status.rollout.phase == RolloutPhase::Done && !status.routed {
        parts.push("word of the new revision is on its way to a node".to_owned());
    }
    if parts.is_empty() {
        parts.push(if status.rollout.message.is_empty() { "the rollout has not ended".to_owned() } else { status.rollout.message.clone() });
    }
    parts.join("; ")
}

impl Verdict {
    /// The exit code scripts see.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Done { .. } => Exit::Done,
            Self::Failed { .. } => Exit::Failed,
            Self::CannotPlace { .. } => Exit::CannotPlace,
            Self::Replaced { .. } | Self::Deleted => Exit::Conflict,
            Self::TimedOut { .. } => Exit::TimedOut,
        }
    }

    /// The one line a command ends with.
    pub fn sentence(&self, app: &AppId, revision: RevisionNumber, took: Duration) -> String {
        let took = age::brief(took);
        match self {
            Self::Done { ready, silent } => {
                let plural = if *ready == 1 { "instance" } else { "instances" };
                let later = match silent.as_slice() {
                    [] => String::new(),
                    [one] => format!("; {one} does not report and gets it when it comes back"),
                    several => format!("; {} do not report and get it when they come back", several.join(", ")),
                };
                format!("{app} {revision} is done: {ready} {plural} ready in {took}{later}")
            }
            Self::Failed { code, reason, serving } => {
                let code = code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
                let instead = match serving {
                    Some(old) if *old != revision => format!("; {old} keeps serving"),
                    Some(_) => String::new(),
                    None => "; nothing serves".to_owned(),
                };
                format!("{app} {revision} failed{code}: {}{instead}", reason.lines().next().unwrap_or_default())
            }
            Self::CannotPlace { waits } => {
                let first = waits.first().map(|wait| format!("{} {}", wait.instance, wait.reason)).unwrap_or_default();
                let more = if waits.len() > 1 { format!(" (and {} more)", waits.len() - 1) } else { String::new() };
                format!("{app} {revision} cannot be placed: {first}{more}")
            }
            Self::Replaced { by } => format!("{app} {revision} was replaced by {by} before it was done"),
            Self::Deleted => format!("{app} was deleted before {revision} was done"),
            Self::TimedOut { missing } => format!("{app} {revision} is not done after {took}: {missing}; the cluster keeps working on it"),
        }
    }
}

/// What waits for a node to run on: an instance that has one is told by its phase.
pub fn unplaced(app: &AppView) -> impl Iterator<Item = &Waiting> {
    let placed = |wait: &Waiting| {
        let same = |instance: &InstanceView| instance.instance == wait.instance && instance.revision == app.status.wanted;
        app.status.instances.iter().any(same)
    };
    app.status.waits.iter().filter(move |wait| is_for_room(wait) && !placed(wait))
}

/// Whether a node, memory or a place is waited for: an instance that failed, or is being prepared, has its room.
fn is_for_room(wait: &Waiting) -> bool {
    ROOM_WAITS.iter().any(|words| wait.reason.starts_with(words))
}

/// Who waits for what, in one sentence.
pub fn wait_words(wait: &Waiting) -> String {
    let has_verb = wait.reason.starts_with("waits ") || wait.reason.starts_with("failed");
    let verb = if has_verb { "" } else { "waits: " };
    format!("{} {verb}{}", wait.instance, wait.reason)
}

fn is_moving(instance: &InstanceView) -> bool {
    let is_final = matches!(instance.phase, InstancePhase::Ready | InstancePhase::Stopped | InstancePhase::Failed);
    let is_leaving = instance.wanted == Wanted::Stop && instance.phase != InstancePhase::Stopped;
    !is_final || is_leaving
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::cli::samples;

    fn check(status: serde_json::Value, expected: Expect) {
        let app = samples::app("hello", status);
        let told = judge(&app, RevisionNumber(2)).map_or_else(
            || format!("on its way: {}\n", missing(&app)),
            |verdict| {
                format!("{} {}\n", verdict.exit() as u8, verdict.sentence(&app.id(), RevisionNumber(2), Duration::from_millis(1_234)))
            },
        );
        expected.assert_eq(&told);
    }

    #[test]
    fn done_is_said_when_every_instance_is_ready() {
        check(
            json!({"rollout": {"phase": "done", "message": ""}}),
            expect![[r#"
            0 hello r2 is done: 2 instances ready in 1.2s
        "#]],
        );
        check(
            json!({"components": [samples::component("web", 2, 1)]}),
            expect![[r#"
            on its way: web has 1 of 2 instances ready
        "#]],
        );
        check(
            json!({"components": [samples::component("web", 3, 2)],
                   "waits": [{"instance": "hello/web.3", "reason": "waits for node-c, which does not report"}]}),
            expect![[r#"
            0 hello r2 is done: 2 instances ready in 1.2s; node-c does not report and gets it when it comes back
        "#]],
        );
        let unknown = |message: &str| {
            let mut instance = samples::instance("hello/web.2", 2, "unknown");
            instance["message"] = json!(message);
            json!({"components": [samples::component("web", 2, 1)], "instances": [samples::instance("hello/web.1", 2, "ready"), instance]})
        };
        check(
            unknown("its node is silent; it may well still serve"),
            expect![[r#"
            0 hello r2 is done: 1 instance ready in 1.2s; one does not report and gets it when it comes back
        "#]],
        );
        check(
            unknown("its node has not reported to this server yet"),
            expect![[r#"
            on its way: web has 1 of 2 instances ready; hello/web.2 on one: its node has not reported to this server yet
        "#]],
        );
        let mut nobody = unknown("its node is silent; it may well still serve");
        nobody["components"] = json!([samples::component("web", 1, 0)]);
        nobody["instances"].as_array_mut().expect("two").remove(0);
        check(
            nobody,
            expect![[r#"
            on its way: web has 0 of 1 instances ready; hello/web.2 on one: its node is silent; it may well still serve
        "#]],
        );
        check(
            json!({"routed": false}),
            expect![[r#"
            on its way: word of the new revision is on its way to a node
        "#]],
        );
        check(
            json!({"rollout": {"phase": "progressing", "message": "compiling"}}),
            expect![[r#"
            on its way: compiling
        "#]],
        );
    }

    #[test]
    fn a_failure_names_its_reason_and_what_serves() {
        let rollout = json!({"phase": "failed", "code": "E0301", "message": "hello/web: compile failed\nmore"});
        check(
            json!({"rollout": rollout, "serving": 1}),
            expect![[r#"
            8 hello r2 failed [E0301]: hello/web: compile failed; r1 keeps serving
        "#]],
        );
        check(
            json!({"rollout": rollout, "serving": null}),
            expect![[r#"
            8 hello r2 failed [E0301]: hello/web: compile failed; nothing serves
        "#]],
        );
    }

    #[test]
    fn an_added_instance_that_fails_is_a_failure_although_the_rollout_is_done() {
        let mut instance = samples::instance("hello/web.2", 2, "failed");
        instance["code"] = json!("E0303");
        instance["message"] = json!("the probe trapped");
        check(
            json!({"instances": [samples::instance("hello/web.1", 2, "ready"), instance]}),
            expect![[r#"
            8 hello r2 failed [E0303]: hello/web.2: the probe trapped
        "#]],
        );
    }

    #[test]
    fn an_instance_that_failed_is_no_wait_for_room() {
        let mut failed = samples::instance("hello/web.1", 2, "failed");
        failed["code"] = json!("E0309");
        failed["message"] = json!("the sandbox did not start");
        let waits = json!([{"instance": "hello/web.1", "reason": "failed: E0309 the sandbox did not start"}]);
        let progressing = json!({"phase": "progressing", "message": ""});
        check(
            json!({"rollout": progressing, "serving": 2, "waits": waits, "instances": [failed]}),
            expect![[r#"
            8 hello r2 failed [E0309]: hello/web.1: the sandbox did not start
        "#]],
        );
        check(
            json!({"rollout": progressing, "serving": 1, "waits": waits, "instances": [samples::instance("hello/web.1", 1, "ready"), failed]}),
            expect![[r#"
            8 hello r2 failed [E0309]: hello/web.1: the sandbox did not start; r1 keeps serving
        "#]],
        );
        let waits = json!([{"instance": "hello/web.1", "reason": "failed: E0309 the sandbox did not start"},
                           {"instance": "hello/web.2", "reason": "waits for memory: needs 512Mi"}]);
        check(
            json!({"rollout": progressing, "serving": 2, "waits": waits, "instances": [failed]}),
            expect![[r#"
            8 hello r2 failed [E0309]: hello/web.1: the sandbox did not start
        "#]],
        );
        check(
            json!({"rollout": progressing, "serving": 1, "waits": [waits[0]], "instances": [samples::instance("hello/web.1", 1, "failed")]}),
            expect![[r#"
            on its way: the rollout has not ended
        "#]],
        );
    }

    #[test]
    fn waiting_is_final_only_when_nothing_moves() {
        let waits = json!([{"instance": "hello/web.2", "reason": "waits for memory: needs 512Mi, the freest node has 380Mi"}]);
        check(
            json!({"rollout": {"phase": "progressing", "message": ""}, "waits": waits, "instances": [samples::instance("hello/web.1", 2, "compiling")]}),
            expect![[r#"
                on its way: hello/web.2 waits for memory: needs 512Mi, the freest node has 380Mi
            "#]],
        );
        check(
            json!({"rollout": {"phase": "progressing", "message": ""}, "waits": waits, "instances": [samples::instance("hello/web.1", 2, "ready")]}),
            expect![[r#"
                5 hello r2 cannot be placed: hello/web.2 waits for memory: needs 512Mi, the freest node has 380Mi
            "#]],
        );
    }

    #[test]
    fn somebody_else_may_be_faster() {
        check(
            json!({"wanted": 3}),
            expect![[r#"
            9 hello r2 was replaced by r3 before it was done
        "#]],
        );
        check(
            json!({"deleting": true}),
            expect![[r#"
            9 hello was deleted before r2 was done
        "#]],
        );
    }
}
