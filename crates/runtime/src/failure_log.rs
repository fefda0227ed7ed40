//! How much is said about guests that fail one after another. Owns the count of a minute; must never know what they died of.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::limits;

/// Counts the failures of one program: a trap in every request must not drive everything else out of the component's log.
#[derive(Debug, Default)]
pub(crate) struct FailureLog(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    failures: u64,
}

/// How much to say about one failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Everything, with the functions it happened in.
    Whole,
    /// One line.
    Short {
        /// Failures of this minute so far.
        times: u64,
    },
    /// Nothing.
    Nothing,
}

impl FailureLog {
    /// Counts one failure. After the first ones of a minute, those that double their number are told.
    pub(crate) fn tell(&self, now: Instant) -> Telling {
        // The two numbers are a whole whatever happened to whoever wrote them last.
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.is_none_or(|began| now.duration_since(began) >= limits::FAILURES_WINDOW) {
            *window = Window { began: Some(now), failures: 0 };
        }
        window.failures += 1;
        match window.failures {
            few if few <= limits::FAILURES_TOLD_MAX => Telling::Whole,
            times if times.is_power_of_two() => Telling::Short { times },
            _ => Telling::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_failures_is_told_ever_more_rarely() {
        let log = FailureLog::default();
        let begin = Instant::now();
        let minute = |now| {
            let told: Vec<_> = (0..1_000).map(|_| log.tell(now)).collect();
            let count = |wanted: fn(&Telling) -> bool| told.iter().filter(|telling| wanted(telling)).count();
            (count(|telling| *telling == Telling::Whole), count(|telling| matches!(telling, Telling::Short { .. })))
        };
        assert_eq!(minute(begin), (5, 7), "8, 16 and so on to 512");
        assert_eq!(log.tell(begin), Telling::Nothing);
        assert_eq!(minute(begin + limits::FAILURES_WINDOW), (5, 7), "the next minute begins anew");
    }
}
