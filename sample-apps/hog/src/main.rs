//! hello plus taking memory, and using all of it, until it is stopped. Shows where a sandbox ends.

use wstd::http::{Body, Error, Request, Response};

/// How much it takes at a time.
const PIECE_BYTES: usize = 1 << 20;

#[wstd::http_server]
async fn main(_: Request<Body>) -> Result<Response<Body>, Error> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(std::hint::black_box(vec![1; PIECE_BYTES]));
    }
}
