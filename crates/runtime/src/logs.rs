//! What a guest writes, cut into lines, and what the host says about it. Owns the shape of a line; must never know where lines are kept.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use model::id::{ComponentId, RevisionNumber};
use wasmtime_wasi::async_trait;
use wasmtime_wasi_io::{
    poll::Pollable,
    streams::{OutputStream, StreamResult},
};

use crate::{
    component_figures::RequestUsage,
    failure_log::{FailureLog, Telling},
    limits,
};

/// Takes the lines of every sandbox. Called on the path of a request: it must not block, and drops what it cannot take.
pub trait LogSink: Send + Sync {
    /// Takes one line.
    fn line(&self, line: Line);
}

/// One line of a component's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Who wrote it.
    pub component: ComponentId,
    /// Under which revision.
    pub revision: RevisionNumber,
    /// Where it came from.
    pub stream: Stream,
    /// The request it was written for; a probe has none.
    pub request_id: Option<Arc<str>>,
    /// The text without its line end. A host line may hold several lines: a backtrace stays in one piece.
    pub text: String,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// Shoal itself, about the guest.
    Host,
}

/// Whose lines they are: one per program.
pub(crate) struct Source {
    pub(crate) component: ComponentId,
    pub(crate) revision: RevisionNumber,
    pub(crate) sink: Arc<dyn LogSink>,
    pub(crate) failures: FailureLog,
}

/// The log of one sandbox. Every ability of it has one, so a clone costs next to nothing.
#[derive(Clone)]
pub(crate) struct SandboxLog(Arc<Voice>);

struct Voice {
    source: Arc<Source>,
    /// Changes where a sandbox answers more than one request.
    request_id: Mutex<Option<Arc<str>>>,
    usage: OnceLock<Arc<RequestUsage>>,
}

impl SandboxLog {
    pub(crate) fn new(source: &Arc<Source>, request_id: Option<Arc<str>>) -> Self {
        Self(Arc::new(Voice { source: Arc::clone(source), request_id: Mutex::new(request_id), usage: OnceLock::new() }))
    }

    /// Somebody wants to know what the request uses.
    pub(crate) fn measured_by(&self, usage: Arc<RequestUsage>) {
        // The first to ask is the one who sent the request.
        let _ = self.0.usage.set(usage);
    }

    /// Where what the request uses is told, if anybody asked.
    pub(crate) fn usage(&self) -> Option<&RequestUsage> {
        self.0.usage.get().map(AsRef::as_ref)
    }

    /// Says something about the guest, cut to the length of a host line.
    pub(crate) fn host(&self, mut text: String) {
        if text.len() > limits::HOST_LINE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(limits::HOST_LINE_BYTES_MAX));
            text.push_str(" … (cut)");
        }
        self.line(Stream::Host, text);
    }

    /// Says what a guest died of: with all of it for the first ones of a minute, then ever more rarely and in one line.
    pub(crate) fn failure(&self, text: &str, backtrace: &str) {
        match self.0.source.failures.tell(Instant::now()) {
            Telling::Whole if backtrace.is_empty() => self.host(text.to_owned()),
            Telling::Whole => self.host(format!("{text}\n{backtrace}")),
            Telling::Short { times } => {
                self.host(format!("{text} ({times} failures within a minute; most are left out, and all backtraces)"));
            }
            Telling::Nothing => {}
        }
    }

    /// From here on the lines are for another request, or for none.
    pub(crate) fn hand_to(&self, request_id: Option<Arc<str>>) {
        *self.0.request_id.lock().unwrap_or_else(PoisonError::into_inner) = request_id;
    }

    /// The component's name, for texts.
    pub(crate) fn component(&self) -> &ComponentId {
        &self.0.source.component
    }

    fn line(&self, stream: Stream, text: String) {
        let Source { component, revision, sink, .. } = &*self.0.source;
        let request_id = self.0.request_id.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sink.line(Line { component: component.clone(), revision: *revision, stream, request_id, text });
    }
}

/// A guest's output stream. Every stream of one kind in a sandbox shares one buffer, so that a line written in pieces stays one line.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Lines>>);

impl Output {
    pub(crate) fn new(log: SandboxLog, stream: Stream) -> Self {
        Self(Arc::new(Mutex::new(Lines { log, stream, line: Vec::new(), cut_bytes: 0 })))
    }

    pub(crate) fn write_bytes(&self, bytes: &[u8]) {
        // A writer that panicked left whole bytes behind: they are still worth reading.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write_bytes(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(limits::OUTPUT_CHUNK_BYTES_MAX)
    }
}

/// Cuts bytes into lines. The last line, which may have no end, goes out when the sandbox does.
struct Lines {
    log: SandboxLog,
    stream: Stream,
    line: Vec<u8>,
    cut_bytes: usize,
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let room = limits::LINE_BYTES_MAX - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            self.cut_bytes += text.len().saturating_sub(room);
            if ended {
                self.emit();
            }
        }
    }

    fn emit(&mut self) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let mut text = String::from_utf8_lossy(line).into_owned();
        if self.cut_bytes > 0 {
            text.push_str(&format!(" … ({} bytes cut)", self.cut_bytes));
        }
        self.line.clear();
        self.cut_bytes = 0;
        self.log.line(self.stream, text);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.emit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Line>>);

    impl LogSink for Kept {
        fn line(&self, line: Line) {
            self.0.lock().unwrap().push(line);
        }
    }

    fn check(writes: &[&[u8]], expected: &[&str]) {
        let kept = Arc::new(Kept::default());
        let source = Arc::new(Source {
            component: "hello/web".parse().unwrap(),
            revision: RevisionNumber(3),
            sink: Arc::clone(&kept) as _,
            failures: FailureLog::default(),
        });
        let mut output = Output::new(SandboxLog::new(&source, Some("request-1".into())), Stream::Stdout);
        for bytes in writes {
            output.write(Bytes::copy_from_slice(bytes)).unwrap();
        }
        drop(output);
        let lines = kept.0.lock().unwrap();
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), expected);
        assert!(lines.iter().all(|line| line.stream == Stream::Stdout && line.request_id.as_deref() == Some("request-1")));
    }

    #[test]
    fn output_becomes_lines() {
        check(&[], &[]);
        check(&[b"one\ntwo\n"], &["one", "two"]);
        check(&[b"on", b"e\r\nrest"], &["one", "rest"]);
        check(&[b"\n\n"], &["", ""]);
        check(&[b"caf\xc3", b"\xa9 \xff\n"], &["café \u{fffd}"]);
    }

    #[test]
    fn long_lines_are_cut_and_said() {
        let long = vec![b'x'; limits::LINE_BYTES_MAX + 5];
        let kept = "x".repeat(limits::LINE_BYTES_MAX);
        check(&[&long, b"yz\nnext\n"], &[&format!("{kept} … (7 bytes cut)"), "next"]);
    }
}
