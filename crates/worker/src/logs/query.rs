//! Which log lines somebody asked for, and the stream that answers. Owns selecting and ordering; must never touch a file that is being written.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::Arc,
};

use api::{
    limits::KEEP_ALIVE,
    v1::{LogEntry, LogQuery},
};
use bytes::Bytes;
use model::id::{AppId, ComponentId, Name, Timestamp};
use tokio::sync::{broadcast, mpsc};

use super::{Kind, LogStore, Snapshot, file::Frozen};
use crate::limits::{LOG_QUERY_BYTES_MAX, LOG_QUERY_LINES_MAX};

/// Chunks waiting for a slow reader: a few, so that it and not memory holds the rest.
const CHUNKS_WAITING_MAX: usize = 4;

/// A chunk of the answer is sent on when it has grown past this many bytes.
const CHUNK_BYTES: usize = 32 << 10;

/// The question makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    /// `status` is neither a number nor a class.
    #[error("`{0}` is no status: write it as 404 or 5xx")]
    Status(String),
    /// A component without its app.
    #[error("component `{0}` of which app?")]
    ComponentWithoutApp(Name),
}

/// A [`LogQuery`] that makes sense.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    app: Option<AppId>,
    component: Option<Name>,
    since: Option<Timestamp>,
    grep: Option<String>,
    request: Option<String>,
    status: Option<std::ops::RangeInclusive<u16>>,
    access: bool,
    tail: usize,
    follow: bool,
}

impl TryFrom<LogQuery> for Filter {
    type Error = InvalidQuery;

    fn try_from(query: LogQuery) -> Result<Self, InvalidQuery> {
        if let (None, Some(component)) = (&query.app, &query.component) {
            return Err(InvalidQuery::ComponentWithoutApp(component.clone()));
        }
        Ok(Self {
            status: query.status.map(|text| statuses(&text)).transpose()?,
            app: query.app,
            component: query.component,
            since: query.since.map(|time| time.0),
            grep: query.grep,
            request: query.request,
            access: query.access,
            tail: query.tail.map_or(LOG_QUERY_LINES_MAX, |tail| (tail as usize).min(LOG_QUERY_LINES_MAX)),
            follow: query.follow,
        })
    }
}

impl Filter {
    /// Whether lines of `component` (none: requests no component answered) may be selected.
    pub fn selects_component(&self, component: Option<&ComponentId>) -> bool {
        match (&self.app, component) {
            (None, Some(_)) => true,
            (None, None) => self.access || self.status.is_some(),
            (Some(_), None) => false,
            (Some(app), Some(id)) => id.app == *app && self.component.as_ref().is_none_or(|name| id.component == *name),
        }
    }

    /// Which files of a component may hold selected lines.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        let lines = self.status.is_none().then_some(Kind::Lines);
        let access = (self.access || self.status.is_some()).then_some(Kind::Access);
        lines.into_iter().chain(access)
    }

    /// Whether `entry` is selected; `text` is its JSON, which holds every word of it.
    pub fn selects(&self, entry: &LogEntry, text: &str) -> bool {
        let (kind, component, at, request) = match entry {
            LogEntry::Line(line) => (Kind::Lines, Some(&line.component), line.at, line.request_id.as_deref()),
            LogEntry::Access(line) => (Kind::Access, line.component.as_ref(), line.at, Some(line.request_id.as_str())),
            // Only control planes say it, about workers.
            LogEntry::Absent { .. } => return false,
            // Whoever looks for one thing does not ask how much is missing around it.
            LogEntry::Dropped { component, access, .. } => {
                let kind = if *access { Kind::Access } else { Kind::Lines };
                let fits = self.kinds().any(|selected| selected == kind) && self.selects_component(component.as_ref());
                return fits && self.request.is_none() && self.grep.is_none() && self.status.is_none();
            }
        };
        let status_fits = match (&self.status, entry) {
            (Some(range), LogEntry::Access(line)) => range.contains(&line.status),
            (Some(_), _) => false,
            (None, _) => true,
        };
        status_fits
            && self.kinds().any(|selected| selected == kind)
            && self.selects_component(component)
            && self.since.is_none_or(|since| at.0 >= since)
            && self.request.as_deref().is_none_or(|wanted| request == Some(wanted))
            && self.grep.as_deref().is_none_or(|wanted| words_contain(entry, text, wanted))
    }
}

