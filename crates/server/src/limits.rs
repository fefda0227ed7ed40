//! What the control plane allows, each limit with its reason. Owns the numbers only one end must know; the shared ones are in `api::limits`.

use std::time::Duration;

/// Until a handler answers: longer than any fsync a healthy disk needs, shorter than the client's own deadline.
pub const HANDLER_MAX: Duration = Duration::from_secs(25);

/// Between two pieces of a request's body. A body that never comes must not hold a connection.
pub const BODY_SILENCE_MAX: Duration = Duration::from_secs(20);

/// Bytes of artifacts from which on those that no kept revision names go, unless the operator says otherwise: 10,000 components of 1.6 MB.
pub const ARTIFACTS_BYTES_MAX: u64 = 16 << 30;

/// How often the store of artifacts is held against its bounds; an upload that would not fit does it at once.
pub const ARTIFACT_SWEEP_EVERY: Duration = Duration::from_secs(600);

/// A look at the state that takes no longer than this is repeated at once.
pub const LOOK_CHEAP: Duration = Duration::from_millis(1);

/// How much longer than a look at the state took the next one waits, as long as looks are expensive: a third of a core at most.
pub const LOOK_REST: u32 = 2;

/// Longest such wait.
pub const LOOK_REST_MAX: Duration = Duration::from_millis(500);

/// Apps in one page of a list: 1.5 MB of ordinary ones.
pub const APPS_PER_PAGE_MAX: usize = 500;

/// Bytes of manifests from which on a page ends: with their status they stay below what a client reads at once.
pub const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Writes that wait for the writer. It takes all at once, so that more than this means that the disk stands still.
pub const WRITES_WAITING_MAX: usize = 1_024;

/// Writes in one batch: one flush for all of them, and still a small state to plan on.
pub const WRITES_PER_BATCH_MAX: usize = 64;

/// How long seen phases wait for company before they are recorded.
pub const OBSERVE_WAIT: Duration = Duration::from_millis(25);

/// How often the leader looks even if nothing happened: silence is not an event.
pub const TICK: Duration = Duration::from_secs(1);

/// Placements in one report; more than a node may have, with those that are on their way out.
pub const REPORTED_MAX: usize = 16_384;

/// Artifacts of which it is remembered that they lie on a majority; beyond this it is asked again.
pub const CACHED_MAX: usize = 128;

/// Until the worker answers a question about itself.
pub const MESH_MAX: Duration = Duration::from_secs(5);

/// Bytes of one of the worker's answers that is no stream: 10,000 components that all had requests take 40 MiB of metrics.
pub const MESH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long requests under way may take once the control plane is told to stop.
pub const FINISH_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a refused upload is read on, so that its client reads the refusal. A client on a slow line sees a closed connection after this.
pub const REFUSED_READ_MAX: Duration = Duration::from_secs(10);

/// Events of workers that wait for the log: a quarter of those the state keeps.
pub const EVENTS_WAITING_MAX: usize = 256;

/// How long an event of a worker waits for this server to lead: an election, many times over. Whoever led meanwhile has recorded it.
pub const EVENT_WAIT_MAX: Duration = Duration::from_secs(30);

/// Until a read knows everything that was acknowledged before it: an election takes a second at most.
pub const READ_BARRIER_MAX: Duration = Duration::from_secs(5);

/// The same, for a caller who takes what is known instead: an election, and a person does not wonder yet.
pub const KNOWN_MAX: Duration = Duration::from_secs(2);

/// How often the leader looks whether a server has caught up: nothing says so by itself.
pub const MEMBERS_LOOK_EVERY: Duration = Duration::from_millis(200);

/// Bytes of one message of consensus: a batch of entries of the largest size, or a piece of a snapshot.
pub const CONSENSUS_BYTES_MAX: usize = consensus::limits::MESSAGE_BYTES_MAX;

/// Bytes of an answer of another server that is no stream.
pub const PEER_ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest key under which a call is done only once: a UUID with a word before it, and the number of a document behind.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 120;

/// How long a token that lets nodes join may be good for: long enough for machines that are ordered today.
pub const JOIN_TOKEN_LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a token of the API may be good for: two years, after which somebody should look who still uses it.
pub const API_TOKEN_LIFE_MAX: Duration = Duration::from_secs(2 * 366 * 24 * 3600);

/// Until a server has fetched an artifact from another: the largest at 16 MiB/s.
pub const SPREAD_MAX: Duration = Duration::from_secs(20);

