//! hello plus failing: `?how=` sets in which way [panic].

use futures_lite::stream::unfold;
use wstd::http::{Body, Error, Request, Response};
use wstd::time::Duration;

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let query = request.uri().query().unwrap_or_default();
    match query.split('&').find_map(|pair| pair.strip_prefix("how=")).unwrap_or("panic") {
        "panic" => panic!("asked to crash"),
        "trap" => core::arch::wasm32::unreachable(),
        "exit" => std::process::exit(1),
        "error" => Err(Error::msg("asked to fail")),
        "memory" => Ok(Response::new(fill_memory().into())),
        "loop" => Ok(Response::new(spin().into())),
        "late" => Ok(Response::new(half_a_body())),
        _ => Ok(Response::new("how = panic | trap | exit | error | memory | loop | late\n".into())),
    }
}

/// Takes memory until there is none.
fn fill_memory() -> String {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}

/// Never gives the processor back.
fn spin() -> String {
    loop {
        std::hint::black_box(());
    }
}

/// Sends the start of a body and, once that is on its way, panics.
fn half_a_body() -> Body {
    Body::from_stream(unfold(false, |sent| async move {
        if sent {
            wstd::task::sleep(Duration::from_millis(50)).await;
            panic!("asked to crash in the middle of the body");
        }
        Some(("the first half\n", true))
    }))
}
