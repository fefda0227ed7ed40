//! How many small writes a cluster takes, how many share a flush, and what each costs. Owns the clients and the counting from outside; must never rely on what
//! the product says of itself.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use cluster_tests::{
    cluster::Cluster,
    session::{Put, Session, Written},
};
use rustix::process::{Pid, Signal};
use tokio::task::JoinSet;

use crate::{Table, millis, percentile};

/// Clients at once.
const CLIENTS: u32 = 64;

/// Configs that they write.
const CONFIGS: u64 = 1_024;

/// Bytes of a value.
const VALUE_BYTES: usize = 256;

/// Longest time one write may take.
const WRITE_MAX: Duration = Duration::from_secs(20);

/// How long the file system's flushes are counted, and clients write before anything is.
const WARM: Duration = Duration::from_secs(2);

/// Calls of the system that wait for the disk.
const FLUSHES: &str = "syscalls:sys_enter_fdatasync,syscalls:sys_enter_fsync";

pub async fn measure(span: Duration) -> Table {
    let cluster = Cluster::start(3, 0).await;
    cluster.until_all_answer().await;
    let leader = cluster.leader().await;
    let flushes = flushes_per_second(&cluster.nodes[leader].data()).expect("the data directory takes a file");
    let apis = cluster.apis();
    let mut rows = Vec::new();
    let mut values = 1;
    for (what, servers) in [("the leader", vec![apis[leader].clone()]), ("all three servers in turn", apis.clone())] {
        let pid = cluster.nodes[leader].child("control-plane").expect("it runs");
        let run = Run::start(&servers, values);
        tokio::time::sleep(WARM).await;
        let seen = run.during(pid, span).await;
        values = run.finish().await;
        assert_eq!(cluster.leader().await, leader, "leadership moved while it was measured: run it again");
        let mut spans = seen.spans;
        rows.push(vec![
            what.to_owned(),
            format!("{:.0}", seen.written as f64 / seen.took.as_secs_f64()),
            format!("{:.1}", percentile(&mut spans, 50)),
            format!("{:.1}", percentile(&mut spans, 99)),
            format!("{flushes:.0}"),
            seen.flushes.map_or_else(|| "perf is missing".to_owned(), |count| format!("{:.1}", seen.written as f64 / count.max(1) as f64)),
            format!("{:.0}", seen.cpu_micros / seen.written.max(1) as f64),
            seen.failed.to_string(),
        ]);
    }
    for node in cluster.nodes {
        node.stop().await;
    }
    Table {
        title: "Small writes to a cluster",
        how: format!(
            "three servers on one disk, {CLIENTS} keep-alive clients that write Configs of {VALUE_BYTES} bytes for {} s; the flushes of the file system alone are \
             appends of {VALUE_BYTES} bytes with fdatasync just before; flushes and processor time are those of the leader's control plane",
            span.as_secs()
        ),
        head: &["clients ask", "commands/s", "p50 ms", "p99 ms", "fsync/s alone", "commands per fsync", "CPU µs per command", "failed"],
        rows,
    }
}

/// Clients that write.
struct Run {
    counts: Arc<Counts>,
    clients: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    counting: AtomicBool,
    values: AtomicU64,
    written: AtomicU64,
    failed: AtomicU64,
    spans: Mutex<Vec<f64>>,
}

/// What happened while it was counted.
struct Seen {
    took: Duration,
    written: u64,
    failed: u64,
    /// Of each write, in milliseconds.
    spans: Vec<f64>,
    flushes: Option<u64>,
    cpu_micros: f64,
}

