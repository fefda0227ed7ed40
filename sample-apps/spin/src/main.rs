//! hello plus burning processor time: it never answers. Shows what a budget is for, and that the neighbors do not notice.

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(_: Request<Body>) -> Result<Response<Body>, Error> {
    loop {
        std::hint::black_box(());
    }
}
