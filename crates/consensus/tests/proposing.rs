//! What a proposer may rely on, over a disk that can be held, filled, broken and unplugged.

mod support;

use std::{
    future::{Future, poll_fn},
    io,
    sync::Arc,
    task::Poll,
};

use consensus::{
    Consensus, Health, Leadership, ProposeError,
    memory_log::{MemoryDisk, MemoryLog},
};
use support::{PATIENCE, peer, start};
use tokio::time::timeout;

#[tokio::test]
async fn an_answer_has_an_index_and_the_state_shows_it() {
    let disk = MemoryDisk::new();
    let consensus = start(&disk).await;
    let before = disk.flushes();
    assert_eq!(consensus.propose("one".into()).await.expect("accepted"), (2, 1));
    let answers = consensus.propose_batch(vec!["two".into(), "three".into()]).await.expect("accepted");
    assert_eq!(answers, [(3, 2), (4, 3)]);
    assert_eq!(consensus.state().commands(), ["one", "two", "three"]);
    assert_eq!(*consensus.applied().borrow(), 4);
    assert_eq!(*consensus.leadership().borrow(), Leadership::Leading { term: 1, since: 1 });
    assert_eq!(consensus.membership().borrow().voters, [peer(1)]);
    assert_eq!(disk.flushes() - before, 2, "a batch is flushed once");
}

#[tokio::test]
async fn a_group_is_founded_once_and_by_its_first_member() {
    let disk = MemoryDisk::new();
    let consensus = start(&disk).await;
    let refused = consensus.initialize(peer(2)).await.expect_err("another member");
    assert_eq!(refused.to_string(), "member 1 cannot found a group for member 2");
    let refused = consensus.initialize(peer(1)).await.expect_err("founded already");
    assert_eq!(refused.to_string(), "member 1 is in a group already");
}

#[tokio::test]
async fn nothing_is_answered_or_shown_before_it_is_flushed() {
    let disk = MemoryDisk::new();
    let consensus = start(&disk).await;
    disk.hold();
    let asked = consensus.clone();
    let mut proposal = tokio::spawn(async move { asked.propose("one".into()).await });
    let written = disk.clone();
    assert!(tokio::task::spawn_blocking(move || written.until_held(PATIENCE)).await.expect("waits"), "it was never written");
    assert!(!disk.is_empty() && !proposal.is_finished());
    assert!(consensus.state().commands().is_empty());
    disk.release();
    let answer = timeout(PATIENCE, &mut proposal).await.expect("in time").expect("no panic");
    assert_eq!(answer.expect("accepted"), (2, 1));
}

#[tokio::test]
async fn what_is_proposed_together_is_flushed_together() {
    let disk = MemoryDisk::new();
    let consensus = start(&disk).await;
    let before = disk.flushes();
    let mut proposals: Vec<_> = (0..50).map(|number| Box::pin(consensus.propose(number.to_string()))).collect();
    // A proposal is on its way when it is first polled.
    poll_fn(|context| {
        proposals.iter_mut().for_each(|proposal| assert!(proposal.as_mut().poll(context).is_pending()));
        Poll::Ready(())
    })
    .await;
    for proposal in proposals {
        timeout(PATIENCE, proposal).await.expect("in time").expect("accepted");
    }
    assert_eq!((consensus.state().0.len(), disk.flushes() - before), (50, 1));
}

#[tokio::test]
async fn a_full_disk_refuses_changes_nothing_and_recovers() {
    let disk = MemoryDisk::new();
    let consensus = start(&disk).await;
    consensus.propose("one".into()).await.expect("accepted");
    disk.set_full(true);
    for _ in 0..3 {
        let refused = consensus.propose_batch(vec!["lost".into(), "lost too".into()]).await.expect_err("the disk is full");
        assert!(matches!(&refused, ProposeError::Storage { source } if source.kind() == io::ErrorKind::StorageFull), "{refused:?}");
    }
    assert!(matches!(*consensus.health().borrow(), Health::Refusing { .. }));
    assert_eq!(consensus.state().commands(), ["one"]);
    disk.set_full(false);
    assert_eq!(consensus.propose("two".into()).await.expect("accepted"), (3, 2));
    assert_eq!(*consensus.health().borrow(), Health::Working);
    consensus.shutdown().await;
    assert_eq!(start(&disk).await.state().commands(), ["one", "two"], "nothing refused came back");
}

#[tokio::test]
async fn a_broken_disk_ends_it() {
    let disk = MemoryDisk::new();
    let consensus = start(&disk).await;
    consensus.propose("one".into()).await.expect("accepted");
    disk.break_down();
    assert!(matches!(consensus.propose("two".into()).await, Err(ProposeError::Failed { .. })));
    let why = timeout(PATIENCE, consensus.failed()).await.expect("in time");
    assert_eq!(why, "writing to the log failed: the disk is broken");
    assert!(matches!(consensus.propose("three".into()).await, Err(ProposeError::Failed { .. })));
    assert_eq!(consensus.state().commands(), ["one"]);
}

/// A flush fails once, and the disk works again afterwards, as a system says that took the bytes for written.
async fn with_a_failed_flush(disk: &MemoryDisk) -> Consensus<support::Journal> {
    let consensus = start(disk).await;
    consensus.propose("one".into()).await.expect("accepted");
    disk.set_failing(true);
    assert!(matches!(consensus.propose("two".into()).await, Err(ProposeError::Failed { .. })));
    assert_eq!(timeout(PATIENCE, consensus.failed()).await.expect("in time"), "writing to the log failed: a flush failed");
    assert!(disk.hollow().is_some(), "what was not flushed can be read");
    consensus
}

