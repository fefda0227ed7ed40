//! hello for WASI 0.3, with the `wasip3` crate alone: one sandbox answers many requests at once.

use wasip3::{
    http::types::{ErrorCode, Fields, Request, Response},
    wit_bindgen::spawn_local,
    wit_future, wit_stream,
};

struct Hello;

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let text = format!("Hello from Shoal on WASI 0.3! You asked for {path}\n");
        let (mut body, contents) = wit_stream::new();
        let (trailers, no_trailers) = wit_future::new(|| Ok(None));
        drop(trailers);
        let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
        spawn_local(async move { drop(body.write_all(text.into_bytes()).await) });
        Ok(response)
    }
}

wasip3::http::service::export!(Hello);
