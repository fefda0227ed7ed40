//! hello for WASI 0.3 that remembers: what requests in one sandbox share, and every way in which they can be in each other's way.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wasip3::{
    clocks::monotonic_clock,
    http::types::{ErrorCode, Fields, Request, Response},
    wit_bindgen::{StreamReader, StreamResult, StreamWriter, spawn_local},
    wit_future, wit_stream,
};

/// Requests that asked for a number.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Requests that came to meet another.
static MET: AtomicU64 = AtomicU64::new(0);

/// Streams that ended because nobody read on.
static ABANDONED: AtomicU64 = AtomicU64::new(0);

const MILLISECOND: u64 = 1_000_000;

struct Keeper;

impl wasip3::exports::http::handler::Guest for Keeper {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let number = query.rsplit('=').next().and_then(|value| value.parse().ok()).unwrap_or(1);
        match path {
            "/count" => Ok(text((COUNT.fetch_add(1, Relaxed) + 1).to_string())),
            "/abandoned" => Ok(text(ABANDONED.load(Relaxed).to_string())),
            "/meet" => Ok(text(meet(number).await)),
            "/sleep" => {
                monotonic_clock::wait_for(number * MILLISECOND).await;
                Ok(text(format!("slept for {number} ms")))
            }
            "/burn" => {
                burn(number);
                Ok(text(format!("computed for {number} ms")))
            }
            "/echo" => Ok(echo(request)),
            "/drip" => Ok(stream(|body| drip(body, number))),
            "/late" => Ok(stream(late)),
            "/trap" => core::arch::wasm32::unreachable(),
            "/refuse" => Err(ErrorCode::ConfigurationError),
            "/exit" => {
                wasip3::cli::exit::exit(Err(()));
                unreachable!("the host does not return from an exit")
            }
            _ => Ok(text(format!("{target} is not known"))),
        }
    }
}

/// Waits until this many requests are here at once.
async fn meet(wanted: u64) -> String {
    MET.fetch_add(1, Relaxed);
    while MET.load(Relaxed) < wanted {
        monotonic_clock::wait_for(MILLISECOND).await;
    }
    format!("{wanted} met")
}

/// Computes without a pause.
fn burn(millis: u64) {
    let until = monotonic_clock::now() + millis * MILLISECOND;
    while monotonic_clock::now() < until {
        for number in 0..10_000_u64 {
            std::hint::black_box(number);
        }
    }
}

/// Sends the request's body back as it comes, and its trailers after it.
fn echo(request: Request) -> Response {
    let (done, result) = wit_future::new(|| Ok(()));
    drop(done);
    let (mut body, trailers) = Request::consume_body(request, result);
    let (mut sender, contents) = wit_stream::new();
    let (response, _) = Response::new(Fields::new(), Some(contents), trailers);
    spawn_local(async move { copy(&mut body, &mut sender).await });
    response
}

async fn copy(from: &mut StreamReader<u8>, to: &mut StreamWriter<u8>) {
    loop {
        let (result, bytes) = from.read(Vec::with_capacity(64 << 10)).await;
        if matches!(result, StreamResult::Complete(_)) && to.write_all(bytes).await.is_empty() {
            continue;
        }
        return;
    }
}

/// A line every so often, until nobody reads any more.
async fn drip(mut body: StreamWriter<u8>, every: u64) {
    while body.write_all(b"drip\n".to_vec()).await.is_empty() {
        monotonic_clock::wait_for(every * MILLISECOND).await;
    }
    ABANDONED.fetch_add(1, Relaxed);
}

/// Traps in the middle of its response.
async fn late(mut body: StreamWriter<u8>) {
    drop(body.write_all(b"half of it".to_vec()).await);
    monotonic_clock::wait_for(MILLISECOND).await;
    core::arch::wasm32::unreachable()
}

fn text(text: String) -> Response {
    stream(|mut body| async move { drop(body.write_all(text.into_bytes()).await) })
}

fn stream<W: Future<Output = ()> + 'static>(write: impl FnOnce(StreamWriter<u8>) -> W) -> Response {
    let (body, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    drop(trailers);
    let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
    spawn_local(write(body));
    response
}

wasip3::http::service::export!(Keeper);
