//! hello plus failing: `?how=` sets in which way [panic].

use wstd::http::{Body, Error, Request, Response};

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
        "late" => Ok(Response::new(Body::from_stream(HalfABody { sent: false }))),
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

/// Sends the start of a body, then panics.
struct HalfABody {
    sent: bool,
}

impl futures_core::Stream for HalfABody {
    type Item = Vec<u8>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Option<Vec<u8>>> {
        assert!(!self.sent, "asked to crash in the middle of the body");
        self.sent = true;
        std::task::Poll::Ready(Some(b"the first half\n".to_vec()))
    }
}