impl LogStore {
    /// Streams what `filter` selects as NDJSON: what is there already in order of time, then what comes when it follows. None when too many ask.
    pub async fn query(self: &Arc<Self>, filter: Filter) -> Option<mpsc::Receiver<Bytes>> {
        let filter = Arc::new(filter);
        let snapshot = self.snapshot(filter.clone()).await?;
        let (chunks, answer) = mpsc::channel(CHUNKS_WAITING_MAX);
        // Ends when the reader drops the receiver or the store its sender; nothing else holds it.
        tokio::spawn(async move { stream(snapshot, filter, chunks).await });
        Some(answer)
    }
}

async fn stream(snapshot: Snapshot, filter: Arc<Filter>, chunks: mpsc::Sender<Bytes>) -> Option<()> {
    let Snapshot { files, after } = snapshot;
    let select = filter.clone();
    let past = tokio::task::spawn_blocking(move || read(files, &select)).await.ok()?;
    let mut chunk = Vec::new();
    for line in past {
        chunk.extend_from_slice(line.as_bytes());
        chunk.push(b'\n');
        if chunk.len() >= CHUNK_BYTES {
            chunks.send(std::mem::take(&mut chunk).into()).await.ok()?;
        }
    }
    if !chunk.is_empty() {
        chunks.send(chunk.into()).await.ok()?;
    }
    if filter.follow { follow(after, &filter, chunks).await } else { Some(()) }
}

async fn follow(mut after: broadcast::Receiver<Arc<LogEntry>>, filter: &Filter, chunks: mpsc::Sender<Bytes>) -> Option<()> {
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(KEEP_ALIVE, after.recv()) => next,
            () = chunks.closed() => return None,
        };
        let mut line = match next {
            Err(_) => Vec::new(),
            Ok(Ok(entry)) => {
                let text = serde_json::to_string(&*entry).ok()?;
                if !filter.selects(&entry, &text) {
                    continue;
                }
                text.into_bytes()
            }
            Ok(Err(broadcast::error::RecvError::Lagged(lines))) => {
                serde_json::to_vec(&LogEntry::Dropped { lines, component: None, access: false }).ok()?
            }
            Ok(Err(broadcast::error::RecvError::Closed)) => return None,
        };
        line.push(b'\n');
        chunks.send(line.into()).await.ok()?;
    }
}

/// Reads the selected lines of `files` in order of time; the newest when there are more than may be answered.
fn read(files: Vec<Frozen>, filter: &Filter) -> Vec<String> {
    let mut runs: Vec<VecDeque<(Timestamp, String)>> = Vec::new();
    for frozen in files {
        runs.push(read_file(frozen, filter));
    }
    let mut lines: Vec<(Timestamp, String)> = runs.into_iter().flatten().collect();
    lines.sort_by_key(|(at, _)| *at);
    let mut kept_bytes = 0;
    let kept = lines.iter().rev().take(filter.tail).take_while(|(_, line)| {
        kept_bytes += line.len();
        kept_bytes <= LOG_QUERY_BYTES_MAX
    });
    let first = lines.len() - kept.count();
    lines.drain(..first);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn read_file(frozen: Frozen, filter: &Filter) -> VecDeque<(Timestamp, String)> {
    let mut lines = VecDeque::new();
    let mut bytes = 0;
    let mut last_at = Timestamp(0);
    for line in BufReader::new(frozen.file.take(frozen.bytes)).lines() {
        let Ok(line) = line else { break };
        // A line torn by a crash is skipped, not told: its neighbors matter more.
        let Ok(entry) = serde_json::from_str::<LogEntry>(&line) else { continue };
        last_at = match &entry {
            LogEntry::Line(line) => line.at.0,
            LogEntry::Access(line) => line.at.0,
            LogEntry::Dropped { .. } | LogEntry::Absent { .. } => last_at,
        };
        if filter.selects(&entry, &line) {
            bytes += line.len();
            lines.push_back((last_at, line));
        }
        while lines.len() > filter.tail || bytes > LOG_QUERY_BYTES_MAX {
            bytes -= lines.pop_front().map_or(0, |(_, line)| line.len());
        }
    }
    lines
}

/// Whether what a person sees of `entry` holds `wanted`: the text of a line, any field of an access line.
fn words_contain(entry: &LogEntry, text: &str, wanted: &str) -> bool {
    match entry {
        LogEntry::Line(line) => line.text.contains(wanted),
        _ => text.contains(wanted),
    }
}

fn statuses(text: &str) -> Result<std::ops::RangeInclusive<u16>, InvalidQuery> {
    let wrong = || InvalidQuery::Status(text.chars().take(20).collect());
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class)).ok_or_else(wrong)?;
        return Ok(class * 100..=class * 100 + 99);
    }
    let status: u16 = text.parse().ok().filter(|status| (100..=599).contains(status)).ok_or_else(wrong)?;
    Ok(status..=status)
}

#[cfg(test)]
mod tests;
