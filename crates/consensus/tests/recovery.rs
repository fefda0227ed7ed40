//! Snapshots and what is rebuilt from them: whole or refused, the one before when the newest is damaged, a new group from an old one's state.

mod support;

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use consensus::{
    Alone, Config, Consensus, GroupId, ImportError, LogBackend, OpenError, Profile, RecoverError, Remains, Tuning,
    disk_log::DiskLog,
    last_in,
    memory_log::MemoryDisk,
    snapshot::{MemoryShelf, Shelf, import},
};
use expect_test::expect;
use support::{IDENTITY, Journal, open, peer, runtime, start, start_on};

/// Snapshots after few entries, and few entries behind them.
fn small() -> Tuning {
    Tuning { snapshot_entries: 1_000_000, log_entries_kept: 12, ..Tuning::from(Profile::Lan) }
}

/// A snapshot file of three commands.
fn exported() -> Vec<u8> {
    runtime().block_on(async {
        let consensus = start(&MemoryDisk::new()).await;
        consensus.propose_batch(vec!["one".into(), "two".into(), "three".into()]).await.expect("accepted");
        let mut file = Vec::new();
        let frozen = consensus.frozen().expect("there are entries");
        frozen.write(&mut file).expect("memory takes it");
        assert_eq!(frozen.index(), 4);
        file
    })
}

#[test]
fn a_snapshot_is_written_like_this_for_ever() {
    let hex: Vec<String> = exported().chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    expect![[r#"
        53484f414c534e50a50006000000002819aa7d12000707070707070707070707
        0707070707010401010101010c6d656d626572313a37303731010000a5000700
        0000000bb4c10ed100000000000000026f6e65a50007000000000b11c8a52300
        0000000000000374776fa50007000000000daacebd1a00000000000000047468
        726565a500080000000022cf0b72ed00033631c94dfa4cafa85bfee08ebeae73
        ace286e90b7b907694ca53776a4d0f7021"#]]
    .assert_eq(&hex.join("\n"));
}

#[test]
fn a_snapshot_is_whole_or_refused() {
    let file = exported();
    let (meta, journal) = import::<Journal>(file.as_slice()).expect("it is whole");
    assert_eq!((meta.last.index, journal.commands()), (4, vec!["one", "two", "three"]));
    for end in 0..file.len() {
        assert!(import::<Journal>(&file[..end]).is_err(), "cut at {end}");
    }
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(import::<Journal>(damaged.as_slice()).is_err(), "bit {bit}");
    }
    let longer = [file.as_slice(), b"x"].concat();
    assert!(matches!(import::<Journal>(longer.as_slice()), Err(ImportError::Sum { .. })));
    assert!(matches!(import::<Journal>(b"SHOALSNAKE".as_slice()), Err(ImportError::Magic)));
}

/// Thirty commands, with a snapshot after each ten.
async fn thirty(disk: &MemoryDisk, shelf: &MemoryShelf) {
    let consensus = start_on(disk, shelf, small()).await.expect("starts");
    consensus.initialize(peer(1)).await.expect("it is new");
    for number in 1..=30 {
        consensus.propose(number.to_string()).await.expect("accepted");
        if number % 10 == 0 {
            assert_eq!(consensus.snapshot().await, Some(number + 1));
        }
    }
    consensus.shutdown().await;
}

fn numbers(journal: &Journal) -> bool {
    (1..=30).map(|number| number.to_string()).eq(journal.commands())
}

#[tokio::test]
async fn a_member_starts_from_its_snapshot_and_its_log() {
    let (disk, shelf) = (MemoryDisk::new(), MemoryShelf::new());
    thirty(&disk, &shelf).await;
    let mut names = shelf.names().expect("readable");
    names.sort();
    assert_eq!(names.iter().map(|name| &name[18..20]).collect::<Vec<_>>(), ["21", "31"], "two are kept: {names:?}");
    let consensus = start_on(&disk, &shelf, small()).await.expect("starts");
    assert!(numbers(&consensus.state()));
    consensus.propose("more".into()).await.expect("accepted");
}

#[tokio::test]
async fn when_the_newest_snapshot_is_damaged_the_one_before_serves() {
    let (disk, shelf) = (MemoryDisk::new(), MemoryShelf::new());
    thirty(&disk, &shelf).await;
    let mut names = shelf.names().expect("readable");
    names.sort();
    shelf.damage(&names[1], 100, 1);
    let consensus = start_on(&disk, &shelf, small()).await.expect("the log reaches back to it");
    assert!(numbers(&consensus.state()));
    consensus.shutdown().await;
    shelf.damage(&names[0], 100, 1);
    let refused = start_on(&disk, &shelf, small()).await.err().expect("nothing is left to start from");
    assert!(matches!(refused, OpenError::Gap { expected: 0, .. }), "{refused:?}");
}

#[tokio::test]
async fn a_message_for_somebody_else_is_refused() {
    let consensus = start(&MemoryDisk::new()).await;
    for damaged in [&b""[..], b"hello", &[0xA5; 40]] {
        assert!(consensus.receive(2, Bytes::copy_from_slice(damaged)).await.is_err());
    }
}

#[test]
fn a_directory_belongs_to_one_member_of_one_group() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()).expect("opens"));
    for identity in [consensus::Identity { node_id: 2, ..IDENTITY }, consensus::Identity { group: GroupId([8; 16]), ..IDENTITY }] {
        let config = Config { dir: directory.path().to_owned(), identity, profile: Profile::Lan };
        let refused = Consensus::open(config, Journal::default(), Arc::new(Alone)).err().expect("it is another's");
        assert!(matches!(refused, OpenError::Identity { .. }), "{refused:?}");
    }
}

