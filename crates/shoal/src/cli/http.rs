//! `shoal http app/comp GET /path`: one request to a component, through the gateway like everybody's. Owns the choice of the route and the printing.

use std::time::{Duration, Instant};

use anyhow::Context;
use api::v1::AppView;
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use model::{
    app::Route,
    id::{ComponentId, Name},
    problem::Problem,
};
use tokio::net::TcpStream;

use super::{
    failure::{Exit, Failure, Outcome},
    session::Session,
    target::Target,
    urls::Url,
    views,
};

/// How long connecting may take: the gateway is where the API is.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What `shoal http` takes.
#[derive(Debug, Args)]
pub struct HttpArgs {
    /// The component.
    #[arg(value_name = "APP/COMPONENT")]
    target: String,
    /// Method and path, or the path alone for GET [default: GET /].
    #[arg(value_name = "[METHOD] PATH", num_args = 0..=2)]
    request: Vec<String>,
    /// A header of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The body: a text, or @FILE.
    #[arg(short, long, value_name = "TEXT|@FILE")]
    data: Option<String>,
    /// Print the status line and the headers, too.
    #[arg(short, long)]
    include: bool,
}

/// Sends and prints the body. Exit code 0 below status 400, else 1.
pub async fn run(args: HttpArgs, session: &Session) -> Outcome {
    let (app, component) = Target::component(&args.target, &session.namespace())?;
    let (method, path) = method_and_path(&args.request)?;
    let view = session.client().await?.app(&app).await?;
    let url = url_for(&view, &component, &method, &path)?;
    let request = request(&args, method, &url)?;
    let gateway = session.gateway_host();
    let start = Instant::now();
    let response = send(request, &gateway, url.port).await?;
    print(response, args.include, &app.component(component), start, session).await
}

fn method_and_path(words: &[String]) -> Result<(Method, String), Failure> {
    let (method, path) = match words {
        [] => ("GET", "/"),
        [path] if path.starts_with('/') => ("GET", path.as_str()),
        [method] => (method.as_str(), "/"),
        [method, path, ..] => (method.as_str(), path.as_str()),
    };
    let wrong =
        |what: &str| Failure::usage(format!("`{what}` is not what a request starts with"), "write it like: shoal http hello/web GET /path");
    let known = method.bytes().all(|letter| letter.is_ascii_alphabetic());
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok().filter(|_| known).ok_or_else(|| wrong(method))?;
    if path.starts_with('/') { Ok((method, path.to_owned())) } else { Err(wrong(path)) }
}

/// The URL that leads to `component`: of its routes the first that fits method and path, else the first.
fn url_for(app: &AppView, component: &Name, method: &Method, path: &str) -> Result<Url, Failure> {
    let known = app.status.components.iter().any(|status| status.name == *component);
    let routes = views::routes_of(std::slice::from_ref(app));
    let named = format!("{}/{component}", app.metadata.name);
    let mut own = routes.iter().filter(|view| view.component == named);
    let fits =
        |route: &Route| (route.methods.is_empty() || route.methods.iter().any(|name| name == method.as_str())) && is_below(path, route);
    let view = own.clone().find(|view| fits(&view.route)).or_else(|| own.next()).ok_or_else(|| {
        let what = if known { "has no route" } else { "does not exist" };
        let problem = Problem::new("E0402", format!("component `{named}` {what}"));
        Failure::of(problem.help(format!("`shoal get routes {}` lists the routes", app.metadata.name)))
    })?;
    let mut url = Url::parse(&view.url).ok_or_else(|| Failure::sentence(Exit::Error, format!("`{}` is no URL", view.url), ""))?;
    path.clone_into(&mut url.path);
    Ok(url)
}

/// Whether `path` is below the route's by whole elements.
fn is_below(path: &str, route: &Route) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let prefix = route.path.trim_end_matches('/');
    if route.exact { path == route.path } else { path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) }
}

