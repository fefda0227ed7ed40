//! The log on a real disk: killed, torn, damaged and full. Owns the faults; what a proposer sees of them is `proposing.rs`'s.

mod support;

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use consensus::{Entry, LogBackend, OpenError, ProposeError, Vote, disk_log::DiskLog};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{open, runtime};

/// Set for the processes that these tests start: what to do, and where.
const ROLE: &str = "CONSENSUS_TEST_ROLE";
const PLACE: &str = "CONSENSUS_TEST_DIRECTORY";

#[test]
fn a_log_dropped_without_shutting_down_is_there_again() {
    let directory = tempfile::tempdir().expect("a directory");
    for round in 1..=5u64 {
        let consensus = open(directory.path()).expect("opens");
        assert_eq!(consensus.state().0.len() as u64, round - 1);
        runtime().block_on(consensus.propose(round.to_string())).expect("accepted");
    }
    assert_eq!(open(directory.path()).expect("opens").state().commands(), ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_log_that_is_open_cannot_be_opened_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let consensus = open(directory.path()).expect("opens");
    assert!(matches!(open(directory.path()), Err(OpenError::Log { .. })));
    runtime().block_on(consensus.shutdown());
    open(directory.path()).expect("opens once the other is shut down");
}

#[test]
fn files_are_rotated_and_read_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let large: Vec<String> = (0..12).map(|number| format!("{number}{}", "x".repeat(3 << 20))).collect();
    let consensus = open(directory.path()).expect("opens");
    for command in &large {
        runtime().block_on(consensus.propose(command.clone())).expect("accepted");
    }
    drop(consensus);
    assert!(files(directory.path()).len() > 1, "36 MiB fit into one file");
    assert_eq!(open(directory.path()).expect("opens").state().commands(), large);
}

#[test]
fn a_file_torn_anywhere_keeps_what_came_before() {
    let (directory, ends) = written();
    let whole = last_file(directory.path());
    let length = fs::metadata(&whole).expect("the file is there").len();
    let (all, _) = held(directory.path()).expect("opens");
    for end in 0..=length {
        let copy = copy_of(directory.path());
        let torn = fs::OpenOptions::new().write(true).open(last_file(copy.path())).expect("the copy opens");
        torn.set_len(end).expect("cut");
        let before = ends.iter().filter(|at| **at <= end).count();
        // Refusing is always right; what is not refused has everything from before the tear.
        if let Ok((found, _)) = held(copy.path()) {
            assert!(found.len() >= before && all.starts_with(&found), "cut at {end}, {before} entries were whole: {found:?}");
        }
        // Every so often all of the member is started over it: it is slower by far.
        if end % 16 == 0
            && let Ok(consensus) = open(copy.path())
        {
            let found = consensus.state();
            assert!(found.0.len() >= before && COMMANDS.starts_with(&found.commands()), "cut at {end}: {found:?}");
        }
    }
}

#[test]
fn a_damaged_byte_is_noticed() {
    let (directory, _) = written();
    let bytes = fs::read(last_file(directory.path())).expect("the file is read");
    let whole = held(directory.path()).expect("opens");
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            let copy = copy_of(directory.path());
            let mut damaged = bytes.clone();
            damaged[at] ^= mask;
            fs::write(last_file(copy.path()), damaged).expect("written");
            match held(copy.path()) {
                Ok(found) => assert_eq!(found, whole, "byte {at} changed by {mask:#04x} was not noticed"),
                Err(error) => assert!(error.to_string().contains(".wal cannot be read"), "byte {at}: {error}"),
            }
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut acknowledged = 0;
    for round in 1..=3u64 {
        let mut child = start("write", directory.path());
        let answers = BufReader::new(child.stdout.take().expect("its output is piped"));
        // Killed in the middle of whatever it does after so many answers.
        acknowledged =
            answers.lines().map_while(Result::ok).filter_map(|line| line.parse().ok()).nth(40 * round as usize).expect("it writes");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        let found = open(directory.path()).expect("opens").state();
        let last = found.0.last().map_or(0, |(index, _)| *index);
        assert!(last >= acknowledged, "entry {acknowledged} was acknowledged, {last} is the last that is there");
        let expected = (1..=found.0.len()).map(|number| number.to_string());
        assert!(expected.eq(found.commands()), "{found:?}");
    }
    assert!(acknowledged >= 120);
}

