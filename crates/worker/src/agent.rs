//! The one owner of what this node runs: gathers causes, takes steps, publishes the routing table, reports. Must never answer a request itself, and
//! never wait for a step: steps run beside it and come back as a cause.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use api::node::{AssignedFile, AssignedProgram, Assignment, AssignmentPart};
use model::id::{Digest, PlacementId};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    control::{Backoff, Offer},
    engine::{Again, Engine, Failure},
    jobs::{Done, Job, Jobs},
    limits::{DRAIN_LOOK_EVERY, STEP_TRIES_MAX, TABLE_REST, WITHDRAWN_FOR_MIN},
    next_step::{Seen, Step},
    programs::{Programs, Slot},
    roster::{ProgramKey, Roster, is_same},
    secrets::{Brought, Missing, RouteCertificates, SecretValues, Vault, taken_from},
    table::table,
};

/// A job and how it ended.
type Over<E> = (Job, Result<Done<Arc<Slot<E>>>, Failure>);

/// Everything that can make the agent do something.
enum Wake<E: Engine> {
    /// The control plane, or the file it left, says what to run.
    Offered(AssignmentPart, Option<oneshot::Sender<()>>),
    /// A job is over, well or not, or may be tried again.
    Over(Over<E>),
    /// A draining instance may have finished, or a table is due.
    Look,
    /// The worker ends; what runs is the gateway's to drain.
    Stop,
}

/// What others see of the agent.
#[derive(Debug, Clone, Default)]
pub struct Seat {
    /// What is held.
    pub roster: Roster,
    /// Every wanted instance is ready or cannot be.
    pub settled: bool,
}

/// What an agent is made of.
pub struct Agent<E: Engine> {
    /// Starts programs.
    pub jobs: Arc<Jobs<E>>,
    /// What may be called; shared with the request path.
    pub programs: Arc<Programs<E>>,
    /// Takes the routing table, and knows how many requests are under way.
    pub gateway: gateway::Handle,
    /// What others see.
    pub seat: watch::Sender<Seat>,
    /// What a restart should find.
    pub keep: watch::Sender<Option<Roster>>,
    /// The secret values a restart should find.
    pub vault: watch::Sender<Arc<Vault>>,
    /// What answers for the hosts of routes.
    pub certificates: watch::Sender<Arc<RouteCertificates>>,
}

/// The agent at work.
struct Work<E: Engine> {
    agent: Agent<E>,
    roster: Roster,
    vault: Vault,
    running: JoinSet<Over<E>>,
    /// Jobs under way or waiting to be tried again.
    busy: HashSet<Job>,
    tries: BTreeMap<Job, u32>,
    withdrawn: BTreeMap<PlacementId, Instant>,
    /// Artifacts whose code file cannot be opened; their code is made anew.
    distrusted: HashSet<Digest>,
    /// The table the gateway has no longer matches the roster.
    stale_table: bool,
    /// Until then the gateway keeps the table it has, unless something leaves it.
    table_due: Instant,
    /// Something leaves the table, which does not wait.
    urgent: bool,
    /// The files of every program that has some, until it is let go.
    files: BTreeMap<ProgramKey, Vec<AssignedFile>>,
    /// Removes files that nobody needs any more.
    sweeping: Option<JoinHandle<()>>,
}

impl<E: Engine> Agent<E> {
    /// Serves from `saved` with the secrets of `vault`, then from what is offered, until `stop`.
    pub async fn run(self, (saved, vault): (Option<Assignment>, Vault), mut offers: mpsc::Receiver<Offer>, stop: CancellationToken) {
        let mut work = Work {
            agent: self,
            roster: Roster::default(),
            vault: Vault::default(),
            running: JoinSet::new(),
            busy: HashSet::new(),
            tries: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            distrusted: HashSet::new(),
            stale_table: true,
            table_due: Instant::now(),
            urgent: false,
            files: BTreeMap::new(),
            sweeping: None,
        };
        let mut next = saved.map(|saved| {
            let mut part = saved.into();
            vault.fill(&mut part);
            Wake::Offered(part, None)
        });
        loop {
            if let Some(wake) = next.take() {
                match wake {
                    Wake::Offered(offered, refused) => work.accept(offered, refused),
                    Wake::Over((job, result)) => work.over(job, result),
                    Wake::Look => work.look(),
                    Wake::Stop => return,
                }
            }
            // What ended meanwhile is told together with this: a thousand programs that start make some tens of tables, not a thousand.
            while let Some(over) = work.running.try_join_next() {
                let (job, result) = joined(over);
                work.over(job, result);
            }
            work.take_steps();
            work.tell();
            next = Some(work.wait(&mut offers, &stop).await);
        }
    }
}

