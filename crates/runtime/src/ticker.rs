//! The clock that makes guests give way. It moves the engines on only when one turn of a guest has lasted for a whole tick, and sleeps while no guest is at
//! work. Owns the ticker thread and the marks of the threads that run guests; must never end a guest.

use std::{
    cell::RefCell,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, Release, SeqCst},
        },
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{Engine, EngineWeak};

use crate::limits;

/// The ticker of a runtime. Its thread ends with it.
pub(crate) struct Ticker {
    board: Arc<Board>,
    thread: Thread,
}

/// What the ticker thread and the threads that run guests share.
struct Board {
    /// No other board of this process has it, nor had it.
    id: u64,
    engines: Mutex<Vec<EngineWeak>>,
    marks: Mutex<Vec<Watched>>,
    parked: AtomicBool,
    ended: AtomicBool,
}

/// What one thread is doing: odd while it is inside a guest, and one more each time that changes. On a cache line of its own, written by that thread alone.
#[derive(Default)]
#[repr(align(128))]
struct Mark(AtomicU64);

/// A mark and what it said at the last tick.
struct Watched {
    mark: Arc<Mark>,
    said: u64,
}

/// What the marks say together.
struct Seen {
    /// Some guest had a turn since the last tick.
    turns: bool,
    /// Some guest has had one turn since the last tick or longer.
    long_turn: bool,
}

thread_local! {
    /// This thread's marks by board: one in a server, one per runtime in tests.
    static MARKS: RefCell<Vec<(u64, Arc<Mark>)>> = const { RefCell::new(Vec::new()) };
}

/// This thread is inside a guest.
pub(crate) struct Inside(Option<Arc<Mark>>);

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(every: Duration) -> io::Result<Self> {
        static BOARDS: AtomicU64 = AtomicU64::new(0);
        let board = Arc::new(Board {
            id: BOARDS.fetch_add(1, Relaxed),
            engines: Mutex::default(),
            marks: Mutex::default(),
            parked: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let shared = Arc::clone(&board);
        let thread = thread::Builder::new().name("ticker".into()).spawn(move || run(&shared, every))?.thread().clone();
        Ok(Self { board, thread })
    }

    /// Moves this engine's clock on too, for as long as it lives.
    pub(crate) fn watch(&self, engine: &Engine) {
        lock(&self.board.engines).push(engine.weak());
    }

    /// Says that this thread is inside a guest until the guard is dropped.
    pub(crate) fn enter(&self) -> Inside {
        let mark = self.mark();
        let turn = mark.0.load(Relaxed);
        if turn % 2 == 1 {
            // A guest that is polled inside another one's host call: the outer one has said it.
            return Inside(None);
        }
        // Either the ticker sees this mark before it parks, or this thread sees that it has parked.
        mark.0.store(turn + 1, SeqCst);
        if self.board.parked.load(SeqCst) && self.board.parked.swap(false, SeqCst) {
            self.thread.unpark();
        }
        Inside(Some(mark))
    }

    fn mark(&self) -> Arc<Mark> {
        let id = self.board.id;
        MARKS.with_borrow_mut(|marks| match marks.iter().find(|(board, _)| *board == id) {
            Some((_, mark)) => Arc::clone(mark),
            None => {
                // Marks that only this thread holds belong to tickers that are gone.
                marks.retain(|(_, mark)| Arc::strong_count(mark) > 1);
                let mark = Arc::new(Mark::default());
                lock(&self.board.marks).push(Watched { mark: Arc::clone(&mark), said: 0 });
                marks.push((id, Arc::clone(&mark)));
                mark
            }
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.board.ended.store(true, SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(mark) = &self.0 {
            mark.0.store(mark.0.load(Relaxed) + 1, Release);
        }
    }
}

/// The ticker thread: a plain one, so that no busy executor can hold it up.
fn run(board: &Board, every: Duration) {
    let mut quiet_ticks = 0;
    while !board.ended.load(SeqCst) {
        if quiet_ticks < limits::QUIET_TICKS_MAX {
            thread::sleep(every);
        } else {
            board.park();
            quiet_ticks = 0;
        }
        let seen = board.look();
        if seen.long_turn {
            board.tick();
        }
        quiet_ticks = if seen.turns { 0 } else { quiet_ticks + 1 };
    }
}

impl Board {
    /// Compares every mark with what it said before. Marks of threads that ended go.
    fn look(&self) -> Seen {
        let mut seen = Seen { turns: false, long_turn: false };
        lock(&self.marks).retain_mut(|Watched { mark, said }| {
            let says = mark.0.load(SeqCst);
            let is_inside = says % 2 == 1;
            seen.turns |= is_inside || says != *said;
            seen.long_turn |= is_inside && says == *said;
            *said = says;
            is_inside || Arc::strong_count(mark) > 1
        });
        seen
    }

    /// Sleeps until a thread enters a guest.
    fn park(&self) {
        self.parked.store(true, SeqCst);
        let somebody_inside = lock(&self.marks).iter().any(|watched| watched.mark.0.load(SeqCst) % 2 == 1);
        while !somebody_inside && self.parked.load(SeqCst) && !self.ended.load(SeqCst) {
            thread::park();
        }
        self.parked.store(false, SeqCst);
    }

    fn tick(&self) {
        lock(&self.engines).retain(|engine| {
            let engine = engine.upgrade();
            engine.as_ref().inspect(|engine| engine.increment_epoch()).is_some()
        });
    }
}

/// A thread that panicked left the list whole: every change of it is one step.
fn lock<T>(list: &Mutex<Vec<T>>) -> std::sync::MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Arc<Board> {
        let (engines, marks) = (Mutex::default(), Mutex::default());
        Arc::new(Board { id: u64::MAX, engines, marks, parked: AtomicBool::new(true), ended: AtomicBool::new(false) })
    }

    /// Goal: the clocks move for a turn that lasts, not for many short ones. Method: the marks are looked at by hand.
    #[test]
    fn only_a_turn_that_lasts_is_long() {
        let ticker = Ticker { board: board(), thread: thread::current() };
        let look = || {
            let seen = ticker.board.look();
            (seen.turns, seen.long_turn)
        };
        assert_eq!(look(), (false, false));
        drop(ticker.enter());
        assert_eq!(look(), (true, false), "a short turn between two ticks");
        assert_eq!(look(), (false, false));
        let inside = ticker.enter();
        assert_eq!(look(), (true, false), "it may have begun just now");
        assert_eq!(look(), (true, true));
        drop(ticker.enter());
        assert_eq!(look(), (true, true), "a guest inside a guest changes nothing");
        drop(inside);
        drop(ticker.enter());
        let _inside = ticker.enter();
        assert_eq!(look(), (true, false), "another turn of the same thread");
    }

    /// Goal: the first turn after a silence wakes the ticker, and only that one has to.
    #[test]
    fn entering_wakes_a_parked_ticker() {
        let ticker = Ticker { board: board(), thread: thread::current() };
        let inside = ticker.enter();
        assert!(!ticker.board.parked.load(SeqCst));
        thread::park();
        ticker.board.park();
        drop(inside);
        assert!(!ticker.board.parked.load(SeqCst), "it does not park while somebody is inside");
    }

    #[test]
    fn marks_of_threads_that_ended_go() {
        let ticker = Ticker { board: board(), thread: thread::current() };
        thread::scope(|scope| scope.spawn(|| drop(ticker.enter())).join().unwrap());
        assert_eq!(lock(&ticker.board.marks).len(), 1);
        ticker.board.look();
        assert_eq!(lock(&ticker.board.marks).len(), 0);
    }
}
