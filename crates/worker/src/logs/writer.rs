//! The thread that writes log files. Owns them and the order of lines; must never make a producer wait.
//!
//! While lines come it looks for them every 20 ms, so that producers pay no system call for waking it; after a second without lines it
//! sleeps until it is woken, so that an idle node costs nothing.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
    thread,
    time::{Duration, Instant},
};

use api::v1::LogEntry;
use model::id::{AppId, ComponentId, Name};
use tokio::sync::broadcast;

use super::{
    Command, FileKey, Filter, Kind, LogConfig, Shared, Snapshot,
    file::{self, BoundedFile},
    share::{Share, Taken},
    waiting::Lines,
};
use crate::limits::{LOG_COMPONENTS_MAX, LOG_FILES_OPEN_MAX, LOG_FOLLOW_LINES_MAX, LOG_LOOK_EVERY, LOG_TELL_DROPPED_EVERY};

/// Looks without a line before the thread sleeps.
const IDLE_LOOKS_MAX: u32 = 50;

/// The directory of requests no component answered; no namespace is called so, names hold no underscore.
const UNROUTED: &str = "_unrouted";

pub(super) struct Writer {
    config: LogConfig,
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    /// The memory of the access lines written last, while more come.
    spare: Lines,
    open: HashMap<FileKey, OpenFile>,
    after: broadcast::Sender<Arc<LogEntry>>,
    buffer: Vec<u8>,
    /// Components that lost lines nobody was told of, and since when.
    untold: HashMap<ComponentId, (Arc<Share>, Instant)>,
    complained_at: Option<Instant>,
}

struct OpenFile {
    file: BoundedFile,
    written_at: Instant,
    dirty: bool,
}

impl Writer {
    pub(super) fn new(config: LogConfig, shared: Arc<Shared>, commands: Receiver<Command>) -> Self {
        let (after, _) = broadcast::channel(LOG_FOLLOW_LINES_MAX);
        Self {
            config,
            shared,
            commands,
            spare: Lines::default(),
            open: HashMap::new(),
            after,
            buffer: Vec::new(),
            untold: HashMap::new(),
            complained_at: None,
        }
    }

    pub(super) fn run(mut self) {
        let mut idle_looks = 0;
        loop {
            let (found, ended) = self.look();
            if ended {
                return;
            }
            idle_looks = if found { 0 } else { idle_looks + 1 };
            if idle_looks < IDLE_LOOKS_MAX {
                thread::park_timeout(LOG_LOOK_EVERY);
                continue;
            }
            self.shared.asleep.store(true, Ordering::SeqCst);
            // A line that came between the last look and the flag woke nobody.
            if !self.look().0 {
                thread::park_timeout(Duration::from_secs(1));
            }
            self.shared.asleep.store(false, Ordering::SeqCst);
        }
    }

    /// Writes everything that waits; says whether there was something, and whether nobody can send any more.
    fn look(&mut self) -> (bool, bool) {
        // Before the look: whoever ended the lines sends none after that.
        let ended = self.shared.ended.load(Ordering::SeqCst);
        let mut found = self.write_access();
        for share in self.shared.shares.take_ready() {
            found = true;
            self.write_share(share);
        }
        for (component, lines) in self.shared.take_access_untold() {
            let dropped = LogEntry::Dropped { lines, component: component.clone(), access: true };
            self.write((component, Kind::Access), dropped);
        }
        self.tell_dropped(if ended { Duration::ZERO } else { LOG_TELL_DROPPED_EVERY });
        self.flush();
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
        (found, ended)
    }

    /// Writes the access lines that wait; says whether there were any.
    fn write_access(&mut self) -> bool {
        let lines = self.shared.access.take(std::mem::take(&mut self.spare));
        for (component, count, bytes) in lines.runs() {
            let key = (component.clone(), Kind::Access);
            self.append(&key, count, |file| file.append_all(bytes));
            if self.after.receiver_count() > 0 {
                let entries = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
                // Whoever follows may have gone meanwhile.
                entries.for_each(|entry: LogEntry| drop(self.after.send(Arc::new(entry))));
            }
        }
        let found = !lines.is_empty();
        if found {
            self.spare = lines.emptied();
        }
        found
    }

    fn write_share(&mut self, share: Arc<Share>) {
        let Taken { lines, has_untold } = self.shared.shares.take(&share);
        for mut line in lines {
            line.node.clone_from(&self.config.node);
            self.write((Some(share.component.clone()), Kind::Lines), LogEntry::Line(line));
        }
        if has_untold {
            self.untold.entry(share.component.clone()).or_insert_with(|| (share, Instant::now()));
        }
    }

    /// Writes how many lines were dropped where that has waited for `wait`.
    fn tell_dropped(&mut self, wait: Duration) {
        let due: Vec<_> = self.untold.extract_if(|_, (_, since)| since.elapsed() >= wait).map(|(_, (share, _))| share).collect();
        for share in due {
            let lines = share.take_untold();
            if lines > 0 {
                let dropped = LogEntry::Dropped { lines, component: Some(share.component.clone()), access: false };
                self.write((Some(share.component.clone()), Kind::Lines), dropped);
            }
        }
    }

