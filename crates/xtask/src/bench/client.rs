//! The smallest HTTP client a benchmark needs. Must never pool or retry: each call is one connection, so that nothing hides.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result};

/// The status of `GET /` under `host`, on a new connection.
pub fn status(address: &str, host: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    let head = std::str::from_utf8(said.get(..12).context("a whole status line")?)?;
    head.rsplit(' ').next().and_then(|code| code.parse().ok()).context("a status code")
}
