//! The client against servers of its own, and the judgement of destinations against everything that could be one.

mod client;
mod destination;
mod tls;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use model::egress::Egress;
use tokio::{net::TcpListener, sync::Semaphore, sync::watch};
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::{
    bodies::Sent,
    client::{Client, Failure},
    cluster::ClusterSockets,
    destination::Denied,
    surroundings::HttpSurroundings,
};
use crate::limits;

/// A server on a port of its own. It ends with the test's executor.
struct Server {
    address: SocketAddr,
    /// Connections that were made.
    connections: Arc<AtomicUsize>,
    /// Connections that are open.
    open: watch::Receiver<usize>,
}

impl Server {
    /// Answers every request with what `answer` makes of it.
    async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<WasiBody>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, open) = watch::channel(0);
        let opened = Arc::new(opened);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                opened.send_modify(|open| *open += 1);
                let (answer, opened) = (answer.clone(), Arc::clone(&opened));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let response = answer(request);
                        async move { Ok::<_, Infallible>(response.await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    opened.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { address, connections, open }
    }

    /// Answers "hello" and the head of the request as it came.
    async fn hello() -> Self {
        Self::start(|request| async move {
            let headers: Vec<_> = request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            text(&format!("{} {}\n{}\n", request.method(), request.uri(), headers.join("\n")))
        })
        .await
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/path?query", self.address.port())
    }

    fn rule(&self, host: &str) -> String {
        format!("http://{host}:{}", self.address.port())
    }
}

fn text(text: &str) -> Response<WasiBody> {
    Response::new(body(text))
}

fn body(text: &str) -> WasiBody {
    Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

fn surroundings() -> Arc<HttpSurroundings> {
    Arc::new(HttpSurroundings::new(Arc::default(), TaskTracker::new()))
}

fn client_of(rules: &[String]) -> Client {
    client_in(surroundings(), rules)
}

fn client_in(surroundings: Arc<HttpSurroundings>, rules: &[String]) -> Client {
    let allow = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    Client::new(Arc::new(Egress { allow }), surroundings)
}

fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits::EGRESS_IN_FLIGHT_OF_SANDBOX_MAX))
}

async fn send(client: &Client, request: Request<WasiBody>, options: Option<RequestOptions>) -> Result<Response<WasiBody>, Failure> {
    client.send(request, options, places()).await
}

/// The text of a whole response, or what went wrong.
async fn get(client: &Client, url: &str) -> Result<String, String> {
    let request = Request::get(url).body(body("")).unwrap();
    match send(client, request, None).await {
        Ok(response) => Ok(String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()),
        Err(failure) => Err(words(failure)),
    }
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::Denied(Denied::NoRule) => "denied".to_owned(),
        Failure::Denied(Denied::Address { address, why }) => format!("denied: {address} is {why}"),
        Failure::Denied(Denied::Closed { address }) => format!("closed: {address}"),
        Failure::Failed(error, _) => format!("{error:?}"),
    }
}

fn failed(result: Result<Response<WasiBody>, Failure>) -> Error {
    match result {
        Err(Failure::Failed(error, _)) => error,
        Err(Failure::Denied(denied)) => panic!("{denied:?}"),
        Ok(response) => panic!("{}", response.status()),
    }
}
