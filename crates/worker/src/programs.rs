//! The programs of this node that may be called right now: each is loaded, or its code is unloaded because nobody asked for it, and opened again by the
//! first who does. Owns the map the request path reads, and when code is held in memory; must never decide which programs there are.
//!
//! Reading takes no lock. A request marks its program as used with one store at most; what was not used for a while is let go by [`Programs::sweep`].

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use api::node::AssignedProgram;
use arc_swap::{ArcSwap, ArcSwapOption};
use model::id::Digest;
use tokio::sync::Notify;

use crate::{
    engine::{Again, Engine, Failure},
    jobs::Jobs,
    limits::{PROGRAM_SHARDS, REOPEN_FAILED_FOR},
    roster::ProgramKey,
    secrets::SecretValues,
    shared::Shared,
};

/// Programs by component and revision.
pub struct Programs<E: Engine> {
    jobs: Arc<Jobs<E>>,
    /// Small maps, because one that changes is copied.
    shards: Vec<ArcSwap<Shard<E>>>,
    /// Codes that are open, as long as a program holds them.
    codes: Mutex<HashMap<Digest, Weak<E::Code>>>,
    opening: Shared<ProgramKey, Result<Arc<E::Program>, Failure>>,
    opening_codes: Shared<Digest, Result<Arc<E::Code>, Failure>>,
    /// Told whenever a program is loaded.
    loaded: Notify,
}

type Shard<E> = HashMap<ProgramKey, Arc<Slot<E>>>;

/// One program, loaded or not.
pub struct Slot<E: Engine> {
    assigned: Arc<AssignedProgram>,
    secrets: SecretValues,
    loaded: ArcSwapOption<Loaded<E>>,
    /// Somebody asked since the last look.
    used: AtomicBool,
    cold: Mutex<Cold>,
}

struct Loaded<E: Engine> {
    program: Arc<E::Program>,
    /// Programs of the same artifact share it; it goes with the last of them.
    _code: Arc<E::Code>,
}

/// What only matters while nobody asks.
struct Cold {
    /// When it was last seen in use.
    last_use: Instant,
    /// Why it could not be opened, and when.
    failed: Option<(Instant, Failure)>,
}

/// What there is for a key.
pub enum Found<E: Engine> {
    /// It can be called.
    Loaded(Arc<E::Program>),
    /// [`Programs::open`] makes it callable.
    Unloaded(Arc<Slot<E>>),
}

impl<E: Engine> Programs<E> {
    /// No programs yet; `jobs` opens code, and makes what is missing anew.
    pub fn new(jobs: Arc<Jobs<E>>) -> Self {
        Self {
            jobs,
            shards: (0..PROGRAM_SHARDS).map(|_| ArcSwap::default()).collect(),
            codes: Mutex::default(),
            opening: Shared::default(),
            opening_codes: Shared::default(),
            loaded: Notify::new(),
        }
    }

    /// The program of `key`.
    pub fn find(&self, key: &ProgramKey) -> Option<Found<E>> {
        let shard = self.shard(key).load();
        let slot = shard.get(key)?;
        Some(match slot.program() {
            Some(program) => Found::Loaded(program),
            None => Found::Unloaded(slot.clone()),
        })
    }

    /// Bytes that the sandboxes of one instance hold; none while its code is unloaded. Does not count as use.
    pub fn held_bytes(&self, key: &ProgramKey, ordinal: u32) -> u64 {
        let shard = self.shard(key).load();
        let loaded = shard.get(key).and_then(|slot| slot.loaded.load_full());
        loaded.map_or(0, |loaded| self.jobs.engine.held_bytes(&loaded.program, ordinal))
    }

    /// Whether there is a program of `key`.
    pub fn contains(&self, key: &ProgramKey) -> bool {
        self.shard(key).load().contains_key(key)
    }

    /// Programs that are in memory.
    pub fn loaded(&self) -> usize {
        self.slots().iter().filter(|slot| slot.is_loaded()).count()
    }

    /// Opens the code of `assigned` and starts a probe sandbox of it.
    pub async fn start(self: &Arc<Self>, assigned: Arc<AssignedProgram>, secrets: SecretValues) -> Result<Arc<Slot<E>>, Failure> {
        let code = self.code(assigned.digest, false).await?;
        let program = self.jobs.engine.program(&code, &assigned, &secrets)?;
        self.jobs.engine.probe(&program).await?;
        let cold = Mutex::new(Cold { last_use: Instant::now(), failed: None });
        let loaded = ArcSwapOption::from_pointee(Loaded { program, _code: code });
        self.loaded.notify_one();
        Ok(Arc::new(Slot { assigned, secrets, loaded, used: AtomicBool::new(false), cold }))
    }

