//! The smallest HTTP client a benchmark needs. Must never pool or retry: each call is one connection, so that nothing hides.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// The status of `GET /` under `host`, on a new connection.
pub fn status(address: &str, host: &str) -> Result<u16> {
    let said = get(address, host, "")?;
    let head = std::str::from_utf8(said.get(..12).context("a whole status line")?)?;
    head.rsplit(' ').next().and_then(|code| code.parse().ok()).context("a status code")
}

/// The status of an answer that came whole; 0 for one that was cut off.
pub fn attempt(address: &str, host: &str, path: &str) -> Result<u16> {
    let said = String::from_utf8_lossy(&get(address, host, path)?).into_owned();
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_default();
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let whole = length.map_or_else(|| body.ends_with("0\r\n\r\n"), |length| length == body.len());
    Ok(if whole { head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0) } else { 0 })
}

/// The body of a 200, which must announce its length.
pub fn body(address: &str, host: &str, path: &str) -> Result<String> {
    let said = String::from_utf8(get(address, host, path)?)?;
    let (head, body) = said.split_once("\r\n\r\n").context("a whole head")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "answered {}", head.lines().next().unwrap_or_default());
    Ok(body.to_owned())
}

/// Everything the server says to `GET /PATH` until it closes.
fn get(address: &str, host: &str, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    stream.write_all(format!("GET /{} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", path.trim_start_matches('/')).as_bytes())?;
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        // A reset is one way to cut an answer off.
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => Err(error.into()),
        _ => Ok(said),
    }
}
