//! Who may call the API over TCP without a token: tools on this machine, not pages in its browser. Owns the checks of Host and Origin
//! (DNS rebinding, cross-site requests); must never be in the way of a Unix socket.

use std::{collections::BTreeSet, io, net::TcpListener, sync::Arc};

use api::v1::ErrorDetail;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};

use crate::refusal::{answer, status_of};

/// The code of a call under a name that is not the door's, or of a page that has no business here.
const REFUSED: &str = "E0410";

/// Names the API may be called by, without ports.
#[derive(Debug, Clone)]
pub struct Hosts(Arc<BTreeSet<String>>);

impl Hosts {
    /// The loopback names, the address `listener` is bound to, and `more`.
    pub fn of(listener: &TcpListener, more: &[String]) -> io::Result<Self> {
        let bound = listener.local_addr()?.ip();
        let bound = if bound.is_ipv6() { format!("[{bound}]") } else { bound.to_string() };
        let names = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into_iter().chain([bound]);
        Ok(Self(Arc::new(names.chain(more.iter().map(|name| name.to_ascii_lowercase())).collect())))
    }

    /// Whether a request with these headers may be answered.
    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), (StatusCode, ErrorDetail)> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
            (Some(host), None) if self.knows(host) => host,
            (Some(host), None) => return Err(refuse_host(&format!("`{host}`"))),
            _ => return Err(refuse_host("no Host or several")),
        };
        let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
        let same = method.is_safe() || origin.is_none_or(|origin| origin.strip_prefix("http://") == Some(host));
        // Reading counts too: what a page cannot read of an answer it still learns by how long it took, and an answer may be dear to make.
        let cross_site = headers.get_all("sec-fetch-site").iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
        if same && !cross_site {
            return Ok(());
        }
        let does = if method.is_safe() { "asks" } else { "tries to change" };
        let message = format!("a page of {} {does} this cluster", origin.unwrap_or("another site"));
        Err((StatusCode::FORBIDDEN, ErrorDetail::new(REFUSED, message, "pages of other sites may not; use the `shoal` program")))
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let port = host.rsplit_once(':').filter(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        self.0.contains(port.map_or(host.as_str(), |(name, _)| name)) || self.0.contains(&host)
    }
}

fn refuse_host(what: &str) -> (StatusCode, ErrorDetail) {
    let help = "call it by `localhost` or by the address it listens on";
    (status_of(REFUSED), ErrorDetail::new(REFUSED, format!("the API is not called {what}"), help))
}

/// The middleware: refuses what [`Hosts`] does not let pass.
pub async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match hosts.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err((status, detail)) => answer(status, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, headers: &[(&str, &str)], expected: StatusCode) {
        let hosts = Hosts::of(&TcpListener::bind("127.0.0.1:0").expect("a free port"), &["Shoal.Internal".to_owned()]).expect("bound");
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse::<header::HeaderName>().expect("a name"), value.parse().expect("a value")))
            .collect();
        let status = hosts.check(&method, &map).map_or_else(|(status, _)| status, |()| StatusCode::OK);
        assert_eq!(status, expected, "{method} {headers:?}");
    }

    #[test]
    fn only_our_names_and_our_pages() {
        let misdirected = StatusCode::MISDIRECTED_REQUEST;
        for host in ["localhost", "LOCALHOST:7070", "127.0.0.1:7070", "[::1]:7070", "[::1]", "shoal.internal:1"] {
            check(Method::GET, &[("host", host)], StatusCode::OK);
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7070", "", "192.168.0.1", "localhost:7070:7070"] {
            check(Method::GET, &[("host", host)], misdirected);
        }
        check(Method::GET, &[], misdirected);
        check(Method::GET, &[("host", "localhost"), ("host", "localhost")], misdirected);
        check(Method::POST, &[("host", "localhost:7070")], StatusCode::OK);
        check(Method::POST, &[("host", "localhost:7070"), ("origin", "http://localhost:7070")], StatusCode::OK);
        check(Method::POST, &[("host", "localhost:7070"), ("origin", "http://localhost:8080")], StatusCode::FORBIDDEN);
        check(Method::POST, &[("host", "localhost:7070"), ("origin", "null")], StatusCode::FORBIDDEN);
        check(Method::DELETE, &[("host", "localhost:7070"), ("sec-fetch-site", "cross-site")], StatusCode::FORBIDDEN);
        check(Method::GET, &[("host", "localhost:7070"), ("origin", "http://evil.example")], StatusCode::OK);
        for site in ["cross-site", "same-site", "", "none, cross-site"] {
            for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
                check(method, &[("host", "localhost:7070"), ("sec-fetch-site", site)], StatusCode::FORBIDDEN);
            }
        }
        for site in ["same-origin", "none"] {
            check(Method::GET, &[("host", "localhost:7070"), ("sec-fetch-site", site)], StatusCode::OK);
        }
        check(
            Method::GET,
            &[("host", "localhost:7070"), ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
            StatusCode::FORBIDDEN,
        );
    }
}
