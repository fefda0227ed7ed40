//! `shoal apply`: upload, write, wait for the verdict. Owns the order of these steps and what is printed at the end.

use std::{fmt, path::PathBuf, time::Duration};

use api::{
    client::ClientError,
    limits::JSON_BYTES_MAX,
    v1::{ApplyAnswer, ApplyRequest, LogQuery, ObjectAnswer, Outcome as Written},
};
use clap::Args;
use futures_util::{StreamExt, stream};
use model::id::{AppId, Index, Name};
use tokio::time::Instant;

use super::{
    age::parse_span,
    documents::{Documents, FileArgs},
    failure::{Exit, Failure, Outcome},
    follow::{self, Ended, Wish},
    given, log_lines,
    plan::PlanFile,
    session::{self, Session},
    sources::{self, Artifacts},
    terminal::Ink,
    verdict::Verdict,
};

/// How many log lines are shown when a rollout failed: enough for a backtrace, few enough to keep the reason in sight.
const LOG_LINES_ON_FAILURE: u32 = 20;

/// Documents sent in one request: what a server takes.
const DOCUMENTS_PER_REQUEST_MAX: usize = 500;

/// Apps watched at once until their verdict.
const WATCHED_AT_ONCE_MAX: usize = 16;

/// What `shoal apply` takes.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Write and return, without waiting for the verdict.
    #[arg(long)]
    detach: bool,
    /// How long to wait for the verdict.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_span)]
    timeout: Duration,
    /// Refuse unless the app still has this version (0: does not exist); `plan` prints it.
    #[arg(long, value_name = "N")]
    check_index: Option<u64>,
    /// Accept what the apps may do afterwards and not now; `plan` lists it. On a terminal it is asked instead.
    #[arg(long)]
    accept_permissions: bool,
    /// Apply exactly what `plan --out` wrote, and only if nothing changed since.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "check_index"])]
    plan: Option<PathBuf>,
}

/// What is to be written: canonical JSON, the files behind it, and where it came from.
#[derive(Default)]
pub struct Wishes {
    /// One per object; those of Secrets hold their values.
    pub canonical: Vec<serde_json::Value>,
    /// The components' files by digest.
    pub artifacts: Artifacts,
    /// The manifests, for places in them; empty when the wish did not come from YAML.
    pub documents: Documents,
    /// Refuse unless the app still has this version.
    pub expect: Option<Index>,
    /// Permissions the apps gain are accepted.
    pub accept: bool,
}

/// Documents may hold the values of secrets: only how many there are is shown.
impl fmt::Debug for Wishes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Wishes").field("documents", &self.documents).field("expect", &self.expect).finish_non_exhaustive()
    }
}

impl Wishes {
    /// Everything `args` names, read and checked as far as this machine can.
    ///
    /// # Errors
    /// Every problem of every document and component together.
    pub fn load(args: &FileArgs, session: &Session) -> Result<Self, Failure> {
        Self::of(Documents::load(args, session.globals.namespace.as_ref())?)
    }

    /// `documents` with their components read and checked.
    ///
    /// # Errors
    /// Every problem of every component together.
    pub fn of(mut documents: Documents) -> Result<Self, Failure> {
        given::read(&mut documents)?;
        let artifacts = sources::resolve(&mut documents)?;
        Ok(Self { canonical: documents.canonical(), artifacts, documents, expect: None, accept: false })
    }

    /// A refusal with its problems at their places in the user's files.
    pub fn failure(&self, error: ClientError) -> Failure {
        self.failure_of(error, 0)
    }

    /// The same of a request that began with the document `first`.
    fn failure_of(&self, error: ClientError, first: usize) -> Failure {
        match error {
            ClientError::Refused { error, .. } if !error.details.problems.is_empty() => {
                self.documents.failure(error.details.problems.into_iter().map(|found| (first + found.document, found.problem)).collect())
            }
            ClientError::Refused { error, .. } => session::refused(*error),
            other => other.into(),
        }
    }
}