impl<E: Engine> Work<E> {
    async fn wait(&mut self, offers: &mut mpsc::Receiver<Offer>, stop: &CancellationToken) -> Wake<E> {
        let drain = if self.withdrawn.is_empty() { Duration::MAX } else { DRAIN_LOOK_EVERY };
        let look = if self.stale_table { drain.min(self.table_due.saturating_duration_since(Instant::now())) } else { drain };
        tokio::select! {
            biased;
            () = stop.cancelled() => Wake::Stop,
            Some(over) = self.running.join_next() => Wake::Over(joined(over)),
            offered = offers.recv() => match offered {
                Some(Offer { part, refused }) => Wake::Offered(part, Some(refused)),
                None => Wake::Stop,
            },
            () = tokio::time::sleep(look) => Wake::Look,
        }
    }

    /// Takes an assignment in force, or tells `refused` that it is not: what follows it would have nothing to stand on.
    fn accept(&mut self, mut offered: AssignmentPart, refused: Option<oneshot::Sender<()>>) {
        let brought = taken_from(&mut offered);
        let (generation, whole, apps, more) = (offered.generation, offered.since.is_none(), offered.apps.len(), offered.more);
        let with_files = offered.apps.iter().flat_map(|app| &app.programs).filter(|program| !program.files.is_empty());
        let files: Vec<_> = with_files.map(|program| (ProgramKey::of(program), program.files.clone())).collect();
        match self.roster.accept(offered) {
            Err(stale) => {
                tracing::warn!(error = %stale, "an assignment is refused");
                if let Some(refused) = refused {
                    // Nobody listens any more when the stream has ended by itself.
                    let _ = refused.send(());
                }
            }
            Ok(()) => {
                tracing::info!(generation = %generation, whole, apps, "an assignment is in force");
                self.keep_files(files, more);
                self.learn(brought);
                self.agent.keep.send_replace(Some(self.roster.clone()));
                self.stale_table = true;
            }
        }
    }

    /// Takes over secret values, and lets go on what waited for them or has others now.
    fn learn(&mut self, brought: Brought) {
        if self.vault.learn(brought) {
            self.agent.vault.send_replace(Arc::new(self.vault.clone()));
            self.roster.release();
        }
        let certificates = self.vault.certificates(&self.roster);
        self.agent.certificates.send_if_modified(|known| {
            let differs = **known != certificates;
            if differs {
                *known = Arc::new(certificates);
            }
            differs
        });
        for key in self.roster.take_renewed() {
            if self.agent.programs.contains(&key) {
                self.renew(key);
            }
        }
    }

    /// Makes a program that answers anew, with the values it has now; the one before answers until then.
    fn renew(&mut self, key: ProgramKey) {
        if self.roster.needs_program(&key) {
            self.start(Job::Renew(key));
        }
    }

    /// A job of a program, once its secrets are here; how far its placements are then.
    fn start(&mut self, job: Job) -> Seen {
        let unknown = || Seen::Withheld { message: "waits for what a server says of it".to_owned() };
        let (Job::Start(key) | Job::Renew(key)) = &job else { return unknown() };
        let Some(assigned) = self.roster.program(key).cloned() else { return unknown() };
        let secrets = self.vault.values(&assigned);
        if let Err(missing @ Missing::NotHere { .. }) = &secrets {
            let message = missing.to_string();
            tracing::warn!(component = %key.component, waits = message, "a program waits for secrets");
            return Seen::Withheld { message };
        }
        if self.busy.insert(job.clone()) {
            let (jobs, programs) = (self.agent.jobs.clone(), self.agent.programs.clone());
            self.running.spawn(async move {
                let result = start(assigned, secrets, &jobs, &programs).await;
                (job, result)
            });
        }
        Seen::Starting
    }

    /// How a renewal ended: what answers stays when it did not work, and it is tried again where that may help.
    fn renewed(&mut self, key: ProgramKey, result: Result<Done<Arc<Slot<E>>>, Failure>) {
        let job = Job::Renew(key.clone());
        match result {
            Ok(Done::Started(slot)) if self.agent.programs.contains(&key) => {
                self.tries.remove(&job);
                tracing::info!(component = %key.component, revision = %key.revision, "a program has other values from now on");
                self.insert(&key, slot);
            }
            Ok(Done::Waited) if self.agent.programs.contains(&key) => self.renew(key),
            Ok(_) => drop(self.tries.remove(&job)),
            Err(failure) => {
                tracing::error!(job = %job, error.code = %failure.code, error = %failure.message, "a program keeps the values it has");
                if failure.again != Again::Never {
                    *self.tries.entry(job.clone()).or_default() += 1;
                    self.try_again(job);
                }
            }
        }
    }

