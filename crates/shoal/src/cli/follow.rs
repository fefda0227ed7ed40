//! Watching an app until its rollout has a verdict. Owns the watch, its reconnects and its deadline; what a verdict is, `verdict` says.

use std::time::Duration;

use api::v1::{AppView, RolloutPhase, WatchEvent};
use model::id::{AppId, Index, RevisionNumber};
use tokio::time::{Instant, timeout_at};

use super::{
    again::Again,
    age,
    failure::{Exit, Failure},
    progress,
    session::Session,
    verdict::{self, Verdict},
};

/// How long a server may be silent before waiting for it is given up: a control plane that was killed is back within seconds.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to reach a silent server: short enough not to be noticed, long enough not to be a load.
const PAUSE: Duration = Duration::from_millis(200);
/// How long nothing may move before that is the verdict: other apps' instances that just stop give their room back within it.
const STUCK_MIN: Duration = Duration::from_secs(2);

/// Between two looks at the clock while something is compiled.
const SECOND: Duration = Duration::from_secs(1);

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
    let mut follower = Follower { session, wish, deadline, seen: None, silent_since: None, stuck: None };
    loop {
        match follower.watch_once().await {
            Ok(Some(verdict)) => {
                let app = follower.seen.filter(|_| verdict != Verdict::Deleted);
                return Ok(Ended { verdict, app, took: start.elapsed() });
            }
            Ok(None) => {}
            Err(failure) => {
                let since = *follower.silent_since.get_or_insert_with(Instant::now);
                if failure.exit != Exit::Unreachable || since.elapsed() > SILENCE_MAX {
                    return Err(failure);
                }
            }
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + PAUSE)).await;
    }
}

/// What is known between two connections.
struct Follower<'a> {
    session: &'a Session,
    wish: &'a Wish,
    deadline: Instant,
    seen: Option<AppView>,
    silent_since: Option<Instant>,
    /// Nothing moves any more, and since when.
    stuck: Option<(Instant, Verdict)>,
}

impl Follower<'_> {
    /// One connection's worth of watching; none when the stream ended without a verdict.
    async fn watch_once(&mut self) -> Result<Option<Verdict>, Failure> {
        let client = self.session.client().await?;
        let Ok(opened) = timeout_at(self.deadline, client.watch_app(&self.wish.app)).await else { return Ok(Some(self.out_of_time())) };
        let mut stream = opened?;
        loop {
            let patience = self.stuck.as_ref().map_or(self.deadline, |(since, _)| self.deadline.min(*since + STUCK_MIN));
            let next = match timeout_at(self.until_next_look(patience), stream.next()).await {
                Ok(next) => next,
                Err(_) if Instant::now() < patience => {
                    self.show();
                    continue;
                }
                Err(_) => return Ok(Some(self.out_of_time())),
            };
            let Some(event) = next? else { return Ok(None) };
            self.silent_since = None;
            let app = match event {
                WatchEvent::Status { index, app } if index >= self.wish.index => *app,
                WatchEvent::Status { .. } => continue,
                WatchEvent::Deleted { .. } => return Ok(Some(Verdict::Deleted)),
            };
            if let Some(verdict) = self.look(app) {
                return Ok(Some(verdict));
            }
        }
    }

    /// Tells what changed; a verdict when there is one that stays.
    fn look(&mut self, app: AppView) -> Option<Verdict> {
        let terminal = &self.session.terminal;
        for line in progress::lines(self.seen.as_ref(), &app, self.wish.revision) {
            terminal.hint(terminal.err(line.ink, &line.text));
        }
        let verdict = verdict::judge(&app, self.wish.revision);
        let is_open = app.status.rollout.phase == RolloutPhase::Progressing;
        self.seen = Some(app);
        self.show();
        match verdict {
            // The server may still place it, or try again what failed.
            Some(stuck @ (Verdict::CannotPlace { .. } | Verdict::Failed { .. }))
                if is_open || matches!(stuck, Verdict::CannotPlace { .. }) =>
            {
                let since = self.stuck.take().map_or_else(Instant::now, |(since, _)| since);
                self.stuck = Some((since, stuck));
                None
            }
            other => {
                self.stuck = None;
                other
            }
        }
    }

    /// When the live line must be rewritten although nothing was told: seconds pass while something is compiled.
    fn until_next_look(&self, patience: Instant) -> Instant {
        let is_compiling = self.seen.iter().flat_map(|app| &app.status.instances).any(|instance| instance.compiling.is_some());
        if is_compiling && self.session.terminal.live { patience.min(Instant::now() + SECOND) } else { patience }
    }

    /// Rewrites the live line.
    fn show(&self) {
        let Some(app) = &self.seen else { return };
        let mut parts = progress::compiling(app, age::now());
        if parts.is_empty() {
            parts.push(verdict::missing(app));
        }
        self.session.terminal.live(&format!("{} {}: {}", self.wish.app, self.wish.revision, parts.join(", ")));
    }

    fn out_of_time(&mut self) -> Verdict {
        match self.stuck.take() {
            Some((_, verdict)) => verdict,
            None => {
                Verdict::TimedOut { missing: self.seen.as_ref().map_or_else(|| "the server has not answered".to_owned(), verdict::missing) }
            }
        }
    }
}

/// Watches until the app is gone: true when it is, false when `deadline` came first.
///
/// # Errors
/// A server that refuses the watch for another reason than that the app is gone.
pub async fn to_absence(session: &Session, app: &AppId, deadline: Instant) -> Result<bool, Failure> {
    let mut again = Again::new(session);
    while Instant::now() < deadline {
        let Ok(opened) = timeout_at(deadline, session.client().await?.watch_app(app)).await else { return Ok(false) };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) if error.code() == "E0402" => return Ok(true),
            Err(error) => {
                again.after(Some(error)).await?;
                continue;
            }
        };
        loop {
            match timeout_at(deadline, stream.next()).await {
                Err(_) => return Ok(false),
                Ok(Ok(Some(WatchEvent::Deleted { .. }))) => return Ok(true),
                Ok(Ok(Some(WatchEvent::Status { .. }))) => again.went_on(),
                Ok(Ok(None)) => break again.after(None).await?,
                Ok(Err(error)) => break again.after(Some(error)).await?,
            }
        }
    }
    Ok(false)
}
