//! Why an app or a request does not do what it should: a walk over what is known. Owns the walk; every step is something looked up.

use api::v1::{AppView, ErrorDetail, InstancePhase, LogEntry, RolloutPhase, WhyAnswer, WhyState, WhyStep};
use model::id::{AppId, InstanceId, Name};

use crate::{
    limits::REQUEST_ID_BYTES_MAX,
    viewer::{self, Viewer},
};

/// What was asked about: an app, a component of it, or one instance.
struct Subject {
    app: AppId,
    component: Option<Name>,
    ordinal: Option<u32>,
}

/// Why `subject` (`hello`, `hello/web`, `hello/web.1`) is as it is, for whoever may see what lies in its namespace.
///
/// # Errors
/// E0402 and E0408 when there is nothing to ask about; what `may` says.
pub fn of_app(viewer: &Viewer, subject: &str, may: impl Fn(&Name) -> Result<(), ErrorDetail>) -> Result<WhyAnswer, ErrorDetail> {
    let (app, parsed) = find(viewer, subject, may)?;
    if let Some(component) = parsed.component.as_ref().filter(|name| app.status.components.iter().all(|known| known.name != **name)) {
        return Err(ErrorDetail::not_found(&format!("component `{component}` of app `{}`", parsed.app)));
    }
    Ok(walk(subject, &app, &parsed))
}

/// The app that `text` means. `team/hello` may be an app of a namespace or a component of an app: whichever exists.
fn find(viewer: &Viewer, text: &str, may: impl Fn(&Name) -> Result<(), ErrorDetail>) -> Result<(AppView, Subject), ErrorDetail> {
    let mut readings = Vec::new();
    if let Ok(InstanceId { component, ordinal }) = text.parse() {
        readings.push(Subject { app: component.app, component: Some(component.component), ordinal: Some(ordinal) });
    }
    if let Ok(app) = text.parse::<AppId>() {
        readings.push(Subject { app, component: None, ordinal: None });
    }
    if let Ok(component) = text.parse::<model::id::ComponentId>() {
        readings.push(Subject { app: component.app, component: Some(component.component), ordinal: None });
    }
    if readings.is_empty() {
        return Err(ErrorDetail::new("E0408", format!("`{text}` names no app"), "write APP, APP/COMPONENT or APP/COMPONENT.NUMBER"));
    }
    // Before it is looked up: whether an app of another namespace exists is not told either.
    let first = readings.first().map_or(Ok(()), |subject| may(&subject.app.namespace));
    readings.retain(|subject| may(&subject.app.namespace).is_ok());
    if readings.is_empty() {
        first?;
    }
    let found = readings.into_iter().find_map(|subject| Some((viewer.app(&subject.app)?, subject)));
    found.ok_or_else(|| ErrorDetail::not_found(&format!("app `{text}`")))
}

fn walk(subject: &str, app: &AppView, asked: &Subject) -> WhyAnswer {
    let status = &app.status;
    let mut steps = Vec::new();
    let state = if status.deleting { WhyState::Blocks } else { WhyState::Passes };
    let text = if status.deleting { "is being deleted".to_owned() } else { format!("exists, wished as {}", status.wanted) };
    steps.push(step("app", state, text));
    steps.push(revision(app));
    let state = match status.rollout.phase {
        RolloutPhase::Done => WhyState::Passes,
        RolloutPhase::Progressing => WhyState::Warns,
        RolloutPhase::Failed => WhyState::Blocks,
    };
    let rollout = step("rollout", state, status.rollout.message.clone());
    steps.push(WhyStep { code: status.rollout.code.clone(), ..rollout });
    steps.extend(instances(app, asked));
    let wanted = |instance: &InstanceId| matches(instance, asked);
    let waits = status.waits.iter().filter(|wait| wanted(&wait.instance));
    steps.extend(waits.map(|wait| step("waiting", WhyState::Blocks, viewer::wait_words(wait))));
    let worst = steps.iter().find(|step| step.state == WhyState::Blocks);
    let verdict = worst.map_or_else(|| format!("{subject} runs: {}", status.rollout.message), |step| step.text.clone());
    WhyAnswer { subject: subject.to_owned(), works: worst.is_none(), verdict, steps }
}

/// Who has the traffic, and whether anything there can take it.
fn revision(app: &AppView) -> WhyStep {
    let status = &app.status;
    let Some(serving) = status.serving else { return step("revision", WhyState::Blocks, "no revision has the traffic yet".to_owned()) };
    let of_it = || status.instances.iter().filter(|instance| instance.revision == serving);
    let is_idle = of_it().next().is_none() && status.components.iter().all(|component| component.wanted == 0);
    let is_ready = is_idle || of_it().any(|instance| matches!(instance.phase, InstancePhase::Ready | InstancePhase::Unknown));
    let text = match (serving == status.wanted, is_ready) {
        (true, true) => return step("revision", WhyState::Passes, format!("{serving} has the traffic")),
        (true, false) => format!("the traffic is meant for {serving}, which has no instance that is ready"),
        (false, true) => format!("{serving} still has the traffic, {} does not yet", status.wanted),
        (false, false) => {
            format!("the traffic is still meant for {serving}, which has no instance that is ready; {} does not have it yet", status.wanted)
        }
    };
    step("revision", WhyState::Warns, text)
}

