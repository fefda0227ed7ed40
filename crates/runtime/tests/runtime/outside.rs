//! What guests reach beyond their sandbox: other hosts as far as the rules go, files, the log, and how long lists may be.

use std::{fs, net::SocketAddr, os::unix::fs::symlink, sync::Arc, time::Duration};

use model::egress::Egress;
use runtime::{Call, ProgramConfig, SandboxError, Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use crate::support::{Bench, call, config, fetch, get, read};

/// Answers every connection once with `response`, and passes on what it was sent.
async fn server(response: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut piece = [0; 1024];
                match stream.read(&mut piece).await {
                    Ok(length @ 1..) => request.extend_from_slice(&piece[..length]),
                    _ => break,
                }
            }
            let _ = seen.send(String::from_utf8_lossy(&request).into_owned()).await;
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    (address, requests)
}

fn allowing(rules: &[String]) -> ProgramConfig {
    ProgramConfig { egress: Egress { allow: rules.iter().map(|rule| rule.parse().unwrap()).collect() }, ..config() }
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nkeep-alive: 1\r\nx-own: 1\r\n\r\nhello";

/// Goal: the line of a denied call is the line that allows it.
#[tokio::test]
async fn the_line_of_a_denial_allows_the_call() {
    let (address, mut requests) = server(HELLO).await;
    let bench = Bench::new();
    let url = format!("/?url=http://{address}/path");
    let (status, text) = fetch(&bench.sample("caller"), &url).await.unwrap();
    assert!(status == 502 && text.contains("HttpRequestDenied"), "{status} {text}");
    let line = bench.lines.of(Stream::Host).remove(0);
    let yaml = line.lines().last().unwrap().trim();
    let rule = yaml.strip_prefix("egress: {allow: [\"").and_then(|rest| rest.strip_suffix("\"]}")).unwrap_or_else(|| panic!("{line}"));
    let config = allowing(&[rule.to_owned()]);
    let figures = Arc::clone(&config.figures);
    let caller = bench.sample_with("caller", config);
    assert_eq!(fetch(&caller, &url).await.unwrap(), (200, "hello".to_owned()));
    let sent = requests.recv().await.unwrap().to_ascii_lowercase();
    assert!(sent.starts_with("get /path http/1.1\r\n") && sent.contains(&format!("host: {address}\r\n")), "{sent}");
    fetch(&caller, "/?url=https://api.example/").await.unwrap();
    let read = figures.read();
    assert_eq!((read.egress_calls, read.egress_denials), (2, 1));
    let line = bench.lines.of(Stream::Host).pop().unwrap();
    let merged = format!("  egress: {{allow: [\"http://{address}\", \"https://api.example:443\"]}}");
    assert_eq!(line.lines().last().unwrap(), merged, "what was allowed before is kept");
}

#[tokio::test]
async fn a_name_that_leads_to_a_protected_address_is_refused_like_any_other() {
    let (address, _requests) = server(HELLO).await;
    let bench = Bench::new();
    let port = address.port();
    let caller = bench.sample_with("caller", allowing(&[format!("http://localhost:{port}")]));
    let (status, text) = fetch(&caller, &format!("/?url=http://localhost:{port}/")).await.unwrap();
    assert!(status == 502 && text.contains("HttpRequestDenied"), "{status} {text}");
    let line = bench.lines.of(Stream::Host).remove(0);
    assert!(line.contains("is loopback") && line.contains("E0313"), "{line}");
}

#[tokio::test]
async fn the_trace_of_the_request_goes_on() {
    let (address, mut requests) = server(HELLO).await;
    let bench = Bench::new();
    let caller = bench.sample_with("caller", allowing(&[format!("http://{address}")]));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = Call { traceparent: Some(trace.parse().unwrap()), ..call("request-1") };
    let response = caller.handle(get(&format!("/?url=http://{address}/")), call).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "hello");
    let sent = requests.recv().await.unwrap();
    assert!(sent.contains(&format!("traceparent: {trace}\r\n")), "{sent}");
}

/// Goal: nothing of a call outlives its sandbox.
#[tokio::test]
async fn a_call_ends_with_its_sandbox() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bench = Bench::new();
    let config = ProgramConfig { timeout: Duration::from_millis(300), ..allowing(&[format!("http://{address}")]) };
    let caller = bench.sample_with("caller", config);
    let asked = tokio::spawn(async move { fetch(&caller, &format!("/?url=http://{address}/")).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error, SandboxError::Timeout { .. }), "{error:?}");
    let mut rest = Vec::new();
    // The other side sees the end, cleanly or not.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.starts_with(b"GET / HTTP/1.1\r\n"));
    assert_eq!(bench.live(), 0);
}

#[tokio::test]
async fn files_are_read_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let files = root.path().join("files");
    fs::create_dir_all(files.join("etc/deep")).unwrap();
    fs::write(files.join("etc/app.toml"), "color = \"blue\"").unwrap();
    fs::write(root.path().join("secret"), "secret").unwrap();
    symlink("../secret", files.join("up")).unwrap();
    symlink(root.path().join("secret"), files.join("away")).unwrap();
    symlink("etc/app.toml", files.join("inside")).unwrap();
    let bench = Bench::new();
    let reader = bench.sample_with("reader", ProgramConfig { files: Some(files.clone()), ..config() });
    let ask = async |what: &str| fetch(&reader, &format!("/?{what}")).await.unwrap();
    assert_eq!(ask("read=/etc/app.toml").await, (200, "color = \"blue\"".to_owned()));
    assert_eq!(ask("read=/inside").await.0, 200);
    assert_eq!(ask("list=/etc").await, (200, "app.toml\ndeep".to_owned()));
    for escape in ["/../secret", "/etc/../../secret", "/up", "/away", "/proc/self/environ", "/etc/passwd"] {
        assert_eq!(ask(&format!("read={escape}")).await.0, 404, "{escape}");
    }
    for change in ["/etc/app.toml", "/new", "/etc/deep"] {
        assert_eq!(ask(&format!("write={change}")).await.0, 404, "{change}");
    }
    assert_eq!(fs::read_to_string(files.join("etc/app.toml")).unwrap(), "color = \"blue\"");
    let error = fetch(&reader, "/?open=/etc/app.toml").await.unwrap_err();
    assert_eq!(error.code(), "E0312", "a guest holds as many open files as it likes: {error}");
    let without = bench.sample("reader");
    assert_eq!(fetch(&without, "/?read=/etc/app.toml").await.unwrap().0, 404);
}

#[tokio::test]
async fn files_that_are_not_there_do_not_start() {
    let bench = Bench::new();
    let code = bench.open(&crate::support::sample("reader"));
    let config = ProgramConfig { files: Some("/not/there".into()), ..config() };
    assert_eq!(bench.runtime.program(&code, config).err().unwrap().code(), "E0212");
}

#[tokio::test]
async fn log_lines_have_a_level_and_a_context() {
    let bench = Bench::new();
    bench.text(include_str!("logging.wat")).probe().await.unwrap();
    assert_eq!(bench.lines.of(Stream::Stdout), ["INFO cart: greetings"]);
    assert_eq!(bench.lines.of(Stream::Stderr), ["CRITICAL greetings", "WARN cart: greetings", "again"]);
}

#[tokio::test]
async fn what_one_call_waits_for_is_bounded() {
    let bench = Bench::new();
    let error = bench.text(include_str!("waiting.wat")).probe().await.unwrap_err();
    assert_eq!(error.code(), "E0312", "{error:?}");
    assert!(error.to_string().contains("handles"), "a list of borrowed handles counts: {error}");
}
