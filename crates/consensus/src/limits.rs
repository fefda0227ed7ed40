//! How much the log takes at once, and why. Owns the numbers; must never know who proposes.

/// Bytes of one encoded command. The largest is an app's manifest with its history note, or a plan of a thousand steps: both far below.
pub const COMMAND_BYTES_MAX: usize = 4 << 20;

/// Bytes the values of one frame may take while they are decoded, so that a damaged length cannot ask for all memory. A number of one byte counts as
/// eight, hence the factor.
pub const DECODED_BYTES_MAX: usize = 16 * COMMAND_BYTES_MAX;

/// Bytes gathered into one write: a disk flushes 8 MiB in less than an election takes to start.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Entries gathered into one write. At 2,000 flushes a second this is far above what can be proposed.
pub const BATCH_ENTRIES_MAX: usize = 4_096;

/// Proposals that wait for the writer. Past it proposers wait in their own tasks, where their deadlines run.
pub const QUEUE_MAX: usize = 1_024;

/// Bytes of one log file. Small, because opening the log reads each file whole, and what is in the newest one stays in memory.
pub const FILE_BYTES_MAX: usize = 8 << 20;

/// Bytes of entries kept in memory besides those of the newest file: for members that lag by a moment.
pub const CACHE_BYTES_MAX: usize = 1 << 20;

/// Bytes of the buffer each file is read through at start.
pub const READ_BUFFER_BYTES: usize = 1 << 20;

/// Bytes of entries read in one go while the log is replayed.
pub const REPLAY_BYTES_MAX: usize = 16 << 20;
