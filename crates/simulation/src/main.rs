//! `simulation`: worlds from seeds, as many as are asked for, on as many threads. Owns what is printed and the exit code; `cargo xtask simulate` starts it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use simulation::{Honest, Outcome, Replica, Scenario, run};

/// What `--help` prints.
const USAGE: &str = "usage: cargo xtask simulate [--rounds N] [--seed S] [--jobs J]
  --rounds  how many; each has a fault while clients write and watchers follow [1000]
  --seed    of the first world; each world of ten rounds has the next one [by the clock]
  --jobs    worlds at a time [one for each processor]";

/// The exit code of a wrong command line, as in sysexits.h.
const EXIT_USAGE: u8 = 64;

/// Rounds of one world: what one seed repeats. Long enough that the traces of a fault meet the next ones, short enough to be read.
const WORLD_ROUNDS: u32 = 10;

/// Lines of progress that are printed of a whole run.
const PROGRESS_LINES: u64 = 20;

struct Arguments {
    rounds: u64,
    seed: u64,
    jobs: usize,
}

/// What all worlds of a run share.
struct Run {
    next: AtomicU64,
    failed: AtomicBool,
    total: Mutex<Total>,
    began: Instant,
    worlds: u64,
    seed: u64,
}

#[derive(Default)]
struct Total {
    worlds: u64,
    acknowledged: usize,
    reads: usize,
    compared: usize,
    attested: usize,
    watched: usize,
    newcomers: usize,
    virtual_seconds: u64,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(arguments) = parse(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(EXIT_USAGE);
    };
    let worlds = arguments.rounds.div_ceil(u64::from(WORLD_ROUNDS));
    println!("{worlds} worlds of {WORLD_ROUNDS} rounds from seed {}, {} at a time", arguments.seed, arguments.jobs);
    let run = Run {
        next: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        total: Mutex::default(),
        began: Instant::now(),
        worlds,
        seed: arguments.seed,
    };
    std::thread::scope(|scope| (0..arguments.jobs).for_each(|_| drop(scope.spawn(|| run.work()))));
    run.say();
    if run.failed.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// None when it is not understood.
fn parse(words: &[String]) -> Option<Arguments> {
    let clock = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments = Arguments { rounds: 1_000, seed: clock(), jobs };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--rounds" => arguments.rounds = value.parse().ok().filter(|rounds| *rounds > 0)?,
            "--seed" => arguments.seed = value.parse().ok()?,
            "--jobs" => arguments.jobs = value.parse().ok().filter(|jobs| *jobs > 0)?,
            _ => return None,
        }
    }
    Some(arguments)
}

impl Run {
    /// One world after the other, until all are done or one of them went wrong.
    fn work(&self) {
        while !self.failed.load(Ordering::Relaxed) {
            let world = self.next.fetch_add(1, Ordering::Relaxed);
            if world >= self.worlds {
                return;
            }
            let seed = self.seed.wrapping_add(world);
            let outcome =
                catch_unwind(AssertUnwindSafe(|| run::<Replica>(seed, &Scenario::of(members(seed), WORLD_ROUNDS), Arc::new(Honest))));
            let outcome =
                outcome.unwrap_or_else(|_| Outcome { violations: vec!["the simulation panicked".to_owned()], ..Outcome::default() });
            self.add(seed, &outcome);
        }
    }

    fn add(&self, seed: u64, outcome: &Outcome) {
        if !outcome.violations.is_empty() {
            self.failed.store(true, Ordering::Relaxed);
            let count = outcome.violations.len();
            let told: Vec<String> = outcome.violations.iter().take(10).map(|violation| format!("  {violation}\n")).collect();
            println!("seed {seed} breaks its promises, {count} times:\n{}", told.concat());
            println!("again: cargo xtask simulate --seed {seed} --rounds {WORLD_ROUNDS} --jobs 1");
        }
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        total.worlds += 1;
        total.acknowledged += outcome.acknowledged;
        total.reads += outcome.reads;
        total.compared += outcome.compared;
        total.attested += outcome.attested;
        total.watched += outcome.watched;
        total.newcomers += outcome.newcomers;
        total.virtual_seconds += outcome.took.as_secs();
        let worlds = total.worlds;
        drop(total);
        if worlds.is_multiple_of(self.worlds.div_ceil(PROGRESS_LINES)) && worlds < self.worlds {
            self.say();
        }
    }

    /// How far it is.
    fn say(&self) {
        let total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        let (seconds, rounds) = (self.began.elapsed().as_secs_f64(), total.worlds * u64::from(WORLD_ROUNDS));
        println!(
            "{rounds} rounds in {seconds:.0} s ({:.1} a second, {} h of virtual time): {} writes acknowledged, {} reads, {} states compared, {} by the log, \
             {} lists watched, {} newcomers",
            rounds as f64 / seconds,
            total.virtual_seconds / 3_600,
            total.acknowledged,
            total.reads,
            total.compared,
            total.attested,
            total.watched,
            total.newcomers,
        );
    }
}

/// Three members, or five in every fourth world.
fn members(seed: u64) -> u64 {
    if seed.is_multiple_of(4) { 5 } else { 3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_what_was_asked_for() {
        let parse = |text: &str| parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let read = parse("--seed 17 --rounds 25 --jobs 3").map(|arguments| (arguments.rounds, arguments.seed, arguments.jobs));
        assert_eq!(read, Some((25, 17, 3)));
        assert!(parse("").is_some_and(|arguments| arguments.rounds == 1_000 && arguments.jobs > 0));
        for wrong in ["--rounds", "--rounds 0", "--rounds ten", "--jobs 0", "--seed -1", "17", "--help"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
