//! hello plus waiting: `?ms=250` sets for how long [1000]. It sleeps by the clock and uses no processor time.

use wstd::http::{Body, Error, Request, Response};
use wstd::time::{Duration, Instant};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let query = request.uri().query().unwrap_or_default();
    let wanted = query.split('&').find_map(|pair| pair.strip_prefix("ms="));
    let millis = wanted.and_then(|text| text.parse().ok()).unwrap_or(1000);
    let start = Instant::now();
    wstd::task::sleep(Duration::from_millis(millis)).await;
    Ok(Response::new(format!("slept for {} ms\n", start.elapsed().as_millis()).into()))
}
