//! Every limit of the worker, with its reason. Must never hold a limit of another crate.

use std::time::Duration;

/// Longest line from the supervisor: 4 MiB of certificates, of which each line feed takes two bytes.
pub const LIFELINE_LINE_BYTES_MAX: usize = 8 << 20;

/// Messages that wait to be written to the other end of a lifeline: more than a moment of a busy start, and few enough that certificates of 4 MiB are no burden.
pub const LIFELINE_LINES_WAITING_MAX: usize = 16;

/// How long a worker that shall speak TLS waits for its certificates: the supervisor has them, and sends them first.
pub const CERTIFICATES_WAIT_MAX: Duration = Duration::from_secs(5);

/// Between looks at the dates of the certificates of routes: a warning of days does not depend on an hour.
pub const DATES_LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Artifacts named in one line to the supervisor: 75 bytes each, and a line has room for ten times as many.
pub const NEEDS_PER_LINE: usize = 80;

/// Between two lists of what this node needs, so that a rollout of a thousand apps does not make a thousand lists.
pub const NEEDS_REST: Duration = Duration::from_secs(1);

/// Between signs of life to the control plane; it calls a node silent after several of them.
pub const REPORT_EVERY: Duration = Duration::from_secs(3);

/// How long one exchange with the control plane over its socket may take before it counts as lost.
pub const CONTROL_WAIT_MAX: Duration = Duration::from_secs(10);

/// First wait after a failure that may pass by itself.
pub const RETRY_WAIT_MIN: Duration = Duration::from_millis(50);

/// Longest wait between tries: a control plane that is back is found within two seconds.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);

/// Tries of a step that fails for a passing reason until the placement is called failed: with the waits above about 15 s.
pub const STEP_TRIES_MAX: u32 = 12;

/// Artifacts brought here at once: a Unix socket is faster than the compiler that waits for them.
pub const FETCHES_MAX: usize = 4;

/// Compilations asked of the supervisor at once; it runs one per core and refuses more than it can keep in mind.
pub const COMPILES_ASKED_MAX: usize = 32;

/// Programs being started at once: opening code blocks a thread, a probe takes a sandbox.
pub const STARTS_MAX: usize = 8;

/// Maps the programs of a node are spread over: with 10,000 programs a change copies 160 entries.
pub const PROGRAM_SHARDS: usize = 64;

/// How long after a failure to open unloaded code the next request is told the same instead of trying again.
pub const REOPEN_FAILED_FOR: Duration = Duration::from_secs(1);

/// How long making code anew is tried while requests wait for it: the time most of them have.
pub const RENEW_WAIT_MAX: Duration = Duration::from_secs(20);

/// How long nobody must have asked for a program until its code is unloaded, unless the operator says otherwise: opening it again costs its first
/// request a millisecond, so a minute keeps everything that is asked for now and then, and lets go of what is not.
pub const UNLOAD_AFTER: Duration = Duration::from_secs(60);

/// Looks for idle programs per idle time: one is unloaded at most a quarter later than asked for.
pub const SWEEPS_PER_IDLE: u32 = 4;

/// Shortest time between such looks, whatever the operator asks for.
pub const SWEEP_WAIT_MIN: Duration = Duration::from_millis(100);

/// How many times longer than it takes to make one the gateway keeps a routing table before the next: a node with 10,000 routes spends a fifth of a core.
pub const TABLE_REST: u32 = 4;

/// How long an instance stays callable after it left the routing table: a request that picked it just before must still find it.
pub const WITHDRAWN_FOR_MIN: Duration = Duration::from_millis(50);

/// Between looks at whether a draining instance has finished.
pub const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Longest drain at the worker's end; the supervisor kills after 35 s.
pub const DRAIN_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long guests that go on after their responses get at the worker's end, after the drain and before the supervisor's patience ends.
pub const FINISH_WAIT_MAX: Duration = Duration::from_secs(3);

/// How long a restarted worker prepares its last assignment before it accepts connections; they wait in the accept queue meanwhile.
pub const RESUME_WAIT_MAX: Duration = Duration::from_secs(3);

/// How long a node that serves for the first time counts as starting while it gets what every worker runs: whoever adds a machine waits for it, and one component
/// that cannot run there must not keep the rest of it away.
pub const FIRST_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a node that starts counts as starting while its last assignment is prepared: the compiler makes what a full node runs, and the supervisor waits a
/// little longer than this.
pub const SETTLE_WAIT_MAX: Duration = Duration::from_secs(110);

/// One log file; with the one before it a component keeps at most twice this, for guest lines and for its access log each.
pub const LOG_FILE_BYTES_MAX: u64 = 8 << 20;

/// Components whose log files are kept open at once; beyond it the one least recently written is closed.
pub const LOG_FILES_OPEN_MAX: usize = 256;

/// Guest lines of one component waiting for the writer: the burst of the usual rate; at 2 µs a line the writer empties this in 8 ms.
pub const LOG_LINES_WAITING_MAX: usize = 4_096;

/// Bytes of guest lines of all components waiting for the writer: a disk that stalls must not cost the node its memory.
pub const LOG_WAITING_BYTES_MAX: usize = 64 << 20;

/// Lines a second one component may write unless the operator says otherwise: a thousand is more than anybody reads, and a hundred components that all
/// write as much take a fifth of a core and no more.
pub const LOG_LINES_PER_SECOND: u32 = 1_000;