    /// Makes a program callable; once more when it has other values by now.
    fn insert(&mut self, key: &ProgramKey, slot: Arc<Slot<E>>) {
        let is_old = self.roster.program(key).is_some_and(|assigned| !is_same(assigned, slot.assigned()));
        self.agent.programs.insert(key, slot);
        if is_old {
            self.renew(key.clone());
        }
    }

    fn keep_files(&mut self, files: Vec<(ProgramKey, Vec<AssignedFile>)>, more: bool) {
        // An earlier life of the worker may have left some; what is still to come may need them.
        let due = !more && (self.sweeping.is_none() || !files.is_empty());
        self.files.extend(files);
        if due {
            self.sweep_files();
        }
    }

    /// Removes what nobody needs any more, beside everything else.
    fn sweep_files(&mut self) {
        let files = self.agent.jobs.files.clone();
        files.want(self.files.values().map(Vec::as_slice));
        self.sweeping = Some(tokio::task::spawn_blocking(move || files.sweep()));
    }

    fn take_steps(&mut self) {
        loop {
            let steps = self.roster.steps();
            if steps.is_empty() {
                return;
            }
            for (placement, step) in steps {
                self.take(placement, step);
            }
        }
    }

    /// Takes `step`; the placement moves on in any case, so that the same step is not taken twice.
    fn take(&mut self, placement: PlacementId, step: Step) {
        let Some(held) = self.roster.placements().get(&placement) else { return };
        let (key, digest) = (held.key.clone(), held.digest);
        tracing::debug!(placement.id = %placement, component = %key.component, step = ?step, "a step is taken");
        let seen = match step {
            Step::Fetch if self.agent.programs.contains(&key) => Seen::Started,
            Step::Fetch if self.agent.jobs.has_code(digest) && !self.distrusted.contains(&digest) => Seen::Compiled,
            Step::Fetch if self.agent.jobs.has_artifact(digest) => Seen::Fetched,
            Step::Fetch => self.begin(Job::Fetch(digest), Seen::Fetching),
            Step::Compile => self.begin(Job::Compile(digest), Seen::Compiling),
            Step::Start => self.start(Job::Start(key.clone())),
            Step::Publish => {
                self.stale_table = true;
                Seen::Ready
            }
            Step::Withdraw => {
                self.withdrawn.insert(placement, Instant::now());
                (self.stale_table, self.urgent) = (true, true);
                Seen::Draining
            }
            Step::Drop => {
                self.roster.set(placement, Seen::Stopped);
                if !self.roster.needs_program(&key) {
                    self.agent.programs.remove(&key);
                    if self.files.remove(&key).is_some() {
                        self.sweep_files();
                    }
                }
                Seen::Stopped
            }
        };
        self.roster.set(placement, seen);
    }

    fn begin(&mut self, job: Job, seen: Seen) -> Seen {
        if self.busy.insert(job.clone()) {
            let jobs = self.agent.jobs.clone();
            self.running.spawn(async move {
                let result = run(&job, &jobs).await;
                (job, result)
            });
        }
        seen
    }

    fn over(&mut self, job: Job, result: Result<Done<Arc<Slot<E>>>, Failure>) {
        self.busy.remove(&job);
        if let Job::Renew(key) = job {
            return self.renewed(key, result);
        }
        let (busy, before, after) = stages(&job);
        let concerned = job.concerned(&self.roster);
        match result {
            Ok(Done::Waited) => {
                let distrusted = self.digests(&concerned).any(|digest| self.distrusted.contains(&digest));
                let before = if distrusted && busy == Seen::Starting { Seen::Absent } else { before };
                self.roster.advance(&concerned, &busy, &before);
            }
            Ok(done) => {
                self.tries.remove(&job);
                let moved = self.roster.advance(&concerned, &busy, &after);
                match (done, &job) {
                    (Done::Started(slot), Job::Start(key)) if moved => self.insert(key, slot),
                    (Done::Compiled, Job::Compile(digest)) => {
                        self.distrusted.remove(digest);
                    }
                    _ => {}
                }
            }
            Err(failure) => self.failed(job, failure),
        }
    }