#[tokio::test]
async fn what_a_failed_flush_was_of_is_cut_off_when_the_log_is_closed() {
    let disk = MemoryDisk::new();
    with_a_failed_flush(&disk).await.shutdown().await;
    assert_eq!(disk.hollow(), None);
    let consensus = start(&disk).await;
    assert_eq!(consensus.state().commands(), ["one"]);
    consensus.propose("three".into()).await.expect("accepted");
    disk.crash(0);
    assert_eq!(start(&disk).await.state().commands(), ["one", "three"]);
}

#[tokio::test]
async fn what_a_failed_flush_was_of_is_written_again_after_a_kill() {
    let disk = MemoryDisk::new();
    let killed = with_a_failed_flush(&disk).await;
    let consensus = start(&disk).await;
    assert_eq!(consensus.state().commands(), ["one", "two"]);
    consensus.propose("three".into()).await.expect("accepted");
    disk.crash(0);
    assert_eq!(start(&disk).await.state().commands(), ["one", "two", "three"]);
    drop(killed);
}

#[tokio::test]
async fn a_panic_in_the_machine_is_told_not_hidden() {
    let consensus = start(&MemoryDisk::new()).await;
    assert!(matches!(consensus.propose("panic".into()).await, Err(ProposeError::Failed { .. })));
    assert_eq!(timeout(PATIENCE, consensus.failed()).await.expect("in time"), "applying entry 2 panicked: a broken invariant");
}

#[tokio::test]
async fn a_member_that_is_halted_writes_and_answers_nothing() {
    let consensus = start(&MemoryDisk::new()).await;
    consensus.propose("one".into()).await.expect("accepted");
    consensus.halt("its state differs at entry 1000".into());
    assert!(matches!(consensus.propose("two".into()).await, Err(ProposeError::Failed { .. })));
    assert_eq!(consensus.failed().await, "its state differs at entry 1000");
    assert!(consensus.receive(2, Vec::new().into()).await.is_err());
    assert_eq!(consensus.state().commands(), ["one"]);
}

#[tokio::test]
async fn an_oversized_command_is_refused_alone() {
    let consensus = start(&MemoryDisk::new()).await;
    let refused = consensus.propose("x".repeat(5 << 20)).await.expect_err("too large");
    assert_eq!(refused.to_string(), "a command of 5242898 bytes is more than one log entry may have (4194304)");
    consensus.propose("one".into()).await.expect("accepted");
}

#[tokio::test]
async fn shutting_down_answers_what_was_proposed() {
    let disk = MemoryDisk::new();
    let consensus = start(&disk).await;
    disk.hold();
    let asked = consensus.clone();
    let proposal = tokio::spawn(async move { asked.propose("one".into()).await });
    let written = disk.clone();
    assert!(tokio::task::spawn_blocking(move || written.until_held(PATIENCE)).await.expect("waits"));
    let stopping = consensus.clone();
    let stop = tokio::spawn(async move { stopping.shutdown().await });
    disk.release();
    assert_eq!(proposal.await.expect("no panic").expect("accepted"), (2, 1));
    timeout(PATIENCE, stop).await.expect("in time").expect("no panic");
    assert!(matches!(consensus.propose("two".into()).await, Err(ProposeError::Stopped)));
    assert_eq!(*consensus.health().borrow(), Health::Stopped);
}

#[test]
fn a_power_cut_loses_nothing_that_was_answered() {
    for kept in 0.. {
        let (disk, runtime) = (MemoryDisk::new(), support::runtime());
        let consensus = runtime.block_on(start(&disk));
        runtime.block_on(async { consensus.propose_batch(vec!["one".into(), "two".into()]).await }).expect("accepted");
        disk.hold();
        let asked = consensus.clone();
        runtime.spawn(async move { asked.propose_batch(vec!["three".into(), "four".into()]).await });
        let written = disk.clone();
        runtime.block_on(async move { tokio::task::spawn_blocking(move || written.until_held(PATIENCE)).await.expect("waits") });
        let loose = disk.crash(kept);
        drop((runtime, consensus));
        let found = support::runtime().block_on(async { start(&disk).await.state() });
        let all = ["one", "two", "three", "four"];
        assert!(found.0.len() >= 2 && all.starts_with(&found.commands()), "kept {kept}: {found:?}");
        if kept >= loose {
            assert_eq!(found.commands(), all);
            return;
        }
    }
}

#[test]
fn damage_on_the_disk_is_refused() {
    let disk = MemoryDisk::new();
    support::runtime().block_on(async {
        let consensus = start(&disk).await;
        for command in ["one", "two"] {
            consensus.propose(command.into()).await.expect("accepted");
        }
    });
    for bit in 0..disk.len() * 8 {
        disk.damage(bit / 8, 1 << (bit % 8));
        assert!(MemoryLog::open(&disk).is_err(), "bit {bit} was not noticed");
        disk.damage(bit / 8, 1 << (bit % 8));
    }
    let found = support::runtime().block_on(async { start(&disk).await.state() });
    assert_eq!(found.commands(), ["one", "two"]);
}

#[test]
fn errors_say_what_was_tried() {
    let error = ProposeError::Storage { source: Arc::new(io::Error::from(io::ErrorKind::StorageFull)) };
    assert_eq!(error.to_string(), "writing to the log");
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("no storage space"));
}
