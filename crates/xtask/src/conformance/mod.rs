//! `cargo xtask conformance DIR`: components that others wrote, deployed unmodified on a real node and asked what their authors ask them. Owns running
//! and telling; `programs.rs` knows what is asked. Must never build a component: how to is in docs/compatibility.md.

mod programs;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    bench::{Bench, Server},
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
                ensure!(found == *status && said.contains(holds), "{} {} gave {found}: {said:.300}", probe.method, probe.path);
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
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let fields: String = probe.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let Probe { method, path, body, .. } = probe;
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len());
    stream.write_all(head.as_bytes())?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let status = said.get(9..12).and_then(|status| status.parse().ok()).context("no status line")?;
    Ok((status, said))
}

/// A server outside the node that programs may call: it answers every request with the request's own body, or a word when that is empty.
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
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        chunked |= line == "transfer-encoding: chunked";
        length = line.strip_prefix("content-length: ").and_then(|length| length.parse().ok()).unwrap_or(length);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    while chunked {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16)?;
        let start = body.len();
        body.resize(start + size + 2, 0);
        reader.read_exact(&mut body[start..])?;
        body.truncate(start + size);
        chunked = size > 0;
    }
    if body.is_empty() {
        body = b"from afar".to_vec();
    }
    stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len()).as_bytes())?;
    Ok(stream.write_all(&body)?)
}
