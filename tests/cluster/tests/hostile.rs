//! Guests that attack their host, one way per request: each way has an error of its own, the node serves `hello` meanwhile, and afterwards nothing of
//! them is left: no sandbox, no thread, no open file, no memory.

use std::{collections::BTreeMap, fs};

use cluster_tests::{DEADLINE, eventually, guest, load::Load, node::Node, raw};
use std::sync::atomic::Ordering::Relaxed;

/// Times every way is tried. `cargo xtask bench hostile --rounds N` tries more often.
const ROUNDS: usize = 3;

/// What the worker may have grown by between the first round and the last.
const GROWTH_BYTES_MAX: u64 = 48 << 20;

/// Files and threads that may be in use for other reasons: a client's connection, a helper of the runtime.
const SPARE: usize = 8;

/// How a case shows itself to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// A whole answer with this status.
    Whole(u16),
    /// 200, and then a body that breaks off.
    Broken,
    /// 200 and a body without end; the client leaves.
    Endless,
}

/// One way to attack: what the client sees, and the error in the access log (empty for none).
struct Case {
    how: &'static str,
    seen: Seen,
    code: &'static str,
}

const fn case(how: &'static str, seen: Seen, code: &'static str) -> Case {
    Case { how, seen, code }
}

/// The ways of WASI 0.2, in sample-apps/hostile.
const CASES: &[Case] = &[
    case("loop", Seen::Whole(500), "E0310"),
    case("memory", Seen::Whole(500), "E0305"),
    case("grow", Seen::Whole(200), ""),
    case("recursion", Seen::Whole(500), "E0304"),
    case("exit", Seen::Whole(500), "E0304"),
    case("silent", Seen::Whole(500), "E0307"),
    case("sleep", Seen::Whole(504), "E0306"),
    case("trap", Seen::Whole(500), "E0304"),
    case("twice", Seen::Broken, "E0304"),
    case("status", Seen::Whole(500), "E0307"),
    case("length", Seen::Broken, "E0307"),
    case("length-text", Seen::Whole(500), "E0307"),
    case("fields", Seen::Whole(500), "E0312"),
    case("handles", Seen::Whole(500), "E0312"),
    case("pollables", Seen::Whole(500), "E0312"),
    case("poll-many", Seen::Whole(500), "E0310"),
    case("random", Seen::Whole(500), "E0312"),
    case("log-line", Seen::Whole(200), ""),
    case("log-flood", Seen::Whole(200), ""),
    case("trap-after-head", Seen::Broken, "E0304"),
    case("trap-in-body", Seen::Broken, "E0304"),
    case("trap-before-trailers", Seen::Broken, "E0304"),
    case("unfinished", Seen::Broken, "E0307"),
    case("trailers", Seen::Broken, "E0312"),
    case("trap-after-body", Seen::Whole(200), ""),
    case("loop-in-body", Seen::Broken, "E0310"),
    case("sleep-in-body", Seen::Broken, "E0306"),
    case("loop-after-body", Seen::Whole(200), ""),
    case("endless-body", Seen::Endless, ""),
];

