//! hello plus streaming: sends the request body back while it is still arriving.

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let headers = request.headers().clone();
    let mut response = Response::new(request.into_body());
    // What the body is, and which trailers follow it: they are sent back with it.
    for name in ["content-type", "trailer"] {
        if let Some(value) = headers.get(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}