fn request(args: &HttpArgs, method: Method, url: &Url) -> Result<Request<Full<Bytes>>, Failure> {
    let body = match args.data.as_deref().map(|data| data.strip_prefix('@').ok_or(data)) {
        None => Bytes::new(),
        Some(Err(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(Ok(file)) => {
            std::fs::read(file).map_err(|error| Failure::sentence(Exit::Error, format!("cannot read {file}: {error}"), ""))?.into()
        }
    };
    let mut request = Request::builder().method(method).uri(&url.path).header("host", url.authority());
    let agent = concat!("shoal/", env!("CARGO_PKG_VERSION"));
    let mut has_agent = false;
    for header in &args.headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| Failure::usage(format!("`{header}` is not a header"), "write it like -H 'Accept: text/html'"))?;
        has_agent |= name.eq_ignore_ascii_case("user-agent");
        request = request.header(name.trim(), value.trim());
    }
    if !has_agent {
        request = request.header("user-agent", agent);
    }
    request.body(Full::new(body)).map_err(|error| Failure::usage(format!("that is not a request: {error}"), ""))
}

async fn send(request: Request<Full<Bytes>>, host: &str, port: u16) -> Result<Response<Incoming>, Failure> {
    let address = format!("{host}:{port}");
    let unreachable = |what: String| {
        let help = "`shoal get nodes` says whether the worker runs; is the gateway on another machine?";
        Failure::sentence(Exit::Unreachable, format!("the gateway at {address} does not answer: {what}"), help)
    };
    let connected = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(&address)).await;
    let stream = connected.map_err(|_| unreachable("no connection in time".to_owned()))?.map_err(|error| unreachable(error.to_string()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(error.to_string()))?;
    // The connection ends with the response's body, and with the process at the latest.
    let _driver = tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| unreachable(error.to_string()))
}

async fn print(response: Response<Incoming>, include: bool, component: &ComponentId, start: Instant, session: &Session) -> Outcome {
    let terminal = &session.terminal;
    let (head, mut body) = response.into_parts();
    if include {
        let mut text = format!("{:?} {}\n", head.version, head.status);
        for (name, value) in &head.headers {
            text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
        terminal.data(text);
    }
    let mut ends_line = true;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("reading the body").map_err(Failure::from)?.into_data() {
            ends_line = data.ends_with(b"\n");
            terminal.bytes(&data);
        }
    }
    if !ends_line && terminal.width.is_some() {
        terminal.data("");
    }
    let request_id = head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("-");
    terminal.hint(format!("{} from {component} in {:.1}ms, request {request_id}", head.status, start.elapsed().as_secs_f64() * 1_000.0));
    if head.status.is_server_error() {
        terminal.hint(format!("next: shoal why --request {request_id}"));
    }
    Ok(if head.status.as_u16() < 400 { Exit::Done } else { Exit::Error })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::samples;

    #[test]
    fn a_request_is_a_method_and_a_path() {
        let check = |words: &[&str], expected: Option<(&str, &str)>| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let found = method_and_path(&words).ok();
            assert_eq!(found.as_ref().map(|(method, path)| (method.as_str(), path.as_str())), expected, "{words:?}");
        };
        check(&[], Some(("GET", "/")));
        check(&["/a?b=c"], Some(("GET", "/a?b=c")));
        check(&["post", "/a"], Some(("POST", "/a")));
        check(&["delete"], Some(("DELETE", "/")));
        check(&["GET", "a"], None);
        check(&["a/b"], None);
    }

    #[test]
    fn the_route_that_fits_is_taken() {
        let app = samples::app("hello", json!({}));
        let web: Name = "web".parse().expect("a name");
        let url = url_for(&app, &web, &Method::GET, "/a?b").expect("a route");
        assert_eq!(url.to_string(), "http://hello.localhost:8080/a?b");
        let none: Name = "none".parse().expect("a name");
        assert_eq!(url_for(&app, &none, &Method::GET, "/").expect_err("no component").exit, Exit::NotFound);
    }
}