fn instances(app: &AppView, asked: &Subject) -> Vec<WhyStep> {
    let asked = app.status.instances.iter().filter(|instance| matches(&instance.instance, asked));
    let steps = asked.map(|instance| {
        let state = match instance.phase {
            InstancePhase::Ready | InstancePhase::Stopped => WhyState::Passes,
            InstancePhase::Failed => WhyState::Blocks,
            // Words beside a start say what it waits for, and that does not come by itself.
            InstancePhase::Starting if !instance.message.is_empty() => WhyState::Blocks,
            _ => WhyState::Warns,
        };
        let phase = format!("{:?}", instance.phase).to_lowercase();
        let why = if instance.message.is_empty() { String::new() } else { format!(": {}", instance.message) };
        let text = format!("{} of {} on {} is {phase}{why}", instance.instance, instance.revision, instance.node);
        WhyStep { code: instance.code.clone(), ..step("instance", state, text) }
    });
    steps.collect()
}

fn matches(instance: &InstanceId, asked: &Subject) -> bool {
    let component = asked.component.as_ref().is_none_or(|name| *name == instance.component.component);
    component && asked.ordinal.is_none_or(|ordinal| ordinal == instance.ordinal)
}

fn step(name: &str, state: WhyState, text: String) -> WhyStep {
    WhyStep { name: name.to_owned(), state, text, code: None, help: None }
}

/// The question for everything kept about `request`.
///
/// # Errors
/// E0408 when it is no request id.
pub fn log_query(request: &str) -> Result<String, ErrorDetail> {
    let plain = request.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if request.is_empty() || request.len() > REQUEST_ID_BYTES_MAX || !plain {
        return Err(ErrorDetail::new("E0408", "this is no request id", "take it from the `X-Request-Id` header of the response"));
    }
    Ok(format!("request={request}&access=true"))
}

/// What the logs say about `request`.
pub fn of_request(request: &str, entries: &[LogEntry]) -> WhyAnswer {
    let mut steps = Vec::new();
    let (mut verdict, mut works) =
        (format!("nothing is kept about request {request}: it never came here, or its log lines are gone"), false);
    for entry in entries {
        match entry {
            LogEntry::Access(line) => {
                let to = line.component.as_ref().map_or_else(|| "no component".to_owned(), ToString::to_string);
                let text = format!("{} {}{} to {to} was answered {}", line.method, line.host, line.path, line.status);
                works = line.status < 500 && line.code.is_none();
                verdict = format!("{text} after {} ms", line.duration_micros / 1_000);
                let state = if works { WhyState::Passes } else { WhyState::Blocks };
                steps.push(WhyStep { code: line.code.clone(), ..step("answer", state, text) });
            }
            LogEntry::Line(line) => steps.push(step("log", WhyState::Warns, format!("{}: {}", line.component, line.text))),
            LogEntry::Absent { node, reason } => {
                steps.push(step("log", WhyState::Warns, format!("the lines of {node} are missing: {reason}")))
            }
            LogEntry::Dropped { lines, .. } => steps.push(step("log", WhyState::Warns, format!("{lines} lines are missing"))),
        }
    }
    WhyAnswer { subject: format!("request {request}"), verdict, works, steps }
}

#[cfg(test)]
mod tests {
    use api::v1::{AppStatus, RolloutView};
    use serde_json::{Value, json};

    use super::*;

    fn app(serving: u64, instances: &Value, waits: &Value) -> (AppView, Subject) {
        let app = json!({"apiVersion": "shoal.dev/v1", "kind": "App", "spec": {},
            "metadata": {"name": "hello", "namespace": "default", "labels": {}, "annotations": {}, "protected": false},
            "status": {"createdAt": "2026-01-01T00:00:00.000Z", "wanted": 1, "serving": serving, "observedGeneration": 1, "conditions": [],
                "rollout": {"phase": "failed", "code": "E0309", "message": "the sandbox did not start"}, "components": [],
                "instances": instances, "waits": waits, "urls": [], "deleting": false}});
        let app: AppView = serde_json::from_value(app).expect("the shape of the API");
        let asked = Subject { app: app.id(), component: None, ordinal: None };
        (app, asked)
    }

    fn told(serving: u64, instances: &Value, waits: &Value) -> String {
        let (app, asked) = app(serving, instances, waits);
        let answer = walk("hello", &app, &asked);
        answer.steps.iter().map(|step| format!("{} {:?} {}\n", step.name, step.state, step.text)).collect::<String>() + &answer.verdict
    }

    #[test]
    fn what_never_was_ready_has_no_traffic() {
        let failed = json!([{"instance": "hello/web.1", "revision": 1, "placement": 1, "node": "one", "wanted": "run", "phase": "failed",
            "since": "2026-01-01T00:00:00.000Z", "message": "no"}]);
        let waits = json!([{"instance": "hello/web.2", "reason": "waits for memory: needs 1Gi"}]);
        let text = told(1, &failed, &waits);
        assert!(text.contains("revision Warns the traffic is meant for r1, which has no instance that is ready\n"), "{text}");
        assert!(text.contains("waiting Blocks hello/web.2 waits for memory: needs 1Gi\n"), "{text}");
        assert!(text.ends_with("\nthe sandbox did not start"), "{text}");
    }

    #[test]
    fn what_waits_for_a_secret_says_which_one() {
        let waiting = json!([{"instance": "hello/web.1", "revision": 1, "placement": 1, "node": "one", "wanted": "run", "phase": "starting",
            "since": "2026-01-01T00:00:00.000Z", "message": "waits for the secret `db` from a server"}]);
        let (app, asked) = app(1, &waiting, &json!([]));
        let app = AppView { status: AppStatus { rollout: done(), ..app.status }, ..app };
        let answer = walk("hello", &app, &asked);
        assert!(!answer.works);
        assert_eq!(answer.verdict, "hello/web.1 of r1 on one is starting: waits for the secret `db` from a server");
    }

    fn done() -> RolloutView {
        RolloutView { phase: RolloutPhase::Done, code: None, message: "r1 serves".to_owned() }
    }
}
