//! Attacks its host, one way per path. Every way ends in an error of its own while the node serves on; `/` answers in peace.

use wasip2::{
    cli::{stderr::get_stderr, stdout::get_stdout},
    clocks::monotonic_clock::subscribe_duration,
    exports::http::incoming_handler::Guest,
    http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam},
    io::{poll, streams::OutputStream},
    random::random::get_random_bytes,
};

/// How often something is done that one call of must not hurt.
const MILLION: usize = 1_000_000;

struct Hostile;

impl Guest for Hostile {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.trim_start_matches('/') {
            "loop" => spin(),
            "memory" => fill_memory(),
            "grow" => text(answer, &format!("{} pages more\n", grow())),
            "recursion" => text(answer, &format!("{}\n", recurse(1))),
            "exit" => std::process::exit(1),
            "silent" => {}
            "sleep" => subscribe_duration(u64::MAX).block(),
            "trap" => trap(),
            "twice" => twice(answer),
            "status" => status(answer, 101),
            "length" => length(answer, b"3"),
            "length-text" => length(answer, b"three"),
            "fields" => fields(answer),
            "handles" => handles(),
            "pollables" => pollables(),
            "poll-many" => poll_many(),
            "random" => text(answer, &format!("{} bytes\n", get_random_bytes(1 << 30).len())),
            "log-line" => log(answer, &"x".repeat(64 << 10), 256),
            "log-flood" => log(answer, "a line that says nothing\n", 100_000),
            body => with_body(answer, body),
        }
    }
}

/// What happens once the head is on its way.
fn with_body(answer: ResponseOutparam, how: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("it is the first time");
    ResponseOutparam::set(answer, Ok(response));
    if how == "trap-after-head" {
        trap();
    }
    let out = body.write().expect("it is the first time");
    send(&out, b"the start of a body\n");
    match how {
        "trap-in-body" => trap(),
        "loop-in-body" => spin(),
        "sleep-in-body" => subscribe_duration(u64::MAX).block(),
        "endless-body" => while send(&out, &[b'x'; 4096]) {},
        _ => {}
    }
    drop(out);
    match how {
        "trap-before-trailers" => trap(),
        "unfinished" => return,
        "trailers" => {
            let trailers = Fields::new();
            crowd(&trailers);
            let _ = OutgoingBody::finish(body, Some(trailers));
        }
        _ => drop(OutgoingBody::finish(body, None)),
    }
    match how {
        "trap-after-body" => trap(),
        "loop-after-body" => spin(),
        _ => {}
    }
}

fn text(answer: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("it is the first time");
    ResponseOutparam::set(answer, Ok(response));
    send(&body.write().expect("it is the first time"), text.as_bytes());
    let _ = OutgoingBody::finish(body, None);
}

/// False when nobody reads any more.
fn send(out: &OutputStream, bytes: &[u8]) -> bool {
    out.blocking_write_and_flush(bytes).is_ok()
}

fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

fn spin() -> ! {
    loop {
        std::hint::black_box(());
    }
}

fn fill_memory() {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}

/// Takes every page there is and is content with what it got.
fn grow() -> usize {
    (0..).take_while(|_| core::arch::wasm32::memory_grow::<0>(1) != usize::MAX).count()
}

fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 16]);
    if frame[0] == u64::MAX {
        return 0;
    }
    1 + recurse(frame[3] + 1) + frame[7]
}

/// Answers, and answers again with the handle that is gone.
fn twice(answer: ResponseOutparam) {
    let again = unsafe { ResponseOutparam::from_handle(answer.handle()) };
    text(answer, "once\n");
    text(again, "twice\n");
}

fn status(answer: ResponseOutparam, status: u16) {
    let response = OutgoingResponse::new(Fields::new());
    let _ = response.set_status_code(status);
    ResponseOutparam::set(answer, Ok(response));
}

/// Announces a length the body does not have.
fn length(answer: ResponseOutparam, length: &[u8]) {
    let fields = Fields::new();
    let _ = fields.append("content-length", &length.to_vec());
    let response = OutgoingResponse::new(fields);
    let body = response.body().expect("it is the first time");
    ResponseOutparam::set(answer, Ok(response));
    send(&body.write().expect("it is the first time"), b"longer than three bytes\n");
    let _ = OutgoingBody::finish(body, None);
}

fn fields(answer: ResponseOutparam) {
    let fields = Fields::new();
    crowd(&fields);
    let response = OutgoingResponse::new(fields);
    let body = response.body().expect("it is the first time");
    ResponseOutparam::set(answer, Ok(response));
    let _ = OutgoingBody::finish(body, None);
}

/// Adds fields and does not care how many are taken.
fn crowd(fields: &Fields) {
    for number in 0..MILLION {
        let _ = fields.append(&format!("x-{number}"), &b"1".to_vec());
    }
}

fn handles() {
    (0..100_000).for_each(|_| std::mem::forget(Fields::new()));
}

fn pollables() {
    let all: Vec<_> = (0..MILLION).map(|_| subscribe_duration(u64::MAX)).collect();
    poll::poll(&all.iter().collect::<Vec<_>>());
}

/// One call with a million references to the same thing that never happens.
fn poll_many() {
    let never = subscribe_duration(u64::MAX);
    poll::poll(&vec![&never; MILLION]);
}

fn log(answer: ResponseOutparam, line: &str, times: usize) {
    let (out, error) = (get_stdout(), get_stderr());
    for _ in 0..times {
        for piece in line.as_bytes().chunks(4096) {
            send(&out, piece);
            send(&error, piece);
        }
    }
    text(answer, "said\n");
}

wasip2::http::proxy::export!(Hostile);