    /// Makes a program callable.
    pub fn insert(&self, key: &ProgramKey, slot: Arc<Slot<E>>) {
        self.shard(key).rcu(|shard| {
            let mut shard = HashMap::clone(shard);
            shard.insert(key.clone(), slot.clone());
            shard
        });
    }

    /// Makes a program unknown; requests it answers go on.
    pub fn remove(&self, key: &ProgramKey) {
        self.shard(key).rcu(|shard| {
            let mut shard = HashMap::clone(shard);
            shard.remove(key);
            shard
        });
        // Programs of one component are in one shard.
        if !self.shard(key).load().keys().any(|other| other.component == key.component) {
            self.jobs.engine.forget(&key.component);
        }
    }

    /// Opens an unloaded program, once for everybody who asks meanwhile; goes on when those have gone. Code that cannot be opened is made anew.
    pub async fn open(self: &Arc<Self>, key: ProgramKey, slot: Arc<Slot<E>>) -> Result<Arc<E::Program>, Failure> {
        if let Some(failure) = slot.failed_lately() {
            return Err(failure);
        }
        let programs = self.clone();
        let opened = self.opening.run(key, move || async move { programs.reopen(&slot).await }).await;
        opened.unwrap_or_else(|| Err(Failure::new(Again::Sometimes, "E0302", "opening the code was broken off")))
    }

