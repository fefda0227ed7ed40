//! The smallest app: answers every request with one line. Every other sample is this one plus one thing.

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    Ok(Response::new(format!("Hello from Shoal! You asked for {}\n", request.uri().path()).into()))
}