    fn write(&mut self, key: FileKey, entry: LogEntry) {
        self.buffer.clear();
        if serde_json::to_writer(&mut self.buffer, &entry).is_err() {
            return;
        }
        let line = std::mem::take(&mut self.buffer);
        self.append(&key, 1, |file| file.append(&line));
        self.buffer = line;
        if self.after.receiver_count() > 0 {
            let _ = self.after.send(Arc::new(entry));
        }
    }

    /// Has `lines` lines appended to a file, or counts them as lost.
    fn append(&mut self, key: &FileKey, lines: u64, append: impl FnOnce(&mut BoundedFile) -> std::io::Result<()>) {
        if let Err(error) = self.opened(key).and_then(append) {
            // Retried with a fresh handle by the next line: the disk may have space again by then.
            self.open.remove(key);
            self.complain(&error);
            self.shared.lose(key, lines);
        }
    }

    fn opened(&mut self, key: &FileKey) -> std::io::Result<&mut BoundedFile> {
        if !self.open.contains_key(key) {
            self.make_room();
            let path = path_of(&self.config.directory, key);
            if path.parent().is_some_and(|directory| !directory.exists()) {
                forget_oldest(&self.config.directory);
            }
            let file = BoundedFile::open(&path, self.config.file_bytes_max)?;
            self.open.insert(key.clone(), OpenFile { file, written_at: Instant::now(), dirty: false });
        }
        let open = self.open.get_mut(key).expect("it was opened above");
        open.dirty = true;
        Ok(&mut open.file)
    }

    fn flush(&mut self) {
        let now = Instant::now();
        let mut failed = Vec::new();
        for (key, open) in self.open.iter_mut().filter(|(_, open)| open.dirty) {
            open.dirty = false;
            open.written_at = now;
            if let Err(error) = open.file.flush() {
                failed.push((key.clone(), error));
            }
        }
        for (key, error) in failed {
            self.open.remove(&key);
            self.complain(&error);
        }
    }

    fn make_room(&mut self) {
        if self.open.len() >= LOG_FILES_OPEN_MAX
            && let Some(oldest) = self.open.iter().min_by_key(|(_, open)| open.written_at).map(|(key, _)| key.clone())
            && let Some(mut open) = self.open.remove(&oldest)
            && let Err(error) = open.file.flush()
        {
            self.complain(&error);
        }
    }

    fn obey(&mut self, command: Command) {
        let Command::Snapshot { filter, reply } = command;
        self.tell_dropped(Duration::ZERO);
        self.flush();
        let mut files = Vec::new();
        for path in self.paths(&filter) {
            files.extend(file::freeze(&path));
        }
        // An asker that went away is fine.
        let _ = reply.send(Snapshot { files, after: self.after.subscribe() });
    }

    /// Files the filter may select lines from.
    fn paths(&self, filter: &Filter) -> Vec<PathBuf> {
        let mut keys = Vec::new();
        for component in components(&self.config.directory).filter(|component| filter.selects_component(Some(component))) {
            keys.extend(filter.kinds().map(|kind| (Some(component.clone()), kind)));
        }
        if filter.selects_component(None) {
            keys.push((None, Kind::Access));
        }
        keys.iter().map(|key| path_of(&self.config.directory, key)).collect()
    }

    fn complain(&mut self, error: &std::io::Error) {
        let due = self.complained_at.is_none_or(|at| at.elapsed() > Duration::from_secs(10));
        if due {
            self.complained_at = Some(Instant::now());
            tracing::error!(error = %error, directory = %self.config.directory.display(), "guest logs cannot be written");
        }
    }
}

fn path_of(root: &Path, (component, kind): &FileKey) -> PathBuf {
    let file = match kind {
        Kind::Lines => "lines.ndjson",
        Kind::Access => "access.ndjson",
    };
    match component {
        Some(ComponentId { app, component }) => {
            root.join(app.namespace.as_str()).join(app.name.as_str()).join(component.as_str()).join(file)
        }
        None => root.join(UNROUTED).join(file),
    }
}

/// Every component with a log directory.
fn components(root: &Path) -> impl Iterator<Item = ComponentId> {
    names(root).into_iter().flat_map(move |(namespace, path)| {
        names(&path).into_iter().flat_map(move |(app, path)| {
            let app = AppId { namespace: namespace.clone(), name: app };
            names(&path).into_iter().map(move |(component, _)| app.component(component)).collect::<Vec<_>>()
        })
    })
}

fn names(directory: &Path) -> Vec<(Name, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<(Name, PathBuf)> =
        entries.flatten().filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    names.sort_unstable();
    names
}

/// Removes the log directory least recently written when there are as many as may be kept.
fn forget_oldest(root: &Path) {
    let directories: Vec<PathBuf> =
        components(root).filter_map(|component| path_of(root, &(Some(component), Kind::Lines)).parent().map(Path::to_owned)).collect();
    if directories.len() < LOG_COMPONENTS_MAX {
        return;
    }
    let written_at = |directory: &PathBuf| {
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()?.modified().ok()).max()
    };
    if let Some(oldest) = directories.into_iter().min_by_key(written_at)
        && let Err(error) = std::fs::remove_dir_all(&oldest)
    {
        tracing::warn!(directory = %oldest.display(), error = %error, "an old log directory cannot be removed");
    }
}