/// Applies and waits.
pub async fn run(args: ApplyArgs, session: &Session) -> Outcome {
    let mut wishes = match &args.plan {
        Some(path) => PlanFile::read(path)?.wishes()?,
        None => Wishes { expect: args.check_index.map(Index), ..Wishes::load(&args.files, session)? },
    };
    wishes.accept = args.accept_permissions;
    let answer = write(&wishes, session).await?;
    let terminal = &session.terminal;
    for value in &answer.values {
        let line = format!("{}/{} {} (version {})", value.kind.to_lowercase(), value.name, written_word(value.outcome), value.version);
        if args.detach || answer.objects.is_empty() { terminal.data(line) } else { terminal.hint(line) }
    }
    for object in &answer.objects {
        terminal.hint(format!("{} {} ({})", object.app, written_word(object.outcome), object.revision));
    }
    if args.detach {
        for object in &answer.objects {
            terminal.data(format!("app/{} {} ({}, version {})", object.app, written_word(object.outcome), object.revision, object.version));
        }
        if let Some(object) = answer.objects.first() {
            terminal.hint(format!("next: shoal rollout status app/{}", object.app.name));
        }
        return Ok(Exit::Done);
    }
    wait_for_all(&answer, args.timeout, session).await
}

/// Uploads what the server lacks and writes all wishes at once. More than a server takes in one request are written in several, one after the other, and
/// how far it came is told.
///
/// # Errors
/// What the server refuses, at its place in the user's files; nothing of that request was written then.
pub async fn write(wishes: &Wishes, session: &Session) -> Result<ApplyAnswer, Failure> {
    sources::upload(&wishes.artifacts, session).await?;
    let mut answer = ApplyAnswer { index: Index(0), objects: Vec::new(), values: Vec::new() };
    for (first, batch) in batches(&wishes.canonical) {
        let mut request =
            ApplyRequest { documents: batch.to_vec(), expect: wishes.expect, by: session.by(), accept_permissions: wishes.accept };
        let written = match session.client().await?.apply(&request).await {
            Err(error) if is_accepted(&error, session) => {
                request.accept_permissions = true;
                session.client().await?.apply(&request).await
            }
            other => other,
        };
        let written = written.map_err(|error| {
            if first > 0 {
                session.terminal.hint(format!("the first {first} of {} documents are written", wishes.canonical.len()));
            }
            wishes.failure_of(error, first)
        })?;
        answer.index = written.index;
        answer.objects.extend(written.objects);
        answer.values.extend(written.values);
        if wishes.canonical.len() > batch.len() {
            session.terminal.live(&format!("wrote {} of {} documents", answer.objects.len() + answer.values.len(), wishes.canonical.len()));
        }
    }
    for (object, warning) in answer.objects.iter().flat_map(|object| object.warnings.iter().map(move |warning| (object, warning))) {
        session.terminal.hint(format!("{}: {}: {}", session.terminal.err(Ink::Moving, "warning"), object.app, warning.message));
    }
    Ok(answer)
}

/// The documents in the pieces in which they are sent, each with the number of its first.
fn batches(documents: &[serde_json::Value]) -> Vec<(usize, &[serde_json::Value])> {
    let (mut batches, mut first, mut bytes) = (Vec::new(), 0, 0);
    for (number, document) in documents.iter().enumerate() {
        let size = document.to_string().len();
        if number - first >= DOCUMENTS_PER_REQUEST_MAX || (number > first && bytes + size > JSON_BYTES_MAX / 2) {
            batches.push((first, &documents[first..number]));
            (first, bytes) = (number, 0);
        }
        bytes += size;
    }
    batches.push((first, &documents[first..]));
    batches
}

/// Whether `error` is about permissions alone and somebody at the terminal accepts them.
fn is_accepted(error: &ClientError, session: &Session) -> bool {
    let terminal = &session.terminal;
    let ClientError::Refused { error, .. } = error else { return false };
    let problems = &error.details.problems;
    if !terminal.interactive || problems.is_empty() || problems.iter().any(|found| found.problem.code != "E0211") {
        return false;
    }
    for found in problems {
        terminal.complain(format!("{} {}", terminal.err(Ink::Moving, "+"), found.problem.message));
    }
    terminal.confirm("Accept this?")
}

/// Waits for the verdict on every object of `answer`, says each, and ends with the worst exit code.
///
/// # Errors
/// A server that stays silent.
pub async fn wait_for_all(answer: &ApplyAnswer, timeout: Duration, session: &Session) -> Outcome {
    let exit = wait_quietly(answer, timeout, session).await?;
    if let Some(object) = answer.objects.first() {
        session.terminal.hint(format!("next: {}", next_step(exit, &object.app, &session.usual_namespace())));
    }
    Ok(exit)
}

