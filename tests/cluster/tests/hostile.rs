//! Guests that attack their host, one way per request: each way has an error of its own, the node serves `hello` meanwhile, and afterwards nothing of
//! them is left: no sandbox, no thread, no open file, no memory.

use std::{fs, sync::atomic::Ordering::Relaxed};

use cluster_tests::{DEADLINE, eventually, guest, load::Load, node::Node, raw};

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
    /// A bare 500 when nothing had been sent yet, else an answer that breaks off: which, the scheduling of threads decides.
    Cut,
    /// The same, but the answer may be whole by then, and then nothing went wrong for the client.
    CutOrWhole,
    /// 200 and a body without end; the client leaves.
    Endless,
}

/// One way to attack: the app that does it, what the client sees, and the error in the access log (empty for none).
struct Case {
    app: &'static str,
    how: &'static str,
    seen: Seen,
    code: &'static str,
}

const fn case(app: &'static str, how: &'static str, seen: Seen, code: &'static str) -> Case {
    Case { app, how, seen, code }
}

/// The ways of sample-apps/hostile and sample-apps/hostile-p3.
const CASES: &[Case] = &[
    case("hostile", "loop", Seen::Whole(500), "E0310"),
    case("hostile", "memory", Seen::Whole(500), "E0305"),
    case("hostile", "grow", Seen::Whole(200), ""),
    case("hostile", "recursion", Seen::Whole(500), "E0304"),
    case("hostile", "exit", Seen::Whole(500), "E0304"),
    case("hostile", "silent", Seen::Whole(500), "E0307"),
    case("brief", "sleep", Seen::Whole(504), "E0306"),
    case("hostile", "trap", Seen::Whole(500), "E0304"),
    case("hostile", "twice", Seen::Cut, "E0304"),
    case("hostile", "status", Seen::Whole(500), "E0307"),
    // The guest may write no more than it announced, and a length that is no number is not sent.
    case("hostile", "length", Seen::Whole(200), ""),
    case("hostile", "length-text", Seen::Whole(200), ""),
    case("hostile", "fields", Seen::Whole(500), "E0312"),
    case("hostile", "handles", Seen::Whole(500), "E0312"),
    case("hostile", "pollables", Seen::Whole(500), "E0312"),
    case("hostile", "poll-many", Seen::Whole(500), "E0312"),
    case("hostile", "random", Seen::Whole(500), "E0312"),
    case("flood", "log-line", Seen::Whole(200), ""),
    case("flood", "log-flood", Seen::Whole(200), ""),
    case("hostile", "trap-after-head", Seen::Cut, "E0304"),
    case("hostile", "trap-in-body", Seen::Cut, "E0304"),
    case("hostile", "trap-before-trailers", Seen::Cut, "E0304"),
    case("hostile", "unfinished", Seen::Cut, "E0307"),
    case("hostile", "trailers", Seen::Cut, "E0312"),
    case("hostile", "trap-after-body", Seen::CutOrWhole, "E0304"),
    case("hostile", "loop-in-body", Seen::Cut, "E0310"),
    case("brief", "sleep-in-body", Seen::Cut, "E0511"),
    case("hostile", "loop-after-body", Seen::Whole(200), ""),
    case("hostile", "endless-body", Seen::Endless, ""),
    case("hostile3", "loop", Seen::Whole(500), "E0310"),
    case("hostile3", "trap", Seen::Whole(500), "E0304"),
    case("hostile3", "exit", Seen::Whole(500), "E0304"),
    case("hostile3", "error", Seen::Whole(500), "E0307"),
    case("brief3", "sleep", Seen::Whole(504), "E0306"),
    case("hostile3", "memory", Seen::Whole(500), "E0305"),
    // WASI 0.3 may give fewer bytes than were asked for.
    case("hostile3", "random", Seen::Whole(200), ""),
    case("hostile3", "handles", Seen::Whole(500), "E0312"),
    case("hostile3", "streams", Seen::Whole(500), "E0312"),
    case("hostile3", "tasks", Seen::Whole(500), "E0305"),
    case("hostile3", "trap-in-body", Seen::Cut, "E0304"),
    case("hostile3", "loop-in-body", Seen::Cut, "E0310"),
    case("brief3", "sleep-in-body", Seen::Cut, "E0511"),
    case("hostile3", "endless-body", Seen::Endless, ""),
    case("hostile3", "trap-after-body", Seen::CutOrWhole, "E0304"),
];

