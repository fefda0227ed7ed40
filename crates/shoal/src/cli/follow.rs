//! Watching an app until its rollout has a verdict. Owns the watch, its reconnects and its deadline; what a verdict is, `verdict` says.

use std::time::Duration;

use api::v1::{AppView, WatchEvent};
use model::id::{AppId, Index, RevisionNumber};
use tokio::time::{Instant, timeout_at};

use super::{
    failure::{Exit, Failure},
    progress,
    session::Session,
    verdict::{self, Verdict},
};

/// How long a server may be silent before waiting for it is given up: a control plane that was killed is back within seconds.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to reach a silent server: short enough not to be noticed, long enough not to be a load.
const PAUSE: Duration = Duration::from_millis(200);

/// What somebody wished for and now waits on.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The app.
    pub app: AppId,
    /// The revision it should reach.
    pub revision: RevisionNumber,
    /// Nothing older than this is believed.
    pub index: Index,
}

/// How it ended, and how the app was then.
#[derive(Debug)]
pub struct Ended {
    /// The verdict.
    pub verdict: Verdict,
    /// The last look; none when the app was gone.
    pub app: Option<AppView>,
    /// How long it took.
    pub took: Duration,
}

/// Watches until there is a verdict or `deadline` has passed; each change is one line of progress.
///
/// # Errors
/// A server that refuses the watch, or stays silent for 30 s.
pub async fn to_verdict(session: &Session, wish: &Wish, deadline: Instant) -> Result<Ended, Failure> {
    let start = Instant::now();
    let mut seen: Option<AppView> = None;
    let mut silent_since: Option<Instant> = None;
    loop {
        let ended = watch_once(session, wish, deadline, &mut seen, &mut silent_since).await;
        let verdict = match ended {
            Ok(Some(verdict)) => verdict,
            Ok(None) => continue,
            Err(failure) => {
                let since = *silent_since.get_or_insert_with(Instant::now);
                if failure.exit != Exit::Unreachable || since.elapsed() > SILENCE_MAX {
                    return Err(failure);
                }
                tokio::time::sleep_until(deadline.min(Instant::now() + PAUSE)).await;
                if Instant::now() < deadline {
                    continue;
                }
                timed_out(seen.as_ref())
            }
        };
        let app = seen.filter(|_| verdict != Verdict::Deleted);
        return Ok(Ended { verdict, app, took: start.elapsed() });
    }
}

/// One connection's worth of watching; none when the stream ended without a verdict.
async fn watch_once(
    session: &Session,
    wish: &Wish,
    deadline: Instant,
    seen: &mut Option<AppView>,
    silent_since: &mut Option<Instant>,
) -> Result<Option<Verdict>, Failure> {
    let Ok(opened) = timeout_at(deadline, session.client().await?.watch_app(&wish.app)).await else {
        return Ok(Some(timed_out(seen.as_ref())));
    };
    let mut stream = opened?;
    loop {
        let Ok(next) = timeout_at(deadline, stream.next()).await else { return Ok(Some(timed_out(seen.as_ref()))) };
        let Some(event) = next? else { return Ok(None) };
        *silent_since = None;
        let app = match event {
            WatchEvent::Status { index, app } if index >= wish.index => *app,
            WatchEvent::Status { .. } => continue,
            WatchEvent::Deleted { .. } => return Ok(Some(Verdict::Deleted)),
        };
        for line in progress::lines(seen.as_ref(), &app, wish.revision) {
            session.terminal.hint(session.terminal.err(line.ink, &line.text));
        }
        let verdict = verdict::judge(&app, wish.revision);
        session.terminal.live(&format!("{} {}: {}", wish.app, wish.revision, verdict::missing(&app)));
        *seen = Some(app);
        if verdict.is_some() {
            return Ok(verdict);
        }
    }
}

/// Watches until the app is gone: true when it is, false when `deadline` came first.
///
/// # Errors
/// A server that refuses the watch for another reason than that the app is gone.
pub async fn to_absence(session: &Session, app: &AppId, deadline: Instant) -> Result<bool, Failure> {
    while Instant::now() < deadline {
        let Ok(opened) = timeout_at(deadline, session.client().await?.watch_app(app)).await else { return Ok(false) };
        let mut stream = match opened.map_err(Failure::from) {
            Ok(stream) => stream,
            Err(failure) if failure.exit == Exit::NotFound => return Ok(true),
            Err(failure) => return Err(failure),
        };
        loop {
            match timeout_at(deadline, stream.next()).await {
                Err(_) => return Ok(false),
                Ok(Ok(Some(WatchEvent::Deleted { .. }))) => return Ok(true),
                Ok(Ok(Some(WatchEvent::Status { .. }))) => {}
                Ok(Err(_) | Ok(None)) => break,
            }
        }
    }
    Ok(false)
}

fn timed_out(seen: Option<&AppView>) -> Verdict {
    Verdict::TimedOut { missing: seen.map_or_else(|| "the server has not answered".to_owned(), verdict::missing) }
}
