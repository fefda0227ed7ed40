//! Every limit of a sandbox and of the pool, each with its reason. Owns the numbers; must never know who asks.

use std::time::Duration;

/// Slots a node starts with: at 20 µs a request this is far more than two cores can keep busy, and reserves 4 TiB of address space for each engine, which every 47-bit machine has.
pub(crate) const SLOTS_DEFAULT: u32 = 1_000;

/// Fewer slots than this are not worth a pool: the node falls back to memory maps made on demand.
pub(crate) const SLOTS_MIN: u32 = 16;

/// Address space of one memory slot: a 32-bit memory needs no bounds checks when all 4 GiB it can name are reserved, plus a guard.
pub(crate) const SLOT_RESERVED_BYTES: u64 = (4 << 30) + (32 << 20);

/// Most memory one sandbox may be granted. A slot reserves 4 GiB of address space whatever this says, so it only bounds mistakes.
pub(crate) const SLOT_MEMORY_BYTES_MAX: usize = 1 << 30;

/// Core instances of one component: composed components and adapters need a handful each, nobody was seen above 20.
pub(crate) const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 32;

/// Memories of one component: composed components bring one per part.
pub(crate) const MEMORIES_PER_COMPONENT_MAX: u32 = 4;

/// Tables of one component: two per core module.
pub(crate) const TABLES_PER_COMPONENT_MAX: u32 = 8;

/// Elements of one table: interpreters compiled to Wasm have tables of about 10,000 functions.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Host bytes of one table element, for the sum against the memory limit: one pointer.
pub(crate) const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// Host metadata of one core instance or component: ten times what the largest known guest needs.
pub(crate) const INSTANCE_METADATA_BYTES_MAX: usize = 1 << 20;

/// Slots kept warm after use. Each keeps at most `KEEP_RESIDENT_BYTES`, so the idle cost is at most 25 MiB.
pub(crate) const WARM_SLOTS_MAX: u32 = 100;

/// Bytes of a used slot that are cleared in place instead of given back: every size from 64 KiB to 1 MiB measured the same, this holds a Rust guest's stack.
pub(crate) const KEEP_RESIDENT_BYTES: usize = 256 << 10;

/// The same for tables: a Rust guest's table is under one page, an interpreter's under four.
pub(crate) const TABLE_KEEP_RESIDENT_BYTES: usize = 16 << 10;

/// The stack a guest runs on, with the host calls it makes.
pub(crate) const STACK_BYTES: usize = 1 << 20;

/// What of the stack a guest may use itself; the rest is for host calls.
pub(crate) const GUEST_STACK_BYTES: usize = 512 << 10;

/// Memory maps of the process before the first slot: binaries, thread stacks, heap arenas.
pub(crate) const MAPS_BASE: u64 = 2_000;

/// Maps per slot: two for its stack on the engine of WASI 0.2, four for the two on that of 0.3, four while it is warm or live on either.
pub(crate) const MAPS_PER_SLOT: u64 = 10;

/// Stacks per slot where calls into one sandbox overlap: calls that wait keep none as a rule, a sandbox with two that do so is already rare.
pub(crate) const STACKS_PER_CONCURRENT_SLOT: u32 = 2;

/// Code files whose checks this process remembers: ten times what a node has placed.
pub(crate) const VERIFIED_MAX: usize = 10_000;

/// Maps per opened code file.
pub(crate) const MAPS_PER_CODE: u64 = 3;

/// Files of the process before the first connection: sockets, logs, epoll.
pub(crate) const FILES_BASE: u64 = 256;

/// Code files the sums of maps and files make room for: one per component that is placed on the node.
pub(crate) const CODES_DEFAULT: u32 = 1_000;

/// Files per slot: the connection its request came on, and an idle one.
pub(crate) const FILES_PER_SLOT: u64 = 2;

/// How often a guest that computes lets others run: what a neighbor on the same thread waits at most is twice this. Ticking costs 1.2 % of a core, and only
/// while guests are at work.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest at work until the ticker sleeps: waking it costs a request some microseconds, ticking for nobody costs as much each time.
pub(crate) const QUIET_TICKS_MAX: u32 = 4;

/// Processor time of one request after which a guest goes on in the slow lane: a hundred times what a light request takes, and few enough turns that nobody
/// else notices them.
pub(crate) const SLOW_AFTER_NANOS: u64 = 2_000_000;

/// A turn of a guest that takes no longer is charged by the time of day: ten times a light turn, and a tenth of what makes a guest heavy, so what a thread that
/// was interrupted charges too much does not matter.
pub(crate) const SHORT_TURN_NANOS: u64 = 200_000;

/// Processor time a guest may use before its component's figures hear of it: ten times a second would do for people, this costs nothing.
pub(crate) const CPU_TOLD_AFTER_NANOS: u64 = 1_000_000;

/// Nice value of the one slow thread that always gets something: the lowest there is.
pub(crate) const FLOOR_NICE: i32 = 19;

/// The grain of memory that instances give to sandboxes: a page of WebAssembly.
pub(crate) const MEMORY_UNIT_BYTES: u64 = 64 << 10;

/// Failures of a component that are told with everything in one minute: enough to see a pattern, at most 80 KiB.
pub(crate) const FAILURES_TOLD_MAX: u64 = 5;

/// The minute.
pub(crate) const FAILURES_WINDOW: Duration = Duration::from_secs(60);

/// Bytes one call from the guest may make the host copy: the largest chunk of a response body is 1 MiB, headers are smaller.
pub(crate) const HOST_CALL_BYTES_MAX: usize = 16 << 20;

/// Handles a guest may hold: a request with its headers and streams needs about ten.
pub(crate) const HANDLES_MAX: usize = 10_000;