const OTHER: GroupId = GroupId([9; 16]);

fn config(dir: &Path) -> Config {
    Config { dir: dir.to_owned(), identity: consensus::Identity { group: OTHER, node_id: 5 }, profile: Profile::Lan }
}

/// Opens the new group, checks that it goes on where the old one was, and that its only member is the one that was named.
fn goes_on(dir: &Path, commands: &[&str]) {
    let consensus = Consensus::open(config(dir), Journal::default(), Arc::new(Alone)).expect("opens");
    assert_eq!(consensus.state().commands(), commands);
    assert_eq!(consensus.membership().borrow().voters, [peer(5)]);
    let before = *consensus.applied().borrow();
    let (index, count) = runtime().block_on(consensus.propose("later".into())).expect("accepted");
    assert!(index > before && count == commands.len() + 1);
}

#[test]
fn a_new_group_begins_from_a_snapshot() {
    let (directory, file) = (tempfile::tempdir().expect("a directory"), exported());
    let begin = |file: &[u8]| Remains::<Journal>::of_snapshot(file)?.begin(&config(directory.path()), peer(5), 1_000);
    assert_eq!(begin(&file).expect("the directory is empty").last.index, 1_000);
    goes_on(directory.path(), &["one", "two", "three"]);
    let late = begin(&file);
    assert!(matches!(late, Err(RecoverError::NotEmpty { .. })), "{late:?}");
    let broken = begin(&file[1..]);
    assert!(matches!(broken, Err(RecoverError::Snapshot { .. })), "{broken:?}");
}

#[test]
fn a_new_group_begins_from_what_one_member_still_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let old = open(directory.path()).expect("opens");
    runtime().block_on(async {
        old.propose_batch(vec!["one".into(), "two".into()]).await.expect("accepted");
        old.snapshot().await.expect("there is room");
        old.propose("three".into()).await.expect("accepted");
    });
    let running = Remains::of_member(directory.path(), Journal::default()).err();
    assert!(matches!(running, Some(RecoverError::Write { .. })), "the member still runs: {running:?}");
    drop(old);
    let remains = Remains::of_member(directory.path(), Journal::default()).expect("the member is stopped");
    assert_eq!((remains.last(), remains.voters(), remains.machine().commands().len()), (4, vec![peer(1)], 3));
    assert!(remains.committed() <= Some(4));
    remains.begin(&config(directory.path()), peer(5), 4).expect("the log is its own");
    goes_on(directory.path(), &["one", "two", "three"]);
    let empty = tempfile::tempdir().expect("a directory");
    let nothing = Remains::of_member(empty.path(), Journal::default()).err();
    assert!(matches!(nothing, Some(RecoverError::Empty { .. })), "{nothing:?}");
    assert_eq!(last_in(directory.path()).expect("readable"), last_in(directory.path()).expect("readable"));
    assert_eq!(last_in(&empty.path().join("none")).expect("nothing"), None);
}

#[test]
fn a_log_that_begins_too_late_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let consensus = open(directory.path()).expect("opens");
    runtime().block_on(async {
        consensus.propose("one".into()).await.expect("accepted");
        consensus.shutdown().await;
    });
    drop(consensus);
    let mut log = DiskLog::open(directory.path()).expect("opens");
    let (flushed, told) = consensus::log::Flushed::pair();
    let last = log.state().last.expect("it is not empty");
    log.purge(last, flushed).expect("written");
    told.recv().expect("told").expect("flushed");
    drop(log);
    assert!(matches!(open(directory.path()), Err(OpenError::Gap { .. })));
    fs::remove_dir_all(directory.path().join("snapshots")).expect("removed");
    assert!(matches!(open(directory.path()), Err(OpenError::Gap { .. })));
}
