//! What is asked of each foreign program, as its authors' own tests ask it. Owns the table; must never be made kinder to a program that fails.

/// One request; or the deployment itself for [`Expected::Refused`], and what came of the requests before for [`Expected::Logged`].
#[derive(Debug, Clone)]
pub struct Probe {
    /// Method.
    pub method: &'static str,
    /// Path and query.
    pub path: &'static str,
    /// Fields besides Host and the length.
    pub fields: Vec<(&'static str, String)>,
    /// Body.
    pub body: String,
    /// What follows the body; the answer must be able to carry some, too.
    pub trailer: Option<(&'static str, &'static str)>,
    /// What must come of it.
    pub expected: Expected,
}

/// What must come of a probe.
#[derive(Debug, Clone)]
pub enum Expected {
    /// An answer with this status that holds these words.
    Answer {
        /// Status.
        status: u16,
        /// Words in head, body or trailers; empty for any.
        holds: String,
    },
    /// It is not deployed, for the reason with this word.
    Refused(&'static str),
    /// These words are in its log, or will be in a moment.
    Logged(&'static str),
}

/// The probes of the program in `STEM.wasm`; `afar` is a server it may call.
pub fn probes(stem: &str, afar: &str) -> Vec<Probe> {
    let url = || ("url", format!("http://{afar}/a"));
    let echo = || post("/echo", "an echo, please", "an echo, please");
    // About as much as their authors send.
    let large = "And the mome raths outgrabe. ".repeat(1 << 15);
    // One that it may call, and one that it may not.
    let hash_all = |holds| with(with(get("/hash-all", 200, holds), url()), ("url", "http://forbidden.com".to_owned()));
    match stem {
        "p2_api_proxy" | "p3_api_proxy" => vec![get("/", 200, "hello, world!")],
        "p2_api_proxy_streaming" => vec![
            echo(),
            post("/echo", &large, &large),
            hash_all("/a: ahwjqaaXDNvfNuXhkT/l7y4bbDM/IzBBr4qJd4ZGVNU\n"),
            hash_all("http://forbidden.com/: ErrorCode::HttpRequestDenied\n"),
            with(post("/double-echo", "there and back", "there and back"), url()),
            with(post("/double-echo", &large, &large), url()),
        ],
        "p2_cli_serve_hello_world" | "p3_cli_serve_hello_world" => vec![get("/", 200, "Hello, WASI!")],
        "p2_cli_serve_authority_and_scheme" => vec![get("/", 200, "")],
        "p2_cli_serve_config" => vec![get("/", 200, "world")],
        "p2_cli_serve_echo_env" => vec![with(get("/", 200, "env: hello"), ("env", "GREETING".to_owned()))],
        "p2_cli_serve_return_before_set" | "p2_cli_serve_trap_before_set" => vec![get("/", 500, "E0510")],
        "p2_cli_serve_with_print" => vec![
            get("/", 200, ""),
            logged("| this is half a print to stdout\n"),
            logged("! this is half a print to stderr\n"),
            logged("! start a print 1234\n"),
        ],
        "p3_cli_serve_post_return" => vec![get("/", 200, ""), logged("please see me")],
        "p2_cli_serve_sleep" | "p3_cli_serve_sleep" => vec![get("/", 504, "E0505")],
        "p2_cli_serve_keyvalue" => vec![refused("key-value stores are not supported yet")],
        "p3_http_middleware" => vec![refused("a middleware")],
        // It passes requests on under a name of its own: its authors compose it before they call it.
        "p3_http_middleware_with_chain" => vec![refused("`local:local` is not a package of this host"), refused("wac plug")],
        // These call whoever they are called as, and a host that does not exist: neither is in their list.
        "p2_api_proxy_forward_request" => vec![get("/", 500, "E0510"), logged("E0313")],
        "p3_http_forbidden_headers" => vec![get("/", 500, "E0510"), logged("E0313: outbound HTTP to http://p3-test:80 denied")],
        "p3_http_echo" => echoes(&large),
        "p3_http_proxy" => vec![
            with(get("/", 200, "from afar"), url()),
            with(post("/", "there and back", "there and back"), url()),
            with(post("/", &large, &large), url()),
            get("/", 400, ""),
        ],
        "componentize-py-http" | "componentize-py-http-p3" => vec![echo(), get("/", 400, "")],
        "wstd_http_server" => vec![
            get("/", 200, "Hello, wasi:http/proxy world!"),
            get("/wait-response", 200, "slept for"),
            get("/wait-body", 200, "slept for"),
            get("/stream-body", 200, "stream"),
            echo(),
            with(get("/echo-headers", 200, "x-a: b"), ("x-a", "b".to_owned())),
            with(get("/response-status", 401, ""), ("x-response-status", "401".to_owned())),
            get("/response-fail", 500, "E0510"),
            // Where a head goes out before its body fails, as its authors expect, the connection breaks instead.
            get("/response-body-fail", 500, "E0510"),
            get("/nowhere", 404, ""),
        ],
        "wstd_http_server_proxy" => vec![get("/", 404, "")],
        "wstd_axum_hello_world" | "wstd_axum_hello_world_nomacro" => vec![get("/", 200, "Hello, World!")],
        "jco-http-hello-world" => vec![get("/", 200, "Hello from Javascript!")],
        "jco-http-server-fetch-handler" => vec![get("/", 200, "Hello World")],
        _ => vec![get("/", 200, "")],
    }
}

/// What comes back of a request that has everything, from both ways of the program; and of a large one.
fn echoes(large: &str) -> Vec<Probe> {
    let body = "And the mome raths outgrabe";
    let asked = |holds| with(trailed(post("/", body, holds), ("fizz", "buzz")), ("foo", "bar".to_owned()));
    let straight = |holds| with(asked(holds), ("x-host-to-host", "true".to_owned()));
    let holds = [body, "foo: bar\n", "fizz: buzz\n"];
    holds.into_iter().map(asked).chain(holds.into_iter().map(straight)).chain([post("/", large, large)]).collect()
}

fn get(path: &'static str, status: u16, holds: &str) -> Probe {
    let expected = Expected::Answer { status, holds: holds.to_owned() };
    Probe { method: "GET", path, fields: Vec::new(), body: String::new(), trailer: None, expected }
}

fn post(path: &'static str, body: &str, holds: &str) -> Probe {
    Probe { method: "POST", body: body.to_owned(), ..get(path, 200, holds) }
}

fn refused(word: &'static str) -> Probe {
    Probe { expected: Expected::Refused(word), ..get("/", 0, "") }
}

fn logged(words: &'static str) -> Probe {
    Probe { expected: Expected::Logged(words), ..get("/", 0, "") }
}

fn with(mut probe: Probe, field: (&'static str, String)) -> Probe {
    probe.fields.push(field);
    probe
}

fn trailed(probe: Probe, trailer: (&'static str, &'static str)) -> Probe {
    Probe { trailer: Some(trailer), ..probe }
}
