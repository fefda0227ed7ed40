//! `cargo xtask conformance DIR`: components that others wrote, deployed unmodified on a real node and asked what their authors ask them. Owns running
//! and telling; `programs.rs` knows what is asked. Must never build a component: how to is in docs/compatibility.md.

mod programs;

use std::{
    io::{BufRead, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    bench::{Bench, Server, wait_for},
    process,
};
use programs::{Expected, Probe, probes};

/// Runs every `.wasm` of a directory and prints one line for each.
///
/// # Errors
/// The binary does not build, the node does not start, or a program does not do what it should.
pub fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let [directory] = arguments else {
        anyhow::bail!(
            "usage: cargo xtask conformance DIR\n  DIR holds components of others; see docs/compatibility.md\n  SHOAL_BINARY names a binary to use instead of building one"
        )
    };
    let shoal = match std::env::var_os("SHOAL_BINARY") {
        Some(path) => PathBuf::from(path),
        None => {
            process::run(Command::new(process::cargo()).args(["build", "--package", "shoal"]).current_dir(root))?;
            process::target_directory(root).join("debug/shoal")
        }
    };
    let bench = Bench { guests: PathBuf::from(directory).canonicalize()?, shoal };
    let server = bench.start()?;
    let afar = Afar::start()?;
    let mut stems: Vec<String> = std::fs::read_dir(&bench.guests)?.flatten().filter_map(|entry| stem(&entry.path())).collect();
    stems.sort();
    ensure!(!stems.is_empty(), "{directory} holds no .wasm file");
    let mut failed = 0;
    for stem in &stems {
        let result = check(&bench, &server, &afar, stem);
        let told = result.as_ref().map_or_else(|error| format!("{error:#}").replace('\n', " "), |()| "passes".to_owned());
        println!("| {stem} | {told} |");
        failed += usize::from(result.is_err());
    }
    ensure!(failed == 0, "{failed} of {} programs do not do what they should", stems.len());
    Ok(())
}

fn stem(path: &Path) -> Option<String> {
    let is_component = path.extension().is_some_and(|extension| extension == "wasm");
    Some(path.file_stem().filter(|_| is_component)?.to_string_lossy().into_owned())
}

fn check(bench: &Bench, server: &Server, afar: &Afar, stem: &str) -> Result<()> {
    let name = stem.replace('_', "-").to_ascii_lowercase();
    let applied = apply(bench, server, &name, stem, &afar.address);
    for probe in probes(stem, &afar.address) {
        match (&probe.expected, &applied) {
            (Expected::Refused(word), Err(error)) => {
                ensure!(format!("{error:#}").contains(word), "refused, but not with {word}: {error:#}")
            }
            (Expected::Refused(word), Ok(())) => anyhow::bail!("it was deployed, and should be refused with {word}"),
            (_, Err(error)) => anyhow::bail!("{error:#}"),
            (Expected::Answer { status, holds }, Ok(())) => {
                let (found, said) = ask(&server.http, host(stem, &name).as_str(), &probe)?;
                ensure!(found == *status && said.contains(holds), "{} {} gave {found}: {said:.600}", probe.method, probe.path);
            }
            (Expected::Logged(words), Ok(())) => {
                let logs = || process::output(bench.command(server).args(["logs", &name])).ok().filter(|logs| logs.contains(words));
                wait_for(&format!("`{words}` in the log"), logs)?;
            }
        }
    }
    Ok(())
}

/// Deploys the program with what its authors' tests give it.
fn apply(bench: &Bench, server: &Server, name: &str, stem: &str, afar: &str) -> Result<()> {
    let source = bench.guests.join(format!("{stem}.wasm"));
    let text = format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  components:\n    web:\n      source: {}\n      \
         routes: [{{host: {}}}]\n      resources: {{memory: 128Mi, timeout: 3s}}\n      env: {{GREETING: hello}}\n      config: {{hello: world}}\n      \
         egress: {{allow: [\"http://{afar}\"]}}\n",
        source.display(),
        host(stem, name)
    );
    let path = server.directory.path().join(format!("{name}.yaml"));
    std::fs::write(&path, text)?;
    process::output(bench.command(server).arg("apply").arg("-f").arg(path)).map(drop)
}

/// The host a program is reached under.
fn host(stem: &str, name: &str) -> String {
    // It insists on this name.
    if stem == "p2_cli_serve_authority_and_scheme" { "localhost".to_owned() } else { format!("{name}.localhost") }
}

/// The status of one request and everything that was said.
fn ask(address: &str, host: &str, probe: &Probe) -> Result<(u16, String)> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let fields: String = probe.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let Probe { method, path, body, .. } = probe;
    let body = match probe.trailer {
        Some((name, value)) => format!(
            "Transfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: {name}\r\n\r\n{:x}\r\n{body}\r\n0\r\n{name}: {value}\r\n\r\n",
            body.len()
        ),
        None if body.is_empty() => "\r\n".to_owned(),
        None => format!("Content-Length: {}\r\n\r\n{body}", body.len()),
    };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}{body}");
    let mut sender = stream.try_clone()?;
    // Some answer while they read.
    let writing = std::thread::spawn(move || sender.write_all(request.as_bytes()));
    let mut reader = BufReader::new(stream);
    let head = Head::read(&mut reader)?;
    let mut read = Vec::new();
    let trailers = head.read_body(&mut reader, |piece| {
        read.extend_from_slice(piece);
        Ok(())
    })?;
    // A program may answer without having read: then the rest goes nowhere.
    drop(writing.join());
    let status = head.text.get(9..12).and_then(|status| status.parse().ok()).context("no status line")?;
    Ok((status, format!("{}\n{}\n{trailers}", head.text, String::from_utf8_lossy(&read))))
}

/// What stands before a body.
struct Head {
    text: String,
    length: u64,
    is_chunked: bool,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> Result<Self> {
        let text = lines(reader)?;
        let lower = text.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|length| length.parse().ok());
        Ok(Self { text, length: length.unwrap_or(0), is_chunked: lower.lines().any(|line| line == "transfer-encoding: chunked") })
    }

    /// Hands on what the body is made of as it comes, and returns the trailers.
    fn read_body(&self, reader: &mut impl BufRead, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<String> {
        if !self.is_chunked {
            let mut body = vec![0; usize::try_from(self.length)?];
            reader.read_exact(&mut body)?;
            each(&body)?;
            return Ok(String::new());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).context("the body broke off")?;
            if size == 0 {
                return lines(reader);
            }
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            chunk.truncate(size);
            each(&chunk)?;
        }
    }
}

/// Lines up to an empty one.
fn lines(reader: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            return Ok(text);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// A server outside the node that programs may call: what is posted comes back while it comes, everything else is answered with the request's own body, or
/// with words when that is empty.
struct Afar {
    address: String,
}

impl Afar {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        // Lives as long as this program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || drop(echo(stream)));
            }
        });
        Ok(Self { address })
    }
}

fn echo(mut stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let head = Head::read(&mut reader)?;
    if head.text.starts_with("POST ") {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")?;
        head.read_body(&mut reader, |piece| {
            write!(stream, "{:x}\r\n", piece.len())?;
            stream.write_all(piece)?;
            Ok(stream.write_all(b"\r\n")?)
        })?;
        return Ok(stream.write_all(b"0\r\n\r\n")?);
    }
    let mut body = Vec::new();
    head.read_body(&mut reader, |piece| {
        body.extend_from_slice(piece);
        Ok(())
    })?;
    if body.is_empty() {
        body = b"from afar".to_vec();
    }
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    Ok(stream.write_all(&body)?)
}