/// The apps of [`CASES`], and `hello`. Only the brief ones may run out of time: on a busy machine computing takes long.
fn manifest() -> String {
    let app = |name: &str, guest_name: &str, limits: &str, more: &str| {
        format!(
            "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  components:\n    web:\n      source: {}\n      \
             routes: [{{host: {name}.localhost{more}}}]\n      resources: {{memory: 16Mi{limits}}}\n",
            guest(guest_name).display()
        )
    };
    let fresh = |text: String| format!("{text}      reuse: {{mode: fresh}}\n");
    let (patient, brief, idle) = (", cpuTime: 400ms, timeout: 50s", ", timeout: 2s", ", idleTimeout: 2s");
    [
        app("hello", "hello", "", ""),
        app("hostile", "hostile", patient, ""),
        app("flood", "hostile", ", cpuTime: 10s, timeout: 50s", ""),
        app("brief", "hostile", brief, idle),
        fresh(app("hostile3", "hostile_p3", patient, "")),
        fresh(app("brief3", "hostile_p3", brief, idle)),
    ]
    .join("---\n")
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

/// A program that attacks before any request: it is ended by the budget of its own, the error is told by `apply`, and it never gets a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_attacks_when_it_starts_never_becomes_ready() {
    let node = Node::start().await;
    for (name, start, code) in [("looper", "(loop $again (br $again))", "E0310"), ("trapper", "unreachable", "E0304")] {
        let component = wat::parse_str(format!(
            r#"(component
                (import "wasi:http/types@0.2.0" (instance $types
                    (export "incoming-request" (type (sub resource)))
                    (export "response-outparam" (type (sub resource)))))
                (alias export $types "incoming-request" (type $request))
                (alias export $types "response-outparam" (type $outparam))
                (core module $module (func $start {start}) (start $start) (func (export "handle") (param i32 i32)))
                (core instance $instance (instantiate $module))
                (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))
                    (canon lift (core func $instance "handle")))
                (instance $handler (export "handle" (func $handle)))
                (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
        ))
        .expect("it is a component");
        let path = node.data().with_file_name(format!("{name}.wasm"));
        fs::write(&path, component).expect("a component is written");
        let manifest = format!(
            "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  components:\n    web:\n      source: {}\n      \
             routes: [{{host: {name}.localhost}}]\n      resources: {{cpuTime: 300ms, memory: 16Mi}}\n",
            path.display()
        );
        let said = node.apply(&manifest).expect(8);
        assert!(said.err.contains(code) || said.out.contains(code), "{name}: no {code} in\n{}\n{}", said.out, said.err);
        let answer = raw::get(&node.http, &format!("{name}.localhost"), "/").await.expect("an answer");
        assert_eq!(answer.status, 503, "{name}: {answer:?}");
    }
}

/// Tries every case at once and compares what the clients and the access log saw.
async fn round(node: &Node, cases: &'static [Case]) {
    let mut tries = tokio::task::JoinSet::new();
    for case in cases {
        let address = node.http.clone();
        tries.spawn(async move { (case, attack(&address, case).await) });
    }
    let mut wrong = Vec::new();
    while let Some(done) = tries.join_next().await {
        let (case, (answer, request)) = done.expect("a client never panics");
        let code = if answer == Answer::Whole(200) || answer == Answer::Endless { "" } else { case.code };
        let as_expected = match case.seen {
            Seen::Whole(status) => answer == Answer::Whole(status),
            Seen::Cut => matches!(answer, Answer::Whole(500) | Answer::Broken),
            Seen::CutOrWhole => matches!(answer, Answer::Whole(500 | 200) | Answer::Broken),
            Seen::Endless => answer == Answer::Endless,
        };
        if !as_expected {
            wrong.push(format!("{} {}: {answer:?} instead of {:?}", case.app, case.how, case.seen));
            continue;
        }
        let logged = logged(node, &request).await;
        if logged != code {
            wrong.push(format!("{} {}: `{logged}` in the log instead of `{code}`", case.app, case.how));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a client got.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Whole(u16),
    Broken,
    Endless,
    /// Not even a head.
    Nothing,
}

/// What a client sees, and the id of its request.
async fn attack(address: &str, case: &Case) -> (Answer, String) {
    let request = format!("GET /{} HTTP/1.1\r\nHost: {}.localhost\r\nConnection: close\r\n\r\n", case.how, case.app);
    let said = tokio::time::timeout(DEADLINE, raw::exchange(address, request.as_bytes(), 4 << 20)).await;
    let said = said.expect("the node answers or closes").expect("the node accepts");
    let Some((head, body)) = said.split_once("\r\n\r\n") else { return (Answer::Nothing, String::new()) };
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    };
    let whole = match header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => body.len() == length,
        None => body.ends_with("0\r\n\r\n"),
    };
    let answer = match (whole, body.len() > 1 << 20) {
        (true, _) => Answer::Whole(status),
        (false, true) => Answer::Endless,
        (false, false) => Answer::Broken,
    };
    (answer, header("x-request-id").unwrap_or_default().to_owned())
}

/// The error of a request in the access log.
async fn logged(node: &Node, request: &str) -> String {
    eventually(&format!("request {request} in the access log"), || async {
        let said = node.shoal(&["logs", "--access", "--request", request, "-o", "json"]).expect(0).out;
        let entries = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let access = entries.into_iter().find(|entry| entry["status"].is_u64())?;
        Some(access["code"].as_str().unwrap_or_default().to_owned())
    })
    .await
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
