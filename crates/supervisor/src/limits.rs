//! Every limit of the supervisor and its compile children, with its reason. Must never hold a limit of a child's own work.

use std::time::Duration;

/// Least free space a node starts with: below it the log could not take one write and the next checkpoint.
pub const FREE_BYTES_MIN: u64 = 16 << 20;

/// How long a child may live once its supervisor is gone. It drains for 30 s at most; what is written and closed after that takes some seconds, and the control
/// plane hands leadership over before.
pub const ORPHAN_LIFE_MAX: Duration = Duration::from_secs(55);

/// How long a new supervisor waits for the children of the last one, which have all ended by then.
pub const ORPHANS_WAIT_MAX: Duration = Duration::from_secs(60);

/// First wait before a child that died young is started again.
pub const RESTART_WAIT_MIN: Duration = Duration::from_millis(100);

/// Longest such wait.
pub const RESTART_WAIT_MAX: Duration = Duration::from_secs(5);

/// A child that lived this long starts again at once, and its waits from the beginning.
pub const RESTART_LIFE_MIN: Duration = Duration::from_secs(10);

/// After SIGTERM a child drains for at most 30 s; five more and it is killed.
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(35);

/// How long a node may take to be ready: the replay of a large log.
pub const READY_WAIT_MAX: Duration = Duration::from_secs(120);

/// Between looks at whether the API answers.
pub const READY_LOOK_EVERY: Duration = Duration::from_millis(5);

/// Between looks at whether a control plane that failed answers after all; its restarts are five seconds apart by then.
pub const PART_LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the service manager is asked for more time while a node starts.
pub const EXTEND_EVERY: Duration = Duration::from_secs(10);

/// For how much time it is asked: three times as long, so that a busy machine does not end a start that goes on.
pub const EXTENSION: Duration = Duration::from_secs(30);

/// How long the children of a node that stops may take: a worker and then a control plane, 35 s each, and a moment.
pub const STOPPED_WAIT_MAX: Duration = Duration::from_secs(75);

/// Ends of a child before the node was ever ready, until the start is given up or goes on without it: a fault of the machine, not of a moment.
pub const STARTS_MAX: u32 = 5;

/// Connections that wait while a worker is replaced: at 10,000 per second, 400 ms.
pub const ACCEPT_QUEUE: i32 = 4_096;

/// Address space of a compile child in bytes: 30 times what the largest real component took.
pub const COMPILE_ADDRESS_BYTES_MAX: u64 = 4 << 30;

/// CPU time of a compile child in seconds.
pub const COMPILE_CPU_SECONDS_MAX: u64 = 300;

/// CPU time in seconds between the signal that says it is used up and the kill, which would say something else.
pub const COMPILE_CPU_GRACE_SECONDS: u64 = 5;

/// Wall time of a compile child: twice its CPU time, because it runs at idle priority.
pub const COMPILE_WAIT_MAX: Duration = Duration::from_secs(600);

/// Largest code file in bytes: three times the largest artifact.
pub const CODE_BYTES_MAX: u64 = 1 << 30;

/// Bytes of code files from which on those that are not assigned any more go, unless the operator says otherwise: 10,000 components like `hello` at
/// 1.2 MB, with room for each's revision before.
pub const CODE_DIRECTORY_BYTES_MAX: u64 = 16 << 30;

/// Code files from which on those that are not assigned any more go: one per instance a node may have.
pub const CODE_FILES_MAX: usize = 16_384;

/// How long code stays that the worker's newest assignment does not name: an undo right after a rollout finds it.
pub const UNNAMED_CODE_KEPT_FOR: Duration = Duration::from_secs(600);

/// What is kept of a compile child's words.
pub const COMPILE_WORDS_BYTES_MAX: u64 = 16 << 10;

/// Compile requests that may wait for a core.
pub const COMPILES_WAITING_MAX: usize = 256;

/// First wait before joining a cluster is tried again: whoever starts several nodes at once starts one of them first.
pub const JOIN_WAIT_MIN: Duration = Duration::from_millis(100);

/// Longest such wait.
pub const JOIN_WAIT_MAX: Duration = Duration::from_secs(5);

/// Refusals after which a server that forms a cluster with others gives up: the founder answers a moment before its log has their token, a flush or two.
pub const FORMED_REFUSALS_MAX: u32 = 5;

/// How long the tokens that a new cluster prints are good for: long enough to set up the other machines, short enough to be harmless in a scrollback.
pub const INVITATION_LIFE: Duration = Duration::from_secs(3600);

/// What the service manager is asked to wait longer while a node waits for the others of its cluster: it may be a machine that is still being ordered.
pub const START_EXTENSION: Duration = Duration::from_secs(120);

/// Between two such requests: one may be late, and the start still goes on.
pub const START_EXTENSION_EVERY: Duration = Duration::from_secs(30);

/// Directories in each other below the worker's: a guest's file lies at a path of 2,048 bytes at most, so as deep as half of that. Whoever makes them deeper
/// wants the walk to fail.
pub const DEPTH_MAX: usize = 1_100;

/// Between looks at whether this node has its place still. One server is asked at a time, over a new connection: a thousand nodes make three servers 33
/// handshakes a second each.
pub const PLACE_LOOK_EVERY: Duration = Duration::from_secs(10);

/// What a worker may have written down of the servers, in bytes: some thousands of them.
pub const SERVER_LIST_BYTES_MAX: u64 = 1 << 20;
