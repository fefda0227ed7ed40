//! How much the log takes at once, and why. Owns the numbers; must never know who proposes.

/// Bytes of one encoded command. The largest is an app's manifest with its history note, or a plan of a thousand steps: both far below.
pub const COMMAND_BYTES_MAX: usize = 4 << 20;

/// Bytes the values of one frame may take while they are decoded, so that a damaged length cannot ask for all memory. A number of one byte counts as
/// eight, hence the factor.
pub const DECODED_BYTES_MAX: usize = 16 * COMMAND_BYTES_MAX;

/// Bytes of one record of a snapshot. A record is at most an app with its history: some commands, never hundreds.
pub const RECORD_BYTES_MAX: usize = 16 * COMMAND_BYTES_MAX;

/// Bytes of entries in one message, and one entry in any case: at 1 Gbit/s that is 17 ms, far below a heartbeat.
pub const MESSAGE_ENTRIES_BYTES_MAX: usize = 2 << 20;

/// Entries in one message. Small commands come in batches of as many as wait; more than this would only delay the first of them.
pub const MESSAGE_ENTRIES_MAX: u64 = 1_024;

/// Bytes of one message between members: the largest entry, or a message full of entries, or a piece of a snapshot, and what is around them.
pub const MESSAGE_BYTES_MAX: usize = MESSAGE_ENTRIES_BYTES_MAX + COMMAND_BYTES_MAX + (64 << 10);

/// Bytes of a snapshot in one message: on a lane of its own, so it delays nothing, and small enough to be lost without regret.
pub const SNAPSHOT_PIECE_BYTES: usize = 1 << 20;

/// Bytes of the buffer a snapshot file is written and read through.
pub const SNAPSHOT_BUFFER_BYTES: usize = 256 << 10;

/// Snapshots on disk: the newest, and the one before it in case the newest is damaged.
pub const SNAPSHOTS_KEPT: usize = 2;

/// Entries between two snapshots: replaying as many takes well under a second.
pub const SNAPSHOT_ENTRIES: u64 = 5_000;

/// Entries kept in the log behind the newest snapshot. They bring a member back that was away for a moment without sending it a snapshot, and they
/// reach back to the snapshot before the newest, which would be of no use without them.
pub const LOG_ENTRIES_KEPT: u64 = 2 * SNAPSHOT_ENTRIES;

/// Entries between two hashes of the state: at 5,000 commands a second, one hash in 200 ms of them.
pub const CHECKPOINT_ENTRIES: u64 = 1_000;

/// Bytes that stay free on the log's disk, so that a vote, a new leader's first entry and what is under way find room when proposals no longer do.
pub const ROOM_BYTES_KEPT: u64 = 16 << 20;

/// Milliseconds a whole snapshot may take to a member. Pieces have a deadline of their own, so this only ends what crawls.
pub const SNAPSHOT_SEND_MS_MAX: u64 = 60_000;

/// Milliseconds one piece of a snapshot may take to a member: a megabyte over a slow line.
pub const SNAPSHOT_PIECE_MS_MAX: u64 = 10_000;

/// Entries a learner may lag behind and still be given a vote: what is sent in one round trip or two.
pub const PROMOTE_LAG_MAX: u64 = 100;

/// Bytes of one log file. Small, because opening the log reads each file whole, and what is in the newest one stays in memory.
pub const FILE_BYTES_MAX: usize = 8 << 20;

/// Bytes of entries kept in memory besides those of the newest file: for members that lag by a moment.
pub const CACHE_BYTES_MAX: usize = 1 << 20;

/// Bytes of the buffer each file is read through at start.
pub const READ_BUFFER_BYTES: usize = 1 << 20;

/// Bytes of entries read in one go while the log is replayed.
pub const REPLAY_BYTES_MAX: usize = 16 << 20;

/// Entries applied before whatever else is ready may run: the state machine shares its thread with heartbeats.
pub const APPLY_ENTRIES_MAX: u64 = 256;

/// Milliseconds a proposal waits for a majority before it is said to be unknown: longer than any client waits, so it only ends what hangs.
pub const PROPOSE_MS_MAX: u64 = 60_000;

/// Milliseconds between two questions for the leader while none answers.
pub const READ_RETRY_MS: u64 = 20;

/// Milliseconds shutting down waits for proposals that are under way.
pub const SHUTDOWN_MS_MAX: u64 = 2_000;

/// Milliseconds closing the log may take after that: a flush of a slow disk with room to spare.
pub const CLOSE_MS_MAX: u64 = 10_000;

/// Milliseconds the only member with a vote may take to elect itself: two flushes, on a very slow disk.
pub const ELECT_ALONE_MS_MAX: u64 = 20_000;

/// Calls that wait for the consensus thread. Past it callers wait in their own tasks, where their deadlines run.
pub const QUEUE_MAX: usize = 1_024;

/// Milliseconds a change of the membership may take: two entries, each on the disks of a majority. After that its outcome is unknown.
pub const MEMBER_CHANGE_MS_MAX: u64 = 30_000;

/// Milliseconds after which a change of the membership that stands in the middle is finished again: a leader's lease is shorter on a local network, and who waits
/// for the change hardly notices.
pub const FINISH_RETRY_MS: u64 = 500;

/// Milliseconds between two demands for a snapshot while one is being written: a small state is written in less.
pub const SNAPSHOT_ASK_MS: u64 = 250;
