//! Starts a small runtime, finds guests, and keeps the lines they cause.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use model::{
    egress::Egress,
    id::{Digest, RevisionNumber},
};
use runtime::{
    Call, Code, Line, LogSink, Program, ProgramConfig, Runtime, SandboxBody, SandboxError, Scheme, Settings, Stream,
    code_store::CodeStore,
    compile::{Threads, compile},
};

/// Enough for every test, and few enough to run out of.
pub const SLOTS: u32 = 4;

/// Longer than any guest needs, and short enough to wait for.
pub const AFTER_RESPONSE: Duration = Duration::from_millis(300);

/// A runtime with everything it says kept.
pub struct Bench {
    pub runtime: Runtime,
    pub lines: Arc<Lines>,
}

/// Keeps every line.
#[derive(Default)]
pub struct Lines(Mutex<Vec<Line>>);

impl LogSink for Lines {
    fn line(&self, line: Line) {
        self.0.lock().unwrap().push(line);
    }
}

impl Lines {
    /// The texts of one stream, in order.
    pub fn of(&self, stream: Stream) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.stream == stream).map(|line| line.text.clone()).collect()
    }

    /// All lines, in order.
    pub fn all(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Settings { slots: SLOTS, after_response: AFTER_RESPONSE, ..Settings::for_this_machine() })
    }

    /// One on which nothing ends because of the time of day.
    pub fn patient() -> Self {
        Self::with(Settings { slots: SLOTS, after_response: Duration::from_secs(600), ..Settings::for_this_machine() })
    }

    pub fn with(settings: Settings) -> Self {
        let lines = Arc::new(Lines::default());
        let runtime = Runtime::start(&settings, Arc::clone(&lines) as _).expect("a few slots fit every machine");
        Self { runtime, lines }
    }

    /// A program of one of the sample apps.
    pub fn sample(&self, name: &str) -> Arc<Program> {
        self.sample_with(name, config())
    }

    pub fn sample_with(&self, name: &str, config: ProgramConfig) -> Arc<Program> {
        self.runtime.program(&self.open(&sample(name)), config).unwrap()
    }

    /// A program of a component in text form.
    pub fn text(&self, component: &str) -> Arc<Program> {
        self.text_with(component, config())
    }

    pub fn text_with(&self, component: &str, config: ProgramConfig) -> Arc<Program> {
        self.runtime.program(&self.open(&wat::parse_str(component).unwrap()), config).unwrap()
    }

    pub fn open(&self, wasm: &[u8]) -> Code {
        self.runtime.open(&compiled(wasm)).unwrap()
    }

    pub fn live(&self) -> u32 {
        self.runtime.figures().sandboxes_live
    }

    /// How many live when everything that goes on after a response, or in the slow lane, has ended.
    pub async fn live_at_last(&self) -> u32 {
        self.runtime.finish().await;
        self.live()
    }
}

/// What most tests run with.
pub fn config() -> ProgramConfig {
    ProgramConfig {
        component: "hello/web".parse().unwrap(),
        revision: RevisionNumber(7),
        env: BTreeMap::new(),
        args: Vec::new(),
        config: BTreeMap::new(),
        memory_bytes: 64 << 20,
        instance_memory_bytes: 256 << 20,
        cpu_time: Duration::from_secs(5),
        queue_wait: Duration::from_secs(5),
        max_in_flight: 100,
        timeout: Duration::from_secs(30),
        reuse: None,
        egress: Egress::default(),
        files: None,
        figures: Arc::default(),
    }
}

pub fn call(request_id: &str) -> Call {
    Call { request_id: request_id.into(), scheme: Scheme::Http, timeout: None, ordinal: 0, traceparent: None, usage: None }
}

pub fn get(path: &str) -> http::Request<Empty<Bytes>> {
    http::Request::get(path).header("host", "hello.localhost").body(Empty::new()).unwrap()
}

/// Sends a request and reads the response to its end.
pub async fn fetch(program: &Arc<Program>, path: &str) -> Result<(u16, String), SandboxError> {
    let response = program.handle(get(path), call("request-1")).await?;
    let status = response.status().as_u16();
    Ok((status, read(response).await?))
}

pub async fn read(response: http::Response<SandboxBody>) -> Result<String, SandboxError> {
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec()).unwrap())
}

/// The next piece of a body.
pub async fn next<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Result<Bytes, B::Error>> {
    body.frame().await.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// The bytes of a sample app.
pub fn sample(name: &str) -> Vec<u8> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sample-apps/target/wasm32-wasip2/release");
    let directory = std::env::var_os("SHOAL_GUESTS").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    // A library's file has underscores where its package has hyphens.
    let named = [name.to_owned(), name.replace('-', "_")].map(|name| directory.join(format!("{name}.wasm")));
    let path = named.iter().find(|path| path.is_file()).unwrap_or(&named[0]);
    fs::read(path).unwrap_or_else(|error| panic!("reading the guest {}: {error}; run `cargo xtask guests` first", path.display()))
}

/// The code file of a component. Compiled once in this process: the name is the digest.
pub fn compiled(wasm: &[u8]) -> PathBuf {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let store = CodeStore::new(DIRECTORY.get_or_init(|| tempfile::tempdir().unwrap()).path());
    let digest = Digest::of(wasm);
    if let Some(path) = store.path(&digest) {
        return path;
    }
    let compiled = compile(wasm, Threads::EveryCore).unwrap();
    store.put(&digest, compiled.kind, &compiled.bytes).unwrap()
}

/// A component in text form whose handler is the core function `handle`, which stands in `module` with whatever else the module holds.
pub fn handler(module: &str) -> String {
    format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $outparam))
            (core module $module {module})
            (core instance $instance (instantiate $module))
            (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))
                (canon lift (core func $instance "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    )
}
