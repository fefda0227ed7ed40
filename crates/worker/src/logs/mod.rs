//! What guests wrote and which requests were answered, in bounded files per component that outlive the instance.
//!
//! Owns the files and the one thread that writes them. Writing a line never waits: when a component writes faster than it may, or the thread is behind,
//! lines are counted instead and the count is written in their place. Must never know who asks for lines or why. Start with [`LogStore`].

mod file;
mod query;
mod share;
mod waiting;
mod writer;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use api::v1::{LogEntry, LogLine};
use model::id::ComponentId;
use tokio::sync::{broadcast, oneshot};

pub use query::Filter;
pub use share::LogRate;

use share::Shares;
use waiting::Waiting;

use crate::limits::{LOG_FILE_BYTES_MAX, LOG_TEXT_BYTES_MAX};

/// The logs of a node. Dropping it writes what waits and ends the thread.
#[derive(Debug)]
pub struct LogStore {
    node: String,
    commands: Option<SyncSender<Command>>,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// Where, and how much.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The directory of all log files.
    pub directory: PathBuf,
    /// The node's name, put into every line.
    pub node: String,
    /// Largest file in bytes; a component keeps two.
    pub file_bytes_max: u64,
    /// How fast one component may write.
    pub rate: LogRate,
}

/// Which of a component's two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What the guest, or the host about it, said.
    Lines,
    /// Which requests it answered.
    Access,
}

/// Which file: of a component, or of requests no component answered.
pub(crate) type FileKey = (Option<ComponentId>, Kind);

/// What was on disk at one moment, and everything after it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) files: Vec<file::Frozen>,
    pub(crate) after: broadcast::Receiver<Arc<LogEntry>>,
}

pub(crate) enum Command {
    Snapshot { filter: Arc<Filter>, reply: oneshot::Sender<Snapshot> },
}

#[derive(Debug)]
pub(crate) struct Shared {
    /// The writer waits to be woken; while it is busy it looks by itself.
    asleep: AtomicBool,
    /// No line comes any more.
    ended: AtomicBool,
    /// Access lines on their way to the writer.
    access: Waiting,
    /// Guest lines on their way to the writer.
    shares: Shares,
    lines_dropped: AtomicU64,
    /// Access lines not taken since the writer last looked, by component. A short lock, held only when there is no room.
    access_untold: Mutex<BTreeMap<Option<ComponentId>, u64>>,
    access_dropped: AtomicU64,
}

impl LogConfig {
    /// The usual size of files in `directory`.
    pub fn new(directory: PathBuf, node: String, rate: LogRate) -> Self {
        Self { directory, node, file_bytes_max: LOG_FILE_BYTES_MAX, rate }
    }
}

impl LogStore {
    /// Starts the writer thread; fails when the directory cannot be made.
    pub fn start(config: LogConfig) -> io::Result<Self> {
        std::fs::create_dir_all(&config.directory)?;
        let (commands, commands_waiting) = sync_channel(crate::limits::LOG_QUERIES_MAX);
        let shared = Arc::new(Shared::new(config.rate));
        let node = config.node.clone();
        let writer = writer::Writer::new(config, shared.clone(), commands_waiting);
        let writer = std::thread::Builder::new().name("logs".into()).spawn(move || writer.run())?;
        Ok(Self { node, commands: Some(commands), shared, writer: Some(writer) })
    }

    /// Keeps a guest's line, or counts it when its component writes too fast. Never waits.
    pub fn line(&self, mut line: LogLine) {
        cut(&mut line.text);
        if !self.shared.shares.put(line) {
            self.shared.lines_dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.wake();
    }

    /// Keeps an access line of `component`, which `write` appends as JSON; it is given the node's name. Waits for nothing but others who do the same.
    pub fn access(&self, component: Option<&ComponentId>, write: impl FnOnce(&str, &mut Vec<u8>)) {
        thread_local! {
            /// Where this thread makes its lines, so that others need not wait while it does.
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let fits = LINE.with_borrow_mut(|line| {
            line.clear();
            write(&self.node, line);
            line.push(b'\n');
            self.shared.access.put(component, line)
        });
        if !fits {
            self.shared.lose_access(component.cloned(), 1);
        }
        self.wake();
    }

    /// Guest lines that were counted instead of kept since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.lines_dropped.load(Ordering::Relaxed)
    }

    /// The same of `component` alone.
    pub fn dropped_of(&self, component: &ComponentId) -> u64 {
        self.shared.shares.dropped(component)
    }

    /// The same of every component that lost any.
    pub fn dropped_by_component(&self) -> Vec<(ComponentId, u64)> {
        self.shared.shares.all_dropped()
    }

    /// Access lines that were counted instead of kept since the start.
    pub fn access_dropped(&self) -> u64 {
        self.shared.access_dropped.load(Ordering::Relaxed)
    }

    /// Forgets the allowances and counts of components that are not `assigned`; their files stay.
    pub fn retain(&self, assigned: &HashSet<&ComponentId>) {
        self.shared.shares.retain(assigned);
    }

    /// Everything `filter` may select as it is now, and what comes after; none when too many ask at once or the writer is gone.
    pub(crate) async fn snapshot(&self, filter: Arc<Filter>) -> Option<Snapshot> {
        let (reply, answer) = oneshot::channel();
        self.commands.as_ref()?.try_send(Command::Snapshot { filter, reply }).ok()?;
        if let Some(writer) = &self.writer {
            writer.thread().unpark();
        }
        answer.await.ok()
    }

    fn wake(&self) {
        if self.shared.asleep.load(Ordering::Relaxed)
            && self.shared.asleep.swap(false, Ordering::AcqRel)
            && let Some(writer) = &self.writer
        {
            writer.thread().unpark();
        }
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.commands = None;
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            if writer.join().is_err() {
                tracing::error!("the log writer panicked");
            }
        }
    }
}

impl Shared {
    fn new(rate: LogRate) -> Self {
        Self {
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            access: Waiting::default(),
            shares: Shares::new(rate),
            lines_dropped: AtomicU64::new(0),
            access_untold: Mutex::default(),
            access_dropped: AtomicU64::new(0),
        }
    }

    /// Lines that were taken could not be written.
    fn lose(&self, (component, kind): &FileKey, lines: u64) {
        match (component, kind) {
            (Some(component), Kind::Lines) => {
                self.lines_dropped.fetch_add(lines, Ordering::Relaxed);
                self.shares.lost(component);
            }
            _ => self.lose_access(component.clone(), lines),
        }
    }

    fn lose_access(&self, component: Option<ComponentId>, lines: u64) {
        self.access_dropped.fetch_add(lines, Ordering::Relaxed);
        if let Ok(mut untold) = self.access_untold.lock() {
            *untold.entry(component).or_default() += lines;
        }
    }

    fn take_access_untold(&self) -> BTreeMap<Option<ComponentId>, u64> {
        self.access_untold.lock().map(|mut untold| std::mem::take(&mut *untold)).unwrap_or_default()
    }
}

/// Cuts `text` to its limit and says how much is missing.
fn cut(text: &mut String) {
    if text.len() > LOG_TEXT_BYTES_MAX {
        let end = text.floor_char_boundary(LOG_TEXT_BYTES_MAX);
        let missing = text.len() - end;
        text.truncate(end);
        text.push_str(&format!(" … {missing} bytes cut"));
    }
}

#[cfg(test)]
mod tests;
