//! Access lines between the requests that cause them and the thread that writes them: whole lines in one piece of memory. Owns the bound; must never know
//! what a line says.

use std::sync::{Mutex, MutexGuard, PoisonError};

use model::id::ComponentId;

use crate::limits::ACCESS_BYTES_WAITING_MAX;

/// What waits, filled by every request and emptied by the writer at once.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Lines>);

/// Lines in the order in which they came, each with its end.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    runs: Vec<Run>,
}

/// Lines of one component that came one after the other.
#[derive(Debug)]
struct Run {
    component: Option<ComponentId>,
    lines: u64,
    bytes: usize,
}

impl Waiting {
    /// Takes a line, which has its end. False when there is no room.
    pub(super) fn put(&self, component: Option<&ComponentId>, line: &[u8]) -> bool {
        let mut lines = self.lines();
        let fits = lines.bytes.len() + line.len() <= ACCESS_BYTES_WAITING_MAX;
        if fits {
            lines.push(component, line);
        }
        fits
    }

    /// Everything that waits; the memory of `empty` is for what comes next.
    pub(super) fn take(&self, empty: Lines) -> Lines {
        debug_assert!(empty.is_empty(), "lines would be kept twice");
        std::mem::replace(&mut *self.lines(), empty)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Nothing panics between the two parts of a line.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn push(&mut self, component: Option<&ComponentId>, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        match self.runs.last_mut().filter(|run| run.component.as_ref() == component) {
            Some(run) => {
                run.lines += 1;
                run.bytes += line.len();
            }
            None => self.runs.push(Run { component: component.cloned(), lines: 1, bytes: line.len() }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whose lines, how many, and the lines.
    pub(super) fn runs(&self) -> impl Iterator<Item = (&Option<ComponentId>, u64, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.runs.iter().map(move |run| {
            let (lines, after) = rest.split_at(run.bytes);
            rest = after;
            (&run.component, run.lines, lines)
        })
    }

    /// The same memory without the lines.
    pub(super) fn emptied(mut self) -> Self {
        self.bytes.clear();
        self.runs.clear();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_as_they_went_in_and_no_more_than_fit() {
        let [one, two] = ["hello/web", "hello/api"].map(|text| text.parse::<ComponentId>().unwrap());
        let waiting = Waiting::default();
        for (component, line) in [(Some(&one), "a\n"), (Some(&one), "bc\n"), (None, "d\n"), (Some(&two), "e\n"), (Some(&one), "f\n")] {
            assert!(waiting.put(component, line.as_bytes()));
        }
        let lines = waiting.take(Lines::default());
        let found: Vec<_> = lines.runs().map(|(component, count, bytes)| (component.clone(), count, bytes.to_vec())).collect();
        let expected = [(Some(&one), 2, "a\nbc\n"), (None, 1, "d\n"), (Some(&two), 1, "e\n"), (Some(&one), 1, "f\n")];
        assert_eq!(found, expected.map(|(component, count, text)| (component.cloned(), count, text.as_bytes().to_vec())));
        assert!(waiting.take(lines.emptied()).is_empty());

        let line = vec![b'x'; ACCESS_BYTES_WAITING_MAX / 4];
        let fit = std::iter::repeat_with(|| waiting.put(None, &line)).take(6).filter(|fits| *fits).count();
        assert_eq!(fit, 4);
        assert_eq!(waiting.take(Lines::default()).runs().map(|(_, count, _)| count).sum::<u64>(), 4);
    }
}
