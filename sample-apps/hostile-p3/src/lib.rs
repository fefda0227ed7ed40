//! Attacks its host by WASI 0.3, one way per path. `/` answers in peace.

use wasip3::{
    clocks::monotonic_clock::wait_for,
    http::types::{ErrorCode, Fields, Request, Response},
    random::random::get_random_bytes,
    wit_bindgen::{StreamReader, spawn_local},
    wit_future, wit_stream,
};

struct Hostile;

impl wasip3::exports::http::handler::Guest for Hostile {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let how = path.trim_start_matches('/').to_owned();
        match how.as_str() {
            "loop" => spin(),
            "trap" => trap(),
            "exit" => std::process::exit(1),
            "error" => return Err(ErrorCode::InternalError(Some("on purpose".to_owned()))),
            "sleep" => wait_for(u64::MAX).await,
            "memory" => fill_memory(),
            "random" => drop(get_random_bytes(1 << 30)),
            "handles" => (0..100_000).for_each(|_| std::mem::forget(Fields::new())),
            "streams" => (0..1_000_000).for_each(|_| std::mem::forget(wit_stream::new::<u8>())),
            "tasks" => (0..1_000_000).for_each(|_| drop(spawn_local(wait_for(u64::MAX)))),
            _ => {}
        }
        Ok(respond(body(how)))
    }
}

fn respond(contents: StreamReader<u8>) -> Response {
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    drop(trailers);
    Response::new(Fields::new(), Some(contents), no_trailers).0
}

/// What happens once the head is on its way.
fn body(how: String) -> StreamReader<u8> {
    let (mut body, contents) = wit_stream::new();
    spawn_local(async move {
        drop(body.write_all(b"the start of a body\n".to_vec()).await);
        match how.as_str() {
            "trap-in-body" => trap(),
            "loop-in-body" => spin(),
            "sleep-in-body" => wait_for(u64::MAX).await,
            "endless-body" => while body.write_all(vec![b'x'; 4096]).await.is_empty() {},
            _ => {}
        }
        drop(body);
        if how == "trap-after-body" {
            trap();
        }
    });
    contents
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

wasip3::http::service::export!(Hostile);
