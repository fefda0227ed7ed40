//! A [`StateMachine`] as openraft's: applies what is committed, publishes the state, answers, takes and installs snapshots.
//! Owns the order of these steps; must never decide what an entry means.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use futures_util::{Stream, TryStreamExt};
use openraft::{
    AsyncRuntime, EntryPayload, RaftSnapshotBuilder,
    alias::{EntryOf, SnapshotOf},
    storage::{EntryResponder, RaftStateMachine},
};
use tokio::sync::{oneshot, watch};

use super::{Encoded, RaftLogId, Reply, SnapshotMeta, StoredMembers, TypesOf, invalid, log_id_in, log_id_out, stored};
use crate::{
    Checkpoint, GroupId, StateMachine, entry,
    group::Members,
    health::Status,
    limits::APPLY_ENTRIES_MAX,
    log::LogId,
    snapshot::{Draft, Meta, Snapshots, import},
    work::{Work, step_aside},
};

/// A state and what it is of.
pub(crate) struct Snapshot<M> {
    pub(crate) machine: Arc<M>,
    /// None before the first entry.
    pub(crate) meta: Option<Meta>,
}

/// What is published about the state, for any thread.
pub(crate) struct Shared<M> {
    published: ArcSwap<Snapshot<M>>,
    pub(crate) applied: watch::Sender<u64>,
    pub(crate) checkpoint: watch::Sender<Option<Checkpoint>>,
    /// The term of the last applied entry, and the first one of it.
    pub(crate) term: Mutex<(u64, u64)>,
    /// Who waits until an entry is applied. Woken in order, so that a simulation repeats itself.
    waiting: Mutex<BTreeMap<u64, Vec<oneshot::Sender<()>>>>,
}

impl<M: StateMachine> Shared<M> {
    fn new(machine: M, meta: Option<Meta>) -> Self {
        let applied = meta.as_ref().map(|meta| meta.last);
        Self {
            published: ArcSwap::from_pointee(Snapshot { machine: Arc::new(machine), meta }),
            applied: watch::Sender::new(applied.map_or(0, |id| id.index)),
            checkpoint: watch::Sender::new(None),
            term: Mutex::new(applied.map_or((0, 0), |id| (id.term, id.index))),
            waiting: Mutex::default(),
        }
    }

    /// The state after the last applied entry.
    pub(crate) fn published(&self) -> Arc<Snapshot<M>> {
        self.published.load_full()
    }