    async fn reopen(self: &Arc<Self>, slot: &Slot<E>) -> Result<Arc<E::Program>, Failure> {
        // Somebody may have been faster, between the look at the slot and this run.
        if let Some(program) = slot.program() {
            return Ok(program);
        }
        let begin = Instant::now();
        let code = self.code(slot.assigned.digest, true).await;
        let made = code.and_then(|code| Ok((self.jobs.engine.program(&code, &slot.assigned, &slot.secrets)?, code)));
        match made {
            Ok((program, code)) => {
                slot.load(program.clone(), code);
                self.loaded.notify_one();
                self.jobs.metrics.reopened(begin.elapsed());
                Ok(program)
            }
            Err(failure) => {
                let component = &slot.assigned.component;
                tracing::error!(component = %component, error.code = %failure.code, error = %failure.message, "unloaded code cannot be opened");
                slot.cold().failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// The code of `digest`, opened once for everybody; `again` when this worker has opened it before, and then it is made anew if need be.
    async fn code(self: &Arc<Self>, digest: Digest, again: bool) -> Result<Arc<E::Code>, Failure> {
        if let Some(code) = self.open_code(digest) {
            return Ok(code);
        }
        let programs = self.clone();
        let opened = self.opening_codes.run(digest, move || async move { programs.bring_code(digest, again).await }).await;
        opened.unwrap_or_else(|| Err(Failure::new(Again::Sometimes, "E0302", "opening the code was broken off")))
    }

    async fn bring_code(&self, digest: Digest, again: bool) -> Result<Arc<E::Code>, Failure> {
        if let Some(code) = self.open_code(digest) {
            return Ok(code);
        }
        self.make_room()?;
        let opened = match self.jobs.engine.open(digest, again).await {
            Err(failure) if again && failure.again == Again::WithNewCode => {
                tracing::warn!(artifact = %digest.short(), error = %failure.message, "the code is made anew");
                self.jobs.renew(digest).await?;
                self.jobs.engine.open(digest, false).await
            }
            opened => opened,
        };
        let code = Arc::new(opened?);
        self.codes().insert(digest, Arc::downgrade(&code));
        Ok(code)
    }

    fn open_code(&self, digest: Digest) -> Option<Arc<E::Code>> {
        self.codes().get(&digest)?.upgrade()
    }

    /// Unloads what was least recently used until one more code may be open.
    fn make_room(&self) -> Result<(), Failure> {
        let most = self.jobs.engine.codes_max();
        while self.codes_open() >= most {
            let Some(digest) = self.least_recently_used() else {
                let message = format!("all {most} codes this node may have open at once have requests under way");
                return Err(Failure::new(Again::Sometimes, "E0308", message));
            };
            self.slots().iter().filter(|slot| slot.assigned.digest == digest).for_each(|slot| slot.unload());
            // Requests that begin meanwhile keep what they have; their code does not count any more.
            self.codes().remove(&digest);
            tracing::debug!(artifact = %digest.short(), "code is unloaded to make room");
        }
        Ok(())
    }

    /// Codes that are open or being opened, the one that asks among them not counted.
    fn codes_open(&self) -> usize {
        let mut codes = self.codes();
        codes.retain(|_, code| code.strong_count() > 0);
        codes.len() + self.opening_codes.len().saturating_sub(1)
    }

    fn least_recently_used(&self) -> Option<Digest> {
        let mut last_uses: HashMap<Digest, Option<Instant>> = HashMap::new();
        for slot in self.slots().iter().filter(|slot| slot.is_loaded()) {
            let last_use = if slot.is_used(&*self.jobs.engine) { None } else { Some(slot.cold().last_use) };
            let of_digest = last_uses.entry(slot.assigned.digest).or_insert(last_use);
            *of_digest = of_digest.zip(last_use).map(|(one, other)| one.max(other));
        }
        last_uses.into_iter().filter_map(|(digest, last_use)| Some((last_use?, digest))).min().map(|(_, digest)| digest)
    }

    /// Unloads what nobody asked for since `idle`; says how many programs went and how many are left loaded.
    pub fn sweep(&self, idle: Duration) -> (usize, usize) {
        let (mut unloaded, mut left) = (0, 0);
        for slot in self.slots().iter().filter(|slot| slot.is_loaded()) {
            if slot.is_used(&*self.jobs.engine) {
                slot.used.store(false, Ordering::Relaxed);
                slot.cold().last_use = Instant::now();
            } else if slot.cold().last_use.elapsed() >= idle {
                slot.unload();
                unloaded += 1;
                continue;
            }
            left += 1;
        }
        self.codes().retain(|_, code| code.strong_count() > 0);
        (unloaded, left)
    }

    /// Counts what a sweep unloaded.
    pub fn count_unloaded(&self, programs: usize) {
        self.jobs.metrics.unloaded(programs);
    }

    /// Waits until a program is loaded; at once if one was since the last wait.
    pub async fn wait_for_load(&self) {
        self.loaded.notified().await;
    }

    fn slots(&self) -> Vec<Arc<Slot<E>>> {
        self.shards.iter().flat_map(|shard| shard.load().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn shard(&self, key: &ProgramKey) -> &ArcSwap<Shard<E>> {
        let mut hasher = DefaultHasher::new();
        key.component.app.name.hash(&mut hasher);
        let number = usize::try_from(hasher.finish() % PROGRAM_SHARDS as u64).expect("it is smaller than a usize");
        &self.shards[number]
    }

    fn codes(&self) -> MutexGuard<'_, HashMap<Digest, Weak<E::Code>>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Engine> fmt::Debug for Programs<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Programs").finish_non_exhaustive()
    }
}

impl<E: Engine> Slot<E> {
    /// What it was made from.
    pub fn assigned(&self) -> &AssignedProgram {
        &self.assigned
    }

    /// The program if it is loaded, marked as used.
    fn program(&self) -> Option<Arc<E::Program>> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.loaded.load().as_ref().map(|loaded| loaded.program.clone())
    }

    fn is_loaded(&self) -> bool {
        self.loaded.load().is_some()
    }

    fn is_used(&self, engine: &E) -> bool {
        self.used.load(Ordering::Relaxed) || self.loaded.load().as_ref().is_some_and(|loaded| engine.is_busy(&loaded.program))
    }

    fn load(&self, program: Arc<E::Program>, code: Arc<E::Code>) {
        let mut cold = self.cold();
        (cold.last_use, cold.failed) = (Instant::now(), None);
        self.loaded.store(Some(Arc::new(Loaded { program, _code: code })));
    }

    fn unload(&self) {
        self.loaded.store(None);
    }

    /// A failure that is too young to try again: its next request would only find the same.
    fn failed_lately(&self) -> Option<Failure> {
        self.cold().failed.as_ref().filter(|(at, _)| at.elapsed() < REOPEN_FAILED_FOR).map(|(_, failure)| failure.clone())
    }

    fn cold(&self) -> MutexGuard<'_, Cold> {
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
