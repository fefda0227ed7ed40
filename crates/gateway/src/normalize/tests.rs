//! The checks that are ours because hyper does not make them, one line each. What only the bytes show is in `head_scan/tests.rs`.

use super::*;

/// The parts of `METHOD target VERSION` and header lines, as hyper would hand them over.
fn parts(request: &str) -> Parts {
    let mut lines = request.split("\r\n");
    let mut words = lines.next().expect("a request line").split(' ');
    let mut next = || words.next().expect("three words");
    let (method, target, version) = (next(), next(), next());
    let version = match version {
        "1.0" => Version::HTTP_10,
        "1.1" => Version::HTTP_11,
        _ => Version::HTTP_2,
    };
    let mut builder = http::Request::builder().method(method).uri(target).version(version);
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header line");
        builder = builder.header(name, value);
    }
    builder.body(()).expect("a request").into_parts().0
}

/// `host target` after normalising, or the sentence of the refusal.
fn read(request: &str) -> String {
    let mut parts = parts(request);
    match normalize(&mut parts, HeadFacts::default()) {
        Ok(host) => {
            let given = parts.headers.get(header::HOST).map_or("-", |host| host.to_str().expect("ASCII"));
            format!("{host} {given} {}", parts.uri)
        }
        Err(refusal) => format!("{} {refusal}", refusal.status().as_u16()),
    }
}

fn check(request: &str, wanted: &str) {
    assert_eq!(read(request), wanted, "{request:?}");
}

#[test]
fn there_is_one_host() {
    check("GET / 1.1\r\nhost: Example.com:8080", "example.com Example.com:8080 /");
    check("GET / 1.1\r\nhost: a\r\nhost: b", "400 bad request: Host is given more than once");
    check("GET / 1.1\r\nhost: a\r\nhost: a", "400 bad request: Host is given more than once");
    check("GET / 1.1", "400 bad request: Host is missing");
    check("GET / 1.0", " - /");
    check("GET / 1.0\r\nhost: a", "a a /");
    check("GET / 1.1\r\nhost: a/b", "400 bad request: Host is not a host name");
    check("GET / 1.1\r\nhost: a, b", "400 bad request: Host is not a host name");
    check("GET / 1.1\r\nhost: ", "400 bad request: Host is not a host name");
}

#[test]
fn an_absolute_target_agrees_with_host() {
    check("GET http://a/x?y 1.1\r\nhost: a", "a a /x?y");
    check("GET http://A:80/x 1.1\r\nhost: a:80", "a a:80 /x");
    check("GET http://a 1.1\r\nhost: a", "a a /");
    check("GET http://a/x 1.1\r\nhost: b", "400 bad request: Host and the request target disagree");
    check("GET http://a:81/x 1.1\r\nhost: a:80", "400 bad request: Host and the request target disagree");
    check("GET http://a/x 1.1", "400 bad request: Host is missing");
    check("GET http://a/x 1.0", "a a /x");
    check("GET http://u@a/x 1.1\r\nhost: a", "400 bad request: Host is not a host name");
    check("GET ftp://a/x 1.1\r\nhost: a", "400 bad request: the request target is not a path");
    check("GET http://a/x 2", "a a /x");
    check("GET http://a/x 2\r\nhost: a", "a a /x");
    check("GET http://a/x 2\r\nhost: b", "400 bad request: Host and the request target disagree");
    check("GET /x 2", "400 bad request: Host is missing");
}

#[test]
fn targets_are_paths_in_normal_form() {
    check("OPTIONS * 1.1\r\nhost: a", "400 bad request: the request target is not a path");
    check("GET //x/%7Ey?a=%2e%2e//b 1.1\r\nhost: a", "a a /x/~y?a=%2e%2e//b");
    check("GET /x/../y 1.1\r\nhost: a", "400 bad request: the path has a dot element");
    check("CONNECT a:443 1.1\r\nhost: a:443", "405 CONNECT is not supported");
    check("CONNECT a:443 2", "405 CONNECT is not supported");
    check(&format!("GET /{} 1.1\r\nhost: a", "x".repeat(URI_BYTES_MAX)), "414 the request target is longer than 8192 bytes");
}

#[test]
fn lengths_do_not_contradict() {
    check(
        "POST / 1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked",
        "400 bad request: Content-Length and Transfer-Encoding are both given",
    );
    check("POST / 1.1\r\nhost: a\r\ntransfer-encoding: chunked", "a a /");
    check("POST / 1.0\r\nhost: a\r\ntransfer-encoding: chunked", "400 bad request: HTTP/1.0 has no Transfer-Encoding");
    check("POST http://a/ 2\r\ntransfer-encoding: chunked", "400 bad request: Transfer-Encoding is not `chunked`");
}

#[test]
fn upgrades_and_expectations_are_answered() {
    let upgrade = |protocols: &str| {
        let parts = parts(&format!("GET / 1.1\r\nhost: a\r\nupgrade: {protocols}"));
        check_upgrade(&Request::from_parts(parts, ())).is_ok()
    };
    let asked = ["websocket", "h2c, websocket", "h2c", "TLS/1.0"].map(upgrade);
    assert_eq!(asked, [false, false, true, true], "an offer may be ignored");
    check("POST / 1.1\r\nhost: a\r\nexpect: 100-Continue", "a a /");
    check("POST / 1.1\r\nhost: a\r\nexpect: more", "417 bad request: Expect is not `100-continue`");
}

#[test]
fn names_with_underscores_go_no_further() {
    let mut parts = parts("GET / 1.1\r\nhost: a\r\nx_forwarded_for: 1.2.3.4\r\nx-kept: yes\r\na_b: c");
    normalize(&mut parts, HeadFacts::default()).expect("a good request");
    assert_eq!(parts.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["host", "x-kept"]);
}

#[test]
fn what_the_scanner_saw_is_refused() {
    use crate::head_scan::HeadFault;
    let check = |fault: HeadFault, status: u16| {
        let facts = HeadFacts { fault: Some(fault) };
        let refusal = normalize(&mut parts("GET / 1.1\r\nhost: a"), facts).expect_err("a fault is refused");
        assert_eq!(refusal.status().as_u16(), status, "{fault:?}");
        assert!(refusal.closes() || status == 405, "{fault:?} ends the connection");
    };
    check(HeadFault::Bad(BadRequest::BareLineFeed), 400);
    check(HeadFault::TooManyHeaders, 431);
    check(HeadFault::TooLarge, 431);
    check(HeadFault::UriTooLong, 414);
    check(HeadFault::Connect, 405);
    check(HeadFault::Timeout, 408);
    let many = (0..=HEADERS_MAX).map(|number| format!("\r\nx-{number}: y")).collect::<String>();
    assert!(read(&format!("GET / 1.1\r\nhost: a{many}")).starts_with("431"));
}
