//! hello plus an outbound request: `?url=http://…` names what to fetch, everything after `url=` as it stands. Streams the answer back.

use wstd::http::{Body, Client, Error, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let query = request.uri().query().unwrap_or_default();
    let Some(url) = query.strip_prefix("url=") else {
        return answer(StatusCode::BAD_REQUEST, "add ?url=http://…\n".to_owned());
    };
    let outbound = match Request::get(url).body(Body::empty()) {
        Ok(outbound) => outbound,
        Err(error) => return answer(StatusCode::BAD_REQUEST, format!("`{url}` is not a URL: {error}\n")),
    };
    match Client::new().send(outbound).await {
        Ok(inbound) => Ok(Response::builder().status(inbound.status()).body(inbound.into_body())?),
        Err(error) => answer(StatusCode::BAD_GATEWAY, format!("fetching {url}: {error:#}\n")),
    }
}

fn answer(status: StatusCode, text: String) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).body(text.into())?)
}