impl Run {
    fn start(servers: &[String], first: u64) -> Self {
        let counts = Arc::new(Counts { values: AtomicU64::new(first), ..Counts::default() });
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let session = Session::new(&servers[number as usize % servers.len()]);
            clients.spawn(client(session, counts.clone()));
        }
        Self { counts, clients }
    }

    async fn during(&self, leader: Pid, span: Duration) -> Seen {
        let counter = FlushCounter::start(leader);
        // The counter has attached itself by then.
        tokio::time::sleep(WARM / 4).await;
        let (begin, cpu) = (Instant::now(), cpu_micros(leader));
        self.counts.counting.store(true, Relaxed);
        tokio::time::sleep(span).await;
        self.counts.counting.store(false, Relaxed);
        let (took, cpu_micros) = (begin.elapsed(), cpu_micros(leader) - cpu);
        let (flushes, counted) = counter.map_or((None, took), |counter| counter.finish());
        // The counter ran a little longer than the writes were counted.
        let flushes = flushes.map(|count| (count as f64 * took.as_secs_f64() / counted.as_secs_f64()) as u64);
        let spans = std::mem::take(&mut *self.counts.spans.lock().expect("nobody panics with it"));
        Seen { took, written: self.counts.written.load(Relaxed), failed: self.counts.failed.load(Relaxed), spans, flushes, cpu_micros }
    }

    /// Stops the clients and returns the next value that nobody wrote.
    async fn finish(mut self) -> u64 {
        self.counts.stop.store(true, Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client never panics");
        }
        self.counts.values.load(Relaxed)
    }
}

async fn client(mut session: Session, counts: Arc<Counts>) {
    while !counts.stop.load(Relaxed) {
        let value = counts.values.fetch_add(1, Relaxed);
        let (name, key) = (format!("figure-{}", value % CONFIGS), format!("figure-{value}"));
        let begin = Instant::now();
        let written = session.put(Put { name: &name, value, bytes: VALUE_BYTES, expect: None, key: &key }, WRITE_MAX).await;
        if !counts.counting.load(Relaxed) {
            continue;
        }
        if matches!(written, Written::Done(_)) {
            counts.written.fetch_add(1, Relaxed);
            counts.spans.lock().expect("nobody panics with it").push(millis(begin.elapsed()));
        } else {
            eprintln!("a write failed: {written:?}");
            counts.failed.fetch_add(1, Relaxed);
        }
    }
}

/// How often a second the file system of `directory` flushes a small append when nothing else writes.
fn flushes_per_second(directory: &Path) -> std::io::Result<f64> {
    let path = directory.join("flushes");
    let mut file = File::create(&path)?;
    let (begin, mut count) = (Instant::now(), 0u32);
    while begin.elapsed() < WARM {
        file.write_all(&[7; VALUE_BYTES])?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// User and system time of one process so far.
fn cpu_micros(pid: Pid) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a process has a name").1.split(' ').collect();
    let ticks: f64 = [11, 12].iter().filter_map(|field| fields.get(*field)?.parse::<f64>().ok()).sum();
    ticks * 1e6 / ticks_per_second()
}

/// The unit in which the kernel counts processor time.
fn ticks_per_second() -> f64 {
    let said = Command::new("getconf").arg("CLK_TCK").output().expect("every system has getconf");
    String::from_utf8_lossy(&said.stdout).trim().parse().expect("a number")
}

/// Counts the flushes of one process by the kernel's own tracing.
struct FlushCounter {
    perf: Child,
    begin: Instant,
}

impl FlushCounter {
    /// `None` when there is no `perf`.
    fn start(pid: Pid) -> Option<Self> {
        let mut command = Command::new("perf");
        command.args(["stat", "-x,", "-e", FLUSHES, "-p", &pid.as_raw_nonzero().to_string()]);
        let perf = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        Some(Self { perf, begin: Instant::now() })
    }

    /// How many there were, and in how long; `None` when it could not count.
    fn finish(mut self) -> (Option<u64>, Duration) {
        let took = self.begin.elapsed();
        let ended = rustix::process::kill_process(Pid::from_child(&self.perf), Signal::INT);
        let mut text = String::new();
        let said = self.perf.stderr.take().and_then(|mut said| said.read_to_string(&mut text).ok());
        let _ = self.perf.wait();
        let counts: Vec<u64> =
            text.lines().filter(|line| line.contains("sys_enter")).filter_map(|line| line.split(',').next()?.parse().ok()).collect();
        (said.and(ended.ok()).filter(|()| !counts.is_empty()).map(|()| counts.iter().sum()), took)
    }
}