    fn failed(&mut self, job: Job, failure: Failure) {
        let tries = self.tries.entry(job.clone()).or_default();
        *tries += 1;
        let again = match failure.again {
            Again::Never => false,
            Again::Sometimes | Again::WithNewCode => *tries < STEP_TRIES_MAX,
            Again::Always => true,
        };
        tracing::warn!(job = %job, error.code = %failure.code, error = %failure.message, tries = *tries, again, "a step failed");
        let concerned = job.concerned(&self.roster);
        if failure.again == Again::WithNewCode {
            let distrusted: Vec<_> = self.digests(&concerned).collect();
            self.distrusted.extend(distrusted);
        }
        if again {
            self.try_again(job);
        } else {
            self.tries.remove(&job);
            let failed = Seen::Failed { code: failure.code.into_owned(), message: failure.message };
            self.roster.advance(&concerned, &stages(&job).0, &failed);
        }
    }

    fn digests(&self, placements: &[PlacementId]) -> impl Iterator<Item = Digest> {
        placements.iter().filter_map(|id| self.roster.placements().get(id)).map(|held| held.digest)
    }

    fn try_again(&mut self, job: Job) {
        let wait = Backoff::after(self.tries.get(&job).copied().unwrap_or_default());
        self.busy.insert(job.clone());
        self.running.spawn(async move {
            tokio::time::sleep(wait).await;
            (job, Ok(Done::Waited))
        });
    }

    fn look(&mut self) {
        let due = |at: &Instant| at.elapsed() >= WITHDRAWN_FOR_MIN;
        let candidates: Vec<PlacementId> = self.withdrawn.iter().filter(|(_, at)| due(at)).map(|(id, _)| *id).collect();
        for placement in candidates {
            let Some(held) = self.roster.placements().get(&placement) else { continue };
            if self.agent.gateway.in_flight(&held.target()) == 0 {
                self.withdrawn.remove(&placement);
                self.roster.set(placement, Seen::Drained);
            }
        }
    }

    /// Gives the gateway its table first and tells others afterwards: what is said to be ready can be reached.
    fn tell(&mut self) {
        if self.stale_table {
            let begin = Instant::now();
            if begin < self.table_due && !self.urgent {
                return;
            }
            let (table, refused) = table(&self.roster);
            for error in refused {
                tracing::error!(error = %error, "a route cannot be published");
            }
            self.agent.gateway.publish(table);
            (self.stale_table, self.urgent) = (false, false);
            self.table_due = Instant::now() + begin.elapsed() * TABLE_REST;
        }
        self.agent.seat.send_if_modified(|seat| {
            let modified = seat.roster.version() != self.roster.version();
            if modified {
                *seat = Seat { roster: self.roster.clone(), settled: self.roster.is_settled() };
            }
            modified
        });
    }
}

async fn run<E: Engine>(job: &Job, jobs: &Jobs<E>) -> Result<Done<Arc<Slot<E>>>, Failure> {
    match job {
        Job::Fetch(digest) => jobs.fetch(*digest).await.map(|()| Done::Fetched),
        Job::Compile(digest) => jobs.compile(*digest).await.map(|()| Done::Compiled),
        Job::Start(key) | Job::Renew(key) => {
            Err(Failure::new(Again::Sometimes, "E0302", format!("{} {} is not assigned any more", key.component, key.revision)))
        }
    }
}

async fn start<E: Engine>(
    assigned: Arc<AssignedProgram>,
    secrets: Result<SecretValues, Missing>,
    jobs: &Jobs<E>,
    programs: &Arc<Programs<E>>,
) -> Result<Done<Arc<Slot<E>>>, Failure> {
    let secrets = secrets?;
    let _turn = jobs.turn_to_start().await?;
    jobs.lay_out(&assigned.files).await?;
    programs.start(assigned, secrets).await.map(Done::Started)
}

fn joined<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    ended.expect("a job neither panics nor is aborted while the agent runs")
}

/// What a placement is while `job` runs for it, was before, and is after.
fn stages(job: &Job) -> (Seen, Seen, Seen) {
    match job {
        Job::Fetch(_) => (Seen::Fetching, Seen::Absent, Seen::Fetched),
        // The artifact may be gone: somebody else had code made of it meanwhile.
        Job::Compile(_) => (Seen::Compiling, Seen::Absent, Seen::Compiled),
        Job::Start(_) | Job::Renew(_) => (Seen::Starting, Seen::Compiled, Seen::Started),
    }
}

/// An error with all its causes, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Job {
    /// The placements that wait for it.
    fn concerned(&self, roster: &Roster) -> Vec<PlacementId> {
        match self {
            Self::Fetch(digest) | Self::Compile(digest) => roster.of_digest(*digest),
            Self::Start(key) | Self::Renew(key) => roster.of_program(key),
        }
    }
}