/// Bytes a second one component may write unless the operator says otherwise: its two files then hold at least the last minute.
pub const LOG_BYTES_PER_SECOND: u64 = 256 << 10;

/// Seconds of a component's rate that may be saved up: start-up and a stack trace come at once, and are what people look for.
pub const LOG_BURST_SECONDS: f64 = 4.0;

/// How long dropped lines are gathered before their number is written: a line a second says enough.
pub const LOG_TELL_DROPPED_EVERY: Duration = Duration::from_secs(1);

/// Bytes of access lines waiting for the writer: two looks of the writer at 100,000 requests per second, with lines of half a kilobyte.
pub const ACCESS_BYTES_WAITING_MAX: usize = 2 << 20;

/// Longest text of one guest line; the rest is cut and said.
pub const LOG_TEXT_BYTES_MAX: usize = 16 << 10;

/// How often a busy writer looks at its channels. Producers need not wake it, which would cost each of them a system call.
pub const LOG_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Lines a follower may be behind before it skips some and says so.
pub const LOG_FOLLOW_LINES_MAX: usize = 4_096;

/// Components whose logs are kept on disk, those of deleted apps among them; with 32 MiB each this is 16 GiB at the very worst.
pub const LOG_COMPONENTS_MAX: usize = 512;

/// Lines one query answers with at most: what both files of a component can hold at about 170 bytes a line.
pub const LOG_QUERY_LINES_MAX: usize = 100_000;

/// Bytes one query holds per file at most: both files of one component fit.
pub const LOG_QUERY_BYTES_MAX: usize = 32 << 20;

/// Log queries that may wait for the writer at once.
pub const LOG_QUERIES_MAX: usize = 32;

/// Between looks at what nobody waits for: series of a deleted app go within it.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Spans waiting to be sent: a second of 4,000 requests, at about 700 bytes each. More are counted instead.
pub const SPANS_WAITING_MAX: usize = 8_192;

/// Spans in one request to the collector: about 700 KiB of JSON, below the 4 MiB collectors take.
pub const SPAN_BATCH_MAX: usize = 1_024;

/// How long spans wait for company before they are sent: who looks at a trace of now waits no longer than for its own tool.
pub const SPAN_WAIT: Duration = Duration::from_millis(500);

/// How long the collector may take for one batch; meanwhile the queue fills and then drops.
pub const SPAN_SEND_MAX: Duration = Duration::from_secs(10);

/// Bytes of a collector's answer that are read and thrown away.
pub const SPAN_ANSWER_BYTES_MAX: usize = 64 << 10;

/// Between two complaints about a collector.
pub const SPANS_COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// How long the last spans get at the worker's end.
pub const LAST_SPANS_MAX: Duration = Duration::from_secs(2);

/// Events kept for the control plane while it is away: a restart of everything on a node tells about as many.
pub const EVENTS_KEPT_MAX: usize = 64;

/// After a component's traps were told, how long others are not: one bad release is one event, not a hundred.
pub const TRAPS_TOLD_EVERY: Duration = Duration::from_secs(300);

/// Connections of control planes of other nodes: seven servers with a stream for each follower of a log, and an accident.
pub const MESH_CONNECTIONS_MAX: usize = 256;

/// Handshakes with control planes at once: each is over within seconds, and what says nothing gives way to what comes later.
pub const MESH_HANDSHAKES_MAX: usize = 64;

/// Until the head of a request of a control plane is there, as at the control plane's own doors.
pub const MESH_HEADER_MAX: Duration = Duration::from_secs(30);

/// How often a quiet connection of a control plane is tried: its machine may be gone without a word.
pub const MESH_KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);

/// A connection of a control plane that does not answer for this long is gone.
pub const MESH_KEEP_ALIVE_MAX: Duration = Duration::from_secs(10);

/// Time over which the workers of a cluster renew their certificates when another authority signs: 5,000 of them ask the leader for 2,500 in a second, which
/// is a tenth of what a core signs.
pub const RENEWAL_SPREAD: Duration = Duration::from_secs(2);

/// First wait after a renewal that failed: a server that was only starting anew is there by then.
pub const RENEWAL_RETRY_MIN: Duration = Duration::from_secs(1);

/// Longest wait between renewals that fail. 5,000 workers whose servers are away ask 450 times in a second then, which the servers bear when they come back;
/// who comes back after days is renewed before anybody looks.
pub const RENEWAL_RETRY_MAX: Duration = Duration::from_secs(15);

/// How often the certificate is looked at: it lasts a day, and is renewed at half of it.
pub const RENEWAL_LOOK_EVERY: Duration = Duration::from_secs(60);

/// Bytes of all secret values of a node as they are handed to the next worker: what all Configs and Secrets of a cluster may have, with room for keys.
pub const HANDOVER_BYTES_MAX: u64 = 256 << 20;

/// Connections for metrics at once: a few Prometheus servers, and people who look. More wait in the accept queue.
pub const METRICS_CONNECTIONS_MAX: usize = 16;

/// Until the head of a request for metrics is there, also between two of one connection.
pub const METRICS_HEADER_MAX: Duration = Duration::from_secs(10);

/// How long a connection for metrics lasts: several scrapes, and an end for whoever reads slowly.
pub const METRICS_CONNECTION_LIFE_MAX: Duration = Duration::from_secs(120);