/// Bytes of the name of a token of the API: a line of a table.
pub const TOKEN_NAME_BYTES_MAX: usize = 128;

/// Until artifacts that nobody had are looked for again though nothing was written: a server that comes back with them is found within a minute.
pub const SPREAD_RETRY: Duration = Duration::from_secs(60);

/// Between two looks for artifacts that lack here: a deploy waits for none of them.
pub const SPREAD_REST: Duration = Duration::from_millis(250);

/// Until another member leads: an election, with room for a busy machine.
pub const TRANSFER_MAX: Duration = Duration::from_secs(5);

/// Until another server has taken a report that is passed on; the next one follows in a few seconds.
pub const RELAY_MAX: Duration = Duration::from_secs(3);

/// Reports that are passed on at once: 5,000 workers report every 3 s, and each takes about a millisecond.
pub const RELAYS_MAX: usize = 64;

/// Where the keys of all nodes are kept for the next start, beside this server's own.
pub const KNOWN_FILE: &str = "members.json";

/// Until another node has taken a connection: a third of an election, so that one that is gone does not hold up the vote.
pub const CONNECT_MAX: Duration = Duration::from_millis(2_000);

/// How often certificates are looked at: they last a day, and are renewed at half of it.
pub const RENEWAL_LOOK_EVERY: Duration = Duration::from_secs(60);

/// How often a member tries to tell what its state hashed to: over an election, and then the next checkpoint says it again.
pub const ATTEST_TRIES: usize = 5;

/// Between two such tries.
pub const ATTEST_WAIT: Duration = Duration::from_secs(1);

/// Until a node whose news nobody took tries again: an election is over by then.
pub const INTRODUCTION_RETRY: Duration = Duration::from_secs(1);

/// Between two looks at the members: an election takes longer.
pub const MEMBERS_REST: Duration = Duration::from_millis(20);

/// How often at most it is looked who else is there, while the log grows: each look goes through all nodes.
pub const REACHED_LOOK_EVERY: Duration = Duration::from_millis(100);

/// Artifacts that a snapshot says it lacks: what a file is of has to fit into a part of 64 KiB.
pub const SNAPSHOT_MISSING_MAX: usize = 500;

/// Snapshots that are sent at once: each holds a thread as long as its reader takes.
pub const SNAPSHOTS_SENT_MAX: usize = 2;

/// Until whoever asked for a snapshot takes the next piece: a disk that stalls, or a line that comes back. The client gives up sooner on silence of ours.
pub const SNAPSHOT_SILENCE_MAX: Duration = Duration::from_secs(60);

/// Bytes of a snapshot that go out together.
pub const SNAPSHOT_PIECE_BYTES: usize = 64 << 10;

/// Pieces of a snapshot that wait for their reader.
pub const SNAPSHOT_PIECES_MAX: usize = 16;

/// Bytes of JSON somebody may send who shows no certificate: a node says of itself 64 labels of two texts of 320 bytes, and its keys.
pub const ANYBODY_BYTES_MAX: usize = 64 << 10;

/// After a start, before disk and network are measured: replay, joining and elections would be measured too.
pub const FITNESS_REST: Duration = Duration::from_secs(5);

/// How often an open stream looks whether its token still holds: this late at most it ends.
pub const TOKEN_LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the log says at most that messages to a server fail: consensus tries dozens of times a second, for as long as a machine is away.
pub const UNREACHED_SAID_EVERY: Duration = Duration::from_secs(30);

/// How long a leader that was replaced has to answer what was passed on to it before. One that handed leadership over answers in a few milliseconds, not least
/// the call that asked for it; one that hangs never does.
pub const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// How long the parts of the control plane have to end once everything is answered: they stop at their next wait, and one that blocks a thread is left behind.
pub const TASKS_WAIT_MAX: Duration = Duration::from_secs(5);

/// Phases in one command: with the longest words of a failure a quarter of what a command may have.
pub const PHASES_PER_COMMAND_MAX: usize = 512;

/// Phases that are recorded together, of all nodes; at 2 KiB each the log takes them in one flush.
pub const PHASES_PER_BATCH_MAX: usize = 4_096;

/// Bytes of the commands in one batch, beyond its first wish: what is encoded and flushed at once must not keep heartbeats waiting.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// How long it is remembered that an artifact lies on a majority: well within the hour that every server keeps what nothing refers to.
pub const SPREAD_KNOWN_FOR: Duration = Duration::from_secs(1_200);
