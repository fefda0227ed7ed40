//! What is asked of each foreign program, as its authors' own tests ask it. Owns the table; must never be made kinder to a program that fails.

/// One request, or for [`Expected::Refused`] the deployment itself.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Method.
    pub method: &'static str,
    /// Path and query.
    pub path: &'static str,
    /// Fields besides Host and the length.
    pub fields: Vec<(&'static str, String)>,
    /// Body.
    pub body: &'static str,
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
        /// Words in head or body; empty for any.
        holds: &'static str,
    },
    /// It is not deployed, for the reason with this word.
    Refused(&'static str),
}

/// The probes of the program in `STEM.wasm`; `afar` is a server it may call.
pub fn probes(stem: &str, afar: &str) -> Vec<Probe> {
    let url = || ("url", format!("http://{afar}/a"));
    let echo = || post("/echo", "an echo, please", "an echo, please");
    match stem {
        "p2_api_proxy" | "p3_api_proxy" => vec![get("/", 200, "hello, world!")],
        "p2_api_proxy_streaming" => vec![
            echo(),
            with(get("/hash-all", 200, "6a1c23a9a6970cdbdf36e5e1913fe5ef2e1b6c333f233041af8a8977864654d5"), url()),
            with(post("/double-echo", "there and back", "there and back"), url()),
        ],
        "p2_cli_serve_hello_world" | "p3_cli_serve_hello_world" => vec![get("/", 200, "Hello, WASI!")],
        "p2_cli_serve_authority_and_scheme" => vec![get("/", 200, "")],
        "p2_cli_serve_config" => vec![get("/", 200, "world")],
        "p2_cli_serve_echo_env" => vec![with(get("/", 200, "env: hello"), ("env", "GREETING".to_owned()))],
        "p2_cli_serve_return_before_set" | "p2_cli_serve_trap_before_set" => vec![get("/", 500, "E0510")],
        "p2_cli_serve_sleep" | "p3_cli_serve_sleep" => vec![get("/", 504, "E0505")],
        "p2_cli_serve_keyvalue" => vec![Probe { expected: Expected::Refused("key-value stores are not supported yet"), ..get("/", 0, "") }],
        "p3_http_middleware" | "p3_http_middleware_with_chain" => {
            vec![Probe { expected: Expected::Refused("a middleware"), ..get("/", 0, "") }]
        }
        // These call whoever they are called as, and a host that does not exist: neither is in their list.
        "p2_api_proxy_forward_request" | "p3_http_forbidden_headers" => vec![get("/", 500, "E0510")],
        "p3_http_echo" => {
            vec![post("/", "an echo, please", "an echo, please"), with(post("/", "again", "again"), ("x-host-to-host", "true".to_owned()))]
        }
        "p3_http_proxy" => vec![with(get("/", 200, "from afar"), url()), get("/", 400, "")],
        "componentize-py-http" | "componentize-py-http-p3" => vec![echo(), get("/", 400, "")],
        "wstd_http_server" => vec![
            get("/", 200, "Hello, wasi:http/proxy world!"),
            get("/wait-response", 200, "slept for"),
            get("/wait-body", 200, "slept for"),
            get("/stream-body", 200, "stream"),
            echo(),
            with(get("/echo-headers", 200, "x-a: b"), ("x-a", "b".to_owned())),
            get("/response-fail", 500, "E0510"),
            get("/nowhere", 404, ""),
        ],
        "wstd_http_server_proxy" => vec![get("/", 404, "")],
        "wstd_axum_hello_world" | "wstd_axum_hello_world_nomacro" => vec![get("/", 200, "Hello, World!")],
        "jco-http-hello-world" => vec![get("/", 200, "Hello from Javascript!")],
        "jco-http-server-fetch-handler" => vec![get("/", 200, "Hello World")],
        _ => vec![get("/", 200, "")],
    }
}

fn get(path: &'static str, status: u16, holds: &'static str) -> Probe {
    Probe { method: "GET", path, fields: Vec::new(), body: "", expected: Expected::Answer { status, holds } }
}

fn post(path: &'static str, body: &'static str, holds: &'static str) -> Probe {
    Probe { method: "POST", path, fields: Vec::new(), body, expected: Expected::Answer { status: 200, holds } }
}

fn with(mut probe: Probe, field: (&'static str, String)) -> Probe {
    probe.fields.push(field);
    probe
}