    /// Waits until the entry `index` is applied here. Fails when nothing will be applied any more.
    pub(crate) async fn reach(&self, index: u64) -> Result<(), oneshot::error::RecvError> {
        let reached = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if *self.applied.borrow() >= index {
                return Ok(());
            }
            let (reach, reached) = oneshot::channel();
            waiting.entry(index).or_default().push(reach);
            reached
        };
        reached.await
    }

    /// Nothing will be applied any more.
    pub(crate) fn end(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn publish(&self, machine: &M, meta: Meta, started: Option<(u64, u64)>) {
        let last = meta.last;
        self.published.store(Arc::new(Snapshot { machine: Arc::new(machine.clone()), meta: Some(meta) }));
        if let Some(started) = started {
            *self.term.lock().unwrap_or_else(PoisonError::into_inner) = started;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.applied.send_replace(last.index);
        let later = waiting.split_off(&(last.index + 1));
        let reached = std::mem::replace(&mut *waiting, later);
        drop(waiting);
        for waiter in reached.into_values().flatten() {
            // A waiter that went away does not need to know.
            let _ = waiter.send(());
        }
    }
}

/// A snapshot on its way into a state machine.
pub(crate) enum Content<M> {
    /// One that is on a shelf.
    Saved { snapshots: Snapshots, name: String },
    /// One that came from another member: checked and restored, but not yet on the shelf.
    Arrived { meta: Meta, machine: Box<M>, draft: Box<dyn Draft> },
}

type SnapshotIn<M, R> = SnapshotOf<TypesOf<M, R>, Content<M>>;

/// The newest snapshot on the shelf.
type Newest = Arc<Mutex<Option<(Meta, String)>>>;

/// The state machine as openraft sees it.
pub(crate) struct Applier<M: StateMachine, R> {
    group: GroupId,
    checkpoint_entries: u64,
    machine: M,
    applied: Option<LogId>,
    members: Members,
    members_at: Option<LogId>,
    shared: Arc<Shared<M>>,
    status: Status,
    snapshots: Snapshots,
    newest: Newest,
    work: Work,
    runtime: std::marker::PhantomData<fn() -> R>,
}

impl<M: StateMachine, R: AsyncRuntime> Applier<M, R> {
    /// Starts from the newest good snapshot, or from `machine` when there is none.
    pub(crate) fn open(
        group: GroupId,
        checkpoint_entries: u64,
        machine: M,
        snapshots: Snapshots,
        status: Status,
        work: Work,
    ) -> io::Result<Self> {
        let found = snapshots.newest::<M>()?;
        let (machine, newest) = match found {
            None => (machine, None),
            Some((meta, restored, name)) => (restored, Some((meta, name))),
        };
        let meta = newest.as_ref().map(|(meta, _)| meta.clone());
        if let Some(meta) = meta.as_ref().filter(|meta| meta.group != group) {
            return Err(invalid(format!("the snapshots are of group {}, expected {group}", meta.group)));
        }
        let applied = meta.as_ref().map(|meta| meta.last);
        let shared = Arc::new(Shared::new(machine.clone(), meta.clone()));
        let (members, members_at) = meta.map_or_else(Default::default, |meta| (meta.members, meta.members_at));
        let newest = Arc::new(Mutex::new(newest));
        let runtime = std::marker::PhantomData;
        Ok(Self { group, checkpoint_entries, machine, applied, members, members_at, shared, status, snapshots, newest, work, runtime })
    }

    pub(crate) fn shared(&self) -> Arc<Shared<M>> {
        self.shared.clone()
    }

    /// What the state is of, right now.
    pub(crate) fn meta(&self) -> Option<Meta> {
        let meta = |last| Meta { group: self.group, last, members: self.members.clone(), members_at: self.members_at };
        self.applied.map(meta)
    }

    fn apply_one(&mut self, entry: EntryOf<TypesOf<M, R>>) -> io::Result<Reply<M::Answer>> {
        let id = log_id_out(&entry.log_id);
        let answer = match entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Normal(command) => Some(self.apply_command(id.index, &command)?),
            EntryPayload::Membership(membership) => {
                self.members = Members::of(&membership);
                self.members_at = Some(id);
                None
            }
        };
        self.applied = Some(id);
        if id.index > 0 && id.index.is_multiple_of(self.checkpoint_entries) {
            self.take_checkpoint(id.index);
        }
        Ok(Reply::new(answer))
    }

    fn apply_command(&mut self, index: u64, command: &Encoded) -> io::Result<M::Answer> {
        let failed = |what: String| {
            self.status.fail(what.clone());
            io::Error::other(what)
        };
        let command = entry::read_command(&command.0).map_err(|error| failed(format!("entry {index} does not decode: {error}")))?;
        let machine = &mut self.machine;
        let applied = catch_unwind(AssertUnwindSafe(|| machine.apply(index, &command)));
        applied.map_err(|panic| failed(format!("applying entry {index} panicked: {}", reason(panic.as_ref()))))
    }

    /// Hashes the state as it is now, while the log goes on.
    fn take_checkpoint(&self, index: u64) {
        let (machine, shared, work) = (self.machine.clone(), self.shared.clone(), self.work);
        // Nobody waits for the task: what it finds is published, and without it there is no checkpoint at this index.
        drop(R::spawn(async move {
            let Ok(hash) = work.run::<R, _>(move || machine.hash()).await else { return };
            shared.checkpoint.send_if_modified(|checkpoint| {
                let later = checkpoint.is_none_or(|before| before.index < index);
                if later {
                    *checkpoint = Some(Checkpoint { index, hash });
                }
                later
            });
        }));
    }

    fn install(&mut self, meta: Meta, machine: M, name: String) {
        self.machine = machine;
        self.applied = Some(meta.last);
        self.members = meta.members.clone();
        self.members_at = meta.members_at;
        self.shared.publish(&self.machine, meta.clone(), Some((meta.last.term, meta.last.index)));
        set_newest(&self.newest, meta, name);
    }
}