/// Host resources a guest may hold, the other end of its handles.
pub(crate) const RESOURCES_MAX: usize = 10_000;

/// The same where the guest has files: each may be an open one, of which a process has few. Sixteen requests at once need about 160.
pub(crate) const RESOURCES_WITH_FILES_MAX: usize = 256;

/// Room for the resources of a plain request, so that the table is allocated once.
pub(crate) const RESOURCES_PLANNED: usize = 16;

/// Bytes of all fields of one header map made by a guest: clients and proxies refuse more than 64 KiB.
pub(crate) const HEADER_BYTES_MAX: usize = 64 << 10;

/// Random bytes one call may ask for: keys and seeds are under a page; the host allocates all of them at once.
pub(crate) const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// Bytes of one captured line of output; what is longer is cut and said.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 10;

/// Bytes of one line the host writes: a backtrace of 20 frames with long names.
pub(crate) const HOST_LINE_BYTES_MAX: usize = 16 << 10;

/// Bytes a guest may write to its output in one call.
pub(crate) const OUTPUT_CHUNK_BYTES_MAX: usize = 64 << 10;

/// Frames of a backtrace.
pub(crate) const BACKTRACE_FRAMES_MAX: usize = 20;

/// Lines about refused host calls one sandbox may cause: a guest that tries in a loop must not drown the log.
pub(crate) const DENIALS_LOGGED_MAX: u8 = 8;

/// How long a sandbox may work on after its response has been sent whole.
pub(crate) const AFTER_RESPONSE: Duration = Duration::from_secs(30);

/// Outgoing requests of one component, waiting ones aside: twice what a busy frontend was seen to need, and far below what would use up the ports of an address.
pub(crate) const EGRESS_IN_FLIGHT_MAX: usize = 256;

/// Outgoing requests of one sandbox: what a guest asks for at once when it fans out. More of them wait, so that one request cannot take its component's.
pub(crate) const EGRESS_IN_FLIGHT_OF_SANDBOX_MAX: usize = 32;

/// Open connections of one component, idle ones too. From half of it on, none is kept for later.
pub(crate) const EGRESS_CONNECTIONS_MAX: usize = 256;

/// Open connections of all components: each is a file, and a process has 65,536 of them where an operator cares, 4,096 where nobody does.
pub(crate) const EGRESS_CONNECTIONS_OF_NODE_MAX: usize = 2_048;

/// Idle connections kept to one destination: what a steady stream of requests reuses.
pub(crate) const EGRESS_IDLE_CONNECTIONS_MAX: usize = 32;

/// How long an idle connection is kept: less than the 60 s after which most servers close it.
pub(crate) const EGRESS_IDLE_MAX: Duration = Duration::from_secs(30);

/// How often an HTTP/2 connection with open streams is asked whether it lives, and how long the answer may take.
pub(crate) const EGRESS_PING: Duration = Duration::from_secs(20);

/// Names looked up at once by the node: each holds a thread until the system's resolver gives up.
pub(crate) const EGRESS_LOOKUPS_MAX: usize = 64;

/// How long a lookup may take, its wait for a turn included: two tries of a usual resolver.
pub(crate) const EGRESS_LOOKUP_MAX: Duration = Duration::from_secs(10);

/// Addresses of one name that are judged and tried.
pub(crate) const EGRESS_ADDRESSES_MAX: usize = 16;

/// How long one address of several is tried.
pub(crate) const EGRESS_ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// How long a guest waits for a connection unless it says otherwise.
pub(crate) const EGRESS_CONNECT_DEFAULT: Duration = Duration::from_secs(10);

/// How long it waits at most.
pub(crate) const EGRESS_CONNECT_MAX: Duration = Duration::from_secs(30);

/// How long the other side may be silent, before its response and in it, unless the guest says otherwise.
pub(crate) const EGRESS_SILENCE_DEFAULT: Duration = Duration::from_secs(60);

/// How long it may be silent at most: a connection that is silent for longer is dead on most networks.
pub(crate) const EGRESS_SILENCE_MAX: Duration = Duration::from_secs(600);

/// Bytes buffered of one HTTP/1 connection or one HTTP/2 stream. The head of a response must fit.
pub(crate) const EGRESS_BUFFER_BYTES_MAX: usize = 128 << 10;

/// Bytes of an HTTP/2 response that may be on their way to a guest that does not read.
pub(crate) const EGRESS_STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// The same over all streams of a connection.
pub(crate) const EGRESS_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// TLS sessions a component keeps for its next connections.
pub(crate) const EGRESS_TLS_SESSIONS_MAX: usize = 32;

/// How long a refused outgoing request is read, so that the guest sees the refusal instead of a broken pipe.
pub(crate) const DENIED_REQUEST_DRAIN: Duration = Duration::from_secs(5);

/// How long a kept sandbox may be idle: a visitor who comes back within a minute finds what was remembered, and memory is not held for longer.
pub(crate) const KEPT_IDLE: Duration = Duration::from_secs(60);

/// Requests that may wait for each shared sandbox before another is started: at 10 µs each the last of them waits less long than a start takes.
pub(crate) const KEPT_BACKLOG: usize = 8;

/// A request waits so long before it is asked whether the sandboxes it waits for compute: two ticks.
pub(crate) const KEPT_STUCK_AFTER: Duration = Duration::from_millis(2);

/// Requests a shared sandbox is given before its task lets others run.
pub(crate) const KEPT_TURNS_MAX: u32 = 16;

/// A half-written code file older than this belongs to nobody: compiling is stopped long before.
pub(crate) const LEFTOVER_AGE: Duration = Duration::from_secs(600);