fn manifest() -> String {
    let app = |name: &str, resources: &str| {
        format!(
            "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  components:\n    web:\n      source: {}\n      \
             routes: [{{host: {name}.localhost}}]\n      resources: {resources}\n",
            guest(name).display()
        )
    };
    let hostile = app("hostile", "{cpuTime: 400ms, timeout: 8s, memory: 16Mi}");
    format!("{hostile}---\n{}", app("hello", "{memory: 16Mi}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_has_its_own_error_and_leaves_nothing_behind() {
    let node = Node::start().await;
    node.apply(&manifest()).expect(0);
    let worker = node.child("worker").expect("a worker runs").as_raw_nonzero().get();
    let load = Load::start(&node.http, "hello.localhost", 1);
    load.answered(20).await;
    round(&node, CASES).await;
    let before = settled(&node, worker).await;
    for _ in 1..ROUNDS {
        round(&node, CASES).await;
    }
    let seen = load.finish().await;
    assert_eq!((seen.bad_status.load(Relaxed), seen.refused.load(Relaxed), seen.broken.load(Relaxed)), (0, 0, 0), "{seen:?}");
    assert_eq!(node.child("worker").expect("a worker runs").as_raw_nonzero().get(), worker, "the same worker as at the start");
    // Connections close, and files and memory are given back, a moment after the sandbox they were for.
    eventually(&format!("no more than {before:?}"), || async {
        let after = settled(&node, worker).await;
        let small = after.bytes <= before.bytes + GROWTH_BYTES_MAX;
        (after.files <= before.files + SPARE && after.threads <= before.threads + SPARE && small).then_some(())
    })
    .await;
}

/// Tries every case at once and compares what the clients and the access log saw.
async fn round(node: &Node, cases: &'static [Case]) {
    let mut tries = tokio::task::JoinSet::new();
    for case in cases {
        let address = node.http.clone();
        tries.spawn(async move { (case, attack(&address, case.how).await) });
    }
    let mut wrong = Vec::new();
    let mut expected = BTreeMap::new();
    while let Some(done) = tries.join_next().await {
        let (case, (seen, request)) = done.expect("a client never panics");
        if seen != case.seen {
            wrong.push(format!("{}: {seen:?} instead of {:?}", case.how, case.seen));
        }
        expected.insert(request, case);
    }
    let logged = eventually("all attacks in the access log", || {
        let codes = codes(node);
        let complete = expected.keys().all(|request| codes.contains_key(request));
        async move { complete.then_some(codes) }
    })
    .await;
    for (request, case) in &expected {
        let code = &logged[request];
        if code != case.code {
            wrong.push(format!("{}: `{code}` in the log instead of `{}`", case.how, case.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a client sees, and the id of its request.
async fn attack(address: &str, how: &str) -> (Seen, String) {
    let request = format!("GET /{how} HTTP/1.1\r\nHost: hostile.localhost\r\nConnection: close\r\n\r\n");
    let said = tokio::time::timeout(DEADLINE, raw::exchange(address, request.as_bytes(), 4 << 20)).await;
    let said = said.expect("the node answers or closes").expect("the node accepts");
    let status = said.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_default();
    let header = |name: &str| head.lines().find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)));
    let request = header("x-request-id").map(|(_, id)| id.to_owned()).unwrap_or_default();
    let whole = match header("content-length").and_then(|(_, length)| length.parse::<usize>().ok()) {
        Some(length) => body.len() == length,
        None => body.ends_with("0\r\n\r\n"),
    };
    let seen = match (whole, body.len() > 1 << 20) {
        (true, _) => Seen::Whole(status),
        (false, true) => Seen::Endless,
        (false, false) => Seen::Broken,
    };
    (seen, request)
}

/// The error of every request in the access log, by request id.
fn codes(node: &Node) -> BTreeMap<String, String> {
    let said = node.shoal(&["logs", "hostile", "--access", "--tail", "1000", "-o", "json"]).expect(0).out;
    let entries = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    entries.map(|entry| (text(&entry["request"]), text(&entry["error"]))).collect()
}

/// What a worker holds.
#[derive(Debug)]
struct Held {
    files: usize,
    threads: usize,
    bytes: u64,
}

/// What the worker holds once no sandbox lives.
async fn settled(node: &Node, worker: i32) -> Held {
    eventually("the end of every sandbox", || async {
        let text = raw::get(&node.metrics, "localhost", "/metrics").await.ok()?.body;
        let live = text.lines().find(|line| line.starts_with("shoal_worker_sandboxes{") || line.starts_with("shoal_worker_sandboxes "))?;
        live.ends_with(" 0").then_some(())
    })
    .await;
    let count = |what: &str| fs::read_dir(format!("/proc/{worker}/{what}")).map_or(0, Iterator::count);
    let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap_or_default();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Held { files: count("fd"), threads: count("task"), bytes: anonymous.unwrap_or(0) << 10 }
}
