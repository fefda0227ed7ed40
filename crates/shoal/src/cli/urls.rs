//! Where apps answer: from a route and the gateway's address to a URL, a curl line, and the address to dial. Pure.

use model::app::Route;

/// A URL in the parts that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Host name without port.
    pub host: String,
    /// Port; 80 when the URL has none.
    pub port: u16,
    /// Path and query, starting with `/`.
    pub path: String,
}

impl Url {
    /// Reads an `http://` URL.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, path: path.to_owned() })
    }

    /// The value of the Host header.
    pub fn authority(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "http://{}{}", self.authority(), self.path)
    }
}

/// The URL of `route` on a gateway at `port`. A wildcard host shows as `any.suffix`.
pub fn of_route(route: &Route, port: u16) -> Url {
    let host = route.host.strip_prefix("*.").map_or_else(|| route.host.clone(), |suffix| format!("any.{suffix}"));
    Url { host, port, path: route.path.clone() }
}

/// A curl line that works on the gateway's machine: names that resolve to it by themselves need no header.
pub fn curl(url: &Url) -> String {
    if is_local_name(&url.host) {
        format!("curl {url}")
    } else {
        format!("curl -H 'Host: {}' http://127.0.0.1:{}{}", url.host, url.port, url.path)
    }
}

/// The host to dial for a gateway whose API was reached at `api_host` (none: through a socket on this machine).
pub fn gateway_host(api_host: Option<&str>) -> String {
    match api_host {
        None | Some("localhost") => "127.0.0.1".to_owned(),
        Some(host) => host.to_owned(),
    }
}

/// Whether `host` leads to this machine without any name server: curl and browsers resolve `*.localhost` to loopback.
fn is_local_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host == "127.0.0.1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_printed() {
        for (text, shown) in [
            ("http://hello.localhost:8080/", Some("http://hello.localhost:8080/")),
            ("http://hello.localhost", Some("http://hello.localhost/")),
            ("http://a:80/x?y=1", Some("http://a/x?y=1")),
            ("http://a:port/", None),
            ("https://a/", None),
            ("http:///x", None),
        ] {
            assert_eq!(Url::parse(text).map(|url| url.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn a_curl_line_works_without_a_name_server() {
        let line = |text: &str| Url::parse(text).map(|url| curl(&url)).unwrap_or_default();
        assert_eq!(line("http://hello.localhost:8080/"), "curl http://hello.localhost:8080/");
        assert_eq!(line("http://shop.example:8080/a"), "curl -H 'Host: shop.example' http://127.0.0.1:8080/a");
    }

    #[test]
    fn the_gateway_is_dialed_where_the_api_was_found() {
        assert_eq!(gateway_host(None), "127.0.0.1");
        assert_eq!(gateway_host(Some("10.0.0.7")), "10.0.0.7");
    }
}