/// What to do about `app` after such an end, as it can be typed where `usual` is the namespace without `-n`.
fn next_step(exit: Exit, app: &AppId, usual: &Name) -> String {
    let command = if exit == Exit::Done { "logs -f" } else { "why" };
    let within = if app.namespace == *usual { String::new() } else { format!(" -n {}", app.namespace) };
    format!("shoal {command} {}{within}", app.name)
}

/// The same without a next step, for commands that take it themselves.
///
/// # Errors
/// A server that stays silent.
pub async fn wait_quietly(answer: &ApplyAnswer, timeout: Duration, session: &Session) -> Outcome {
    let deadline = Instant::now() + timeout;
    let waiting = answer.objects.iter().map(|object| {
        let wish = Wish { app: object.app.clone(), revision: object.revision, index: answer.index };
        async move { follow::to_verdict(session, &wish, deadline).await }
    });
    let mut exit = Exit::Done;
    let mut done = 0;
    // Each has a connection of its own, so only some are watched at once.
    let mut ends = stream::iter(waiting).buffered(WATCHED_AT_ONCE_MAX);
    for object in &answer.objects {
        let Some(ended) = ends.next().await else { break };
        let ended = ended?;
        say_end(object, &ended, session).await;
        done += u32::from(ended.verdict.exit() == Exit::Done);
        exit = exit.worse(ended.verdict.exit());
    }
    if let [_, _, ..] = answer.objects.as_slice() {
        session.terminal.data(format!("{done} of {} apps are done", answer.objects.len()));
    }
    Ok(exit)
}

async fn say_end(object: &ObjectAnswer, ended: &Ended, session: &Session) {
    let terminal = &session.terminal;
    if matches!(ended.verdict, Verdict::Failed { .. }) {
        say_last_lines(&object.app, session).await;
    }
    if let (Verdict::Done { .. }, Some(app)) = (&ended.verdict, &ended.app) {
        app.status.urls.iter().for_each(|url| terminal.data(url));
    }
    let sentence = match (&ended.verdict, object.outcome) {
        (Verdict::Done { ready, .. }, Written::Unchanged) => format!("{} {} is unchanged: {ready} ready", object.app, object.revision),
        (verdict, _) => verdict.sentence(&object.app, object.revision, ended.took),
    };
    let ink = if ended.verdict.exit() == Exit::Done { Ink::Good } else { Ink::Bad };
    terminal.data(terminal.out(ink, &sentence));
}

/// The last log lines of an app, for whoever asks why it failed. A log that cannot be read is no second failure.
async fn say_last_lines(app: &AppId, session: &Session) {
    let query = LogQuery { app: Some(app.clone()), tail: Some(LOG_LINES_ON_FAILURE), ..LogQuery::default() };
    let Ok(client) = session.client().await else { return };
    let Ok(mut lines) = client.logs(&query).await else { return };
    let shape = log_lines::Shape { color: session.terminal.err_color, ..log_lines::Shape::default() };
    while let Ok(Some(entry)) = lines.next().await {
        session.terminal.complain(log_lines::text(&entry, shape));
    }
}

/// What happened to an object, in one word.
pub fn written_word(outcome: Written) -> &'static str {
    match outcome {
        Written::Created => "created",
        Written::Changed => "changed",
        Written::Scaled => "scaled",
        Written::Unchanged => "unchanged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_can_be_typed_as_it_is() {
        let check = |exit, app: &str, usual: &str, expected: &str| {
            let (app, usual) = (app.parse().expect("an app"), usual.parse().expect("a namespace"));
            assert_eq!(next_step(exit, &app, &usual), expected);
        };
        check(Exit::Done, "hello", "default", "shoal logs -f hello");
        check(Exit::Done, "team/hello", "default", "shoal logs -f hello -n team");
        check(Exit::Failed, "team/hello", "team", "shoal why hello");
        check(Exit::Failed, "hello", "team", "shoal why hello -n default");
    }

    #[test]
    fn many_documents_are_sent_in_pieces_a_server_takes() {
        let sizes =
            |documents: &[serde_json::Value]| batches(documents).iter().map(|(first, batch)| (*first, batch.len())).collect::<Vec<_>>();
        assert_eq!(sizes(&vec![serde_json::json!({}); 3]), [(0, 3)]);
        assert_eq!(sizes(&vec![serde_json::json!({}); 1_001]), [(0, 500), (500, 500), (1_000, 1)]);
        let large = serde_json::json!({ "a": "x".repeat(JSON_BYTES_MAX / 3) });
        assert_eq!(sizes(&vec![large; 3]), [(0, 1), (1, 1), (2, 1)]);
    }
}