#[test]
fn a_file_that_may_not_grow_ends_the_member_and_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let child = start("fill", directory.path());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answered = String::from_utf8(output.stdout).expect("text").lines().filter(|line| line.parse::<u64>().is_ok()).count();
    let consensus = open(directory.path()).expect("opens");
    let found = consensus.state().0.len();
    assert!(
        answered > 50 && found == answered,
        "{answered} were acknowledged, {found} are there: the rest is cut off when the log is closed"
    );
    runtime().block_on(consensus.propose("after".to_owned())).expect("there is room again");
}

#[test]
fn what_a_log_is_opened_with_is_written_once_more() {
    let (directory, _) = written();
    let (newest, long_ago) = (last_file(directory.path()), std::time::SystemTime::UNIX_EPOCH);
    let bytes = fs::read(&newest).expect("the file is read");
    fs::File::options().write(true).open(&newest).and_then(|file| file.set_modified(long_ago)).expect("its time is set");
    let found = held(directory.path()).expect("opens");
    // With the members of the group and the first entry of its leader.
    assert_eq!(found.0.len(), COMMANDS.len() + 2);
    assert!(fs::metadata(&newest).and_then(|file| file.modified()).expect("it has a time") > long_ago, "nothing was written");
    assert_eq!(fs::read(&newest).expect("the file is read"), bytes);
}

const COMMANDS: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

/// A log of [`COMMANDS`] in one file, and where each of them ends in it.
fn written() -> (tempfile::TempDir, Vec<u64>) {
    let directory = tempfile::tempdir().expect("a directory");
    let consensus = open(directory.path()).expect("opens");
    let mut ends = Vec::new();
    for command in COMMANDS {
        runtime().block_on(consensus.propose(command.to_owned())).expect("accepted");
        ends.push(fs::metadata(last_file(directory.path())).expect("the file is there").len());
    }
    drop(consensus);
    assert_eq!(files(directory.path()).len(), 1);
    (directory, ends)
}

/// What the log in `directory` holds.
fn held(directory: &Path) -> io::Result<(Vec<Entry>, Option<Vote>)> {
    let log = DiskLog::open(directory)?;
    Ok((log.read(0..u64::MAX, usize::MAX)?, log.state().vote))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a readable directory").map(|entry| entry.expect("a readable entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).collect();
    files.sort();
    files
}

fn last_file(directory: &Path) -> PathBuf {
    files(directory).pop().expect("the log has a file")
}

fn copy_of(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for file in files(directory) {
        fs::copy(&file, copy.path().join(file.file_name().expect("a name"))).expect("copied");
    }
    copy
}

/// This test program again, as a process that does only `role`. It ignores the signal that comes with a file that may not grow.
fn start(role: &str, directory: &Path) -> Child {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; exec "$0" --exact in_another_process --nocapture"#]).arg(program);
    command.env(ROLE, role).env(PLACE, directory).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Nothing, unless it was started by [`start`].
#[test]
fn in_another_process() {
    let (Some(role), Some(directory)) = (std::env::var_os(ROLE), std::env::var_os(PLACE)) else { return };
    let directory = Path::new(&directory);
    if role == "write" { write_for_ever(directory) } else { fill(directory) }
}

/// Writes and says so, until it is killed.
fn write_for_ever(directory: &Path) {
    let consensus = open(directory).expect("opens");
    let runtime = runtime();
    println!();
    loop {
        let next = consensus.state().0.len() as u64 + 1;
        let batch = (next..next + 3).map(|number| number.to_string()).collect();
        let answers = runtime.block_on(consensus.propose_batch(batch)).expect("accepted");
        answers.iter().for_each(|(index, _)| println!("{index}"));
    }
}

/// Writes until the file may not grow, and is told that this is the end.
fn fill(directory: &Path) {
    let unlimited = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(20_000), ..unlimited }).expect("limits are lowered");
    let consensus = open(directory).expect("opens");
    let runtime = runtime();
    println!();
    loop {
        let batch = (0..5).map(|_| "x".repeat(100)).collect();
        match runtime.block_on(consensus.propose_batch(batch)) {
            Ok(answers) => answers.iter().for_each(|(index, _)| println!("{index}")),
            Err(ProposeError::Failed { .. }) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(runtime.block_on(consensus.failed()).contains("File too large"));
    let refused = runtime.block_on(consensus.propose("refused".to_owned()));
    assert!(matches!(refused, Err(ProposeError::Failed { .. })), "{refused:?}");
    runtime.block_on(consensus.shutdown());
}