impl<M: StateMachine, R: AsyncRuntime> RaftStateMachine<TypesOf<M, R>> for Applier<M, R> {
    type SnapshotData = Content<M>;
    type SnapshotBuilder = Builder<M, R>;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembers)> {
        Ok((self.applied.map(log_id_in), stored(self.members_at, &self.members)?))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypesOf<M, R>>>> + Unpin + Send,
    {
        let (mut answers, mut count, mut started) = (Vec::new(), 0, None);
        while let Some((entry, responder)) = entries.try_next().await? {
            self.status.check()?;
            let before = self.applied.map(|id| id.term);
            let reply = self.apply_one(entry)?;
            started = self.applied.filter(|id| Some(id.term) != before).map(|id| (id.term, id.index)).or(started);
            answers.extend(responder.map(|responder| (responder, reply)));
            count += 1;
            if count % APPLY_ENTRIES_MAX == 0 {
                step_aside().await;
            }
        }
        if let Some(meta) = self.meta() {
            self.shared.publish(&self.machine, meta, started);
        }
        for (responder, reply) in answers {
            responder.send(reply);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<M, R> {
        Builder {
            meta: self.meta(),
            machine: self.machine.clone(),
            snapshots: self.snapshots.clone(),
            newest: self.newest.clone(),
            status: self.status.clone(),
            work: self.work,
            runtime: std::marker::PhantomData,
        }
    }

    async fn install_snapshot(&mut self, _: &SnapshotMeta, content: Content<M>) -> io::Result<()> {
        self.status.check()?;
        let own = self.snapshots.clone();
        let installed = self.work.run::<R, _>(move || settle(&own, content)).await.flatten();
        let (meta, machine, name) = installed.inspect_err(|error| self.status.fail(format!("installing a snapshot failed: {error}")))?;
        self.install(meta, machine, name);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotIn<M, R>>> {
        current::<M, R>(&self.newest, &self.snapshots)
    }
}

/// Puts a snapshot on the own shelf and gives its state.
fn settle<M: StateMachine>(own: &Snapshots, content: Content<M>) -> io::Result<(Meta, M, String)> {
    match content {
        Content::Arrived { meta, machine, draft } => {
            let name = own.publish(&meta, draft)?;
            Ok((meta, *machine, name))
        }
        Content::Saved { snapshots, name } => {
            let (meta, machine) = import(snapshots.open(&name)?).map_err(invalid)?;
            let name = own.save(&meta, &machine)?;
            Ok((meta, machine, name))
        }
    }
}

fn set_newest(newest: &Newest, meta: Meta, name: String) {
    let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
    if newest.as_ref().is_none_or(|(before, _)| before.last <= meta.last) {
        *newest = Some((meta, name));
    }
}

fn current<M: StateMachine, R: AsyncRuntime>(newest: &Newest, snapshots: &Snapshots) -> io::Result<Option<SnapshotIn<M, R>>> {
    let newest = newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some((meta, name)) = newest else { return Ok(None) };
    let content = Content::Saved { snapshots: snapshots.clone(), name };
    Ok(Some(SnapshotOf::<TypesOf<M, R>, _> { meta: meta_in(&meta)?, snapshot: content }))
}

pub(super) fn meta_in(meta: &Meta) -> io::Result<SnapshotMeta> {
    Ok(SnapshotMeta { last_log_id: Some(log_id_in(meta.last)), last_membership: stored(meta.members_at, &meta.members)? })
}

/// Writes the state as it was when this was made, while the log goes on.
pub(crate) struct Builder<M, R> {
    meta: Option<Meta>,
    machine: M,
    snapshots: Snapshots,
    newest: Newest,
    status: Status,
    work: Work,
    runtime: std::marker::PhantomData<fn() -> R>,
}

impl<M: StateMachine, R: AsyncRuntime> RaftSnapshotBuilder<TypesOf<M, R>> for Builder<M, R> {
    type SnapshotData = Content<M>;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotIn<M, R>> {
        if let Some(meta) = self.meta.clone() {
            let (snapshots, machine, of) = (self.snapshots.clone(), self.machine.clone(), meta.clone());
            let saved = self.work.run::<R, _>(move || snapshots.save(&of, &machine)).await.flatten();
            self.status.snapshot(saved.as_ref().err().map(ToString::to_string));
            match saved {
                Ok(name) => set_newest(&self.newest, meta, name),
                // Most often the disk is full. The log still has everything, and the next one is tried later.
                Err(error) => tracing::warn!(error = %error, log.applied = meta.last.index, "a snapshot could not be written"),
            }
        }
        let none = || Content::Saved { snapshots: self.snapshots.clone(), name: String::new() };
        let newest = current::<M, R>(&self.newest, &self.snapshots)?;
        Ok(newest.unwrap_or_else(|| SnapshotOf::<TypesOf<M, R>, _> { meta: Default::default(), snapshot: none() }))
    }
}

fn reason(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason was given")
}
